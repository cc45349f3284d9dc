"""Sweep Report with a host's own classes, and the graph that its page copies against the nodes that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2v_core.sweep_report.copies import LORA, OUTPUTS, SAMPLER, SOCKETS, comfy_graph
from s2v_core.sweeps.axes import Cell
from s2v_core.wan.settings import LoraUse, SampleSettings
from tests.nodes.test_grid_nodes import SWEEP


def test_the_page_is_written_and_handed_out_but_nothing_else_is(in_host: Any) -> None:
    said = in_host(
        "NAME = 'pages'\n"
        + SWEEP
        + """
reports = importlib.import_module("my pack-1_x_0.nodes.reports")
control = torch.zeros(5, 32, 64, 3)
made = named("SweepReport").execute(result, " my title ", control_video=control, reference=control[:1], tile=0,
                                    quality=85, full=True)
old = named("SweepReport").execute(result, "")
(place,) = made.ui["skeleton2video_report"]
refused = []
secret = kept.folder.parent / "secret.html"
secret.write_text("secret")
for wrong in ("../report.html", "/etc/passwd", "pages/secret.html", "pages/cells/store.json", "report_9.html", ""):
    try:
        reports.read_page(wrong)
    except Exception as error:
        refused.append(type(error).__name__)
reports.add_routes()
print(json.dumps({"path": made.args[0], "old": old.args[0], "place": place, "refused": refused,
                  "same": reports.read_page(place) == open(made.args[0], "rb").read()}))
"""
    )
    page = Path(said["path"])
    assert (page.name, Path(said["old"]).name) == ("report_00001_.html", "report_00002_.html")
    assert said["place"] == "pages/report_00001_.html" and said["same"]
    assert len(said["refused"]) == 6 and set(said["refused"]) <= {"SettingsError", "FileNotFoundError"}
    text = page.read_text(encoding="utf-8")
    assert "<title>my title</title>" in text and '"name": "control video"' in text and '"name": "reference"' in text


def test_the_copied_graph_has_the_nodes_own_sockets_and_values(in_host: Any) -> None:
    said = in_host(
        """
def form(name):
    node = named(name)
    schema = node.define_schema()
    kinds = tuple(kind.Input for kind in (io.Combo, io.Int, io.Float, io.String, io.Boolean))
    return {
        "id": schema.node_id,
        "sockets": [
            [one.id, one.io_type, one.display_name or ""] for one in schema.inputs if not isinstance(one, kinds)
        ],
        "widgets": [one.id for one in schema.inputs if isinstance(one, kinds)],
        "outputs": [[one.id, one.io_type, one.display_name or one.id] for one in schema.outputs],
    }
print(json.dumps({name: form(name) for name in ("WanVaceSampler", "WanVaceLora")}))
"""
    )
    sampler, lora = said["WanVaceSampler"], said["WanVaceLora"]
    assert (sampler["id"], lora["id"]) == (SAMPLER, LORA)
    assert sampler["sockets"] == [list(one) for one in SOCKETS]
    assert sampler["outputs"] == [list(one) for one in OUTPUTS]
    settings = SampleSettings(loras=(LoraUse("a/dance.safetensors", 0.5, "only vace"),))
    graph = comfy_graph(Cell("0" * 64, _prompt(), settings, (0,), ("all",)))
    values = {node["type"]: node["widgets_values"] for node in graph["nodes"]}
    # Behind the seed stands the browser's own field.
    names = [*sampler["widgets"]]
    names.insert(names.index("seed") + 1, "control_after_generate")
    assert len(values[SAMPLER]) == len(names)
    assert dict(zip(names, values[SAMPLER], strict=True))["preset"] == "none"
    assert dict(zip(names, values[SAMPLER], strict=True))["control_after_generate"] == "fixed"
    assert dict(zip(lora["widgets"], values[LORA], strict=True)) == {
        "lora": "dance.safetensors",
        "strength": 0.5,
        "scope": str(settings.loras[0].scope),
        "from_step": 0,
        "to_step": settings.loras[0].to_step,
        "ramp_in": 0,
        "ramp_out": 0,
        "allow_unmatched": False,
    }
    (stack,) = [node for node in graph["nodes"] if node["type"] == LORA]
    assert [[one["name"], one["type"], one["label"]] for one in stack["inputs"]] == lora["sockets"]


def _prompt() -> Any:
    from s2v_core.prompts.prompt import Prompt

    return Prompt("a dancer")

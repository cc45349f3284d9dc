from __future__ import annotations

import json
from dataclasses import replace

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.run import SweepResult, run_sweep
from s2v_core.sweeps.view import cell_form, cell_state, grid_view
from s2v_core.wan.settings import LoraUse, SampleSettings


def test_the_grid_with_its_states(sweep, renderer, store):
    def fails(prompt, settings):
        if (settings.guidance, settings.seed) == (2, 1):
            raise ValueError("odd")

    renderer.fails = fails
    result = run_sweep(sweep, renderer, store)
    ids = [cell.id for cell in result.cells]
    store.discard(store.path(ids[4]))
    (store.path(ids[5]) / "clip.mkv").write_bytes(b"cut")
    view = grid_view(result)
    assert json.loads(json.dumps(view)) == view
    assert view["rows"] == {"title": "guidance", "labels": ["1", "2", "3"], "group_title": "", "groups": []}
    assert view["columns"]["labels"] == ["0", "1"]
    assert view["pages"] == [""]
    assert [cell["place"] for cell in view["cells"]] == [[0, row, column] for row in range(3) for column in range(2)]
    assert view["cells"][3] == {"id": ids[3], "place": [0, 1, 1], "labels": ["guidance 2", "seed 1"]}
    states = [view["states"][id] for id in ids]
    assert [state["state"] for state in states] == ["stored", "stored", "stored", "failed", "missing", "damaged"]
    assert states[3]["reason"] == "ValueError: odd"
    assert "5 bytes" not in states[5]["reason"] and "clip.mkv has changed" in states[5]["reason"]
    meta = store.meta(ids[0])
    assert states[0] == {
        "state": "stored", "frames": 5, "width": 32, "height": 16, "fps": 16.0, "seconds": meta["seconds"],
        "version": meta["clip"]["sha256"][:12],
    }  # fmt: skip
    # A reason is not told once the cell is there.
    assert cell_state(store, ids[0], {ids[0]: "no more"})["state"] == "stored"


def test_further_axes_are_groups_or_pages(sweep, store):
    axes = (*sweep.axes, make_axis("shift", [3, 5]), make_axis("steps", [1, 2, 3, 4, 5]))
    sweep = replace(sweep, axes=axes)
    cells = plan(sweep, {}, str)
    view = grid_view(SweepResult(sweep, cells, (), (), {}, store, 0.0))
    assert (view["columns"]["group_title"], view["columns"]["groups"]) == ("shift", ["3", "5"])
    assert view["pages"][1] == "steps 2 (page 2 of 5)"
    assert view["cells"][-1]["place"] == [4, 2, 3]
    flat = grid_view(SweepResult(sweep, cells, (), (), {}, store, 0.0), "pages")
    assert flat["columns"]["groups"] == [] and len(flat["pages"]) == 10
    assert len(view["states"]) == len({cell.id for cell in cells})


def test_what_a_form_takes_of_a_cell():
    base = SampleSettings(steps=4, loras=(LoraUse("a.safetensors", 0.5),))
    axes = (make_axis("prompt", ["one", "two"]), make_axis("lora_strength", [0, 1]))
    sweep = Sweep(Prompt("base", "bad"), base, axes)
    form = cell_form(sweep, plan(sweep, {}, str)[3])
    assert json.loads(json.dumps(form)) == form
    assert form["settings"] == {name: value for name, value in base.to_dict().items() if name != "loras"}
    assert form["loras"][0]["strength"] == 1 and form["loras"][0]["to_step"] == 200
    assert form["prompt"] == {"text": "two", "negative": "bad", "variant": "two"}
    assert form["base"]["prompt"]["text"] == "base" and form["base"]["loras"][0]["strength"] == 0.5
    assert form["varied"] == ["prompt", "lora_strength"]

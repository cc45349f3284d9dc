"""The workflows that are shipped, run to their end in a real ComfyUI with a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workflows.make.catalog import all_workflows
from workflows.make.frozen import FORMS, broken, read_forms
from workflows.make.schemas import Schema, read_schemas
from workflows.make.shrink import shrink

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
FROZEN = sorted(path for path in (ROOT / "tests" / "frozen").iterdir() if path.is_dir())
# The first two workflows that there were: other host tests build on them, so they stay as they were.
FIRST = ROOT / "tests" / "frozen" / "0.1.0-first"
NAMES = ("pose_to_video", "guidance_sweep")
QUICK = "quick_look"
EVERY = sorted(path.stem for path in FOLDER.glob("*.json"))
KEPT = [
    (version.name, path.stem) for version in FROZEN for path in sorted(version.glob("*.json")) if path.name != FORMS
]
Prompt = dict[str, Any]


def node_of(prompt: Prompt, kind: str) -> str:
    return next(id for id, node in prompt.items() if node["class_type"] == f"Skeleton2Video_{kind}")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def small(workflow: str, host: Any, **changes: Any) -> Prompt:
    """The API form of one of the first workflows, with few small frames; ``changes`` go to the sampler or the sweep."""
    prompt: Prompt = read(FIRST / "api" / f"{workflow}.json")
    size = {"width": 64, "height": 128, "frames": 5, "steps": 3}
    prompt[node_of(prompt, "LoadAistClip")]["inputs"].update(width=176, height=352, frames=5)
    kind = "RunSweep" if workflow == "guidance_sweep" else "WanVaceSampler"
    prompt[node_of(prompt, kind)]["inputs"].update({**size, **changes})
    return prompt if finds_poses(host) else without_pose(prompt)


def finds_poses(host: Any) -> bool:
    return (host.base / "models" / "skeleton2video").is_dir() and any(
        (host.base / "models" / "skeleton2video").iterdir()
    )


def without_pose(prompt: Prompt) -> Prompt:
    """Without BlazePose's nets the clip itself steers: everything that hangs on a pose alone is left out."""
    clip = next(id for id, node in prompt.items() if node["class_type"].endswith(("LoadAistClip", "AistDataset")))
    gone: set[str] = set()
    for id, node in prompt.items():
        kind = node["class_type"].removeprefix("Skeleton2Video_")
        if kind in ("ExtractPose", "EditPose", "DrawPose"):
            gone.add(id)
        for key, value in list(node["inputs"].items()):
            if isinstance(value, list) and value[0] in gone:
                if key in ("control_video", "images"):
                    node["inputs"][key] = [clip, 0]
                elif key == "fps":
                    node["inputs"][key] = 16.0
                elif node["class_type"] == "PreviewAny":
                    gone.add(id)
                else:
                    del node["inputs"][key]
    return {id: node for id, node in prompt.items() if id not in gone}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Schema]:
    return dict(read_schemas())


def test_every_workflow_is_as_it_is_made(schemas: dict[str, Schema]) -> None:
    made = all_workflows(schemas)
    assert sorted(made) == EVERY == sorted(path.stem for path in (FOLDER / "api").glob("*.json"))
    for name, graph in made.items():
        assert read(FOLDER / f"{name}.json") == graph.drawn(), f"{name}: run python -m workflows.make everything"
        assert read(FOLDER / "api" / f"{name}.json") == graph.api(), f"{name}: run python -m workflows.make everything"


@pytest.mark.parametrize("name", EVERY)
def test_ui_form_and_api_form_are_the_same_graph(host: Any, name: str) -> None:
    expected = read(FOLDER / "api" / f"{name}.json")
    assert to_api(read(FOLDER / f"{name}.json"), host.get("/object_info")) == {
        id: {"class_type": node["class_type"], "inputs": node["inputs"]} for id, node in expected.items()
    }


@pytest.mark.parametrize("name", EVERY)
def test_graphs_are_tidy(name: str) -> None:
    drawn = read(FOLDER / f"{name}.json")
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in drawn["nodes"]}
    for first, (x, y, width, height) in boxes.items():
        for second, (left, top, wide, tall) in boxes.items():
            apart = x + width <= left or left + wide <= x or y + height + 30 <= top or top + tall + 30 <= y
            assert first == second or apart, f"nodes {first} and {second} overlap"
    for _, source, _, target, _, _ in drawn["links"]:
        right = boxes[source][0] < boxes[target][0]
        down = boxes[source][0] == boxes[target][0] and boxes[source][1] < boxes[target][1]
        assert right or down, f"the link from {source} to {target} goes back"
    frames = [group["bounding"] for group in drawn["groups"]]
    for note_or_node in drawn["nodes"]:
        x, y, width, height = boxes[note_or_node["id"]]
        inside = [box for box in frames if box[0] < x and box[1] < y and x + width < box[0] + box[2]]
        inside = [box for box in inside if y + height < box[1] + box[3]]
        assert len(inside) == (note_or_node["type"] != "MarkdownNote")


@pytest.mark.parametrize("name", EVERY)
def test_nothing_stands_below_what_shows_a_video(name: str) -> None:
    """Such a node grows with its video: as tall as the video needs, at the width of the node."""
    shows = {"SaveVideo", "Skeleton2Video_LoadAistClip", "Skeleton2Video_PickCell"}
    nodes = read(FOLDER / f"{name}.json")["nodes"]
    for node in (node for node in nodes if node["type"] in shows):
        (x, y), (wide, _) = node["pos"], node["size"]
        column = [one for one in nodes if one["pos"][0] < x + wide and x < one["pos"][0] + one["size"][0]]
        below = [one["id"] for one in column if one["pos"][1] > y]
        assert not below, f"{node['type']} {node['id']} will cover {below}"


@pytest.mark.parametrize("name", EVERY)
def test_each_workflow_opens_with_a_note(name: str) -> None:
    note = read(FOLDER / f"{name}.json")["nodes"][0]
    assert note["type"] == "MarkdownNote" and note["title"]
    (text,) = note["widgets_values"]
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["## What it shows", "## What it needs", "## How long", "## How"]


@pytest.mark.parametrize("name", [name for name in EVERY if name != QUICK])
def test_every_workflow_runs_to_the_end(host: Any, name: str) -> None:
    prompt = shrink(read(FOLDER / "api" / f"{name}.json"))
    prompt = prompt if finds_poses(host) else without_pose(prompt)
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    assert run.executed | run.cached == set(prompt)


@pytest.mark.parametrize("version", [path.name for path in FROZEN])
def test_no_form_loses_what_a_release_had(schemas: dict[str, Schema], version: str) -> None:
    assert not broken(read_forms(ROOT / "tests" / "frozen" / version / FORMS), schemas)


@pytest.mark.parametrize(("version", "name"), KEPT)
def test_kept_workflows_still_load_and_run(host: Any, version: str, name: str) -> None:
    folder = ROOT / "tests" / "frozen" / version
    drawn = read(folder / f"{name}.json")
    info = host.get("/object_info")
    expected = {
        id: {"class_type": node["class_type"], "inputs": later_defaults(info[node["class_type"]]) | node["inputs"]}
        for id, node in read(folder / "api" / f"{name}.json").items()
    }
    prompt = to_api(drawn, info)
    assert prompt == expected
    if name in EVERY and drawn == read(FOLDER / f"{name}.json"):
        return  # it runs under its own name
    prompt = shrink(prompt)
    run = host.run(prompt if finds_poses(host) else without_pose(prompt))
    assert run.ended == "execution_success", run.error


@pytest.mark.parametrize("name", NAMES)
def test_runs_to_the_end_and_is_cached(host: Any, name: str) -> None:
    prompt = small(name, host, **({"name": "whole"} if name == "guidance_sweep" else {}))
    first = host.run(prompt)
    assert first.ended == "execution_success", first.error
    assert first.executed | first.cached == set(prompt)
    assert node_of(prompt, "RunSweep" if name == "guidance_sweep" else "WanVaceSampler") in first.executed
    saved = [file for output in first.outputs.values() for file in output.get("images", [])]
    assert saved and all((host.base / file["type"] / file["subfolder"] / file["filename"]).is_file() for file in saved)
    second = host.run(prompt)
    assert second.ended == "execution_success"
    assert second.cached == set(prompt) and not second.executed


def test_the_quick_look_needs_nothing_and_gives_twelve_cells(host: Any, cell_hashes: Callable[[str], Any]) -> None:
    whole: Prompt = read(FOLDER / "api" / f"{QUICK}.json")
    prompt = shrink(whole)
    prompt.update({id: node for id, node in whole.items() if node["class_type"] == "Skeleton2Video_SweepAxis"})
    prompt[node_of(prompt, "RunSweep")]["inputs"].update(steps=1, name="twelve")
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    assert len(cell_hashes("twelve")) == 12
    assert all(run.outputs[id]["images"] for id, node in prompt.items() if node["class_type"] == "PreviewImage")


def test_progress_and_previews_arrive(host: Any) -> None:
    prompt = small("pose_to_video", host, seed=11, steps=4)
    sampler = node_of(prompt, "WanVaceSampler")
    run = host.run(prompt)
    # Before them there may be the bytes of a model that is read, as another "max".
    bars = [event for event in run.of("progress") if event["node"] == sampler and event["max"] == 4]
    steps = [event["value"] for event in bars]
    assert steps == [1, 2, 3, 4]
    # Kind 1 (preview) and 1 (JPEG), big endian, before the picture.
    jpegs = [data for data in run.pictures if data[:8] == b"\0\0\0\1\0\0\0\1" and data[8:10] == b"\xff\xd8"]
    assert len(jpegs) == 4


def test_interrupted_sweep_keeps_its_cells_and_goes_on(host: Any, cell_hashes: Callable[[str], dict[str, str]]) -> None:
    prompt = small("guidance_sweep", host, name="stopped", steps=60)  # time to stop it on a quick machine too
    sweep = node_of(prompt, "RunSweep")

    def in_third_cell(event: dict[str, Any]) -> bool:
        data = event["data"]  # 100 for each of six cells
        return event["type"] == "progress" and data["node"] == sweep and data["max"] == 600 and data["value"] > 210

    stopped = host.run(prompt, watch=in_third_cell)
    assert stopped.ended == "execution_interrupted"
    kept = cell_hashes("stopped")
    assert 2 <= len(kept) < 6
    again = host.run(prompt)
    assert again.ended == "execution_success", again.error
    done = cell_hashes("stopped")
    assert len(done) == 6
    assert {id: done[id] for id in kept} == kept, "finished cells were written again"


def test_new_value_costs_only_its_own_cells(host: Any, cell_hashes: Callable[[str], dict[str, str]]) -> None:
    prompt = small("guidance_sweep", host, name="grown")
    rows = next(node for node in prompt.values() if node["inputs"].get("axis") == "guidance")
    rows["inputs"]["values"] = "2"
    assert host.run(prompt).ended == "execution_success"
    before = cell_hashes("grown")
    rows["inputs"]["values"] = "2, 4"
    assert host.run(prompt).ended == "execution_success"
    after = cell_hashes("grown")
    assert (len(before), len(after)) == (2, 4)
    assert {id: after[id] for id in before} == before


def test_sweep_of_lora_strengths(host: Any, cell_hashes: Callable[[str], dict[str, str]]) -> None:
    prompt = small("guidance_sweep", host, name="strengths")
    rows = next(node for node in prompt.values() if node["inputs"].get("axis") == "control_strength")
    rows["inputs"].update(axis="lora_strength", values="0, 0.5, 1")
    columns = next(node for node in prompt.values() if node["inputs"].get("axis") == "guidance")
    columns["inputs"].update(values="1, 3")
    prompt["lora"] = {
        "class_type": "Skeleton2Video_WanVaceLora",
        "inputs": {"lora": "dance.safetensors", "strength": 1.0},
    }
    prompt[node_of(prompt, "RunSweep")]["inputs"]["loras"] = ["lora", 0]
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    assert len({value.split()[0] for value in cell_hashes("strengths").values()}) == 6


def later_defaults(described: dict[str, Any]) -> dict[str, Any]:
    """What the fields that may be missing in a saved graph are then."""
    return {
        name: spec[1]["default"]
        for name, spec in described["input"].get("optional", {}).items()
        if len(spec) > 1 and "default" in spec[1]
    }


def to_api(drawn: dict[str, Any], info: dict[str, Any]) -> Prompt:
    """What the browser's ``graphToPrompt`` makes of a UI-format workflow: values by their place, links by number."""
    links = {link[0]: [str(link[1]), link[2]] for link in drawn["links"]}
    active = {str(node["id"]) for node in drawn["nodes"] if node["mode"] == 0 and node["type"] in info}
    prompt: Prompt = {}
    for node in drawn["nodes"]:
        if str(node["id"]) not in active:
            continue
        linked = {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        saved = list(node["widgets_values"])
        described = info[node["type"]]["input"]
        fields = {**described.get("required", {}), **described.get("optional", {})}
        if saved[-1:] == ["image"] and any(
            {"image_upload", "video_upload"} & set(spec[-1]) for spec in fields.values()
        ):
            saved.pop()  # of the upload button, which is behind all fields
        values = iter(saved)
        inputs: dict[str, Any] = {}
        for name, spec in fields.items():
            options = spec[1] if len(spec) > 1 else {}
            if isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                # A field that came after the workflow was saved has its default, as in the browser.
                later = name in described.get("optional", {})
                inputs[name] = next(values, options.get("default")) if later else next(values)
                if options.get("control_after_generate"):
                    assert next(values) == "fixed", "a shipped workflow must give the same result twice"
            if name in linked:
                inputs[name] = linked[name]
        assert not list(values), f"node {node['id']} has more values than {node['type']} has fields"
        prompt[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": {
                key: value for key, value in inputs.items() if not isinstance(value, list) or value[0] in active
            },
        }
    return prompt


def test_cells_have_the_core_s_own_ids_and_pixels(host: Any) -> None:
    """What a host renders is, bit for bit, what the core renders without one; so a store can be shared."""
    import numpy as np

    from s2v_core.prompts.prompt import Prompt as Text
    from s2v_core.sweeps.plan import cell_id
    from s2v_core.sweeps.store import CellStore
    from s2v_core.video.read import read_clip
    from s2v_core.wan.engine import ModelFiles, load_engine
    from s2v_core.wan.render import Renderer
    from s2v_core.wan.settings import SampleSettings

    prompt = small("guidance_sweep", host, name="equal")
    clip_node = node_of(prompt, "LoadAistClip")
    sweep = prompt[node_of(prompt, "RunSweep")]["inputs"]
    sweep["control_video"] = [clip_node, 0]
    next(node for node in prompt.values() if node["inputs"].get("axis") == "guidance")["inputs"]["values"] = "3"
    assert host.run(prompt).ended == "execution_success"

    folders = ("diffusion_models", "vae", "text_encoders")
    chosen = prompt[node_of(prompt, "LoadWanVace")]["inputs"]
    names = (chosen["diffusion_model"], chosen["vae"], chosen["text_encoder"])
    files = [str(host.base / "models" / folder / name) for folder, name in zip(folders, names, strict=True)]
    video = host.base / "input" / prompt[clip_node]["inputs"]["video"]
    control = read_clip(video, fps=16, frames=5, size=(176, 352), fit="crop")
    reference = read_picture(host.base / "input" / "reference.png")
    renderer = Renderer(load_engine(ModelFiles(*files), device="cpu"), control, reference)
    store = CellStore(host.base / "output" / "skeleton2video" / "equal" / "cells")
    assert len(store.ids()) == 2
    for id in store.ids():
        said = store.meta(id)
        settings = SampleSettings.from_dict(said["settings"])
        text = Text(said["prompt"]["text"], said["prompt"]["negative"])
        assert cell_id(text, settings, renderer.fingerprint, renderer.lora_sha256) == id
        assert np.array_equal(renderer.render(text, settings).frames, store.load(id).frames)


def read_picture(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def test_failed_cells_are_shown_and_tried_again(host: Any, cell_hashes: Callable[[str], dict[str, str]]) -> None:
    import torch
    from safetensors.torch import save_file

    stranger = {f"blocks.99.ffn.0.lora_{side}.weight": torch.ones(4, 4) for side in "AB"}
    save_file(stranger, host.base / "models" / "loras" / "stranger.safetensors")
    prompt = small("guidance_sweep", host, name="failing")
    rows = next(node for node in prompt.values() if node["inputs"].get("axis") == "guidance")
    rows["inputs"].update(axis="lora", values="dance.safetensors\nstranger.safetensors")
    grid, sweep = node_of(prompt, "SweepGrid"), node_of(prompt, "RunSweep")
    prompt["summary"] = {"class_type": "PreviewAny", "inputs": {"source": [grid, 3]}}
    for _ in range(2):
        run = host.run(prompt)
        assert run.ended == "execution_success", run.error
        assert sweep in run.executed, "a result with failed cells must not come from the host's cache"
        assert "2 failed" in run.outputs["summary"]["text"][0] and "stranger.safetensors" in str(run.outputs)
        assert len(cell_hashes("failing")) == 2
    rows["inputs"]["values"] = "stranger.safetensors"
    prompt[sweep]["inputs"]["name"] = "all_failing"
    run = host.run(prompt)
    assert run.ended == "execution_error" and "All 2 cells" in run.error and "stranger.safetensors" in run.error


def test_a_stack_is_exported_as_one_lora(host: Any) -> None:
    from s2v_core.wan.lora_file import load_lora

    prompt = small("pose_to_video", host)
    model = node_of(prompt, "LoadWanVace")
    first = {"lora": "dance.safetensors", "strength": 0.5, "scope": "only ffn"}
    run = host.run(
        {
            model: prompt[model],
            "90": {"class_type": "Skeleton2Video_WanVaceLora", "inputs": first},
            "91": {"class_type": "Skeleton2Video_ExportLora", "inputs": {"model": [model, 0], "loras": ["90", 0],
                                                                         "name": "mine"}},
            "92": {"class_type": "PreviewAny", "inputs": {"source": ["91", 0]}},
        }
    )  # fmt: skip
    assert run.ended == "execution_success", run.error
    made = load_lora(run.outputs["92"]["text"][0])
    assert made.layers
    assert all(".ffn." in name for name in made.layers)

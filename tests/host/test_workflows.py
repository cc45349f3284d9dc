"""The workflows that are shipped, run to their end in a real ComfyUI with a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
NAMES = ("pose_to_video", "guidance_sweep")  # with a clip of the user's and a large model
QUICK = "quick_look"
Prompt = dict[str, Any]


def node_of(prompt: Prompt, kind: str) -> str:
    return next(id for id, node in prompt.items() if node["class_type"] == f"Skeleton2Video_{kind}")


def small(workflow: str, host: Any, **changes: Any) -> Prompt:
    """The API form of a workflow, with few small frames; ``changes`` go to the sampler or the sweep."""
    prompt: Prompt = json.loads((FOLDER / "api" / f"{workflow}.json").read_text(encoding="utf-8"))
    size = {"width": 64, "height": 128, "frames": 5, "steps": 3}
    prompt[node_of(prompt, "LoadAistClip")]["inputs"].update(width=176, height=352, frames=5)
    kind = "RunSweep" if workflow == "guidance_sweep" else "WanVaceSampler"
    prompt[node_of(prompt, kind)]["inputs"].update({**size, **changes})
    if not (host.base / "models" / "skeleton2video").exists():
        # Without BlazePose's nets the clip itself steers: everything else stays as it is.
        pose, clip = node_of(prompt, "ExtractPose"), node_of(prompt, "LoadAistClip")
        del prompt[pose]
        for node in prompt.values():
            node["inputs"] = {key: [clip, 0] if value == [pose, 1] else value for key, value in node["inputs"].items()}
    return prompt


@pytest.mark.parametrize("name", [*NAMES, QUICK])
def test_ui_form_and_api_form_are_the_same_graph(host: Any, name: str) -> None:
    drawn = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    expected = json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
    info = host.get("/object_info")
    assert to_api(drawn, info) == {
        id: {"class_type": node["class_type"], "inputs": later_defaults(info[node["class_type"]]) | node["inputs"]}
        for id, node in expected.items()
    }


@pytest.mark.parametrize("name", [*NAMES, QUICK])
def test_nodes_do_not_overlap_and_links_go_right(name: str) -> None:
    drawn = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in drawn["nodes"]}
    for first, (x, y, width, height) in boxes.items():
        for second, (left, top, wide, tall) in boxes.items():
            apart = x + width <= left or left + wide <= x or y + height + 30 <= top or top + tall + 30 <= y
            assert first == second or apart, f"nodes {first} and {second} overlap"
    assert all(boxes[source][0] <= boxes[target][0] for _, source, _, target, _, _ in drawn["links"])


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
    prompt: Prompt = json.loads((FOLDER / "api" / f"{QUICK}.json").read_text(encoding="utf-8"))
    prompt[node_of(prompt, "RunSweep")]["inputs"]["steps"] = 2
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    assert len(cell_hashes(QUICK)) == 12
    assert all(run.outputs[id]["images"] for id, node in prompt.items() if node["class_type"] == "PreviewImage")


def test_progress_and_previews_arrive(host: Any) -> None:
    prompt = small("pose_to_video", host, seed=11, steps=4)
    sampler = node_of(prompt, "WanVaceSampler")
    run = host.run(prompt)
    steps = [event["value"] for event in run.of("progress") if event["node"] == sampler]
    assert steps == [1, 2, 3, 4]
    # Kind 1 (preview) and 1 (JPEG), big endian, before the picture.
    jpegs = [data for data in run.pictures if data[:8] == b"\0\0\0\1\0\0\0\1" and data[8:10] == b"\xff\xd8"]
    assert len(jpegs) == 4


def test_interrupted_sweep_keeps_its_cells_and_goes_on(host: Any, cell_hashes: Callable[[str], dict[str, str]]) -> None:
    prompt = small("guidance_sweep", host, name="stopped", steps=12)
    sweep = node_of(prompt, "RunSweep")

    def in_third_cell(event: dict[str, Any]) -> bool:
        return event["type"] == "progress" and event["data"]["node"] == sweep and event["data"]["value"] > 210

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
        values = iter(node["widgets_values"])
        inputs: dict[str, Any] = {}
        described = info[node["type"]]["input"]
        for part in ("required", "optional"):
            uploads = False
            for name, spec in described.get(part, {}).items():
                options = spec[1] if len(spec) > 1 else {}
                uploads |= bool(options.get("image_upload") or options.get("video_upload"))
                if isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                    # A field that came after the workflow was saved has its default, as in the browser.
                    inputs[name] = next(values, options.get("default")) if part == "optional" else next(values)
                    if options.get("control_after_generate"):
                        assert next(values) == "fixed", "a shipped workflow must give the same result twice"
                if name in linked:
                    inputs[name] = linked[name]
            if uploads:
                assert next(values) == "image"  # the upload button
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

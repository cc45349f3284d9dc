"""Grids and cells saved in a real ComfyUI: what they carry restores the graph."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from s2v_core.video.metadata import OWN, read_metadata

pytestmark = pytest.mark.host

spec = importlib.util.spec_from_file_location("host_workflows", Path(__file__).with_name("test_workflows.py"))
assert spec and spec.loader
workflows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workflows)


def test_saved_files_carry_the_graph_and_saved_again_too(host: Any) -> None:
    prompt = workflows.small("guidance_sweep", host, name="carried")
    rows = next(node for node in prompt.values() if node["inputs"].get("axis") == "guidance")
    rows["inputs"]["values"] = "1, 3"
    grid, sweep = workflows.node_of(prompt, "SweepGrid"), workflows.node_of(prompt, "RunSweep")
    clip = workflows.node_of(prompt, "LoadAistClip")
    prompt[grid]["inputs"].update(control_video=[clip, 0], format="mp4 and gif", all_frames=False)
    pick = {"sweep": [sweep, 0], "by": "label", "label": "guidance 3", "number": 1, "metric": "", "lowest": False}
    prompt["pick"] = {"class_type": "Skeleton2Video_PickCell", "inputs": pick}
    prompt["told"] = {"class_type": "PreviewAny", "inputs": {"source": ["pick", 3]}}
    prompt["again"] = {
        "class_type": "SaveVideo",
        "inputs": {"video": [grid, 1], "filename_prefix": "again", "format": "auto", "codec": "auto"},
    }
    run = host.run(prompt)
    assert run.ended == "execution_success", run.error
    folder = host.base / "output" / "skeleton2video" / "carried"
    for name, kind in (("grid_00001_.mp4", "grid"), ("grid_00001_.gif", "grid"), ("grid_00001_.png", "grid"),
                       ("cell_00001_.mp4", "cell")):  # fmt: skip
        found = read_metadata(folder / name)
        assert found[OWN]["kind"] == kind
        assert asked(found["prompt"]) == prompt, f"{name} does not hold the graph"
    assert read_metadata(folder / "cell_00001_.mp4")[OWN]["settings"]["guidance"] == 3
    assert "guidance: 3" in run.outputs["told"]["text"][0]
    (again,) = (host.base / "output").glob("again*.mp4")
    saved = read_metadata(again)
    assert asked(saved["prompt"]) == prompt
    assert saved[OWN]["kind"] == "grid"


def asked(graph: Any) -> Any:
    """The graph as it was sent: the host notes in its nodes whether they have changed, before it hands it on."""
    return {id: {key: node[key] for key in node if key != "is_changed"} for id, node in graph.items()}

"""Sweep Grid and Pick Cell with a host's own classes, on a store of painted cells: no model, no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s2v_core.video.metadata import OWN, read_metadata

SWEEP = """
import importlib, numpy as np, torch
from fractions import Fraction
part = lambda name: importlib.import_module("my pack-1_x_0.s2v_core." + name)
axes, plan, run, store = (part("sweeps." + name) for name in ("axes", "plan", "run", "store"))
settings = part("wan.settings").SampleSettings(width=64, height=32, frames=5, steps=2)
prompt = part("prompts.prompt").Prompt("a dancer", "blurry")
chain = tuple(axes.make_axis(*axis) for axis in (("guidance", [1, 3]), ("seed", [0, 1]), ("shift", [3, 5])))
sweep = axes.Sweep(prompt, settings, chain, "painted")
cells = plan.plan(sweep, {"model": "paint"}, str)
kept = store.CellStore(host.output_folder(NAME) / "cells")
for number, cell in enumerate(cells):
    frames = np.full((5, 32, 64, 3), 20 * number, np.uint8)
    kept.put(cell, part("video.clip").Clip(frames, Fraction(16)))
result = run.SweepResult(sweep, cells, tuple(cell.id for cell in cells), (), {}, kept, 1.0)
graph = {"workflow": {"nodes": [{"id": 7}]}}
asked = {"7": {"class_type": "x", "inputs": {}}}
def ready(name):
    # Hidden inputs as the host's executor hands them over.
    return named(name).PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.prompt: asked, io.Hidden.extra_pnginfo: graph}})
"""
GRAPH = {"workflow": {"nodes": [{"id": 7}]}, "prompt": {"7": {"class_type": "x", "inputs": {}}}}


def test_a_grid_is_saved_with_its_graph(in_host: Any) -> None:
    said = in_host(
        "NAME = 'grids'\n"
        + SWEEP
        + """
control = torch.zeros(5, 32, 64, 3)
made = ready("SweepGrid").execute(result, 1, control_video=control, reference=control[:1], format="mp4 and gif",
                                  all_frames=False, layout="auto", scale=0.0, limit=4096, best="", lower="")
old = ready("SweepGrid").execute(result, 2)
grid, video, sheet, summary = made.args
again = BASE + "/again.mp4"
video.save_to(again, metadata={"prompt": asked})
print(json.dumps({"grid": list(grid.shape), "old": list(old.args[0].shape), "sheet": list(sheet.shape),
                  "size": list(video.get_dimensions()), "summary": summary, "again": again,
                  "folder": str(kept.folder.parent), "shown": [one.filename for one in made.ui.values]}))
"""
    )
    folder = Path(said["folder"])
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    assert names == [
        *("grid_00001_.gif", "grid_00001_.mp4", "grid_00001_.png"),
        *(f"grid_0000{page}_.{suffix}" for page in (2, 3) for suffix in ("mp4", "png", "webp")),
    ]
    assert said["shown"] == ["grid_00001_.mp4"]
    for file in [folder / name for name in names]:
        found = read_metadata(file)
        assert {key: found[key] for key in GRAPH} == GRAPH
        assert found[OWN]["sweep"] == "painted"
    assert (said["grid"][0], said["old"][0], said["sheet"][0]) == (1, 5, 1)
    assert said["grid"][1:3] == said["size"][::-1]
    assert "8 cells: 8 computed" in said["summary"]
    assert read_metadata(said["again"])[OWN]["kind"] == "grid", "the host's own saving keeps it"


def test_a_cell_is_picked_saved_and_handed_on(in_host: Any) -> None:
    said = in_host(
        "NAME = 'cells'\n"
        + SWEEP
        + """
made = ready("PickCell").execute(result, by="label", number=1, label="guidance 3, seed 1, shift 5", metric="",
                                 lowest=False)
frames, video, prompt, settings, label = made.args
try:
    ready("PickCell").execute(result, by="best", number=1, label="", metric="pose", lowest=False)
    wrong = ""
except Exception as error:
    wrong = str(error)
print(json.dumps({"level": round(float(frames[0, 0, 0, 0]) * 255), "shape": list(frames.shape), "text": prompt.text,
                  "settings": settings, "label": label, "wrong": wrong, "folder": str(kept.folder.parent)}))
"""
    )
    assert (said["level"], said["shape"], said["text"]) == (140, [5, 32, 64, 3], "a dancer")
    assert "guidance: 3" in said["settings"] and said["label"] == "guidance 3, seed 1, shift 5"
    assert "No cell has a score called 'pose'" in said["wrong"]
    found = read_metadata(Path(said["folder"]) / "cell_00001_.mp4")
    assert found[OWN]["labels"] == ["guidance 3", "seed 1", "shift 5"]
    assert json.dumps(found["workflow"]) == json.dumps(GRAPH["workflow"])


def test_graphs_saved_before_still_fit(in_host: Any) -> None:
    required = in_host("print(json.dumps(sorted(named('SweepGrid').INPUT_TYPES()['required'])))")
    assert required == ["page", "sweep"]
    with pytest.raises(AssertionError):
        in_host("named('SweepGrid').execute(None, 1, format='avi')")


def test_cells_are_scored_and_the_claims_judged(in_host: Any) -> None:
    said = in_host(
        "NAME = 'scored'\n"
        + SWEEP
        + """
node = named("ScoreSweep")
made = node.execute(result, "flicker, sharpness, leakage", control_video=torch.zeros(5, 32, 64, 3))
again = node.execute(result, "flicker, sharpness")
scored, summary, claims = made.args
print(json.dumps({"same": scored is result, "summary": summary, "again": again.args[1], "claims": claims,
                  "scores": kept.scores(cells[3].id), "wrong": node.validate_inputs(metrics="flicker, poze"),
                  "right": node.validate_inputs(metrics=None)}))
"""
    )
    assert said["same"] and said["summary"].startswith("8 cells scored, 0 scored before, 0 failed")
    assert "no leakage in 8 cells: " in said["summary"]
    assert said["again"].startswith("0 cells scored, 8 scored before")
    assert said["scores"]["flicker"]["value"] == 1.0 and said["scores"]["leakage"]["value"] is None
    assert "not tested: Stronger guidance brings the dancer closer to the reference picture." in said["claims"]
    assert "There is no metric called 'poze'" in said["wrong"] and said["right"] is True

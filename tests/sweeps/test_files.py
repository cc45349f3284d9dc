"""Sweep files from plan to results: several models, dances and references, several files on one store."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

# Bits can only be compared where MKL does not round by the place in memory. It reads this before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from typer.testing import CliRunner

from s2v_core import studio as studio_module
from s2v_core.cli import app
from s2v_core.recipe import folder_name, open_sweep_files, run_sweep_files
from s2v_core.sweeps.load import load_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.video.clip import Clip
from s2v_core.video.read import read_clip
from s2v_core.video.write import write_clip, write_png
from s2v_core.wan.engine import load_engine
from s2v_core.wan.render import Renderer

HEAD = """
prompt: A man dances.
negative: blurry
inputs: {pose: pose.mkv, reference: man.png}
models: {transformer: model, vae: model, text_encoder: model}
settings: {steps: 2, guidance: 2, width: 32, height: 16, frames: 5}
out: out
"""
FILES = {
    "one": HEAD + "name: one\naxes:\n  pose: ['pose: pose.mkv', {pose: other.mkv, label: mirrored}]\n"
    "  zip:\n    label: [early, late]\n    guidance_to: [1, 2]\n    seed: [0, 0]\n  reference: [man.png, none]\n",
    "two": HEAD + "name: two / more\naxes: {guidance: 1:3:1}\n",
    "models": HEAD + "name: models\naxes:\n  seed: [0, 1]\n"
    "  model: [model, {transformer: second, vae: second, text_encoder: second, label: second}]\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from s2v_core.wan.tiny import build_tiny

    place = tmp_path_factory.mktemp("sweeps")
    build_tiny(place / "model")
    build_tiny(place / "second", seed=1)
    frames = np.random.default_rng(2).integers(0, 256, (5, 16, 32, 3)).astype(np.uint8)
    write_clip(Clip(frames, Fraction(16)), place / "pose.mkv", lossless=True)
    write_clip(Clip(frames[:, :, ::-1].copy(), Fraction(16)), place / "other.mkv", lossless=True)
    write_png(frames[0], place / "man.png")
    for name, text in FILES.items():
        (place / f"{name}.yaml").write_text(text)
    return place


@pytest.fixture
def s2v():
    def call(*words, code=0):
        outcome = CliRunner().invoke(app, [*map(str, words), "--json"])
        assert outcome.exit_code == code, outcome.output
        return json.loads(outcome.stdout)

    return call


@pytest.fixture
def loads(monkeypatch):
    """The models that are loaded, by folder."""
    loaded = []
    real = studio_module.load_engine

    def load(files, **how):
        loaded.append(Path(files.transformer).name)
        return real(files, **how)

    monkeypatch.setattr(studio_module, "load_engine", load)
    return loaded


def test_a_plan_loads_no_model_and_makes_no_folder(folder, s2v, loads):
    said = s2v("sweep", "plan", folder / "one.yaml", folder / "two.yaml", "--out", folder / "none", "--device", "cpu")
    assert (said["cells"], said["distinct"], said["stored"], said["left"]) == (11, 10, 0, 10)
    # guidance_to 1 of 2 steps is 3 forwards, 2 is 4; guidance 1 is 2.
    assert said["forwards_alone"] == 4 * (3 + 4) + 2 + 4 + 4
    assert said["forwards_shared"] == said["forwards_left"] < said["forwards_alone"]
    assert said["saved"] == round(1 - said["forwards_shared"] / said["forwards_alone"], 4)
    assert said["seconds"] is None
    assert not said["disk_measured"]
    (memory,) = said["memory"]
    assert (memory["plan"], memory["fits"]) == ("resident", True)
    assert memory["need"] == sum(memory["weights"].values()) + max(memory["working"].values())
    eight = s2v("sweep", "plan", folder / "one.yaml", "-o", folder / "none", "--device", "cpu", "--memory", "fp8")
    assert eight["memory"][0]["asked"] == "fp8"
    assert eight["memory"][0]["weights"]["transformer"] < memory["weights"]["transformer"]
    assert not loads
    assert not (folder / "none").exists()


def test_a_sweep_into_another_store_encodes_nothing_again(folder, s2v, tmp_path, monkeypatch):
    from s2v_core.wan import text_states, vace

    calls = []
    for place, name in ((text_states, "encode_text"), (vace, "encode")):
        made = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *a, _made=made, _name=name: calls.append(_name) or _made(*a))
    monkeypatch.setenv("S2V_CACHE", str(tmp_path))
    monkeypatch.setenv("S2V_KEPT_GB", "1")
    clips = []
    for name in ("first", "again"):
        said = s2v("sweep", "run", folder / "models.yaml", "-o", tmp_path / name, "--device", "cpu")
        store = CellStore(tmp_path / name / "cells")
        clips.append({id: store.load(id).sha256() for id in store.ids()})
        assert said["computed"] == len(clips[-1]) == 4
        # Two models, each with both texts, both streams and the reference.
        assert sorted(calls) == (["encode"] * 6 + ["encode_text"] * 4 if name == "first" else [])
        calls.clear()
    assert clips[0] == clips[1]


def test_several_files_share_one_store_and_are_lone_runs(folder, s2v, loads):
    out = folder / "shared"
    planned = s2v("sweep", "plan", folder / "one.yaml", folder / "two.yaml", "-o", out, "--device", "cpu")
    said = s2v("sweep", "run", folder / "one.yaml", folder / "two.yaml", "-o", out, "--device", "cpu")
    assert (said["cells named"], said["computed"], said["reused"], said["failed"]) == (11, 10, 0, {})
    assert loads == ["model"]
    assert {path.name for path in out.iterdir()} == {"cells", "one", "two _ more"}
    assert (out / "one" / "grid.mp4").is_file()
    assert (out / "two _ more" / "sheet.png").is_file()
    store = CellStore(out / "cells")
    assert sum(store.meta(id)["forwards"] for id in store.ids()) == planned["forwards_shared"]
    assert not list((out / "cells" / "prefixes").glob("*"))

    files = [load_sweep(folder / f"{name}.yaml") for name in ("one", "two")]
    results, _ = run_sweep_files(files, out=out, device="cpu", write=False)
    assert not results[0].computed
    assert not results[1].computed
    engine = load_engine(files[0].models.files(), device="cpu")
    for result in results:
        for cell in result.cells:
            picture = [read_clip(path, frames=1).frames[0] for path in cell.scene.reference]
            lone = Renderer(engine, read_clip(cell.scene.pose.file, frames=5), picture)
            assert np.array_equal(result.clip(cell).frames, lone.render(cell.prompt, cell.settings).frames)

    after = s2v("sweep", "plan", folder / "one.yaml", folder / "two.yaml", "-o", out, "--device", "cpu")
    assert (after["stored"], after["left"], after["forwards_left"], after["disk"]) == (10, 0, 0, 0)
    assert after["forwards_shared"] == planned["forwards_shared"]
    # What was measured tells how long more cells of this model take, and how large they become.
    more = s2v("sweep", "plan", folder / "models.yaml", "-o", out, "--device", "cpu")
    assert more["measured"] > 0
    assert more["seconds"] > 0
    assert more["disk_measured"]
    assert 0 < more["disk"] < 4 * 32 * 16 * 5 * 6


def test_every_model_is_loaded_once(folder, loads):
    results, _ = run_sweep_files([load_sweep(folder / "models.yaml")], out=folder / "m", device="cpu", write=False)
    assert loads == ["model", "second"]
    (result,) = results
    assert len(result.computed) == 4
    assert not np.array_equal(result.clip(result.cells[0]).frames, result.clip(result.cells[1]).frames)


def test_files_that_cannot_run_together(folder, s2v, tmp_path):
    other = folder / "elsewhere.yaml"
    other.write_text(FILES["two"].replace("out: out", "out: somewhere").replace("two /", "three"))
    said = s2v("sweep", "plan", folder / "two.yaml", other, code=1)
    assert said["error"]["problem"] == "These sweeps have different places."
    said = s2v("sweep", "plan", folder / "two.yaml", folder / "two.yaml", code=1)
    assert "'two / more'" in said["error"]["problem"]
    assert folder_name(' a/b: "c". ') == "a_b_ _c_"
    assert folder_name("..") == "sweep"


def test_a_built_prompt_says_of_each_dance_what_its_name_tells(folder):
    text = (
        FILES["two"]
        .replace("prompt: A man dances.", "subject: a man in black")
        .replace(
            "{guidance: 1:3:1}", "{pose: [gBR_sBM_c01_d04_mBR0_ch01.mp4, gWA_sBM_c01_d27_mWA2_ch07.mp4, walk.mp4]}"
        )
    )
    path = folder / "built.yaml"
    path.write_text(text)
    (sweep,) = open_sweep_files([load_sweep(path)], device="cpu").sweeps
    (axis,) = sweep.axes
    assert axis.labels[2] == "pose: walk"
    words = [axis.picks(at)["prompt"][0].text for at in range(3)]
    assert all("a man in black" in text for text in words)
    assert "break" in words[0].lower()
    assert "waack" in words[1].lower()
    assert axis.picks(1)["pose"][0].file.endswith("gWA_sBM_c01_d27_mWA2_ch07.mp4")


def test_the_list_of_cells_says_where_each_begins(folder, s2v):
    said = s2v("sweep", "plan", folder / "one.yaml", "-o", folder / "none", "--device", "cpu", "--cells")
    assert len(said["order"]) == 8
    assert sum(entry["forwards"] for entry in said["order"]) == said["forwards_left"]
    assert {entry["first step"] for entry in said["order"]} == {1, 2}

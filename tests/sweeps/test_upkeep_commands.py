"""Status, verify, prune and merge, as commands."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from s2v_core.cli import app
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from tests.sweeps.disks import read_only
from tests.sweeps.test_upkeep import run

SWEEP = """\
name: three by two
prompt: {text: a dancer, negative: blurry}
settings: {steps: 2, width: 32, height: 16, frames: 5}
axes:
  guidance: [1, 2, 3]
  seed: [0, 1]
out: results
"""


@pytest.fixture
def results(tmp_path, sweep, renderer):
    """A sweep file and its results, one cell short."""
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    store = CellStore(tmp_path / "results" / "cells")
    run_sweep(sweep, renderer, store)
    shutil.rmtree(store.path(run_sweep(sweep, renderer, store).cells[-1].id))
    return file, store


def test_the_status_command(results):
    file, store = results
    for place in (store.folder, store.folder.parent):
        said = run("status", place)
        assert (said["cells"], said["sweeps"], "missing" in said) == (5, {"three by two": 5}, False)
    said = run("status", file)
    assert (said["distinct cells"], said["stored"], said["missing"]) == (6, 5, ["guidance 3, seed 1"])
    with store.lock("a" * 64):
        assert run("status", file)["in flight"][0]["process"] == os.getpid()
        shown = CliRunner().invoke(app, ["sweep", "status", str(file)]).stdout
    assert f"process {os.getpid()} on" in shown
    assert "is not a cell store" in run("status", file.parent / "nothing", code=1)["error"]["problem"]
    assert not (file.parent / "nothing").exists()
    assert "is not a cell store" in run("status", file, "--out", file.parent / "else", code=1)["error"]["problem"]


def test_a_built_prompt_needs_no_clip(results):
    file, _ = results
    file.write_text(
        SWEEP.replace("prompt: {text: a dancer, negative: blurry}", "subject: a man\ninputs: {clip: gone.mp4}")
    )
    assert run("status", file)["stored"] == 0


def test_the_verify_command(results):
    _, store = results
    assert run("verify", store.folder, "--decode")["damaged"] == []
    id = store.ids()[2]
    (store.path(id) / "cell.json").write_bytes(b"")
    assert [damage["id"] for damage in run("verify", store.folder, code=1)["damaged"]] == [id]
    said = run("verify", store.folder, "--set-aside", code=1)
    assert Path(said["damaged"][0]["moved_to"]).is_dir()
    assert said["cells"] == 4
    assert run("verify", store.folder)["damaged"] == []


def test_the_prune_command(results):
    file, store = results
    assert "--keep" in run("prune", store.folder, code=1)["error"]["expected"]
    file.write_text(SWEEP.replace("[1, 2, 3]", "[1, 2]"))
    would = run("prune", store.folder, "--damaged", "--keep", file)["would be removed"]
    assert [(entry["what"], entry["why"]) for entry in would] == [("unnamed", "three by two, guidance 3, seed 0")]
    assert len(store.ids()) == 5
    assert run("prune", store.folder, "--keep", file, "--yes")["removed"] == would
    assert len(store.ids()) == 4


def test_a_missing_lora_stops_a_prune(results, tmp_path):
    file, store = results
    loras = f"frames: 5, loras: [{{file: {tmp_path / 'gone.safetensors'}}}]}}"
    file.write_text(SWEEP.replace("frames: 5}", loras))
    said = run("prune", store.folder, "--keep", file, "--yes", code=1)
    assert "gone.safetensors" in json.dumps(said)
    assert len(store.ids()) == 5


def test_the_merge_command(results, tmp_path):
    _, store = results
    said = run("merge", store.folder.parent, tmp_path / "new")
    assert (said["copied"], said["cells"]) == (5, 5)
    spoil_id = store.ids()[0]
    (store.path(spoil_id) / "clip.mkv").write_bytes(b"")
    assert run("merge", store.folder, tmp_path / "new", code=1)["left out"][0]["id"] == spoil_id
    assert "two stores" in run("merge", store.folder, code=1)["error"]["problem"]
    assert "is not a cell store" in run("merge", tmp_path / "no", tmp_path / "new", code=1)["error"]["problem"]


def test_the_commands_on_a_store_that_cannot_be_written(results):
    file, store = results
    with read_only(store.folder):
        assert run("status", file)["can be written"] is False
        assert run("verify", store.folder, "--decode")["damaged"] == []
        assert run("prune", store.folder, "--damaged")["would be removed"] == []

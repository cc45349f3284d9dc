"""``s2v sweep score`` and ``claims``, on drawn cells: no model is there, and none is needed."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from s2v_core.cli import app
from s2v_core.sweeps.load import load_sweep
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.video.metadata import read_metadata
from tests.sweeps.test_upkeep import run

SWEEP = """\
name: strength
prompt: a dancer
inputs: {{pose: {pose}, reference: {reference}}}
settings: {{steps: 4, guidance: 3, width: 96, height: 96, frames: 5, loras: [{{file: dance.safetensors}}]}}
axes:
  lora_strength: [0, 1]
  seed: [0, 1, 2]
out: results
"""


@pytest.fixture(scope="module")
def drawn_file(drawn, world, tmp_path_factory):
    """A sweep file and its drawn cells, which leak, one of them missing."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "dance.safetensors").write_bytes(b"a LoRA")
    pose, reference = drawn.paths(world, drawn.PEOPLE[0])
    (folder / "sweep.yaml").write_text(SWEEP.format(pose=pose, reference=reference), encoding="utf-8")
    drawer = drawn.Drawer(world, leak=lambda settings: 0.3 * drawn.strength_of(settings))
    store = CellStore(folder / "results" / "cells")
    result = run_sweep(load_sweep(folder / "sweep.yaml").sweep(), drawer, store)
    shutil.rmtree(store.path(result.cells[2].id))
    return folder


@pytest.fixture
def file(drawn_file, tmp_path):
    """A copy of both."""
    return shutil.copytree(drawn_file, tmp_path / "copy") / "sweep.yaml"


def test_a_sweep_file_is_scored_once_and_judged(file):
    said = run("score", file, "--metrics", "toy_leakage,toy_pose, leakage")
    assert (said["scored"], said["scored before"], said["not finished"], said["failed"]) == (5, 0, 1, {})
    assert [(row["metric"], row["cells"]) for row in said["no value"]] == [("leakage", 5)]
    again = run("score", file, "--metrics", "toy_leakage,toy_pose")
    assert (again["scored"], again["scored before"]) == (0, 5)
    found = run("claims", file)
    assert (found["cells"], found["scored"], len(found["claims"])) == (5, 5, 7)
    leak = next(claim for claim in found["claims"] if claim["claim"] == "LoRA strength and leakage")
    assert (leak["verdict"], leak["n"], leak["cells"], leak["toy truth"]) == ("supported", 2, 4, True)
    assert found == run("claims", file.parent / "results")
    shown = CliRunner().invoke(app, ["sweep", "claims", str(file)]).stdout
    assert "supported: The stronger the LoRA" in shown and "toy world's own clips" in shown
    assert "guidance and likeness: no cells that differ in guidance alone" in shown


def test_a_bare_store_is_scored_with_the_toy_world_that_is_named(file, world):
    store = file.parent / "results"
    said = run("score", store, "--metrics", "toy_pose")
    assert said["scored"] == 5 and "toy world's truth" in said["no value"][0]["reason"]
    known = run("score", store, "--metrics", "toy_pose", "--toy", world)
    assert known["scored"] == 5 and known["no value"] == []


def test_the_grid_is_drawn_again_with_the_scores(file):
    from s2v_core.assess import stored_file
    from s2v_core.recipe import write_results

    result, _ = stored_file(load_sweep(file), CellStore(file.parent / "results" / "cells"))
    sheet = file.parent / "results" / "sheet.png"

    def drawn():
        write_results(result, file.parent / "results")
        return sheet.read_bytes()

    plain = drawn()
    assert drawn() == plain
    run("score", file, "--metrics", "toy_leakage")
    assert drawn() != plain
    assert read_metadata(sheet)


def test_claims_of_ones_own_and_wrong_names(file):
    run("score", file, "--metrics", "toy_pose")
    own = file.with_name("mine.yaml")
    own.write_text(
        "claims: [{name: mine, says: Nothing moves., kind: trend, axis: lora_strength, expect: worse, "
        "metrics: {toy_pose: 0.2}}]"
    )
    (claim,) = run("claims", file, "--claims", own)["claims"]
    assert (claim["claim"], claim["verdict"]) == ("mine", "not supported"), claim
    own.write_text(own.read_text().replace("axis:", "axes:"))
    assert "Did you mean axis?" in run("claims", file, "--claims", own, code=1)["error"]["remedy"]
    assert "no metric called" in run("score", file, "--metrics", "toy_poze", code=1)["error"]["problem"]
    assert "is not a cell store" in run("score", file.parent, code=1)["error"]["problem"]

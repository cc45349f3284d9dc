"""Scoring the cells of a store: what is measured, what is kept, and what is not measured again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from s2v_core.analysis import scoring
from s2v_core.analysis.claimsfile import load_claims
from s2v_core.analysis.collect import stored_rows, table_of
from s2v_core.analysis.judge import judge
from s2v_core.analysis.scoring import score_cells
from s2v_core.analysis.sources import SweepSources, store_sources
from s2v_core.analysis.views import heat_map
from s2v_core.errors import Interrupted, SettingsError
from s2v_core.metrics.scorecard import Score, Scorecard
from s2v_core.metrics.toy import TOY_METRICS, ToyWorld
from s2v_core.sweeps.grid import contact_sheet
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore

TOY = tuple(TOY_METRICS)
CLAIMS = {claim.name: claim for claim in load_claims()}


@pytest.fixture(scope="module")
def rendered(drawn, world, tmp_path_factory):
    """A drawn sweep over LoRA strength, in which the LoRA leaks; it has no scores."""
    folder = tmp_path_factory.mktemp("rendered")
    lora = folder / "dance.safetensors"
    lora.write_bytes(b"a LoRA")
    drawer = drawn.Drawer(world, leak=lambda settings: 0.4 * drawn.strength_of(settings))
    return run_sweep(drawn.strength_sweep(world, lora, seeds=(0, 1)), drawer, CellStore(folder / "cells")), drawer


@pytest.fixture
def strengths(rendered, tmp_path):
    """A copy of it to score, and the sources of its cells."""
    made, drawer = rendered
    shutil.copytree(made.store.folder, tmp_path / "cells")
    result = replace(made, store=CellStore(tmp_path / "cells"))
    return result, SweepSources(result, drawer)


def score(result, sources, **how):
    how = {"metrics": TOY} | how
    return score_cells(result.store, [cell.id for cell in result.cells], sources, **how)


def test_scores_are_the_toy_worlds_truth_and_lie_in_the_store(strengths):
    result, sources = strengths
    found = score(result, sources)
    assert len(found.scored) == 6 and not found.settled and not found.missing and not found.failed
    by_strength = {cell.settings.loras[0].strength: result.store.scores(cell.id) for cell in result.cells}
    assert list(by_strength[0.0]) == sorted(TOY)
    assert by_strength[0.0]["toy_pose"]["value"] > 0.85  # parts in the colour of the wall are not seen
    assert by_strength[0.0]["toy_error"]["value"] == pytest.approx(2, abs=0.1)
    assert [by_strength[s]["toy_leakage"]["value"] for s in (0, 0.5, 1)] == pytest.approx([0, 0.2, 0.4], abs=0.03)
    kept = by_strength[1.0]["toy_leakage"]
    assert kept["version"] == "1" and kept["direction"] == "lower" and kept["inputs"] == {"truth": "yes"}
    assert kept["how"] == "the toy world's truth"
    assert judge([CLAIMS["LoRA strength and leakage"]], stored_rows(result.store))[0].word == "supported"


def test_what_is_scored_is_not_measured_again(strengths, monkeypatch):
    result, sources = strengths
    score(result, sources, metrics=("toy_pose",))
    before = {id: (result.store.path(id) / "scores.json").read_bytes() for id in result.store.ids()}
    calls = []
    real = scoring.score_toy
    monkeypatch.setattr(scoring, "score_toy", lambda *given: calls.append(given[-1]) or real(*given))
    again = score(result, sources, metrics=("toy_pose",))
    assert len(again.settled) == 6 and not again.scored and not calls
    assert before == {id: (result.store.path(id) / "scores.json").read_bytes() for id in result.store.ids()}
    # One more metric: only that one is measured.
    score(result, sources, metrics=("toy_pose", "toy_error"))
    assert calls == [["toy_error"]] * 6
    # A new version of a metric: it is measured again, and no other.
    calls.clear()
    newer = {**scoring.METRICS, "toy_pose": replace(scoring.METRICS["toy_pose"], version="2")}
    monkeypatch.setattr(scoring, "METRICS", newer)
    score(result, sources, metrics=("toy_pose", "toy_error"))
    assert calls == [["toy_pose"]] * 6
    assert {result.store.scores(id)["toy_pose"]["version"] for id in result.store.ids()} == {"2"}


def test_scoring_can_be_stopped_and_goes_on(strengths):
    result, sources = strengths
    done = []
    with pytest.raises(Interrupted, match="4 of 6"):
        score(result, sources, on_progress=lambda *at: done.append(at), should_stop=lambda: len(done) == 4)
    assert done == [(1, 6), (2, 6), (3, 6), (4, 6)]
    rest = score(result, sources)
    assert (len(rest.settled), len(rest.scored)) == (4, 2)


def test_what_cannot_be_measured_is_missing_with_its_reason(strengths):
    result, _ = strengths
    metrics = (*TOY, "motion", "identity_clothes", "leakage")
    found = score(result, store_sources(result.store), metrics=metrics)
    reasons = dict(list(found.missing))
    assert set(reasons) == set(metrics)
    assert "toy world's truth" in reasons["toy_pose"] and "score its sweep file" in reasons["identity_clothes"]
    assert set(found.missing.values()) == {6}
    table = table_of(result)
    spots = heat_map(table, "toy_pose", "lora_strength", "lora_strength").spots
    assert spots[0][0].value is None and "truth" in spots[0][0].reason
    # With the world's folder more is known: what was missing is measured.
    again = score(result, store_sources(result.store, ToyWorld(Path(result.sweep.scene.reference[0]).parents[1])),
                  metrics=("toy_pose", "motion"))  # fmt: skip
    assert len(again.scored) == 6 and not again.missing
    # And what was measured with it stays, when less is known again.
    assert len(score(result, store_sources(result.store), metrics=("toy_pose",)).settled) == 6
    with pytest.raises(SettingsError, match="no metric called"):
        score(result, store_sources(result.store), metrics=("toy_poze",))


def test_another_training_set_is_measured_anew(strengths, tmp_path, monkeypatch):
    result, sources = strengths
    seen = []
    monkeypatch.setattr(
        scoring, "score_clip", lambda clip, **how: seen.append(how["training"]) or Scorecard({"leakage": Score(0.1)})
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(b"a picture")
    score(result, sources, metrics=("leakage",), training=tmp_path / "one")
    assert len(seen) == 6
    score(result, sources, metrics=("leakage",), training=tmp_path / "one")
    score(result, sources, metrics=("leakage",))  # with none it keeps what it has
    assert len(seen) == 6
    score(result, sources, metrics=("leakage",), training=tmp_path / "two")
    assert seen[6:] == [tmp_path / "two"] * 6


def test_cells_that_are_not_there_are_missing_in_the_table(drawn, world, store, lora_file):
    drawer = drawn.Drawer(world)
    result = run_sweep(drawn.strength_sweep(world, lora_file, seeds=(0, 99)), drawer, store)
    assert len(result.failed) == 3
    ids = [cell.id for cell in result.cells if cell.id not in result.failed]
    score_cells(store, ids, SweepSources(result, drawer), metrics=("toy_pose",))
    table = table_of(result)
    assert [(axis.name, axis.values, axis.labels) for axis in table.axes] == [
        ("lora_strength", (0.0, 0.5, 1.0), ("0", "0.5", "1"))
    ]
    assert {row.reason("toy_pose") for row in table.rows if row.seed == 99} == {
        "the cell failed: The seed 99 cannot be drawn."
    }
    assert table.seeds == (0, 99) and [metric.name for metric in table.metrics] == ["toy_pose"]


def test_crossed_poses_and_references_are_held_against_each_other(drawn, world, store):
    def swap(follows, name):
        drawer = drawn.Drawer(world, follows=follows)
        result = run_sweep(drawn.swap_sweep(world), drawer, type(store)(store.folder.parent / name))
        found = score(result, SweepSources(result, drawer), metrics=("toy_pose", "toy_identity", "toy_error"))
        assert not found.missing and not found.failed
        return result, judge([CLAIMS["pose is not identity"]], stored_rows(result.store))[0]

    result, verdict = swap("reference", "right")
    assert verdict.word == "supported" and (verdict.seeds, verdict.cells) == (2, 8)
    scores = result.store.scores(result.cells[0].id)
    assert len(scores["toy_pose"]["against"]) == 2 and "against" not in scores["toy_error"]
    assert scores["toy_pose"]["value"] in scores["toy_pose"]["against"].values()
    # A model that paints the control's person, whatever the reference: the identity follows the wrong one.
    _, wrong = swap("control", "wrong")
    assert [part.verdict for part in wrong.parts] == ["supported", "not supported"]


def test_the_grid_shows_the_scores_and_marks_the_best_by_the_metrics_own_direction(strengths):
    result, sources = strengths
    plain = contact_sheet(result, scores={})
    score(result, sources, metrics=("toy_leakage",))
    scored = contact_sheet(result)
    assert scored.shape[0] > plain.shape[0]
    given = {cell.id: {"toy_leakage": result.store.scores(cell.id)["toy_leakage"]} for cell in result.cells}
    assert (contact_sheet(result, scores=given) == scored).all()
    other = {id: {"toy_leakage": {**said["toy_leakage"], "direction": "higher"}} for id, said in given.items()}
    assert (contact_sheet(result, scores=other) != scored).any()

"""What the page says of scores: out of the analysis, with numbers known by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2v_core.errors import SettingsError
from s2v_core.sweep_report.analyse import analyse
from s2v_core.sweep_report.findings import Claim, Findings, Number, findings_json, whiskers


def test_whiskers_of_one_unit_share_a_scale():
    one, other = whiskers((Number("a", 1.0, 0.0, 2.0, "m", against=0.0), Number("b", 4.0, unit="m", matters=3.0)))
    # From 0 to 4 with 8% of it at both ends: 0 is at 0.32 / 4.64.
    assert (one.against, one.low, one.at, one.high) == (6.9, 6.9, 28.45, 50.0)
    assert (other.at, other.matters, other.low, other.against) == (93.1, 71.55, None, None)
    (alone,) = whiskers((Number("a", 5.0),))
    assert alone.at == 50.0
    (nothing,) = whiskers((Number("a", None),))
    assert nothing.at is None


def test_wrong_findings_are_refused():
    with pytest.raises(SettingsError, match="not finite"):
        Number("a", float("nan"))
    with pytest.raises(SettingsError, match="no known verdict"):
        Claim("a", "perhaps")


def test_cells_are_named_by_their_number_and_strangers_left_out():
    said = findings_json(Findings(recommended=("b", "x"), front=("c", "x", "a")), {"a": 0, "b": 1, "c": 2})
    assert (said["recommended"], said["front"]) == ([1], [0, 2])


def test_scores_become_findings(result):
    found = analyse(result)
    words = {claim.title.split()[0]: claim for claim in found.claims}
    likeness = found.claims[0]
    assert likeness.title == "Stronger guidance brings the dancer closer to the reference picture."
    # Guidance 3 of seed 1 failed, so only seed 0 has the whole series: one seed, no interval.
    assert likeness.verdict == "undecided" and likeness.reason.startswith("with one seed there is no interval")
    assert likeness.basis.startswith("1 seed, 1 comparison, ") and likeness.basis.endswith("by the toy world's truth")
    assert likeness.numbers[0].value == pytest.approx(2.0)
    assert likeness.numbers[0].matters == 0.01
    assert words["Steps"].verdict == "not tested" and "no cells that differ in steps alone" in words["Steps"].reason
    # Identity rises by guidance, pose falls: every guidance is on the front, and the ends weigh alike.
    assert found.front_metrics == ("toy_identity", "toy_pose")
    assert set(found.front) == {cell.id for cell in result.cells}
    assert "each from 0 (worst here) to 1 (best)" in found.why and "guidance" in found.why


def test_weights_choose_the_cell(result):
    by_identity = analyse(result, weights={"toy_identity": 3, "toy_pose": 1})
    assert by_identity.recommended[0] == next(cell.id for cell in result.cells if cell.settings.guidance == 3)
    assert "(75%)" in by_identity.why
    by_pose = analyse(result, weights={"toy_pose": 1})
    assert {cell.settings.guidance for cell in result.cells if cell.id in by_pose.recommended} == {1.0}
    assert by_pose.front == ()
    with pytest.raises(SettingsError, match="no metric called 'poze'"):
        analyse(result, weights={"poze": 1})
    with pytest.raises(SettingsError, match="positive"):
        analyse(result, weights={"toy_pose": 0})


def test_curves_have_bands_over_seeds(result):
    found = analyse(result)
    (curve,) = [one for one in found.curves if (one.metric, one.axis) == ("toy_identity", 0)]
    (line,) = curve.lines
    assert [(point.at, round(point.value, 3), point.count) for point in line.points] == [
        (0, 1.05, 2),
        (1, 2.05, 2),
        (2, 3.0, 1),
    ]
    assert line.points[0].low < 1.0 and line.points[0].high > 1.1 and line.points[2].low is None
    assert curve.band == "95% interval over 2 seeds" and curve.by is None


def test_without_scores_there_is_nothing_to_say(pictures, tmp_path, result):
    from s2v_core.sweeps.run import run_sweep
    from s2v_core.sweeps.store import CellStore

    bare = run_sweep(result.sweep, pictures.PictureRenderer(), CellStore(tmp_path / "cells"))
    assert analyse(bare) == Findings()
    bare.store.add_scores(bare.cells[0].id, {"sharpness": {"version": "1", "value": 3.0}})
    said = analyse(replace(bare))
    assert said.recommended == () and said.notes[0].startswith("No cell is recommended: there is none of the scores")
    bare.store.add_scores(bare.cells[0].id, {"toy_pose": {"version": "1", "value": None, "reason": "it is dark"}})
    bare.store.add_scores(bare.cells[1].id, {"leakage": {"version": "1", "value": 0.5}})
    assert analyse(bare, weights={"leakage": 1, "toy_pose": 1}).notes[0].endswith("toy_pose: it is dark")

"""``s2v score`` as a user calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from s2v_core.cli import main
from s2v_core.metrics.registry import METRICS
from s2v_core.nano.world import reference, render, scene
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.track_file import save_track
from s2v_core.video.write import write_clip, write_png


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = scene(3)
    take = render(made.character, made.motion, seed=made.seed, frames=5)
    return {
        "clip": write_clip(take.clip, tmp_path / "clip.mkv", lossless=True),
        "control": write_clip(draw_pose(take.track, stick="fixed"), tmp_path / "control.mkv", lossless=True),
        "track": save_track(take.track, tmp_path / "track.npz"),
        "reference": write_png(reference(made.character, made.motion, seed=made.seed), tmp_path / "reference.png"),
    }


@pytest.fixture
def s2v(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: Any, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["s2v", "score", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert (end.value.code or 0) == code, said.err
        return said.out

    return run


def test_json_holds_values_units_and_reasons(files: dict[str, Path], s2v: Any) -> None:
    found = json.loads(s2v(files["clip"], "--control", files["control"], "--reference", files["reference"], "--json"))
    assert (found["frames"], found["size"], found["fps"]) == (5, "96 x 96", 16)
    scores = found["scores"]
    assert scores["pose_pck"]["value"] > 0.9
    assert "read back" in scores["pose_pck"]["how"]
    assert scores["identity_clothes"]["value"] < 1.5
    assert scores["identity_clothes"]["unit"] == METRICS["identity_clothes"].unit
    assert scores["leakage"]["value"] is None
    assert scores["leakage"]["reason"] == "No training set was given."


def test_the_table_names_units_directions_and_reasons(files: dict[str, Path], s2v: Any) -> None:
    said = s2v(files["clip"], "--control", files["track"], "--reference", files["reference"])
    lines = {line.split("  ")[0].strip(): line for line in said.splitlines()}
    assert "lower is better" in lines["Clothes"]
    assert "ΔE" in lines["Clothes"]
    assert "higher is better" in lines["Pose (PCK)"]
    assert "own points" in lines["Pose (PCK)"]
    assert "1 is best" in lines["Motion"]
    assert lines["Time"].split()[1] == "–"
    assert "Nobody noted seconds" in lines["Time"]
    assert "No training set was given." in lines["Leakage"]


def test_one_metric_alone(files: dict[str, Path], s2v: Any) -> None:
    found = json.loads(s2v(files["clip"], "--metric", "flicker", "--metric", "warp", "--json"))
    assert list(found["scores"]) == ["flicker", "warp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metric", "beauty"], "beauty"),
        (["--detector", "eyes", "--metric", "warp"], "detector"),
        (["--reference", "nowhere.png", "--metric", "warp"], "nowhere.png"),
        (["--control", "nowhere.mp4", "--metric", "warp"], "nowhere.mp4"),
    ],
)
def test_mistakes_are_explained(files: dict[str, Path], s2v: Any, arguments: list[str], words: str) -> None:
    found = json.loads(s2v(files["clip"], *arguments, "--json", code=1))
    assert words in found["error"]["problem"]

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.pose.pose_file import load_pose, save_pose
from s2v_core.pose.track import PoseTrack, as_fps


def some_track() -> PoseTrack:
    random = np.random.default_rng(0)
    points = random.uniform(5, 200, (3, 2, 134, 2)).astype(np.float32)
    return PoseTrack(
        points, random.uniform(0.01, 1, (3, 2, 134)).astype(np.float32), (240, 320), Fraction(25), "test", ("",) * 3
    )


@pytest.mark.parametrize("name", ["pose.npz", "pose.json", "pose.JSON", "pose"])
def test_every_format_gives_back_the_track(tmp_path: Path, name: str) -> None:
    track = some_track()
    path = save_pose(track, tmp_path / name)
    assert path == tmp_path / name
    back = load_pose(path)
    assert np.array_equal(back.points, track.points)
    assert np.array_equal(back.scores, track.scores)
    assert (back.canvas, back.fps, back.backend, back.notes) == (track.canvas, track.fps, track.backend, track.notes)


def test_aistpp_lies_on_the_clip(tmp_path: Path) -> None:
    points = np.full((9, 300, 17, 3), 0.5, np.float32)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"keypoints2d": points}))
    track = load_pose(tmp_path / "a.pkl", camera="c02", start=1, frames=5, size=(832, 480))
    assert (len(track), track.canvas, track.fps, track.backend) == (5, (480, 832), 16, "AIST++ keypoints2d, c02")


def test_other_kinds(tmp_path: Path) -> None:
    for name in ("pose.txt", "pose"):
        (tmp_path / name).write_text("x")
        with pytest.raises(SettingsError, match="no pose file of a known kind") as caught:
            load_pose(tmp_path / name)
        assert ".npz" in caught.value.expected
    with pytest.raises(SettingsError, match="cannot be written"):
        save_pose(some_track(), tmp_path / "pose.pkl")


def test_a_rate_is_taken_as_written() -> None:
    assert as_fps(59.94) == Fraction(2997, 50)
    assert as_fps(Fraction(30000, 1001)) == Fraction(30000, 1001)
    assert as_fps(np.float32(12.5)) == Fraction(25, 2)

"""Points read back from what the project itself draws."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.metrics.drawn import read_drawn
from s2v_core.metrics.missing import Missing
from s2v_core.metrics.pose import JOINTS
from s2v_core.nano.world import HELD_OUT, render, scene
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.track import PoseTrack, scale_track
from s2v_core.video.clip import Clip
from s2v_core.video.read import read_clip
from s2v_core.video.write import write_clip

Array = np.ndarray[Any, Any]


def dance(number: int, width: int, height: int, frames: int = 4) -> PoseTrack:
    made = scene(number, held=HELD_OUT)
    track = render(made.character, made.motion, frames=frames, seed=number).track
    return scale_track(track, (width / 96, height / 96), 0, 0, (height, width))


def compare(read: PoseTrack, track: PoseTrack, joints: Any = JOINTS, person: int = 0) -> tuple[float, float, float]:
    """The share of joints that were found, and their mean and largest distance in pixels."""
    joints = list(joints)
    seen = read.scores[:, 0, joints] > 0
    away = np.linalg.norm(read.points[:, 0, joints] - track.points[:, person, joints], axis=-1)
    return float(seen.mean()), float(away[seen].mean()), float(away[seen].max())


@pytest.mark.parametrize("palette", ["vace", "openpose"])
@pytest.mark.parametrize(("stick", "width", "height"), [("vace", 832, 480), ("vace", 350, 350), ("fixed", 640, 360)])
def test_every_joint_is_read_to_a_pixel(palette: str, stick: str, width: int, height: int) -> None:
    track = dance(1, width, height)
    found, mean, worst = compare(read_drawn(draw_pose(track, palette=palette, stick=stick)), track)
    assert (found, mean < 0.5, worst < 1.2) == (1, True, True), (found, mean, worst)


def test_thick_lines_in_a_tiny_picture_hide_the_nose_only() -> None:
    track = dance(2, 96, 96)
    read = read_drawn(draw_pose(track, stick="fixed"))
    found, mean, worst = compare(read, track, JOINTS[1:])
    assert (found > 0.95, mean < 0.5, worst < 1) == (True, True, True), (found, mean, worst)
    assert read.backend == "read back from a drawing"


def test_thin_lines_in_a_tiny_picture_are_read_by_a_net() -> None:
    for palette in ("vace", "openpose"):
        track = dance(3, 96, 96)
        read = read_drawn(draw_pose(track, palette=palette, stick="vace"))
        found, mean, _ = compare(read, track)
        assert (found > 0.97, mean < 0.8) == (True, True), (palette, found, mean)
        assert "net" in read.backend
    wide = dance(4, 192, 144)
    found, mean, _ = compare(read_drawn(draw_pose(wide, stick="vace")), wide)
    assert (found > 0.97, mean < 1.6) == (True, True), (found, mean)


def test_a_compressed_control_can_be_read(tmp_path: Path) -> None:
    track = dance(5, 832, 480)
    file = write_clip(draw_pose(track), tmp_path / "control.mp4")
    # Blue dots lose most of their light to H.264: the nose is not found, and nothing is found in its place.
    found, mean, worst = compare(read_drawn(read_clip(file, frames=4)), track)
    assert (found > 0.8, mean < 0.6, worst < 2) == (True, True, True), (found, mean, worst)


def test_missing_joints_are_not_invented() -> None:
    track = dance(6, 640, 640)
    scores = track.scores.copy()
    scores[:, :, [4, 7, 10]] = 0
    read = read_drawn(draw_pose(replace(track, scores=scores)))
    assert not read.scores[:, 0, [4, 7, 10]].any()
    assert (read.scores[:, 0, [3, 6, 9, 13]] > 0).all()


def test_a_frame_without_anybody_is_empty() -> None:
    track = dance(6, 640, 640)
    scores = track.scores.copy()
    scores[1] = 0
    read = read_drawn(draw_pose(replace(track, scores=scores)))
    assert read.found.tolist() == [True, False, True, True]
    assert read.notes[1] == "no person found"


def test_two_people_are_told_apart() -> None:
    left, right = dance(1, 480, 480), dance(3, 480, 480)
    points = np.concatenate([left.points, right.points + np.float32([400, 0])], axis=1)
    both = PoseTrack(points, np.concatenate([left.scores, right.scores], axis=1), (480, 880), left.fps, "", ("",) * 4)
    read = read_drawn(draw_pose(both))
    assert read.points.shape[1] == 2
    for t in range(4):
        places = sorted(read.points[t, :, 1, 0])
        assert places == pytest.approx(sorted(points[t, :, 1, 0]), abs=1)
        for person in range(2):
            nearest = int(np.abs(points[t, :, 1, 0] - read.points[t, person, 1, 0]).argmin())
            away = np.linalg.norm(read.points[t, person, 2:14] - points[t, nearest, 2:14], axis=-1)
            assert (away < 1.5).mean() > 0.9


def test_what_is_no_drawing_is_not_read() -> None:
    chance = np.random.default_rng(0)
    made = scene(1)
    for frames in (
        chance.integers(0, 256, (3, 240, 320, 3), np.uint8),
        np.zeros((3, 240, 320, 3), np.uint8),
        np.zeros((3, 96, 96, 3), np.uint8),
        render(made.character, made.motion, frames=3).clip.frames,
    ):
        with pytest.raises(Missing, match="no skeleton"):
            read_drawn(Clip(frames, Fraction(16)))

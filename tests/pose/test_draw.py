from __future__ import annotations

import logging
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.errors import SettingsError, VideoError
from s2v_core.pose.draw import draw_pose, drawing_functions, fit_track, overlay
from s2v_core.pose.track import BODY, FACE, LEFT_HAND, RIGHT_HAND, PoseTrack, scale_track
from s2v_core.video.clip import Clip

ROOT = Path(__file__).resolve().parents[2]


def people(count: int = 2, frames: int = 2, height: int = 240, width: int = 320, seed: int = 3) -> PoseTrack:
    random = np.random.default_rng(seed)
    points = random.uniform(5, (width - 5, height - 5), (frames, count, 134, 2)).astype(np.float32)
    scores = random.uniform(0, 1, (frames, count, 134)).astype(np.float32)
    return PoseTrack(points, scores, (height, width), Fraction(16), "test", ("",) * frames)


def by_controlnet_aux(track: PoseTrack, frame: int, hands: bool, face: bool, threshold: float = 0.3) -> Any:
    """The picture as ``controlnet_aux.dwpose.DWposeDetector`` draws it: arrays made as in its ``__call__``."""
    functions = drawing_functions()
    height, width = track.canvas
    candidate = track.points[frame].astype(np.float64)
    subset = track.scores[frame].copy()
    candidate[..., 0] /= float(width)
    candidate[..., 1] /= float(height)
    body = candidate[:, :18].copy().reshape(-1, 2)
    score = subset[:, :18].copy()
    for person in range(len(score)):
        for point in range(18):
            score[person][point] = 18 * person + point if score[person][point] > threshold else -1
    candidate[subset <= threshold] = -1
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas = functions.draw_bodypose(canvas, body, score)
    if hands:
        canvas = functions.draw_handpose(canvas, np.vstack([candidate[:, 92:113], candidate[:, 113:]]))
    if face:
        canvas = functions.draw_facepose(canvas, candidate[:, 24:92])
    return canvas


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(("hands", "face"), [(False, True), (True, True), (False, False)])
def test_pictures_are_controlnet_auxs(count: int, hands: bool, face: bool) -> None:
    track = people(count)
    openpose = draw_pose(track, palette="openpose", hands=hands, face=face)
    vace = draw_pose(track, hands=hands, face=face)
    assert openpose.fps == track.fps
    for index in range(len(track)):
        expected = by_controlnet_aux(track, index, hands, face)
        assert expected.any()
        assert np.array_equal(openpose.frames[index], expected)
        assert np.array_equal(vace.frames[index], expected[..., ::-1])


def test_a_real_dancer_is_drawn_the_same(dancer_track: PoseTrack) -> None:
    drawn = draw_pose(dancer_track, palette="openpose").frames
    assert drawn.shape == (45, 350, 175, 3)
    for index in (0, 20, 44):
        assert np.array_equal(drawn[index], by_controlnet_aux(dancer_track, index, False, True))


def test_shoulders_are_blue_for_vace() -> None:
    track = people(1, 1)
    track.scores[:] = 0
    track.scores[0, 0, [1, 2]] = 1  # the neck and the right shoulder, whose limb is red in openpose
    track.points[0, 0, 1], track.points[0, 0, 2] = (100, 100), (200, 100)
    assert draw_pose(track, palette="openpose").frames[0, 100, 150].tolist() == [153, 0, 0]
    assert draw_pose(track).frames[0, 100, 150].tolist() == [0, 0, 153]


def test_layers() -> None:
    track = people(1, 1)

    def lit(**layers: bool) -> int:
        return int(draw_pose(track, **layers).frames.any(axis=-1).sum())

    assert lit(body=False, face=False) == 0
    assert lit(body=False, face=True) > 0
    assert lit(body=True, face=False) < lit() < lit(hands=True)
    for part in (BODY, FACE, LEFT_HAND, RIGHT_HAND):
        one = people(1, 1)
        one.scores[:] = 0
        one.scores[:, :, part] = 1
        assert draw_pose(one, hands=True).frames.any()


def test_what_scores_too_little_is_not_drawn(caplog: pytest.LogCaptureFixture) -> None:
    track = people(2, 3)
    track.scores[1] = 0.3
    track.scores[2] = 0
    track.points[2] = np.nan
    with caplog.at_level(logging.WARNING):
        drawn = draw_pose(track, hands=True).frames
    assert drawn[0].any()
    assert not drawn[1:].any()
    assert "2 of 3 pose pictures are black" in caplog.text
    assert draw_pose(track, threshold=0.29).frames[1].any()
    assert not draw_pose(people(0, 2)).frames.any(), "a track of nobody"


def test_another_size_is_another_canvas() -> None:
    track = people()
    same_shape = draw_pose(track, size=(640, 480))
    assert np.array_equal(same_shape.frames, draw_pose(scale_track(track, 2.0)).frames)
    wide = fit_track(track, (1280, 720))
    assert wide.canvas == (720, 1280)
    assert wide.points == pytest.approx(track.points * 3 + np.array([160, 0]), abs=1e-3), "not stretched, in the middle"
    assert draw_pose(track, size=(1280, 720)).frames.shape == (2, 720, 1280, 3)
    with pytest.raises(SettingsError, match="this size"):
        draw_pose(track, size=(0, 100))


def test_the_stick_of_vace_thins_with_the_picture(dancer_track: PoseTrack) -> None:
    head = PoseTrack(
        dancer_track.points[:2], dancer_track.scores[:2], (350, 175), Fraction(15), "test", dancer_track.notes[:2]
    )
    fixed, thin = draw_pose(head).frames, draw_pose(head, stick="vace").frames
    assert thin.shape == fixed.shape
    assert 0 < thin.astype(int).sum() < fixed.astype(int).sum() / 3
    # On a picture that already has the annotator's size both are one.
    large = draw_pose(people(1, 1, 1024, 1024), stick="vace")
    assert np.array_equal(large.frames, draw_pose(people(1, 1, 1024, 1024)).frames)


def test_choices_that_do_not_exist() -> None:
    with pytest.raises(SettingsError, match="does not exist") as caught:
        draw_pose(people(), palette="rgb")
    assert "vace or openpose" in caught.value.expected


def test_the_skeleton_over_the_dancer(dancer_clip: Clip, dancer_track: PoseTrack) -> None:
    over = overlay(dancer_clip, dancer_track)
    assert over.frames.shape == dancer_clip.frames.shape
    assert over.source is dancer_clip.source
    lines = draw_pose(dancer_track, palette="openpose", hands=True).frames.any(axis=-1)
    assert 0.01 < lines.mean() < 0.3
    expected = (dancer_clip.frames * np.float32(0.55)).astype(np.uint8)
    assert np.array_equal(over.frames[~lines], expected[~lines])
    assert (over.frames[lines].max(axis=-1) > 120).mean() > 0.95, "the lines are bright"
    double = np.repeat(np.repeat(dancer_clip.frames, 2, axis=1), 2, axis=2)
    assert overlay(dancer_clip.with_frames(double), dancer_track).frames.shape == double.shape
    with pytest.raises(VideoError, match="belong together"):
        overlay(dancer_clip.with_frames(dancer_clip.frames[:3]), dancer_track)


def test_drawing_does_not_import_the_package() -> None:
    script = (
        "import sys; from s2v_core.pose.draw import drawing_functions; m = drawing_functions(); "
        "assert callable(m.draw_bodypose); print([n for n in ('controlnet_aux', 'torch', 'timm') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import Interrupted, MissingPackageError, ModelFileError
from s2v_core.pose import blazepose
from s2v_core.pose.blazepose import FROM_BLAZEPOSE, OneEuro, Roi, Tracker
from s2v_core.pose.track import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, PoseTrack
from s2v_core.video.clip import Clip

# What MediaPipe 0.10.14 itself finds in the dancer's first frame (Pose, model_complexity 1, smoothing off), in pixels.
MEDIAPIPE_FIRST_FRAME = np.array(
    [
        [75.1, 48.4], [78.4, 41.9], [80.8, 41.9], [82.9, 42.1], [72.0, 42.1], [70.0, 42.2], [68.1, 42.4], [87.8, 46.3],
        [65.2, 47.0], [79.5, 55.7], [71.0, 55.9], [112.0, 89.3], [45.9, 84.7], [119.8, 136.4], [37.4, 132.7],
        [117.1, 175.8], [33.3, 174.8], [120.6, 190.9], [30.9, 188.7], [114.1, 190.0], [35.7, 188.0], [111.9, 185.4],
        [38.0, 183.6], [95.2, 176.1], [55.3, 173.6], [91.1, 230.7], [63.7, 236.1], [88.0, 305.4], [62.5, 304.0],
        [85.7, 313.4], [63.5, 312.0], [84.4, 330.9], [62.5, 330.4],
    ]
)  # fmt: skip
NOSE, NECK, RIGHT_HIP, LEFT_HIP, RIGHT_ANKLE = 0, 1, 8, 11, 10


def frames_of(value: int, count: int = 3, height: int = 60, width: int = 80) -> Clip:
    return Clip(np.full((count, height, width, 3), value, np.uint8), Fraction(16))


def test_the_anchors_are_the_centres_of_four_grids() -> None:
    centres = blazepose.anchors()
    assert centres.shape == (2254, 2)
    assert centres[0] == pytest.approx([0.5 / 28, 0.5 / 28])
    assert centres[2] == pytest.approx([1.5 / 28, 0.5 / 28]), "x runs first, two anchors a cell"
    assert centres[2 * 28 * 28] == pytest.approx([0.5 / 14, 0.5 / 14])
    assert centres[-1] == pytest.approx([6.5 / 7, 6.5 / 7])
    assert len(np.unique(centres[-6 * 49 :], axis=0)) == 49, "the three layers of stride 32 share one grid"


@pytest.mark.parametrize(
    ("edge", "degrees"), [((50, 10), 0), ((90, 50), 90), ((50, 90), 180), ((10, 50), -90), ((78.284, 21.716), 45)]
)
def test_the_square_stands_on_the_body(edge: tuple[float, float], degrees: float) -> None:
    roi = blazepose.roi_from_points(np.array([50.0, 50.0]), np.array(edge))
    assert (roi.x, roi.y) == (50, 50)
    assert roi.side == pytest.approx(2 * 40 * 1.25, rel=1e-3)
    assert math.remainder(math.degrees(roi.angle) - degrees, 360) == pytest.approx(0, abs=1e-2)


def test_a_crop_and_its_way_back() -> None:
    frame = np.zeros((100, 120, 3), np.uint8)
    frame[28:33, 68:73] = 255
    roi = Roi(60, 50, 80, math.radians(30))
    picture, back = blazepose.crop(frame, roi, 256, repeat_border=False)
    rows, columns = np.nonzero(picture[..., 0] > 200)
    spot = blazepose.transform(np.array([[columns.mean(), rows.mean()]]), back)[0]
    assert spot == pytest.approx([70, 30], abs=0.4)
    middle, top = blazepose.transform(np.array([[128.0, 128.0], [128.0, 0.0]]), back)
    assert middle == pytest.approx([60, 50])
    assert top == pytest.approx([60 + 40 * math.sin(roi.angle), 50 - 40 * math.cos(roi.angle)]), "up is along the angle"


def test_outside_of_the_frame_is_black_or_repeated() -> None:
    frame = np.full((20, 20, 3), 77, np.uint8)
    black, _ = blazepose.crop(frame, Roi(0, 0, 40, 0), 64, repeat_border=False)
    repeated, _ = blazepose.crop(frame, Roi(0, 0, 40, 0), 64, repeat_border=True)
    assert black[0, 0, 0] == 0
    assert black[40, 40, 0] == 77
    assert (repeated == 77).all()


def test_overlapping_detections_are_averaged_by_score() -> None:
    boxes, logits = np.zeros((2254, 12), np.float32), np.full(2254, -100.0, np.float32)
    anchors = blazepose.anchors()
    # Two boxes of 100 pixels around the same point, and a third far away; key points at the middle, the second's 8 off.
    for index, place, logit, shift in ((300, 0.4, 3.0, 0), (900, 0.4, 1.0, 8), (40, 0.9, 0.5, 0)):
        middle = (np.array([place, place]) - anchors[index]) * 224
        boxes[index, :2], boxes[index, 2:4] = middle, 100
        boxes[index, 4:] = np.tile(middle + shift, 4)
        logits[index] = logit
    scores = 1 / (1 + np.exp(-np.array([3.0, 1.0])))
    expected = 0.4 + 8 / 224 * scores[1] / scores.sum()
    assert blazepose.best_detection(boxes, logits) == pytest.approx(np.full((4, 2), expected), abs=1e-6)
    assert blazepose.best_detection(boxes, np.full(2254, -0.01, np.float32)) is None


def test_points_move_to_the_middle_of_their_heat() -> None:
    heatmap = np.full((64, 64, 3), -20.0, np.float32)
    heatmap[20, 31, 0] = heatmap[20, 32, 0] = 5.0
    heatmap[20, 40, 1] = -0.1  # not sure enough
    points = np.array([[30 * 4 + 1, 21 * 4 + 3], [40 * 4, 20 * 4], [-5, 300]], np.float32)
    refined = blazepose.refine(points, heatmap)
    assert refined[0] == pytest.approx([31.5 * 4, 20 * 4], abs=1e-2)
    assert (refined[1:] == points[1:]).all(), "left alone: not sure, and outside of the map"


def test_the_filter_holds_still_and_lets_go() -> None:
    still, moving = OneEuro(30), OneEuro(30)
    here = np.array([[10.0, 10.0], [10.0, 50.0]])
    for noise in (0.0, 0.05, -0.05, 0.05):
        value = still(here + noise, 80)
    assert np.abs(value - here).max() < 0.01, "noise of a twentieth of a pixel is nearly gone"
    for step in range(20):
        value = moving(here + 8 * step, 80)
    assert np.abs(value - (here + 8 * 19)).max() < 3, "eight pixels a frame are followed"


def test_the_layout_is_openposes() -> None:
    points = np.stack([np.arange(33), 100 + np.arange(33)], axis=1).astype(np.float64)
    out, scores = blazepose.to_dwpose(points, np.full(33, 0.9))
    assert out.dtype == scores.dtype == np.float32
    assert out.shape == (134, 2)
    right_arm, left_leg = [12, 14, 16], [23, 25, 27]
    assert out[2:5, 0].tolist() == right_arm
    assert out[11:14, 0].tolist() == left_leg
    assert out[14:18, 0].tolist() == [5, 2, 8, 7]
    assert out[NECK].tolist() == [11.5, 111.5]
    assert (scores[BODY] > 0).all()
    assert scores[FEET].tolist() == pytest.approx([0.9, 0, 0.9, 0.9, 0, 0.9]), "there is no small toe"
    assert out[FEET, 0].tolist() == [31, 0, 29, 32, 0, 30]
    assert not scores[FACE].any()
    assert not scores[LEFT_HAND].any()
    assert not scores[RIGHT_HAND].any()


@pytest.mark.parametrize(("left", "right", "neck"), [(0.9, 0.4, 0.4), (0.9, 0.3, 0), (0.1, 0.1, 0), (1.2, 0.5, 0.5)])
def test_the_neck_needs_both_shoulders(left: float, right: float, neck: float) -> None:
    scores = np.zeros(33)
    scores[[11, 12]] = left, right
    _, out = blazepose.to_dwpose(np.zeros((33, 2)), scores)
    assert out[NECK] == pytest.approx(neck)
    assert out.max() <= 1


def test_a_real_dancer_is_found(dancer_track: PoseTrack, dancer_clip: Clip) -> None:
    track = dancer_track
    assert track.points.shape == (45, 1, 134, 2)
    assert (track.canvas, track.fps, track.backend) == ((350, 175), Fraction(15), "blazepose (litert, cpu)")
    assert track.found.mean() >= 0.93
    assert track.found.tolist() == [note == "" for note in track.notes]
    points, scores = track.points[:, 0], track.scores[:, 0]
    shown = scores > 0.3
    assert shown[:, BODY].mean() > 0.85
    inside = ((points >= 0) & (points < (175, 350))).all(axis=-1)
    assert inside[:, BODY][shown[:, BODY]].mean() > 0.85, "his arms leave the half picture, little else does"
    upright = (points[:, NOSE, 1] < points[:, NECK, 1]) & (points[:, NECK, 1] < points[:, RIGHT_HIP, 1])
    assert (upright & (points[:, RIGHT_HIP, 1] < points[:, RIGHT_ANKLE, 1])).mean() > 0.9
    assert 100 < np.median(points[:, RIGHT_ANKLE, 1] - points[:, NECK, 1]) < 300


def test_the_points_lie_on_the_dancer(dancer_track: PoseTrack, dancer_clip: Clip) -> None:
    # He wears black in a lit street: between his shoulders and his hips the picture is dark, beside them it is not.
    frame, points = dancer_clip.frames[0].mean(axis=-1), dancer_track.points[0, 0]
    chest = (points[NECK] + points[[RIGHT_HIP, LEFT_HIP]].mean(axis=0)) / 2
    x, y = (int(value) for value in chest)
    assert (
        frame[y - 10 : y + 10, x - 10 : x + 10].mean() < frame[y - 10 : y + 10, [*range(15), *range(160, 175)]].mean()
    )


def test_the_motion_is_smooth(dancer_track: PoseTrack) -> None:
    steps = np.linalg.norm(np.diff(dancer_track.points[:, 0, BODY], axis=0), axis=-1)
    assert np.median(steps) < 6, "pixels a frame, of a body 300 pixels high"
    assert np.median(steps) > 0.2, "and he does dance"


def test_mediapipe_finds_the_same_points(dancer_track: PoseTrack) -> None:
    to, of = list(FROM_BLAZEPOSE), list(FROM_BLAZEPOSE.values())
    away = np.linalg.norm(dancer_track.points[0, 0, to] - MEDIAPIPE_FIRST_FRAME[of], axis=-1)
    assert np.median(away) < 0.5
    assert np.percentile(away, 90) < 1.5
    # The right knee's heat map reaches 0.506 here and is used from 0.5 on; MediaPipe's own arithmetic ends just below.
    assert sorted(away)[-2] < 2
    assert away.max() < 12


def test_a_small_turning_dancer_is_found(field_clip: Clip, blazepose_models: Path) -> None:
    track = blazepose.extract_blazepose(field_clip)
    assert track.found.mean() >= 0.93
    assert track.points.shape == (45, 1, 134, 2)


def test_the_same_clip_gives_the_same_points(
    dancer_clip: Clip, dancer_track: PoseTrack, blazepose_models: Path
) -> None:
    head = dancer_clip.with_frames(dancer_clip.frames[:6])
    again = blazepose.extract_blazepose(head)
    assert np.array_equal(again.points, dancer_track.points[:6])
    assert np.array_equal(again.scores, dancer_track.scores[:6])


@pytest.mark.parametrize(("width", "height"), [(700, 1400), (88, 175), (176, 350)])
def test_any_size_gives_the_same_body(
    width: int, height: int, dancer_clip: Clip, dancer_track: PoseTrack, blazepose_models: Path
) -> None:
    from PIL import Image

    pictures = [
        Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS) for frame in dancer_clip.frames[:3]
    ]
    track = blazepose.extract_blazepose(dancer_clip.with_frames(np.stack([np.asarray(p) for p in pictures])))
    assert track.canvas == (height, width)
    body = track.points[:, 0, BODY] / (width, height) * (175, 350)
    assert np.median(np.linalg.norm(body - dancer_track.points[:3, 0, BODY], axis=-1)) < 3


def test_the_detector_sees_again_after_a_cut(dancer_clip: Clip, field_clip: Clip, blazepose_models: Path) -> None:
    field = np.zeros((2, 350, 175, 3), np.uint8)
    frames = np.concatenate([dancer_clip.frames[:2], field, dancer_clip.frames[:2, :, ::-1]])
    track = blazepose.extract_blazepose(dancer_clip.with_frames(frames))
    assert track.found.tolist() == [True, True, False, False, True, True]
    assert track.notes[2:4] == ("no person found",) * 2
    assert not track.scores[2:4].any()


def test_after_a_loss_the_detector_runs_in_the_same_frame(dancer_clip: Clip, blazepose_models: Path) -> None:
    tracker = Tracker(*blazepose.load_nets(1), fps=15.0)
    wide = np.zeros((350, 700, 3), np.uint8)
    left, right = wide.copy(), wide.copy()
    left[:, :175], right[:, 525:] = dancer_clip.frames[0], dancer_clip.frames[0]
    first, _ = tracker.next(left)
    second, note = tracker.next(right)
    assert first is not None
    assert second is not None, "a jump of three widths costs no frame"
    assert note == ""
    assert np.median(second[:, 0] - first[:, 0]) == pytest.approx(525, abs=3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (700, 3), (720, 1280)])
def test_no_person_is_said(height: int, width: int, blazepose_models: Path) -> None:
    track = blazepose.extract_blazepose(frames_of(128, 2, height, width))
    assert track.notes == ("no person found",) * 2
    assert not track.scores.any()
    assert not track.found.any()


def test_progress_and_stop(dancer_clip: Clip, blazepose_models: Path) -> None:
    seen: list[tuple[int, int]] = []
    head = dancer_clip.with_frames(dancer_clip.frames[:4])
    blazepose.extract_blazepose(head, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    seen.clear()
    with pytest.raises(Interrupted, match="after 2 of 4"):
        blazepose.extract_blazepose(
            head, on_progress=lambda done, total: seen.append((done, total)), should_stop=lambda: len(seen) == 2
        )


def test_missing_nets_and_a_missing_runtime(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blazepose_models: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingPackageError, match="ai-edge-litert") as caught:
        blazepose.extract_blazepose(frames_of(0))
    assert "pip install" in caught.value.remedy
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    monkeypatch.setenv("S2V_CACHE", str(tmp_path))
    with pytest.raises(ModelFileError, match=r"pose_detection\.tflite"):
        blazepose.extract_blazepose(frames_of(0))

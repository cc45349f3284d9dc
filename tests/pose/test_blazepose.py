from __future__ import annotations

import logging
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import Interrupted, MissingPackageError, ModelFileError
from s2v_core.models import BLAZEPOSE, BLAZEPOSE_FACE, BLAZEPOSE_HANDS
from s2v_core.pose import blazepose
from s2v_core.pose.blazepose import FROM_BLAZEPOSE
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
    assert (track.canvas, track.fps, track.backend) == (
        (350, 175),
        Fraction(15),
        "blazepose body+hands+face (litert, cpu)",
    )
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
    track = blazepose.extract_blazepose(field_clip, hands=False, face=False)
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
    face = track.points[:, 0, FACE] / (width, height) * (175, 350)
    assert np.median(np.linalg.norm(face - dancer_track.points[:3, 0, FACE], axis=-1)) < 1


def test_the_detector_sees_again_after_a_cut(dancer_clip: Clip, field_clip: Clip, blazepose_models: Path) -> None:
    field = np.zeros((2, 350, 175, 3), np.uint8)
    frames = np.concatenate([dancer_clip.frames[:2], field, dancer_clip.frames[:2, :, ::-1]])
    track = blazepose.extract_blazepose(dancer_clip.with_frames(frames))
    assert track.found.tolist() == [True, True, False, False, True, True]
    assert track.notes[2:4] == ("no person found",) * 2
    assert not track.scores[2:4].any()


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        ({}, "blazepose body+hands+face (litert, cpu)"),
        ({"hands": False}, "blazepose body+face (litert, cpu)"),
        ({"face": False}, "blazepose body+hands (litert, cpu)"),
        ({"hands": False, "face": False}, "blazepose body (litert, cpu)"),
    ],
)
def test_only_what_was_asked_for_is_looked_for(
    options: dict[str, bool], backend: str, dancer_clip: Clip, dancer_track: PoseTrack, blazepose_models: Path
) -> None:
    track = blazepose.extract_blazepose(dancer_clip.with_frames(dancer_clip.frames[:2]), **options)
    assert track.backend == backend
    for part, places in (("body", [BODY, FEET]), ("hands", [LEFT_HAND, RIGHT_HAND]), ("face", [FACE])):
        for place in places:
            if part in backend:
                assert np.array_equal(track.points[:, 0, place], dancer_track.points[:2, 0, place])
                assert np.array_equal(track.scores[:, 0, place], dancer_track.scores[:2, 0, place])
            else:
                assert not track.scores[:, 0, place].any()


def test_a_folder_with_the_body_alone_still_works(
    dancer_clip: Clip,
    blazepose_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for entry in BLAZEPOSE:
        shutil.copy(blazepose_models / entry.file, tmp_path)
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    head = dancer_clip.with_frames(dancer_clip.frames[:1])
    with caplog.at_level(logging.WARNING, logger="s2v_core.pose.blazepose"):
        track = blazepose.extract_blazepose(head)
    assert track.backend == "blazepose body (litert, cpu; no nets for hands, face)"
    assert track.found.all()
    assert not track.scores[:, 0, 24:].any()
    for words in ("hand_landmark_full.tflite", "face_landmark.tflite", "s2v models get blazepose"):
        assert words in caplog.text
    caplog.clear()
    assert blazepose.extract_blazepose(head, hands=False, face=False).backend == "blazepose body (litert, cpu)"
    assert not caplog.text, "nothing is missing when nothing was asked for"
    with pytest.raises(ModelFileError, match=r"hand_recrop\.tflite"):
        blazepose.extract_blazepose(head, hands=True)
    with pytest.raises(ModelFileError, match=r"face_detection_short_range\.tflite"):
        blazepose.extract_blazepose(head, face=True)
    (tmp_path / BLAZEPOSE_HANDS[1].file).write_bytes(b"")
    half = blazepose.extract_blazepose(head)
    assert half.backend == "blazepose body (litert, cpu; no nets for hands, face)", "one of three nets is not enough"


def test_a_damaged_net_is_not_passed_over(
    dancer_clip: Clip, blazepose_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(blazepose_models, tmp_path, dirs_exist_ok=True)
    (tmp_path / BLAZEPOSE_FACE[1].file).write_bytes(b"TFL3")
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    with pytest.raises(ModelFileError, match="is damaged"):
        blazepose.extract_blazepose(dancer_clip)


def test_a_hand_under_the_other_is_not_drawn_twice(presenter_clip: Clip, blazepose_models: Path) -> None:
    # MediaPipe's Holistic takes her right hand for the left one too, in a third of the frames.
    track = blazepose.extract_blazepose(presenter_clip.with_frames(presenter_clip.frames[:18]))
    assert (track.scores[:, 0, RIGHT_HAND] > 0.9).all()
    assert not track.scores[:, 0, LEFT_HAND].any()
    assert (track.scores[:, 0, FACE] > 0.9).all()
    assert track.notes == ("",) * 18


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
            head,
            hands=False,
            on_progress=lambda done, total: seen.append((done, total)),
            should_stop=lambda: len(seen) == 2,
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


@pytest.mark.parametrize("name", ["dancer_track", "field_track", "gown_track"])
def test_the_dancer_is_found_in_nearly_every_frame(request: pytest.FixtureRequest, name: str) -> None:
    track: PoseTrack = request.getfixturevalue(name)
    assert track.found.mean() >= 0.93

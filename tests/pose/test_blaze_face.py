from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2v_core.litert import LiteRTNet
from s2v_core.models import BLAZEPOSE_FACE, require_model
from s2v_core.pose.blaze_face import (
    MESH_OF_FACE,
    FaceNets,
    FaceTracker,
    roi_from_body,
    roi_from_detection,
    roi_from_mesh,
)
from s2v_core.pose.blazepose import extract_blazepose
from s2v_core.pose.track import FACE, PoseTrack
from s2v_core.video.clip import Clip

# What dlib 20.0.1's shape_predictor_68_face_landmarks finds in the presenter's first frame, in pixels.
DLIB = np.array(
    [
        [162, 86], [164, 95], [165, 103], [167, 111], [172, 118], [179, 123], [187, 126], [195, 129], [202, 129],
        [207, 127], [210, 121], [213, 116], [216, 110], [217, 103], [219, 97], [219, 90], [217, 85], [173, 78],
        [178, 76], [184, 74], [190, 75], [195, 77], [205, 77], [209, 75], [212, 73], [216, 73], [218, 75], [201, 84],
        [202, 89], [204, 93], [205, 98], [197, 102], [200, 102], [204, 103], [206, 102], [208, 101], [180, 86],
        [184, 84], [188, 84], [191, 86], [187, 87], [184, 87], [206, 85], [209, 83], [212, 82], [215, 84], [213, 85],
        [210, 85], [186, 109], [193, 107], [199, 106], [203, 106], [206, 105], [209, 106], [211, 108], [209, 113],
        [206, 116], [203, 117], [199, 117], [192, 115], [187, 109], [199, 108], [203, 108], [206, 108], [209, 108],
        [206, 113], [203, 113], [199, 113],
    ]
)  # fmt: skip
# MediaPipe 0.10.14's Holistic in the same frame, some of its 468: nose, corners of the eyes and of the mouth, chin,
# forehead, ears.
HOLISTIC = {
    1: (205.3, 99.8), 33: (179.8, 85.2), 263: (215.0, 83.4), 61: (186.3, 108.9), 291: (210.4, 107.7),
    152: (200.3, 128.9), 10: (199.6, 61.4), 234: (163.9, 93.3), 454: (215.9, 91.0),
}  # fmt: skip
JAW, RIGHT_BROW, LEFT_BROW = slice(0, 17), slice(17, 22), slice(22, 27)
BRIDGE, NOSTRILS, RIGHT_EYE, LEFT_EYE = slice(27, 31), slice(31, 36), slice(36, 42), slice(42, 48)
OUTER_LIPS, INNER_LIPS, MOUTH = slice(48, 60), slice(60, 68), slice(48, 68)
# The presenter's face as the body's net sees it: nose, eyes (inner, middle, outer; left first), ears, mouth.
PRESENTER = np.array(
    [
        [196.8, 98.6], [201.3, 87.5], [205.1, 87.8], [209.5, 88.2], [186.5, 87.2], [180.4, 87.4], [175.4, 87.8],
        [212.6, 94.8], [165.7, 97.2], [204.6, 113.4], [186.8, 111.4],
    ]
)  # fmt: skip


@pytest.fixture
def tracker(blazepose_models: Path) -> FaceTracker:
    return FaceTracker(FaceNets(*(LiteRTNet(require_model(entry.name)) for entry in BLAZEPOSE_FACE)))


@pytest.fixture(scope="module")
def presenter_track(presenter_clip: Clip, blazepose_models: Path) -> PoseTrack:
    return extract_blazepose(presenter_clip.with_frames(presenter_clip.frames[:4]), hands=False)


def test_the_table_is_68_different_vertices() -> None:
    assert len(MESH_OF_FACE) == len(set(MESH_OF_FACE)) == 68 == FACE.stop - FACE.start
    assert all(0 <= vertex < 468 for vertex in MESH_OF_FACE)


def test_holistic_finds_the_same_mesh(tracker: FaceTracker, presenter_clip: Clip) -> None:
    face = tracker.next(presenter_clip.frames[0], PRESENTER)
    assert face is not None
    assert face.presence > 0.95
    away = np.linalg.norm(face.points[list(HOLISTIC)] - np.array(list(HOLISTIC.values())), axis=-1)
    assert away.max() < 0.01 * face.size


def test_dlib_finds_the_same_68_points(presenter_track: PoseTrack) -> None:
    # An independent net in the order of 300-W: 3% of the eyes' distance is what annotators differ by. A jaw is a line
    # without marks; there the two differ along it.
    points = presenter_track.points[0, 0, FACE]
    assert (presenter_track.scores[0, 0, FACE] > 0.95).all()
    eyes = np.linalg.norm(DLIB[36] - DLIB[45])
    away = np.linalg.norm(points - DLIB, axis=-1) / eyes
    assert np.median(away) < 0.05
    for part, limit in (
        (JAW, 0.12), (RIGHT_BROW, 0.1), (LEFT_BROW, 0.1), (BRIDGE, 0.08), (NOSTRILS, 0.08), (RIGHT_EYE, 0.05),
        (LEFT_EYE, 0.05), (OUTER_LIPS, 0.07), (INNER_LIPS, 0.07),
    ):  # fmt: skip
        assert np.median(away[part]) < limit, part
    nearest = np.linalg.norm(points[:, None] - DLIB[None], axis=-1).argmin(axis=1)
    assert (nearest == np.arange(68)).mean() > 0.7, "and it is mostly the very point of dlib's that is nearest"


def test_the_points_lie_where_their_names_say(dancer_track: PoseTrack) -> None:
    seen = dancer_track.scores[:, 0, FACE.start] > 0
    assert seen.sum() >= 40
    for points in dancer_track.points[seen, 0][:, FACE][:30]:  # then he turns away
        x, y = points[:, 0], points[:, 1]
        assert (np.diff(x[4:13]) > 0).all(), "along the chin from his right to his left, the picture's right"
        assert y[JAW].argmax() in range(7, 10)
        assert (np.diff(y[0:5]) > 0).all(), "down from one ear"
        assert (np.diff(y[12:17]) < 0).all(), "up to the other"
        assert y[RIGHT_BROW].max() < y[RIGHT_EYE].mean()
        assert y[LEFT_BROW].max() < y[LEFT_EYE].mean()
        assert x[RIGHT_BROW].max() < x[LEFT_BROW].min()
        assert x[RIGHT_EYE].max() < x[BRIDGE].mean() < x[LEFT_EYE].min()
        assert (np.diff(y[BRIDGE]) > 0).all()
        assert (np.diff(x[NOSTRILS]) > 0).all()
        assert y[30] < y[NOSTRILS].max() < y[MOUTH].min()
        assert x[48] == x[OUTER_LIPS].min()
        assert x[54] == x[OUTER_LIPS].max()
        assert y[50:53].mean() <= y[61:64].mean() <= y[65:68].mean() <= y[56:59].mean(), "lips outside of lips"
        assert x[36] == x[RIGHT_EYE].min()
        assert x[45] == x[LEFT_EYE].max()


def test_a_face_that_is_not_there_has_no_points(dancer_track: PoseTrack) -> None:
    last = dancer_track.scores[-3:, 0, FACE]  # he shows his profile, then his back
    assert not last.any()
    assert not dancer_track.points[-3:, 0, FACE].any()


def test_a_face_is_followed_and_forgotten(tracker: FaceTracker, presenter_clip: Clip) -> None:
    first = tracker.next(presenter_clip.frames[0], PRESENTER)
    second = tracker.next(presenter_clip.frames[1], PRESENTER)
    assert first is not None
    assert second is not None
    assert np.linalg.norm(second.points - first.points, axis=-1).max() < 0.1 * first.size
    grey = np.full_like(presenter_clip.frames[0], 128)
    assert tracker.next(grey, PRESENTER) is None
    assert tracker.next(presenter_clip.frames[0], PRESENTER + np.array([500, 0])) is None, "the body is elsewhere"


def test_the_squares_are_upright_on_an_upright_face() -> None:
    search = roi_from_body(PRESENTER)
    assert search.side == pytest.approx(3 * 46.9)
    assert abs(search.angle) < 0.1
    eyes = np.array([[40.0, 50.0], [60.0, 50.0], [50, 60], [50, 70], [35, 50], [65, 50]])
    roi = roi_from_detection(eyes)
    assert (roi.x, roi.y, roi.side, roi.angle) == pytest.approx((50, 58, 60, 0)), "a tenth of the height up"
    tilted = roi_from_detection(eyes[:, ::-1] * [-1, 1])  # turned by a right angle, clockwise
    assert tilted.angle == pytest.approx(np.pi / 2)
    mesh = np.zeros((468, 2))
    mesh[33], mesh[263], mesh[152] = (0, 0), (30, 0), (15, 40)
    assert roi_from_mesh(mesh).side == pytest.approx(1.5 * 40)


@pytest.mark.parametrize("places", [np.zeros((11, 2)), np.full((11, 2), 1e5)])
def test_points_that_make_no_square_make_no_face(places: np.ndarray, tracker: FaceTracker) -> None:
    assert tracker.next(np.zeros((60, 80, 3), np.uint8), places) is None

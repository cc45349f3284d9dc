from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.pose import blaze_roi
from s2v_core.pose.blaze_roi import Detector, KeepLimits, Roi

BODY, PALM, FACE = Detector(224, (8, 16, 32, 32, 32)), Detector(192, (8, 16, 16, 16)), Detector(128, (8, 16, 16, 16))
LIMITS = KeepLimits(degrees=40, shift=0.2, scale=0.4, margin=0.1)
angles = st.floats(-math.pi, math.pi)
places = st.floats(-500, 500)


def test_the_anchors_are_the_centres_of_four_grids() -> None:
    centres = blaze_roi.anchors(BODY)
    assert centres.shape == (2254, 2)
    assert centres[0] == pytest.approx([0.5 / 28, 0.5 / 28])
    assert centres[2] == pytest.approx([1.5 / 28, 0.5 / 28]), "x runs first, two anchors a cell"
    assert centres[2 * 28 * 28] == pytest.approx([0.5 / 14, 0.5 / 14])
    assert centres[-1] == pytest.approx([6.5 / 7, 6.5 / 7])
    assert len(np.unique(centres[-6 * 49 :], axis=0)) == 49, "the three layers of stride 32 share one grid"
    assert len(blaze_roi.anchors(PALM)) == 2016, "the nets' own numbers of boxes"
    assert len(blaze_roi.anchors(FACE)) == 896


def test_a_crop_and_its_way_back() -> None:
    frame = np.zeros((100, 120, 3), np.uint8)
    frame[28:33, 68:73] = 255
    roi = Roi(60, 50, 80, math.radians(30))
    picture, back = blaze_roi.crop(frame, roi, 256, repeat_border=False)
    rows, columns = np.nonzero(picture[..., 0] > 200)
    spot = blaze_roi.transform(np.array([[columns.mean(), rows.mean()]]), back)[0]
    assert spot == pytest.approx([70, 30], abs=0.4)
    middle, top = blaze_roi.transform(np.array([[128.0, 128.0], [128.0, 0.0]]), back)
    assert middle == pytest.approx([60, 50])
    assert top == pytest.approx([60 + 40 * math.sin(roi.angle), 50 - 40 * math.cos(roi.angle)]), "up is along the angle"


def test_outside_of_the_frame_is_black_or_repeated() -> None:
    frame = np.full((20, 20, 3), 77, np.uint8)
    black, _ = blaze_roi.crop(frame, Roi(0, 0, 40, 0), 64, repeat_border=False)
    repeated, _ = blaze_roi.crop(frame, Roi(0, 0, 40, 0), 64, repeat_border=True)
    assert black[0, 0, 0] == 0
    assert black[40, 40, 0] == 77
    assert (repeated == 77).all()


def test_overlapping_detections_are_averaged_by_score() -> None:
    boxes, logits = np.zeros((2254, 12), np.float32), np.full(2254, -100.0, np.float32)
    anchors = blaze_roi.anchors(BODY)
    # Two boxes of 100 pixels around the same point, and a third far away; key points at the middle, the second's 8 off.
    for index, place, logit, shift in ((300, 0.4, 3.0, 0), (900, 0.4, 1.0, 8), (40, 0.9, 0.5, 0)):
        middle = (np.array([place, place]) - anchors[index]) * 224
        boxes[index, :2], boxes[index, 2:4] = middle, 100
        boxes[index, 4:] = np.tile(middle + shift, 4)
        logits[index] = logit
    scores = 1 / (1 + np.exp(-np.array([3.0, 1.0])))
    expected = 0.4 + 8 / 224 * scores[1] / scores.sum()
    found = blaze_roi.best_detection(boxes, logits, BODY)
    assert found is not None
    assert found[2:] == pytest.approx(np.full((4, 2), expected), abs=1e-6)
    assert found[:2] == pytest.approx(np.array([[0.4, 0.4], [0.4, 0.4]]) + np.array([[-1], [1]]) * 50 / 224, abs=1e-6)
    assert blaze_roi.best_detection(boxes, np.full(2254, -0.01, np.float32), BODY) is None


@pytest.mark.parametrize(
    ("end", "upright", "degrees"),
    [((5, 1), 90, 0), ((9, 5), 90, 90), ((9, 5), 0, 0), ((5, 9), 0, 90), ((5, 9), -90, 0), ((1, 5), -90, 90)],
)
def test_angles_are_clockwise_from_upright(end: tuple[int, int], upright: int, degrees: int) -> None:
    angle = blaze_roi.angle_of(np.array([5, 5]), np.array(end), math.radians(upright))
    assert math.degrees(angle) == pytest.approx(degrees)


@given(angle=angles, x=places, y=places, wide=st.floats(1, 100), high=st.floats(1, 100))
def test_a_turned_box_is_the_box_of_the_upright_points_turned(
    angle: float, x: float, y: float, wide: float, high: float
) -> None:
    upright = np.array([[-wide, -high], [wide, high], [-wide, high], [0, 0]])
    cos, sin = math.cos(angle), math.sin(angle)
    points = upright @ np.array([[cos, sin], [-sin, cos]]) + [x, y]  # turned clockwise, as pictures have y downwards
    roi = blaze_roi.bounding_roi(points, angle, 1.5, up=0.1, turned=True)
    assert roi.side == pytest.approx(3 * max(wide, high))
    assert (roi.x, roi.y) == pytest.approx((x + 0.2 * high * sin, y - 0.2 * high * cos), abs=1e-6)
    straight = blaze_roi.bounding_roi(upright, angle, 2.0)
    assert (straight.x, straight.y, straight.side) == pytest.approx((0, 0, 4 * max(wide, high)), abs=1e-9)


@given(angle=angles, x=places, y=places)
def test_a_square_is_kept_while_little_changes(angle: float, x: float, y: float) -> None:
    fresh, here = Roi(x, y, 100, angle), np.array([[x, y]])

    def kept(before: Roi, points: np.ndarray = here) -> bool:
        return blaze_roi.may_keep(before, fresh, points, LIMITS)

    along = np.array([math.cos(angle), math.sin(angle)])
    assert kept(fresh)
    assert kept(Roi(x, y, 100, angle + 2 * math.pi + math.radians(39)))
    assert not kept(Roi(x, y, 100, angle - math.radians(41)))
    assert kept(Roi(x, y, 139, angle))
    assert not kept(Roi(x, y, 59, angle))
    assert kept(Roi(x + 19 * along[0], y + 19 * along[1], 100, angle))
    assert not kept(Roi(x + 21 * along[0], y + 21 * along[1], 100, angle))
    assert kept(fresh, here + 44 * along)
    assert not kept(fresh, here + 46 * along), "a point of the frame before is too near to the edge"

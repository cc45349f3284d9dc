from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.litert import LiteRTNet
from s2v_core.models import BLAZEPOSE_HANDS, require_model
from s2v_core.pose import blaze_hands
from s2v_core.pose.blaze_hands import Hand, HandNets, HandTracker, one_of_each, roi_from_body, roi_from_hand
from s2v_core.pose.track import LEFT_HAND, RIGHT_HAND, PoseTrack
from s2v_core.video.clip import Clip

# What MediaPipe 0.10.14's Holistic finds in the dancer's and the presenter's first frame (model_complexity 1, smoothing
# off), in pixels.
DANCER_LEFT = np.array(
    [
        [118.1, 179.4], [111.1, 182.3], [107.2, 187.6], [106.0, 193.8], [105.3, 198.7], [113.5, 194.4], [110.8, 203.1],
        [108.5, 206.5], [107.0, 209.0], [117.6, 195.5], [114.3, 203.9], [111.4, 206.8], [109.2, 208.5], [120.2, 195.8],
        [117.1, 203.4], [114.1, 206.3], [111.5, 208.1], [121.6, 195.6], [119.3, 201.5], [116.5, 204.2], [114.2, 205.5],
    ]
)  # fmt: skip
DANCER_RIGHT = np.array(
    [
        [31.4, 180.4], [36.2, 183.4], [38.5, 188.3], [39.7, 193.8], [40.8, 198.2], [31.7, 193.6], [33.2, 201.6],
        [36.4, 204.6], [38.9, 206.0], [29.1, 194.0], [31.3, 202.1], [34.7, 204.6], [37.4, 205.6], [28.2, 194.0],
        [30.5, 201.3], [33.9, 203.7], [36.7, 204.9], [28.6, 194.1], [30.5, 200.3], [33.4, 202.9], [35.9, 204.2],
    ]
)  # fmt: skip
PRESENTER_RIGHT = np.array(
    [
        [183.6, 291.8], [198.1, 286.2], [213.7, 287.7], [225.4, 293.1], [231.3, 299.9], [208.9, 291.7], [224.7, 299.3],
        [231.1, 303.1], [234.4, 305.9], [201.8, 300.0], [218.7, 311.4], [224.3, 312.9], [226.1, 312.8], [196.0, 307.4],
        [211.4, 318.6], [216.6, 317.8], [217.9, 315.1], [191.2, 313.1], [204.2, 321.3], [208.6, 320.1], [209.5, 317.2],
    ]
)  # fmt: skip
WRIST, TIPS = 0, [4, 8, 12, 16, 20]
# The presenter's right wrist, little finger and index as the body's net sees them, and how sure it is.
PLACES = np.array([[171.0, 292.9, 0.94], [195.1, 308.4, 0.83], [203.9, 294.1, 0.85]])


@pytest.fixture
def tracker(blazepose_models: Path) -> HandTracker:
    return HandTracker(HandNets(*(LiteRTNet(require_model(entry.name)) for entry in BLAZEPOSE_HANDS)))


def hand_at(x: float, y: float, size: float = 40.0, right: float = 0.5) -> Hand:
    """A flat hand with its wrist at (x, y), fingers up."""
    rows = [(0.0, 0.0)]
    rows += [(finger / 4 - 0.5, -joint / 4) for finger in range(5) for joint in range(1, 5)]
    return Hand(np.array(rows) * size + [x, y], 0.9, right)


@given(x=st.floats(-300, 300), y=st.floats(-300, 300), length=st.floats(1, 200), angle=st.floats(-3.1, 3.1))
def test_the_square_is_around_the_hand_and_turned_like_it(x: float, y: float, length: float, angle: float) -> None:
    along = np.array([math.sin(angle), -math.cos(angle)])  # up, turned clockwise
    wrist, root = np.array([x, y]), np.array([x, y]) + length * along
    roi = roi_from_body(wrist, root, root)
    assert math.remainder(roi.angle - angle, 2 * math.pi) == pytest.approx(0, abs=1e-6)
    assert roi.side == pytest.approx(2.7 * 2 * length)
    assert (roi.x, roi.y) == pytest.approx(tuple(root + 0.1 * 2 * length * along), abs=1e-6)


def test_the_square_of_the_next_frame_holds_the_whole_hand() -> None:
    hand = hand_at(100, 200)
    roi = roi_from_hand(hand.points)
    assert roi.angle == pytest.approx(0, abs=1e-9), "fingers up is upright"
    low, high = np.array([roi.x, roi.y]) - roi.side / 2, np.array([roi.x, roi.y]) + roi.side / 2
    assert (hand.points >= low).all()
    assert (hand.points <= high).all()
    cos, sin = math.cos(1.0), math.sin(1.0)
    turned = roi_from_hand(hand.points @ np.array([[cos, sin], [-sin, cos]]))
    assert (turned.angle, turned.side) == pytest.approx((1.0, roi.side))


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [
        (hand_at(10, 10), None, "left"),
        (None, hand_at(10, 10), "right"),
        (None, None, ""),
        (hand_at(0, 0), hand_at(200, 0), "left right"),
        (hand_at(0, 0), hand_at(20, 0), "left right"),  # half a hand apart: two hands side by side
        (hand_at(0, 0), hand_at(2, 0), "left"),  # one hand, at the left wrist
        (hand_at(98, 0), hand_at(100, 0), "right"),
        (hand_at(50, 0, right=0.1), hand_at(50, 0, right=0.1), "left"),  # as near to both: it looks like a left hand
        (hand_at(50, 0, right=0.9), hand_at(50, 0, right=0.9), "right"),
    ],
)
def test_one_hand_is_not_taken_twice(left: Hand | None, right: Hand | None, kept: str) -> None:
    found = one_of_each(left, right, np.array([[0.0, 0.0], [100.0, 0.0]]))
    assert [hand is not None for hand in found] == ["left" in kept, "right" in kept]


def test_holistic_finds_the_same_hands(dancer_track: PoseTrack) -> None:
    for place, theirs in ((LEFT_HAND, DANCER_LEFT), (RIGHT_HAND, DANCER_RIGHT)):
        assert dancer_track.scores[0, 0, place] == pytest.approx(0.97, abs=0.03)
        size = np.ptp(theirs, axis=0).max()
        away = np.linalg.norm(dancer_track.points[0, 0, place] - theirs, axis=-1)
        assert np.median(away) < 0.03 * size


def test_the_hands_hang_on_their_wrists(dancer_track: PoseTrack) -> None:
    body_wrist = {LEFT_HAND.start: 7, RIGHT_HAND.start: 4}
    for start, wrist in body_wrist.items():
        seen = (dancer_track.scores[:, 0, start] > 0) & (dancer_track.scores[:, 0, wrist] > 0.3)
        assert seen.sum() >= 10
        points = dancer_track.points[seen, 0]
        size = np.ptp(points[:, start : start + 21], axis=1).max(axis=-1)
        assert (np.linalg.norm(points[:, start] - points[:, wrist], axis=-1) < size).all()
        assert (size < 0.5 * 350 / 4).all(), "a hand is an eighth of a body or smaller"
    # He stands with hanging arms in the first frames: fingers below wrists, thumbs towards the body in front of him.
    for start in body_wrist:
        hand = dancer_track.points[0, 0, start : start + 21]
        assert (hand[TIPS, 1] > hand[WRIST, 1] + 10).all()
    left, right = dancer_track.points[0, 0, LEFT_HAND], dancer_track.points[0, 0, RIGHT_HAND]
    assert left[:, 0].min() > right[:, 0].max(), "his left hand is on the picture's right"
    assert left[4, 0] < left[20, 0], "and its thumb on the inside"
    assert right[4, 0] > right[20, 0]


def test_a_hand_is_found_and_followed(tracker: HandTracker, presenter_clip: Clip) -> None:
    size = np.ptp(PRESENTER_RIGHT, axis=0).max()
    for index in range(3):
        hand = tracker.next(presenter_clip.frames[index], *PLACES)
        assert hand is not None
        assert hand.presence > 0.9
        assert hand.right > 0.9
        assert hand.size == pytest.approx(size, rel=0.1)
        assert np.median(np.linalg.norm(hand.points - PRESENTER_RIGHT, axis=-1)) < 0.05 * size


def test_where_the_wrist_is_not_seen_there_is_no_hand(tracker: HandTracker, presenter_clip: Clip) -> None:
    unsure = PLACES * [1, 1, 0.1]
    assert tracker.next(presenter_clip.frames[0], *unsure) is None
    assert tracker.next(presenter_clip.frames[0], *PLACES) is not None


def test_another_persons_hand_is_not_taken(tracker: HandTracker, presenter_clip: Clip) -> None:
    hand = tracker.next(presenter_clip.frames[0], *PLACES)
    assert hand is not None
    away = PLACES.copy()
    away[0, :2] += [-1.5 * hand.size, 0]  # the wrist of somebody beside her, with the same fingers
    assert tracker.next(presenter_clip.frames[0], *away) is None


def test_the_palm_detector_helps_out(
    tracker: HandTracker, presenter_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = PLACES.copy()
    monkeypatch.setattr(HandTracker, "_correct", lambda self, frame, roi: blaze_hands.Roi(20, 20, 30, 0))
    hand = tracker.next(presenter_clip.frames[0], *places)
    assert hand is not None, "the square that the small net gave shows no hand"
    assert np.median(np.linalg.norm(hand.points - PRESENTER_RIGHT, axis=-1)) < 0.1 * hand.size
    tracker.forget()
    assert tracker.next(presenter_clip.frames[0], *(places * [1, 1, 0.5])) is None, "only where a wrist is likely"


@pytest.mark.parametrize(
    "places", [np.array([[5.0, 5, 1]] * 3), np.array([[1e4, 1e4, 1], [1e4, 1e5, 1], [2e4, 1e4, 1]])]
)
def test_points_that_make_no_square_make_no_hand(places: np.ndarray, tracker: HandTracker) -> None:
    assert tracker.next(np.zeros((60, 80, 3), np.uint8), *places) is None

"""Tracks for the tests of OpenPose's keypoints."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from s2v_core.pose.openpose import MARK, to_pose_keypoint
from s2v_core.pose.track import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, PoseTrack

numbers = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(-2, 2, width=32)


@st.composite
def tracks(draw: Any) -> PoseTrack:
    """Any track: nobody to four people, any numbers (NaN and infinity too), whole parts missing, any notes."""
    frames, people = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    points = random.uniform(-50, 900, (frames, people, 134, 2)).astype(np.float32)
    scores = random.choice(np.float32([0, 1e-9, 0.1, 0.3, 0.31, 0.7, 1, 1.1]), (frames, people, 134)).astype(np.float32)
    scores *= np.repeat(random.uniform(0, 1, (frames, people, 67)) < 0.9, 2, axis=-1)
    for part in (BODY, FEET, FACE, LEFT_HAND, RIGHT_HAND):
        scores[..., part] *= random.uniform(0, 1, (frames, people, 1)) < 0.7
    for index in draw(st.lists(st.integers(0, 133), max_size=6)) if people else []:
        points[:, -1, index] = draw(arrays.arrays(np.float32, (frames, 2), elements=numbers))
        scores[:, -1, index] = draw(arrays.arrays(np.float32, frames, elements=numbers))
    canvas = draw(st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
    fps = draw(st.fractions(min_value=Fraction(1, 100), max_value=1000, max_denominator=10**6))
    texts = tuple(draw(st.text(max_size=8)) for _ in range(frames))
    return PoseTrack(points, scores, canvas, fps, draw(st.text(min_size=1, max_size=12)), texts)


def same(one: PoseTrack, other: PoseTrack) -> bool:
    """Equal in every bit of every point that was found; the others have score 0 in both."""
    rest = ("canvas", "fps", "backend", "notes")
    found = np.isfinite(one.points).all(axis=-1) & np.isfinite(one.scores) & (one.scores > 0)
    return (
        np.array_equal(np.where(found, one.scores, 0), other.scores)
        and np.array_equal(one.points[found], other.points[found])
        and all(getattr(one, name) == getattr(other, name) for name in rest)
    )


def some_track(frames: int = 3, people: int = 2, seed: int = 0) -> PoseTrack:
    random = np.random.default_rng(seed)
    points = random.uniform(5, 235, (frames, people, 134, 2)).astype(np.float32)
    scores = random.uniform(0.05, 1, (frames, people, 134)).astype(np.float32)
    return PoseTrack(points, scores, (240, 320), Fraction(30000, 1001), "test", ("",) * frames)


def plain(track: PoseTrack) -> list[dict[str, Any]]:
    """The track as comfyui_controlnet_aux writes it: without anything of ours."""
    frames = to_pose_keypoint(track)
    for frame in frames:
        del frame[MARK]
        for person in frame["people"]:
            del person[MARK], person["person_id"]
            person.pop("foot_keypoints_2d", None)
    return frames


def broken(**changes: Any) -> dict[str, Any]:
    (frame,) = plain(some_track(1, 1))
    frame["people"][0].update(changes)
    return frame

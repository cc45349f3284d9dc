"""Walking figures whose every point is known, to test who is who and what cannot be true of a body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from s2v_core.pose.track import FACE, LEFT_HAND, POINTS, RIGHT_HAND, PoseTrack

Array = np.ndarray[Any, Any]

# Heights of joints and lengths of limbs as shares of the stature.
_SHOULDER, _HIP, _THIGH, _SHANK, _UPPER_ARM, _FOREARM = 0.818, 0.53, 0.245, 0.246, 0.186, 0.146


@dataclass(frozen=True)
class Walker:
    """Somebody who goes through ``x`` [T] (pixels, the hips) and is ``size`` pixels tall."""

    x: Array
    size: float
    floor: float = 440.0
    fps: float = 16.0
    cadence: float = 1.2  # swings a second
    phase: float = 0.0
    noise: float = 0.01  # of the size

    def points(self, random: np.random.Generator) -> Array:
        """float64 [T, 134, 2]: body, face and hands; the feet are left at the ankles."""
        frames = len(self.x)
        time = np.arange(frames) / self.fps
        facing = 1.0 if self.x[-1] >= self.x[0] else -1.0
        swing = 0.45 * np.sin(2 * np.pi * self.cadence * time + self.phase)
        points = np.zeros((frames, POINTS, 2))

        def put(index: int, right: Array | float, up: Array | float) -> None:
            points[:, index, 0] = self.x + right * self.size
            points[:, index, 1] = self.floor - up * self.size

        for side, shoulder, hip, eye, ear in ((-1, 2, 8, 14, 16), (1, 5, 11, 15, 17)):
            leg, arm = side * swing, -side * 1.2 * swing
            shank, forearm = leg - 0.3 - 0.3 * np.sin(2 * np.pi * self.cadence * time + side), arm + 0.5
            knee = (side * 0.03 + _THIGH * np.sin(leg) * facing, _HIP - _THIGH * np.cos(leg))
            elbow = (side * 0.035 + _UPPER_ARM * np.sin(arm) * facing, _SHOULDER - _UPPER_ARM * np.cos(arm))
            ankle = (knee[0] + _SHANK * np.sin(shank) * facing, knee[1] - _SHANK * np.cos(shank))
            wrist = (elbow[0] + _FOREARM * np.sin(forearm) * facing, elbow[1] - _FOREARM * np.cos(forearm))
            for index, place in ((hip + 1, knee), (hip + 2, ankle), (shoulder + 1, elbow), (shoulder + 2, wrist)):
                put(index, *place)
            put(shoulder, side * 0.035, _SHOULDER)
            put(hip, side * 0.03, _HIP)
            put(eye, 0.02 * side + 0.04 * facing, 0.94)
            put(ear, 0.04 * side, 0.93)
            toes = (21, 22, 23) if side < 0 else (18, 19, 20)
            for toe in toes:
                put(toe, *ankle)
            hand = RIGHT_HAND if side < 0 else LEFT_HAND
            for index in range(21):  # fingers fan out along the forearm
                length, angle = 0.108 * ((index + 3) // 4 + index % 4) / 9, forearm + 0.1 * (index // 4 - 2)
                reach = (wrist[0] + length * np.sin(angle) * facing, wrist[1] - length * np.cos(angle))
                put(hand.start + index, *reach)
        put(0, 0.06 * facing, 0.92)
        put(1, 0.0, _SHOULDER)
        for index in range(68):
            angle, radius = index * 2.4, 0.055 * np.sqrt(abs(index - 30) / 38)
            put(FACE.start + index, 0.06 * facing + radius * np.cos(angle), 0.92 + radius * np.sin(angle))
        return points + random.normal(0, self.noise * self.size, points.shape)


def track_of(people: list[Array], shown: list[Array] | None = None, fps: Fraction | int = 16) -> PoseTrack:
    """A track of these people's points [T, 134, 2]; ``shown`` bool [T] each. All scores are 0.9."""
    points = np.stack(people, axis=1).astype(np.float32)
    seen = np.ones(points.shape[:2], bool) if shown is None else np.stack(shown, axis=1)
    scores = np.where(seen[..., None], np.float32(0.9), np.float32(0)) * np.ones(POINTS, np.float32)
    return PoseTrack(points, scores, (480, 832), Fraction(fps), "walkers", ("",) * len(points))


def shuffled(track: PoseTrack, random: np.random.Generator, spare: int = 1) -> PoseTrack:
    """The people of each frame in a random order, with ``spare`` empty slots among them that hold rubbish."""
    frames, people = track.points.shape[:2]
    order = np.stack([random.permutation(people + spare) for _ in range(frames)])
    points = np.concatenate([track.points, random.uniform(0, 500, (frames, spare, POINTS, 2))], axis=1)
    scores = np.concatenate([track.scores, np.zeros((frames, spare, POINTS))], axis=1)
    rows = np.arange(frames)[:, None]
    return replace(track, points=points[rows, order].astype(np.float32), scores=scores[rows, order].astype(np.float32))


def hidden(people: list[Array], front: list[int], overlap: float) -> list[Array]:
    """Who is seen, bool [T] each: one whose box is covered by more than ``overlap`` by one further in ``front`` is not.

    ``front``: the place of each person in the order from the back (0) to the camera.
    """
    low = [person[:, :18].min(axis=1)[:, 0] for person in people]
    high = [person[:, :18].max(axis=1)[:, 0] for person in people]
    shown = [np.ones(len(person), bool) for person in people]
    for one in range(len(people)):
        for other in range(len(people)):
            if front[one] < front[other]:
                shared = np.minimum(high[one], high[other]) - np.maximum(low[one], low[other])
                width = np.minimum(high[one] - low[one], high[other] - low[other])
                shown[one] &= shared <= overlap * width
    return shown

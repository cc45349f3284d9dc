"""Measures of tracks and results that the tests of retargeting share; none reads the result's own figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s2v_core.pose.contact import foot_slide, sole_points
from s2v_core.pose.proportions import limb_lengths, longer_side
from s2v_core.pose.retarget import RetargetResult
from s2v_core.pose.skeleton import LIMBS
from s2v_core.pose.track import PoseTrack

SHOWN = 0.3


def frame_of(track: PoseTrack, frame: int) -> PoseTrack:
    at = slice(frame, frame + 1)
    return replace(track, points=track.points[at], scores=track.scores[at], notes=("",))


def angles(track: PoseTrack) -> np.ndarray:
    """Degrees between every two limbs that share a joint, the feet's bones included; NaN where a point is not shown."""
    points, shown = track.points[:, 0].astype(float), track.scores[:, 0] > SHOWN
    bones = [(limb.start, limb.end) for limb in LIMBS] + [(13, 18), (13, 20), (10, 21), (10, 23)]
    found = []
    for index, one in enumerate(bones):
        for other in bones[index + 1 :]:
            if not set(one) & set(other):
                continue
            a, b = (points[:, end] - points[:, start] for start, end in (one, other))
            angle = np.degrees(np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(-1)))
            found.append(np.where(shown[:, [*one, *other]].all(axis=1), angle, np.nan))
    return np.array(found)


def most_turned(before: PoseTrack, after: PoseTrack) -> float:
    difference = (angles(after) - angles(before) + 180) % 360 - 180
    assert np.isfinite(difference).mean() > 0.3
    return float(np.nanmax(np.abs(difference)))


def lengths(track: PoseTrack) -> np.ndarray:
    """Of each limb, whatever side it is on, as ``sides="each"`` sees it."""
    return limb_lengths(track.points[:, 0], track.scores[:, 0])


def pair_lengths(track: PoseTrack) -> np.ndarray:
    """Of each pair of limbs: the longer one's, twice."""
    return longer_side(lengths(track))


def slide(track: PoseTrack, stance: np.ndarray) -> float:
    """Ways of planted feet, in legs, computed without the result's own figures."""
    points = track.points[:, 0].astype(float)
    leg = pair_lengths(track)[[9, 11]].sum()
    return foot_slide(sole_points(points, np.ones(134, bool), True), stance, leg)


def measured(result: RetargetResult) -> np.ndarray:
    """Bool [17]: limbs whose ratio was measured, not stood in for."""
    names = {entry.limb for entry in result.ratios if not entry.how.startswith("median")}
    return np.array([str(limb) in names for limb in LIMBS])


def without(track: PoseTrack, *points: int) -> PoseTrack:
    scores = track.scores.copy()
    scores[:, :, list(points)] = 0
    where = track.points.copy()
    where[:, :, list(points)] = np.nan  # a point that was not found may be anywhere
    return replace(track, points=where, scores=scores)

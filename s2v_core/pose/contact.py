"""Feet on the floor: when a foot is planted, how far it slides, and how a body of other lengths keeps it planted.

Numbers below that are not lengths of the picture are relative to the length of a leg, so that the size of the figure
does not matter; times are in seconds, so that the frame rate does not.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from .skeleton import ANKLES, FEET_OF, HIPS, SOLES

Array = np.ndarray[Any, Any]

# A foot is planted when it is slow and low. A swinging foot does several legs a second, the noise of a net 0.2.
_MAX_SPEED = 0.5  # legs a second
_MAX_HEIGHT = 0.12  # legs above the floor nearby; two feet at different depths differ by about half of that
_FLOOR_WINDOW = 1.0  # seconds in which the lowest foot tells where the floor is: longer than a jump
_LEAST_TIME = 0.1  # seconds
_RAMP = 0.15  # seconds over which a correction fades into the swing

# How the root is found (weights of squared errors): planted feet stay, then the root moves as in the clip, then the
# place is kept. Each is far below the one before, so that it decides only what that leaves open.
_FOLLOW, _PLACE_X, _PLACE_Y = 1e-2, 1e-5, 1e-3

# With both feet down the legs are brought to their places by longer or shorter thighs and shins, which changes no
# angle, and by turns at hip and knee. These are the sizes to which each is used readily, and the limits.
_STRETCH, _TURN = 0.05, np.radians(0.5)
_MOST_STRETCH, _MOST_TURN = 0.1, np.radians(0.9)
_STEPS, _DAMPING = 6, 1e-7


def sole_points(filled: Array, ever: Array, use_toes: bool) -> Array:
    """Where each foot stands, left and right: [T, 2, 2]: the middle of big toe and heel, or the ankle.

    A foot that was never found has the place of its ankle.
    """
    soles = np.empty((len(filled), 2, 2))
    for side, (ankle, toes) in enumerate(zip(ANKLES, SOLES, strict=True)):
        there = use_toes and ever[list(toes)].all()
        soles[:, side] = filled[:, list(toes)].mean(axis=1) if there else filled[:, ankle]
    return soles


def find_stance(soles: Array, known: Array, hips: Array, leg: float, fps: Fraction) -> Array:
    """When each foot is planted: bool [T, 2], left and right.

    ``soles`` [T, 2, 2] in pixels; ``known`` bool [T, 2]; ``hips``: y of the middle of the hips [T]; ``leg``: the
    dancer's leg in pixels. Planted is a foot that for at least 0.1 s moves less than half a leg a second, is not higher
    than 0.12 legs above the lowest foot of the second around it, and is below the hips.
    """
    from scipy.ndimage import percentile_filter

    frames, rate = len(soles), float(fps)
    if not (leg > 0 and known.any()):
        return np.zeros((frames, 2), bool)
    speed = np.linalg.norm(np.gradient(soles, axis=0), axis=-1) * rate if frames > 1 else np.zeros((1, 2))
    lowest = np.where(known, soles[..., 1], -np.inf).max(axis=1)
    there = np.flatnonzero(np.isfinite(lowest))
    lowest = np.interp(np.arange(frames), there, lowest[there])
    window = 2 * round(_FLOOR_WINDOW * rate / 2) + 1
    floor = percentile_filter(lowest, 90, window, mode="nearest")
    slow = speed <= _MAX_SPEED * leg
    low = soles[..., 1] >= (floor - _MAX_HEIGHT * leg)[:, None]
    stance = slow & low & known & (soles[..., 1] > hips[:, None])
    for side in range(2):
        for start, end in runs(stance[:, side]):
            if end - start < min(frames, max(2, _LEAST_TIME * rate)):
                stance[start:end, side] = False
    return stance


def runs(flags: Array) -> list[tuple[int, int]]:
    """[start, end) of each unbroken stretch of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def foot_slide(soles: Array, stance: Array, leg: float) -> float:
    """The way that planted feet go on the floor, in legs: the steps from frame to frame inside all stances, summed.

    ``soles`` [T, 2, 2] and ``leg`` in pixels of one picture; ``stance`` bool [T, 2].
    """
    steps = np.linalg.norm(np.diff(soles, axis=0), axis=-1)
    return float(steps[stance[1:] & stance[:-1]].sum() / leg)


def find_root(floor: Array, reach: Array, root: Array, stance: Array) -> Array:
    """The path of the neck that keeps planted feet where they belong: [T, 2].

    ``floor`` [T, 2, 2]: where each sole belongs; ``reach`` [T, 2, 2]: the soles of the new body relative to its neck;
    ``root`` [T, 2]: the neck's own path, scaled; ``stance`` bool [T, 2], somewhere true; T is at least 2. Least squares
    over the whole path: a planted foot moves as it should (two feet: on average); the neck in the air moves as the
    clip's; drift and the height of the floor are made good where that costs neither.
    """
    from scipy.linalg import solveh_banded

    frames = len(root)
    wanted = floor - reach  # where each foot would have the neck
    both = stance[1:] & stance[:-1]
    weights, steps = both.astype(float), np.diff(wanted, axis=0)
    free = np.where(both.any(axis=1), 0.0, _FOLLOW)
    step_weight = weights.sum(axis=1) + free
    step_target = (weights[..., None] * steps).sum(axis=1) + free[:, None] * np.diff(root, axis=0)
    path = np.empty((frames, 2))
    for axis, place in enumerate((_PLACE_X, _PLACE_Y)):
        tie = stance.sum(axis=1) * place
        target = (stance * wanted[..., axis]).sum(axis=1) * place
        # The normal equations of first differences are tridiagonal.
        bands = np.zeros((2, frames))
        bands[1] = tie
        bands[1, 1:] += step_weight
        bands[1, :-1] += step_weight
        bands[0, 1:] = -step_weight
        right = target
        right[1:] += step_target[:, axis]
        right[:-1] -= step_target[:, axis]
        path[:, axis] = solveh_banded(bands, right)
    return path


def plant_feet(grown: Array, root: Array, floor: Array, reach: Array, stance: Array, fps: Fraction) -> Array:
    """The body with each planted foot brought to its place by its own leg: a new [T, 134, 2] relative to the neck.

    ``grown``: the body; ``root`` [T, 2]: its neck's path; the others as in ``find_root``. Each stance keeps the place
    where it stands on average; what is missing is made up by thigh and shin becoming longer or shorter (their
    directions stay) and by small turns at hip and knee; before and after the stance it fades.
    """
    planted = grown.copy()
    for side, (hip, ankle, foot) in enumerate(zip(HIPS, ANKLES, FEET_OF, strict=True)):
        if not stance[:, side].any():
            continue
        knee = hip + 1
        below = [ankle, *foot]
        wanted = _fade(floor[:, side] - root - reach[:, side], stance[:, side], fps)
        thigh, shin = grown[:, knee] - grown[:, hip], grown[:, ankle] - grown[:, knee]
        stretch, turn = _bend(thigh, shin, reach[:, side] - grown[:, ankle], wanted)
        planted[:, knee] = grown[:, hip] + _turned(thigh, turn[:, 0]) * (1 + stretch[:, :1])
        new_ankle = planted[:, knee] + _turned(shin, turn.sum(axis=1)) * (1 + stretch[:, 1:])
        for point in below:
            planted[:, point] = new_ankle + _turned(grown[:, point] - grown[:, ankle], turn.sum(axis=1))
    return planted


def _fade(missing: Array, stance: Array, fps: Fraction) -> Array:
    """``missing`` [T, 2] inside each stance without its mean; before and after a stance on a line to nothing."""
    ramp = max(1, round(_RAMP * float(fps)))
    kept = np.zeros_like(missing)
    at = np.zeros(len(stance), bool)
    swing = runs(~stance)
    for start, end in runs(stance):
        kept[start:end] = missing[start:end] - missing[start:end].mean(axis=0)
        at[start:end] = True
    for start, end in swing:
        # Zero from a ramp after the last stance to a ramp before the next.
        first = start + ramp - 1 if start else start
        last = end - ramp if end < len(stance) else end - 1
        at[first : last + 1] = True
    frames = np.arange(len(stance))
    return np.stack([np.interp(frames, frames[at], kept[at, axis]) for axis in range(2)], axis=-1)


def _bend(thigh: Array, shin: Array, foot: Array, by: Array) -> tuple[Array, Array]:
    """How a leg moves its sole ``by`` [T, 2]: stretch of thigh and shin [T, 2], turn at hip and knee [T, 2], radians.

    ``thigh``, ``shin`` and ``foot`` (ankle to sole) [T, 2]. The smallest that do it, within their limits; a foot that
    cannot be brought there comes as near as it can.
    """
    most = np.array([_MOST_STRETCH, _MOST_STRETCH, _MOST_TURN, _MOST_TURN])
    ready = np.array([_STRETCH, _STRETCH, _TURN, _TURN])
    used = np.zeros((len(by), 4))
    for _ in range(_STEPS):
        new_thigh = _turned(thigh, used[:, 2])
        new_shin = _turned(shin, used[:, 2] + used[:, 3])
        below = new_shin * (1 + used[:, 1:2]) + _turned(foot, used[:, 2] + used[:, 3])
        leg = new_thigh * (1 + used[:, :1]) + below
        left = by - (leg - thigh - shin - foot)
        ways = np.stack([new_thigh, new_shin, _across(leg), _across(below)], axis=-1) * ready  # [T, 2, 4]
        stuck = (np.abs(used) >= most) & (np.sign(used) == np.sign((left[:, None] @ ways)[:, 0]))
        ways = np.where(stuck[:, None], 0, ways)
        square = ways @ ways.transpose(0, 2, 1)
        # A straight leg cannot reach everywhere: damping keeps what it cannot from growing without bounds.
        size = np.square(thigh).sum(axis=-1) + np.square(shin).sum(axis=-1)
        square += (_DAMPING * size[:, None, None] + 1e-12) * np.eye(2)
        used += ready * (ways.transpose(0, 2, 1) @ np.linalg.solve(square, left[..., None]))[..., 0]
        used = np.clip(used, -most, most)
    return used[:, :2], used[:, 2:]


def _across(limb: Array) -> Array:
    """Where the end of a limb [T, 2] goes when it turns."""
    return np.stack([-limb[:, 1], limb[:, 0]], axis=-1)


def _turned(limb: Array, angle: Array) -> Array:
    """``limb`` [T, 2] turned by ``angle`` [T]."""
    return np.cos(angle)[:, None] * limb + np.sin(angle)[:, None] * _across(limb)

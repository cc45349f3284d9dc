"""Motion: how much moves, against the clip that the dance was taken from."""

from __future__ import annotations

import numpy as np

from .frames import interval
from .missing import Missing
from .pose import JOINTS, compare
from .scorecard import Score
from .subject import Subject
from .warp import flow_of, flow_of_driving

Array = np.ndarray
_STILL = 2e-4  # of the shorter side, a frame: a driving clip that moves less has no motion to compare with
_STILL_POINTS = 1e-3  # of the height


def measure(subject: Subject) -> Score:
    """The length of the flow over that of the driving clip; without one, the joints' speed over the control's.

    Both clips' flow is in shares of their shorter side. Raises Missing when there is neither, or it stands still.
    """
    if subject.inputs.driving is not None:
        own, driving = flow_of(subject).moved, flow_of_driving(subject).moved
        if driving.mean() < _STILL:
            raise Missing("Nothing moves in the driving clip.")
        low, high = interval(len(own), lambda chosen: float(own[chosen].mean()))
        ratio = float(driving.mean())
        return Score(
            float(own.mean()) / ratio,
            None if low is None else low / ratio,
            None if high is None else high / ratio,
            f"flow of {own.mean():.2%} of the shorter side a frame, in the driving clip {ratio:.2%}",
        )
    if subject.inputs.control is None:
        raise Missing("Neither a driving clip nor a control was given.")
    return _by_points(subject)


def _by_points(subject: Subject) -> Score:
    both = compare(subject)
    joints = list(JOINTS)
    seen = both.drawn[:, joints] & both.found[:, joints]
    pairs = seen[1:] & seen[:-1]
    if not pairs.any():
        raise Missing("No joint was found in two frames on end.")
    own, wanted = (
        np.where(pairs, np.linalg.norm(np.diff(points[:, joints], axis=0), axis=-1), 0).sum(axis=1)
        for points in (both.got, both.wanted)
    )
    if wanted.sum() / pairs.sum() < _STILL_POINTS * both.height:
        raise Missing("The control's dancer stands still.")
    low, high = interval(len(own), lambda chosen: float(own[chosen].sum() / max(wanted[chosen].sum(), 1e-9)))
    return Score(float(own.sum() / wanted.sum()), low, high, f"speed of the joints, over the control's; {both.how}")

"""Motion: how much moves, against the clip that the dance was taken from."""

from __future__ import annotations

import numpy as np

from .frames import interval
from .missing import Missing
from .pose import JOINTS, compare
from .scorecard import Score
from .subject import Subject
from .warp import flow_of, flow_of_driving

_STILL = 2e-4  # of the height or side, a frame: a driving clip that moves less has no motion to compare with
_STILL_POINTS = 1e-3  # of the height


def measure(subject: Subject) -> Score:
    """The dancer's flow over that in the driving clip; without such a clip, the joints' speed over the control's.

    Flow counts within the dancer's outline and in their heights, so that neither size nor place matters; where nobody
    is found in one of both clips, the flow of the whole picture in shares of its shorter side. Raises Missing when
    there is nothing to compare with, or it stands still.
    """
    if subject.inputs.driving is None:
        if subject.inputs.control is None:
            raise Missing("Neither a driving clip nor a control was given.")
        return _by_points(subject)
    own, driving = flow_of(subject), flow_of_driving(subject)
    both = [own.danced, driving.danced]
    what = "dancer's height"
    if not all(np.isfinite(one).any() for one in both):
        both, what = [own.moved, driving.moved], "picture's shorter side, as nobody was found in both"
    mine, wanted = (one[np.isfinite(one)] for one in both)
    ratio = float(wanted.mean())
    if ratio < _STILL:
        raise Missing("Nothing moves in the driving clip.")
    low, high = interval(len(mine), lambda chosen: float(mine[chosen].mean()) / ratio)
    said = f"flow of {mine.mean():.2%} of the {what} a frame, in the driving clip {ratio:.2%}"
    return Score(float(mine.mean()) / ratio, low, high, said)


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

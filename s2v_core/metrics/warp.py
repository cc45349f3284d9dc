"""Warp error: what changes from frame to frame that no movement explains."""

from __future__ import annotations

from collections.abc import Callable

from .detect import Found
from .flow import Flow, follow
from .frames import mean_score
from .inputs import remembered
from .missing import Missing
from .scorecard import Score
from .subject import Subject


def measure(subject: Subject) -> Score:
    """Mean difference of levels between each frame and the next one, moved back along the optical flow. Raises Missing.

    Pixels that are covered in one of both do not count (Lai et al. 2018; occlusions by Sundaram et al. 2010).
    """
    flow = flow_of(subject)
    if not (flow.left >= 0).any():
        raise Missing("No pixel could be followed from one frame to the next.")
    return mean_score(
        flow.left, f"DIS flow at {flow.side} pixels of the shorter side, {len(flow.left)} pairs of frames"
    )


def flow_of(subject: Subject) -> Flow:
    """The clip's flow, worked out once. Raises Missing for a single frame."""
    return subject.once("flow", lambda: follow(subject.clip, _people(lambda: subject.found)))


def flow_of_driving(subject: Subject) -> Flow:
    """The flow of the driving clip's beginning, as long as the clip. Raises Missing when there is none."""
    from .inputs import first_frames

    driving = subject.inputs.driving
    if driving is None:
        raise Missing("No driving clip was given.")
    part = first_frames(driving, len(subject.clip))
    inputs = subject.inputs
    return remembered(
        ("flow", part.sha256(), inputs.detector), lambda: follow(part, _people(lambda: inputs.points_of(part)))
    )


def _people(find: Callable[[], Found]) -> Found | None:
    """Who is found, or None where nobody can be."""
    try:
        found = find()
    except Missing:
        return None
    return found if found.people.any() else None

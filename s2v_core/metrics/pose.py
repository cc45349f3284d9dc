"""Pose adherence: the points that are found in the clip, against those of the control video.

Three metrics of one comparison: PCK, OKS and MPJPE in the picture's plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..pose.measure import GOOD, body_height
from ..pose.track import PoseTrack, scale_track
from ..video.clip import Clip
from ..video.fit import fit_transform
from .detect import Found, given
from .frames import mean_score
from .inputs import first_frames, remembered
from .missing import Missing
from .scorecard import Score
from .subject import Subject

Array = np.ndarray[Any, Any]

# Of OpenPose's 18: the nose and twelve joints. The neck is the shoulders' middle, and the face's points are one place.
JOINTS = (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
PCK_ALPHA = 0.1  # of the torso
# COCO's 17 keypoints in OpenPose's order, and their constants (cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py).
COCO = (0, 14, 15, 16, 17, 2, 5, 3, 6, 4, 7, 8, 11, 9, 12, 10, 13)
SIGMAS = np.array((26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)) / 1000
_BOX_SHARE = 0.53  # of the points' box that a body covers, where no mask is known (mmpose, for data without masks)


@dataclass(frozen=True, eq=False)
class Compared:
    """Both tracks frame by frame, the best partner of the control's dancer.

    ``wanted`` and ``got`` [T, 134, 2] in pixels of the clip; ``drawn`` and ``found`` bool [T, 134]: which points the
    control and the clip have; ``torso`` and ``height``: of the control's dancer, in pixels. ``how``: in words.
    """

    wanted: Array
    got: Array
    drawn: Array
    found: Array
    torso: float
    height: float
    how: str

    @property
    def away(self) -> Array:
        """Distances [T, 134] in pixels; NaN where either has no point."""
        return np.where(self.drawn & self.found, np.linalg.norm(self.wanted - self.got, axis=-1), np.nan)


def measure_pck(subject: Subject) -> Score:
    """The share of the control's joints that are found within a tenth of the torso; one not found counts as missed."""
    both = compare(subject)
    joints = list(JOINTS)
    drawn, away = both.drawn[:, joints], both.away[:, joints]
    right = np.nan_to_num(away, nan=np.inf) <= PCK_ALPHA * both.torso
    counts = drawn.sum(axis=1)
    values = np.where(counts > 0, (right & drawn).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return mean_score(values, f"within {PCK_ALPHA * both.torso:.1f} pixels; {both.how}")


def measure_oks(subject: Subject) -> Score:
    """COCO's similarity, averaged over frames; a point that is not found counts as 0."""
    both = compare(subject)
    points = list(COCO)
    drawn, away = both.drawn[:, points], both.away[:, points]
    low = np.where(drawn[..., None], both.wanted[:, points], np.inf).min(axis=1)
    high = np.where(drawn[..., None], both.wanted[:, points], -np.inf).max(axis=1)
    area = _BOX_SHARE * np.prod(np.maximum(high - low, 1e-3 * both.height), axis=1)
    with np.errstate(invalid="ignore"):
        alike = np.exp(-(away**2) / (2 * area[:, None] * (2 * SIGMAS) ** 2))
    counts = drawn.sum(axis=1)
    values = np.where(counts > 0, np.nan_to_num(alike).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return mean_score(values, both.how)


def measure_mpjpe(subject: Subject) -> Score:
    """Mean distance of the joints that both have, in percent of the dancer's height, standing."""
    both = compare(subject)
    away = both.away[:, list(JOINTS)]
    there = int(both.drawn[:, list(JOINTS)].sum())
    known = np.isfinite(away).sum(axis=1)
    values = np.where(known > 0, np.nansum(away, axis=1) / np.maximum(known, 1), np.nan)
    if not known.any():
        raise Missing("No joint of the control was found in the clip.")
    return mean_score(values, f"{int(known.sum())} of {there} joints; {both.how}", 100 / both.height)


def compare(subject: Subject) -> Compared:
    """Clip and control, frame by frame. Raises Missing when either shows nobody, or there is no control."""
    return subject.once("compared", lambda: _compare(subject))


def control_points(subject: Subject) -> tuple[Found, str]:
    """The points that the control wants, in pixels of the clip, and where they are from. Raises Missing."""
    return subject.once("control", lambda: _control_points(subject))


def _compare(subject: Subject) -> Compared:
    control, source = control_points(subject)
    clip = subject.found
    frames = clip.index[clip.index < len(control.track)]
    if not len(frames):
        raise Missing("Clip and control have no frame in common.")
    wanted = replace_frames(control.track, frames)
    got = replace_frames(clip.track, np.arange(len(frames)))
    drawn = _drawn(wanted, subject.clip)
    person, partner = _partners(wanted, got, drawn)
    if not drawn[:, person].any():
        raise Missing(f"The control shows nobody ({source}).")
    mine = replace(wanted, points=wanted.points[:, [person]], scores=wanted.scores[:, [person]])
    rows = np.arange(len(frames))
    found = (got.scores[rows, partner] > GOOD) & (partner >= 0)[:, None]
    height = float(body_height(mine)[0])
    if not np.isfinite(height):
        raise Missing("The control shows too little of the body to tell its size.")
    said = f"{clip.said()}, against {source}"
    if (count := int(drawn.any(axis=(0, 2)).sum())) > 1:
        said += f"; the best match of {count} people in the control"
    if len(control.track) != len(subject.clip):
        said += f"; the first {len(frames)} frames"
    return Compared(
        wanted.points[:, person], got.points[rows, partner], drawn[:, person], found, _torso(mine, height), height, said
    )


def _control_points(subject: Subject) -> tuple[Found, str]:
    control, clip = subject.inputs.control, subject.clip
    if control is None:
        raise Missing("No control was given.")
    if isinstance(control, PoseTrack):
        return given(_placed(control, subject), control.backend), f"the control's own points ({control.backend})"
    control = first_frames(control, len(clip))
    from .drawn import read_drawn

    try:
        read = remembered(("drawn", control.sha256()), lambda: read_drawn(control))
        return given(_placed(read, subject), read.backend), f"the control's points, {read.backend}"
    except Missing as missing:
        if subject.inputs.driving is None:
            raise Missing(f"{missing} Give its points, or the clip that they were taken from.") from None
    driving = subject.inputs.driving
    found = subject.inputs.points_of(first_frames(driving, len(clip)))
    if not found.people.any():
        raise Missing(f"No person was found in the driving clip ({found.how}).")
    if len(found.index) != len(found.track) or len(found.index) < min(len(driving), len(clip)):
        raise Missing("The driving clip's points are known in some frames only.")
    return given(_placed(found.track, subject), found.how), f"the driving clip's {found.how}"


def _placed(track: PoseTrack, subject: Subject) -> PoseTrack:
    """The track on the clip's canvas, fitted as the control was for the rendering."""
    clip = subject.clip
    height, width = track.canvas
    if (height, width) == (clip.height, clip.width):
        return track
    scale, dx, dy = fit_transform((width, height), (clip.width, clip.height), subject.inputs.fit)
    return scale_track(track, scale, dx, dy, (clip.height, clip.width))


def replace_frames(track: PoseTrack, frames: Array) -> PoseTrack:
    """The track of these frames."""
    return replace(
        track,
        points=track.points[frames],
        scores=track.scores[frames],
        notes=tuple(track.notes[frame] for frame in frames),
    )


def _drawn(track: PoseTrack, clip: Clip) -> Array:
    """Bool [T, P, 134]: which points a control shows: sure ones inside the picture."""
    inside = ((track.points >= 0) & (track.points < (clip.width, clip.height))).all(axis=-1)
    return np.asarray((track.scores > GOOD) & inside)


def _partners(wanted: PoseTrack, got: PoseTrack, drawn: Array) -> tuple[int, Array]:
    """The control's person who is danced best, and for each frame the found person who is nearest to them."""
    joints = list(JOINTS)
    here = wanted.points[:, :, None, joints] - got.points[:, None, :, joints]
    both = drawn[:, :, None, joints] & (got.scores > GOOD)[:, None, :, joints]
    size = np.nan_to_num(body_height(wanted), nan=np.inf)[None, :, None, None]
    near = (np.exp(-((np.linalg.norm(here, axis=-1) / np.maximum(size, 1.0) / 0.1) ** 2)) * both).sum(axis=3)
    there = np.asarray((got.scores > GOOD).any(axis=2))
    person = int(near.max(axis=2).sum(axis=0).argmax())
    best = np.where(there, near[:, person], -1.0)
    return person, np.where(there.any(axis=1), best.argmax(axis=1), -1)


def _torso(track: PoseTrack, height: float) -> float:
    """From shoulder to opposite hip, as long as it gets; 0.3 heights where it is never seen."""
    ends = []
    for shoulder, hip in ((5, 8), (2, 11)):
        seen = (track.scores[:, 0, shoulder] > GOOD) & (track.scores[:, 0, hip] > GOOD)
        if seen.any():
            ends.append(np.linalg.norm(track.points[seen, 0, shoulder] - track.points[seen, 0, hip], axis=-1))
    return float(np.percentile(np.concatenate(ends), 90)) if ends else 0.3 * height

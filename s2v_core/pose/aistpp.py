"""AIST++'s 2-D keypoints as a pose track that lies on a clip of the same dance."""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..aist.keypoints import CANVAS, FPS, Keypoints2d, camera_index, load_keypoints2d
from ..aist.names import FRONT_CAMERA, ClipName
from ..errors import SettingsError
from ..video.fit import fit_transform
from .draw import THRESHOLD
from .track import POINTS, PoseTrack, as_fps, scale_track

# OpenPose's body, each point by its number in COCO's 17. The neck is the middle of the shoulders (COCO's 5 and 6).
FROM_COCO = {
    0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: 12, 9: 14, 10: 16, 11: 11, 12: 13, 13: 15, 14: 2, 15: 1, 16: 4, 17: 3,
}  # fmt: skip
NECK, SHOULDERS = 1, [5, 6]
LACKS = "AIST++ has the body only: no face, hands or feet"

Array = np.ndarray[Any, Any]


def load_aistpp(
    path: str | os.PathLike[str],
    camera: str | int | ClipName = FRONT_CAMERA,
    *,
    start: int | float | Fraction = 0,
    frames: int | None = None,
    fps: int | float | Fraction = 16,
    size: tuple[int, int] | None = None,
    fit: str = "crop",
) -> PoseTrack:
    """``aistpp_track`` of a keypoints2d file. Raises SettingsError for a file or a value that cannot be used."""
    return aistpp_track(load_keypoints2d(path), camera, start=start, frames=frames, fps=fps, size=size, fit=fit)


def aistpp_track(
    keypoints: Keypoints2d,
    camera: str | int | ClipName = FRONT_CAMERA,
    *,
    start: int | float | Fraction = 0,
    frames: int | None = None,
    fps: int | float | Fraction = 16,
    size: tuple[int, int] | None = None,
    fit: str = "crop",
) -> PoseTrack:
    """One dancer as ``camera`` saw them: the points of the frames that ``read_clip`` reads with the same arguments.

    Frame k has the keypoints whose time is nearest to ``start + k / fps`` seconds; of two that are equally near, the
    earlier. ``frames``: how many, None for all to the end. ``size``: (width, height) that the clip was brought to by
    ``fit`` ("crop" or "letterbox"), None for AIST's 1920 x 1080. Scores are AIST++'s, at most 1; the neck is there when
    both shoulders score more than DWPose's 0.3 and has the lower score of the two. The notes say what AIST++ lacks,
    where nobody was found, and where its frames have a gap.

    Raises SettingsError for a camera without keypoints, a sequence that is too short, and values out of range.
    """
    view = camera_index(keypoints, camera)
    begin, rate = _seconds(start), as_fps(fps)
    end = keypoints.times[-1] + 1 / FPS
    count = max(0, -((begin - end) * rate // 1)) if frames is None else frames
    if count < 1 or begin + (count - 1) / rate >= end:
        raise SettingsError(
            "The AIST++ sequence does not reach so far.",
            expected=f"frames from {float(begin):g} s on, all before {float(end):.2f} s",
            got=f"{frames if frames is not None else 'no'} frames at {float(rate):g} a second",
            remedy="Start earlier, or ask for fewer frames.",
        )
    wanted = [begin + index / rate for index in range(int(count))]
    picked = [_nearest(keypoints.times, time) for time in wanted]
    points, scores = to_dwpose(keypoints.points[view, picked], keypoints.scores[view, picked])
    notes = [LACKS, *[""] * (len(wanted) - 1)]
    for index, (time, at) in enumerate(zip(wanted, picked, strict=True)):
        remark = ""
        if abs(keypoints.times[at] - time) > 1 / FPS:
            scores[index] = 0
            remark = "AIST++ has no frame at this moment"
        elif not scores[index].any():
            remark = "no person found"
        notes[index] = "; ".join(filter(None, [notes[index], remark]))
    name = f"AIST++ keypoints2d, c{view + 1:02d}"
    track = PoseTrack(points[:, None], scores[:, None], CANVAS, rate, name, tuple(notes))
    if size is None:
        return track
    scale, dx, dy = fit_transform((CANVAS[1], CANVAS[0]), size, fit)
    return scale_track(track, scale, dx, dy, (size[1], size[0]))


def to_dwpose(points: Array, scores: Array) -> tuple[Array, Array]:
    """COCO's 17 points [T, 17, 2] and scores [T, 17] in DWPose's layout of 134; what COCO lacks has score 0.

    A point with a number that is not finite has score 0, too.
    """
    out, sure = np.zeros((len(points), POINTS, 2), np.float32), np.zeros((len(points), POINTS), np.float32)
    known = np.isfinite(points).all(axis=-1) & np.isfinite(scores) & (scores > 0)
    points, scores = np.where(known[..., None], points, 0), np.where(known, np.minimum(scores, 1), 0)
    to, of = list(FROM_COCO), list(FROM_COCO.values())
    out[:, to], sure[:, to] = points[:, of], scores[:, of]
    both = (scores[:, SHOULDERS] > THRESHOLD).all(axis=-1)
    out[both, NECK] = points[both][:, SHOULDERS].mean(axis=1)
    sure[both, NECK] = scores[both][:, SHOULDERS].min(axis=1)
    return out, sure


def _nearest(times: Sequence[Fraction], time: Fraction) -> int:
    after = min(bisect.bisect_left(times, time), len(times) - 1)
    return after - 1 if after and time - times[after - 1] <= times[after] - time else after


def _seconds(value: int | float | Fraction) -> Fraction:
    try:
        seconds = Fraction(value) if isinstance(value, (int, Fraction)) else Fraction(repr(float(value)))
    except (TypeError, ValueError, OverflowError):
        seconds = Fraction(-1)
    if seconds < 0:
        raise SettingsError(f"A track cannot start at {value!r}.", expected="seconds, from 0 on", got=repr(value))
    return seconds

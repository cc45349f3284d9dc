"""Where in a video the clip begins."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..video.decode import frames_from
from ..video.fit import resize
from ..video.read import VideoInfo
from .settings import PrepareSettings

BEATS_OF_A_BAR = 4
_SMALL = (64, 36)  # pixels that motion is measured in

Array = np.ndarray[Any, Any]


def choose_start(path: Path, info: VideoInfo, settings: PrepareSettings, tempo: float | None) -> Fraction:
    """The second at which ``settings.frames`` frames begin; 0 when the video is shorter than they are.

    ``info``: of the video (``probe_clip``). ``tempo``: beats a minute, for ``trim="beat"``: bars of four beats are
    counted from the video's first frame, with which AIST's music begins. Raises SettingsError for a tempo that is not
    known, and VideoError for a damaged video where it must be looked through.
    """
    if settings.trim == "start":
        return Fraction(repr(settings.offset))
    if settings.trim == "motion":
        return most_motion(motion(path, settings.rate), settings.frames) / settings.rate
    length = info.duration if info.duration is not None else _length(path)
    room = max(Fraction(0), length - settings.span - 1 / settings.rate)
    if settings.trim == "middle":
        # Whole milliseconds: a number that a person can read and type again.
        return Fraction(int(room * 500), 1000)
    if not tempo:
        raise SettingsError(
            f"The tempo of {path.name} is not known, so no bar can be found.",
            expected="an AIST name with one piece of music, or a tempo in the table",
            got="no tempo",
            remedy="Give a table with a column tempo, or choose another trim.",
        )
    return nearest_bar(room, tempo)


def nearest_bar(room: Fraction, tempo: float) -> Fraction:
    """The beginning of the bar that is nearest to the middle of ``room``, in which the clip may begin; of two the
    earlier one. ``room`` in seconds, ``tempo`` in beats a minute."""
    bar = BEATS_OF_A_BAR * 60 / Fraction(repr(float(tempo)))
    number = -((Fraction(1, 2) - room / 2 / bar) // 1)  # rounds halves down
    return Fraction(max(0, min(int(number), int(room // bar)))) * bar


def motion(path: Path, rate: Fraction) -> Array:
    """How much changes from each moment to the next, ``rate`` moments a second: float64, levels a pixel.

    The pictures are made small first, so that noise does not count. Only two of them are in memory at a time. Raises
    ``VideoError`` for a damaged video.
    """
    changes: list[float] = []
    before: Array | None = None
    moments = 0
    for frame in frames_from(path, Fraction(0)):
        if frame.time < moments / rate:
            continue
        small = resize(frame.picture(shrink=lambda _: _SMALL), _SMALL).astype(np.int16)
        # A frame that stands for several moments does not move in between.
        while moments / rate <= frame.time:
            if before is not None:
                changes.append(float(np.abs(small - before).mean()))
            before = small
            moments += 1
    return np.array(changes)


def most_motion(changes: Array, frames: int) -> int:
    """The moment at which the ``frames`` moments with the largest sum of changes begin; of equal ones the first."""
    steps = frames - 1
    if len(changes) <= steps:
        return 0
    sums = np.convolve(changes, np.ones(steps), "valid")
    # Sums of the same numbers may differ in their last bits.
    return int(np.flatnonzero(sums >= sums.max() - 1e-9)[0])


def _length(path: Path) -> Fraction:
    end = Fraction(0)
    for frame in frames_from(path, Fraction(0)):
        end = frame.end
    return end

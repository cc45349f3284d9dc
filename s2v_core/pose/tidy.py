"""Tidy a pose track: choose the person, drop what flickers, fill short gaps, and smooth without losing the beat."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import SettingsError
from . import notes
from .guard import guard
from .measure import GOOD, runs
from .people import link, select
from .settings import MAX_GAP_MS, NUMBER, SMOOTH_MS, TidySettings
from .track import BODY, PoseTrack

_ORDER = 2  # of the polynomials
_LOW = 0.4  # a mean score of the body below this is noted

Array = np.ndarray[Any, Any]


def tidy(track: PoseTrack, settings: TidySettings | None = None) -> PoseTrack:
    """The whole: identity (``link``), person (``select``), ``guard``, ``fill_gaps``, ``smooth``.

    The notes of the backend stay; each step adds its own (see ``notes``). A frame whose body scores less than 0.4 in
    the mean, or of which nothing was kept, gets "low score 0.31", one without anybody "no person found". Raises what
    ``select`` raises.
    """
    settings = settings or TidySettings()
    if track.points.shape[1] > 1:
        track = link(track)
    track = select(track, settings.person_number if settings.person == NUMBER else settings.person)
    track = _note_scores(track, guard(track) if settings.guard else track)
    return smooth(fill_gaps(track, max_gap_ms=settings.max_gap_ms), window_ms=settings.smooth_ms)


def fill_gaps(track: PoseTrack, *, max_gap_ms: float = MAX_GAP_MS) -> PoseTrack:
    """The track with points filled in that were missing for up to ``max_gap_ms`` between two frames that have them.

    A point is missing where it does not score more than 0.3 (what is drawn); a gap of n frames lasts n / fps. Filled
    points lie on a curve that passes through the found ones and never overshoots them (PCHIP: Fritsch and Butland, SIAM
    J. Sci. Stat. Comput. 5, 1984); their score is the lower one of the two at the gap's ends, and the frame gets the
    note "filled 3 points". Longer gaps, and what is missing at the clip's start and end, stay as they are. Raises
    SettingsError for a time below 0.
    """
    longest = _frames(max_gap_ms, track, "gap")
    seen = track.scores > GOOD
    points, scores = _by_point(track.points).copy(), _by_point(track.scores).copy()
    for pattern, columns in _patterns(seen):
        found = np.flatnonzero(pattern)
        gaps = [(before, after) for before, after in pairwise(found) if 1 < after - before <= longest + 1]
        if not gaps:
            continue
        from scipy.interpolate import PchipInterpolator

        curve = PchipInterpolator(found, points[np.ix_(found, columns)].astype(np.float64))
        for before, after in gaps:
            missing = np.arange(before + 1, after)
            points[np.ix_(missing, columns)] = curve(missing)
            scores[np.ix_(missing, columns)] = np.minimum(scores[before, columns], scores[after, columns])
    points, scores = points.reshape(track.points.shape), scores.reshape(track.scores.shape)
    counts = ((scores > GOOD) & ~seen).sum(axis=(1, 2))
    said = {int(t): f"filled {counts[t]} point{'s' if counts[t] > 1 else ''}" for t in np.flatnonzero(counts)}
    return replace(track, points=points, scores=scores, notes=notes.add(track.notes, said))


def smooth(track: PoseTrack, *, window_ms: float = SMOOTH_MS) -> PoseTrack:
    """The track with each point's path smoothed, x and y alike, over each run of frames that have it.

    A frame has a point that scores more than 0.3 (what is drawn): what scores less stays as it is and pulls at nothing,
    and a gap is never smoothed across. ``window_ms`` becomes the nearest odd number of frames. Over this window
    Savitzky and Golay's filter of order 2 (Analytical Chemistry 36, 1964) goes twice: around each frame a parabola is
    fitted and read off in its middle, so nothing is delayed, and steady movement, speeding up and slowing down stay as
    they are. Two short passes suppress as much noise as one long one (5 frames twice, or 7 once, leave 22% of the
    second difference of white noise) and keep more of the beat. What 300 ms (5 frames) do at 16 frames a second:

    - a swing at 60 beats a minute keeps 99.6% of its width, at 120 94%, at 150 87% (one pass of 7 frames: 87% and 73%);
    - an accent, a move of 150 ms from rest to rest, stays in its frame, keeps 65% of its top speed and overshoots by
      4%; a hit and return of 300 ms keeps 85% of its reach.

    A run shorter than the window takes the longest odd window that fits; fewer than 5 frames leave order 2 nothing to
    smooth and stay as they are, and so does the whole track where the window is that short. Scores stay. Raises
    SettingsError for a time below 0.
    """
    window = 2 * (_frames(window_ms, track, "smoothing window") // 2) + 1
    if window <= _ORDER + 1:
        return track
    from scipy.signal import savgol_filter

    points = _by_point(track.points).astype(np.float64)
    for pattern, columns in _patterns(track.scores > GOOD):
        for start, stop in runs(pattern):
            length = min(window, stop - start - (stop - start + 1) % 2)
            if length <= _ORDER + 1:
                continue
            block = points[start:stop, columns]
            for _ in range(2):
                block = savgol_filter(block, length, _ORDER, axis=0)
            points[start:stop, columns] = block
    return replace(track, points=points.reshape(track.points.shape).astype(np.float32))


def _by_point(values: Array) -> Array:
    """[T, P, 134, ...] as [T, P x 134, ...]."""
    return values.reshape(len(values), values.shape[1] * values.shape[2], *values.shape[3:])


def _patterns(seen: Array) -> Iterator[tuple[Array, Array]]:
    """Bool [T] and the columns of ``_by_point`` that are seen in just these frames; never seen ones are left out."""
    patterns, of = np.unique(_by_point(seen), axis=1, return_inverse=True)
    for index, pattern in enumerate(patterns.T):
        if pattern.any():
            yield pattern, np.flatnonzero(of.reshape(-1) == index)


def _frames(milliseconds: float, track: PoseTrack, what: str) -> int:
    if not milliseconds >= 0:
        raise SettingsError(f"A {what} cannot last {milliseconds} ms.", expected="ms from 0", got=f"{milliseconds}")
    return math.floor(milliseconds * float(track.fps) / 1000 + 1e-9)


def _note_scores(found: PoseTrack, kept: PoseTrack) -> PoseTrack:
    """``kept`` with a note where the body as it was ``found`` scores low, or nothing of it was kept."""
    body = found.scores[..., BODY]
    count = (body > 0).sum(axis=2)
    mean = np.where(count, body.sum(axis=2) / np.maximum(count, 1), np.inf).min(axis=1, initial=np.inf)
    low = np.isfinite(mean) & ((mean < _LOW) | ~kept.found)
    said = {int(t): f"low score {mean[t]:.2f}" for t in np.flatnonzero(low)}
    empty = [t for t in np.flatnonzero(~kept.found & ~low).tolist() if not kept.notes[t]]
    return replace(kept, notes=notes.add(kept.notes, {**said, **dict.fromkeys(empty, notes.NO_PERSON)}))

"""Guards against flicker: what cannot be true of a body is taken out of a track before gaps are filled.

All limits are in body parts and times, so they hold at any size and frame rate. They are wide: dancers are quick, and
a point that is dropped wrongly costs more than one that trembles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import notes
from .measure import GOOD, heights_over_time, runs
from .track import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, PoseTrack

_SURE = 0.4  # a run of points that score more than GOOD counts where one of them reaches this
_ALONE_MS = 250.0  # nothing else was found for so long before and after: alone
_SHORT_MS = 100.0  # and what is alone for less than this is a flicker
_SWAP_MS = 200.0  # from the last frame before left and right were swapped to the first one after
_SWAP = 0.08  # body heights by which each point comes nearer to its neighbours in time when it is swapped back
_PUSH = 50.0  # body heights a second squared, half of it: about nine times gravity, there and back again
_JUMP = 0.1  # body heights: no jump is less
_JUMP_FPS = 16.0  # the jumps of hands and face are for this rate or more; with less time between they may be longer
_ENOUGH = 5  # points of a hand or a face

# Left and right of the body, with the hands and feet that go with them.
_SIDES = {
    "arms": ((2, 3, 4), (5, 6, 7), (RIGHT_HAND, LEFT_HAND)),
    "legs": ((8, 9, 10), (11, 12, 13), (slice(21, 24), slice(18, 21))),
}

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Part:
    """A hand or the face, and what is too much for it, in ``unit``s: a share of the body height (Drillis and Contini).

    ``root``: its point nearest to the body; ``anchors``: points of the body, the first of which, else the mean of the
    others, it belongs to. ``far``: from root to anchor; ``large`` and ``small``: from the root to its farthest point;
    ``jump``: how far it goes against its anchor, to be back in the next frame.
    """

    kind: str
    side: str
    points: slice
    root: int
    anchors: tuple[int, ...]
    unit: float
    far: float
    large: float
    small: float
    jump: float


# Of a forearm, 0.146 of the height (a hand is 0.108), and of a head, 0.13.
_PARTS = (
    _Part("hand", "left ", LEFT_HAND, 92, (7,), 0.146, 0.5, 1.3, 0.12, 0.45),
    _Part("hand", "right ", RIGHT_HAND, 113, (4,), 0.146, 0.5, 1.3, 0.12, 0.45),
    _Part("face", "", FACE, 54, (0, 14, 15, 16, 17), 0.13, 0.6, 1.3, 0.15, 0.5),
)


def guard(track: PoseTrack) -> PoseTrack:
    """The track without what flickers: points that are dropped have score 0, and the frame's note says why.

    - Scores: a point stays through a run of scores above 0.3 (what is drawn) if one of the run reaches 0.4; so that no
      point blinks because its score wavers around the threshold.
    - Arms and legs whose left and right are swapped, and right again within 200 ms, are swapped back ("swapped back:
      arms").
    - Body and feet: a point that jumps away and back in one frame ("points dropped: 2 jumped").
    - Hands and face ("hand dropped: left far"): "far" from their wrist or nose, "large" or "small" beyond what a
      forearm or head allows, "jumped" against the body in one frame, or "sparse", with fewer than 5 points.
    - Whatever is found for less than 100 ms with nothing within 250 ms on either side ("blinked").

    With several people the note says whose: "hand dropped: left far (person 1)". Scores that stay are not changed.
    Jumps are judged by acceleration: nobody is thrown out and back with nine times gravity.
    """
    scores = track.scores.copy()
    points = np.where(scores[..., None] > 0, track.points, np.float32(0))  # what was not found may be anything
    tall = heights_over_time(track)
    noted, people, fps = track.notes, points.shape[1], float(track.fps)
    for person in range(people):
        whose = f" (person {person})" if people > 1 else ""
        for frame, text in _guard_one(points[:, person], scores[:, person], tall[:, person], fps):
            noted = notes.add(noted, {frame: text + whose})
    return replace(track, points=points, scores=scores, notes=noted)


def _guard_one(points: Array, scores: Array, tall: Array, fps: float) -> list[tuple[int, str]]:
    """Guard one person, [T, 134, 2], [T, 134] and height [T], in place. Returns (frame, note) pairs."""
    said = []
    for name, (right, left, ends) in _SIDES.items():
        for frame in _swapped(points, scores, tall, [*right, *left], [*left, *right], fps):
            ours = [*right, *_indices(ends[0]), *left, *_indices(ends[1])]
            theirs = [*left, *_indices(ends[1]), *right, *_indices(ends[0])]
            points[frame, ours], scores[frame, ours] = points[frame, theirs], scores[frame, theirs]
            said.append((frame, f"swapped back: {name}"))
    scores[_wavering(scores)] = 0
    jumped = _jumped(points, scores, tall, fps)
    scores[jumped] = 0
    said += _counted(jumped, "jumped")
    for part in _PARTS:
        for reason, frames in _faults(part, points, scores, tall, fps):
            scores[frames, part.points] = 0
            said += [(int(frame), f"{part.kind} dropped: {part.side}{reason}") for frame in np.flatnonzero(frames)]
        alone = _alone(np.asarray((scores[:, part.points] > 0).any(axis=1)), fps)
        scores[alone, part.points] = 0
        said += [(int(frame), f"{part.kind} dropped: {part.side}blinked") for frame in np.flatnonzero(alone)]
    blinked = np.zeros(scores.shape, bool)
    for point in (*_indices(BODY), *_indices(FEET)):
        blinked[:, point] = _alone(scores[:, point] > 0, fps)
    scores[blinked] = 0
    return said + _counted(blinked, "blinked")


def _swapped(points: Array, scores: Array, tall: Array, own: list[int], other: list[int], fps: float) -> Iterator[int]:
    """The frames in which these points lie where their other side's should be, while the frames around agree."""
    seen = (scores[:, own] > GOOD) & (scores[:, other] > GOOD)
    place = points.astype(np.float64)
    for length in range(1, math.floor(_SWAP_MS / 1000 * fps + 1e-9)):
        ends = len(place) - length  # of the frames before: each is followed by ``length`` frames and one after
        if ends < 2:
            return
        before, first, last, after = (slice(start, start + ends - 1) for start in (0, 1, length, length + 1))
        use = seen[before] & seen[first] & seen[last] & seen[after]
        count = use.sum(axis=1)
        earlier, later = place[before][:, own], place[after][:, own]
        kept, swapped = (
            (use * (_apart(place[first][:, at], earlier) + _apart(place[last][:, at], later))).sum(axis=1)
            / np.maximum(count, 1)
            for at in (own, other)
        )
        wrong = (count >= 4) & ((kept - swapped) / 2 > _SWAP * tall[first]) & (swapped < kept / 2)
        done = 0
        for frame in (np.flatnonzero(wrong) + 1).tolist():
            if frame <= done:
                continue
            for inner in range(frame, frame + length):
                place[inner, own] = place[inner, other]
                yield inner
            done = frame + length


def _wavering(scores: Array) -> Array:
    """Bool [T, 134]: points at or below the threshold, or in a run above it that is never sure."""
    dropped = (scores <= GOOD) & (scores > 0)
    for point in np.flatnonzero(((scores > GOOD) & (scores < _SURE)).any(axis=0)):
        for start, stop in runs(scores[:, point] > GOOD):
            if scores[start:stop, point].max() < _SURE:
                dropped[start:stop, point] = True
    return np.asarray(dropped)


def _jumped(points: Array, scores: Array, tall: Array, fps: float) -> Array:
    """Bool [T, 134]: points of body and feet that are somewhere else for one frame, too fast for a body."""
    jumped = np.zeros(scores.shape, bool)
    of = slice(BODY.start, FEET.stop)
    place, seen = points[:, of].astype(np.float64), scores[:, of] > 0
    before, here, after = place[:-2], place[1:-1], place[2:]
    away = _apart(here, (before + after) / 2)
    limit = max(_JUMP, _PUSH / fps**2) * tall[1:-1, None]
    back = _apart(before, after) * 1.5 < away
    jumped[1:-1, of] = (away > limit) & back & seen[:-2] & seen[1:-1] & seen[2:]
    return jumped


def _faults(part: _Part, points: Array, scores: Array, tall: Array, fps: float) -> list[tuple[str, Array]]:
    """What is wrong with a hand or face, each with its frames, bool [T]; a frame has one fault at most."""
    place, seen = points[:, part.points].astype(np.float64), scores[:, part.points] > 0
    present, unit = np.asarray(seen.any(axis=1)), part.unit * tall
    anchor = _anchor(part, points, scores)
    root_at = part.root - part.points.start
    # Where the root was not found, the point nearest to the anchor stands for it.
    nearest = np.nan_to_num(_apart(place, anchor[:, None]), nan=0.0)
    chosen = np.where(seen[:, root_at], root_at, np.argmin(np.where(seen, nearest, np.inf), axis=1))
    root = place[np.arange(len(place)), chosen]
    reach = np.where(seen, _apart(place, root[:, None]), 0).max(axis=1)
    faults, good = [], present
    for reason, wrong in (
        ("far", _apart(root, anchor) > part.far * unit),
        ("large", reach > part.large * unit),
        ("sparse", seen.sum(axis=1) < _ENOUGH),
        ("small", reach < part.small * unit),
    ):
        faults.append((reason, good & wrong))
        good = good & ~wrong
    against = place - anchor[:, None]
    shared = seen[:-2] & seen[1:-1] & seen[2:]
    ready = good[:-2] & good[1:-1] & good[2:] & shared.any(axis=1)
    away, apart = (
        (np.linalg.norm(step, axis=-1) * shared).sum(axis=1) / np.maximum(shared.sum(axis=1), 1)
        for step in (against[1:-1] - (against[:-2] + against[2:]) / 2, against[2:] - against[:-2])
    )
    limit = part.jump * max(1.0, (_JUMP_FPS / fps) ** 2) * unit[1:-1]
    jumped = np.zeros(len(place), bool)
    jumped[1:-1] = ready & (away > limit) & (apart < away / 2)
    return [*faults, ("jumped", jumped)]


def _anchor(part: _Part, points: Array, scores: Array) -> Array:
    """Where the part belongs, [T, 2]: its first anchor, else the mean of the others; NaN where none was found."""
    seen = scores[:, part.anchors] > 0
    place = np.where(seen[..., None], points[:, part.anchors].astype(np.float64), 0)
    count = seen[:, 1:].sum(axis=1)
    others = place[:, 1:].sum(axis=1) / np.where(count, count, np.nan)[:, None]
    return np.asarray(np.where(seen[:, :1], place[:, 0], others))


def _alone(present: Array, fps: float) -> Array:
    """Bool [T]: what is there for too short a time, with nothing around. A clip too short to know has none."""
    alone = np.zeros(len(present), bool)
    around, short = round(_ALONE_MS / 1000 * fps), _SHORT_MS / 1000 * fps
    if len(present) <= around:
        return alone
    found = runs(present)
    for index, (start, stop) in enumerate(found):
        before = found[index - 1][1] if index else -around
        after = found[index + 1][0] if index + 1 < len(found) else len(present) + around
        if stop - start < short and start - before >= around and after - stop >= around:
            alone[start:stop] = True
    return alone


def _apart(here: Array, there: Array) -> Array:
    return np.asarray(np.linalg.norm(here - there, axis=-1))


def _counted(dropped: Array, reason: str) -> list[tuple[int, str]]:
    counts = dropped.sum(axis=1)
    return [(int(frame), f"points dropped: {counts[frame]} {reason}") for frame in np.flatnonzero(counts)]


def _indices(points: slice) -> range:
    return range(points.start, points.stop)

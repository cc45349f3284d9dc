"""Who is who over time: the most likely set of paths through the people that were found frame by frame.

Each frame's people are tied to those before by their distance from where these should be now: the pose last seen,
moved at a constant velocity. A choice that looks best in one frame can be wrong (two dancers at the same place, one
hidden by the other), so several histories are carried along until later frames tell them apart: multiple hypothesis
tracking (Reid, "An algorithm for tracking multiple targets", IEEE TAC 24, 1979), as a beam search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from .measure import heights
from .track import BODY, PoseTrack

# How much each point of the body says about where somebody is: hands and feet are quick, head and trunk are not.
_WEIGHTS = np.array([1, 1, 1, 0.6, 0.3, 1, 0.6, 0.3, 1, 0.6, 0.3, 1, 0.6, 0.3, 0.5, 0.5, 0.5, 0.5])
# Distances and costs are in body heights, times in seconds.
_REACH, _REACH_SPEED, _REACH_MAX = 0.35, 1.0, 1.0  # how far from where expected: at once, more by time, at most
_FAR = 2.0  # no point counts as further than this: one point gone astray does not decide
_MEMORY = 0.25  # a velocity is measured over this time; to look further ahead, over as long a time before
_STILL = 0.15  # that somebody stood still instead of going on costs this much
_RETURN, _RETURN_SPEED = 0.05, 0.03  # that somebody was not found: at once, more by time
_SIZE = 0.3  # that somebody is e times another size
_NEW = 1.0  # that somebody is new
_BEAM, _BEHIND = 24, 1.0  # histories that are carried along, and how much worse than the best they may be
_WAYS = 100  # to go on from one history, looked at
_DOUBT = 0.3  # of two ways to go on, the one that costs more than this above the other is not followed
_SAME = 0.03  # two people closer than this, in the mean of their points, are one, found twice

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Spot:
    """Somebody in one frame: ``body`` [18, 2], its ``weights`` [18], the ``centre`` [2] of all points, ``height``."""

    frame: int
    slot: int
    time: float
    body: Array
    weights: Array
    centre: Array
    height: float


@dataclass(frozen=True, eq=False)
class _Step:
    """A spot on somebody's path, with their usual ``height`` in pixels.

    ``tail``: the last three spots. Two steps that share them are taken to be as good for all that follows.
    """

    spot: Spot
    before: _Step | None
    height: float
    tail: tuple[Spot, ...]


@dataclass(frozen=True, eq=False)
class _History:
    """One way to explain all frames so far: its cost, who may still come (their last steps), and who will not."""

    cost: float
    here: tuple[_Step, ...]
    gone: tuple[_Step, ...]


def spots_of(track: PoseTrack) -> tuple[list[list[Spot]], set[int]]:
    """Everybody in every frame, in an order that the slots do not decide; and the frames with somebody found twice.

    Of two that are the same the one with the higher scores is kept.
    """
    tall = heights(track.points, track.scores)
    usual = float(np.nanmedian(tall)) if np.isfinite(tall).any() else float(track.canvas[0])
    tall = np.maximum(np.where(np.isfinite(tall), tall, usual), 1.0)
    everybody, doubled = [], set()
    for t in range(len(track)):
        found = []
        for slot in np.flatnonzero((track.scores[t] > 0).any(axis=1)):
            points, scores = track.points[t, slot], track.scores[t, slot]
            weights = np.maximum(scores[BODY], 0) * _WEIGHTS
            body = np.where(weights[:, None] > 0, points[BODY], 0.0)
            centre = np.average(points[scores > 0], axis=0, weights=scores[scores > 0])
            rank = (-float(scores.sum(dtype=np.float64)), points.tobytes(), scores.tobytes())
            spot = Spot(t, int(slot), float(t / track.fps), body, weights, centre, float(tall[t, slot]))
            found.append((rank, spot))
        kept: list[Spot] = []
        for _, spot in sorted(found, key=lambda entry: entry[0]):
            if kept and _double(kept, spot):
                doubled.add(t)
            else:
                kept.append(spot)
        everybody.append(kept)
    return everybody, doubled


def likeliest_paths(everybody: list[list[Spot]], away: float) -> list[list[Spot]]:
    """The spots of each person in the order of time, no two of which are more than ``away`` seconds apart."""
    histories = [_History(0.0, (), ())]
    for found in everybody:
        if found:
            histories = _go_on(histories, found, away)
    best = min(histories, key=lambda history: history.cost)
    return [[step.spot for step in _back(last)][::-1] for last in (*best.here, *best.gone)]


def _go_on(histories: list[_History], found: list[Spot], away: float) -> list[_History]:
    """Every history that is worth following, one frame longer."""
    now = found[0].time
    steps = list(dict.fromkeys(step for history in histories for step in history.here if _within(step, now, away)))
    row_of = {step: row for row, step in enumerate(steps)}
    costs = _costs(steps, found)
    made: dict[tuple[_Step | None, int], _Step] = {}
    longer: dict[frozenset[tuple[Spot, ...]], _History] = {}
    for history in histories:
        here = [step for step in history.here if step in row_of]
        gone = (*history.gone, *(step for step in history.here if step not in row_of))
        for cost, rows in _assignments(costs[[row_of[step] for step in here]]):
            new = []
            for column, row in enumerate(rows):
                key = (here[row] if row < len(here) else None, column)
                if key not in made:
                    made[key] = _step(found[column], key[0])
                new.append(made[key])
            waiting = [step for row, step in enumerate(here) if row not in rows]
            candidate = _History(history.cost + cost, (*new, *waiting), gone)
            state = frozenset(step.tail for step in candidate.here)
            if state not in longer or candidate.cost < longer[state].cost:
                longer[state] = candidate
    ranked = sorted(longer.values(), key=lambda history: history.cost)[:_BEAM]
    return [history for history in ranked if history.cost <= ranked[0].cost + _BEHIND]


def _assignments(costs: Array) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Ways to say who is who: total cost, and for each column its row, or a number from len(costs) for somebody new.

    The best comes first; another is given when each of its choices and their sum cost little more.
    """
    people, found = costs.shape
    whole = np.full((people + found, found), np.inf)
    whole[:people] = costs
    whole[range(people, people + found), range(found)] = _NEW
    chosen, columns = linear_sum_assignment(np.minimum(whole, 1e6))
    best = np.empty(found, int)
    best[columns] = chosen
    least = whole[best, range(found)]
    yield float(least.sum()), tuple(map(int, best))
    near = whole <= least + _DOUBT
    choices = [
        sorted((float(whole[row, column]), int(row)) for row in np.flatnonzero(near[:, column]))
        for column in range(found)
    ]
    if all(len(choice) == 1 for choice in choices):
        return
    most = float(least.sum()) + _BEHIND
    rest = np.append(np.cumsum([choice[0][0] for choice in choices][::-1])[::-1], 0.0)

    def walk(column: int, cost: float, rows: tuple[int, ...]) -> Iterator[tuple[float, tuple[int, ...]]]:
        if cost + rest[column] > most:
            return
        if column == found:
            yield cost, rows
            return
        for more, row in choices[column]:
            if row not in rows:
                yield from walk(column + 1, cost + more, (*rows, row))

    yield from islice(walk(0, 0.0, ()), _WAYS)


def _costs(steps: list[_Step], found: list[Spot]) -> Array:
    """float64 [steps, found]: the cost of each spot being the next on each path; infinite where it is out of reach."""
    if not steps:
        return np.empty((0, len(found)))
    last = [step.spot for step in steps]
    gap = found[0].time - np.array([spot.time for spot in last])
    shift = np.stack([_velocity(step, max(_MEMORY, time)) * time for step, time in zip(steps, gap, strict=True)])
    tall, seen_tall = np.array([step.height for step in steps]), np.array([spot.height for spot in found])
    moved = _distances(last, found, shift, tall)
    still = _distances(last, found, np.zeros_like(shift), tall) + _STILL
    off = np.minimum(moved, still)
    frames = found[0].frame - np.array([spot.frame for spot in last])
    cost = off + np.where(frames > 1, _RETURN + _RETURN_SPEED * gap, 0.0)[:, None]
    cost += _SIZE * np.abs(np.log(tall[:, None] / seen_tall))
    reach = np.minimum(_REACH + _REACH_SPEED * gap, _REACH_MAX)
    return np.asarray(np.where(off <= reach[:, None], cost, np.inf))


def _distances(last: list[Spot], found: list[Spot], shift: Array, tall: Array) -> Array:
    """float64 [last, found]: mean distance, in heights, of the points that both have, else of the centres."""
    size = (tall[:, None] + np.array([spot.height for spot in found])) / 2
    ahead = np.stack([spot.body for spot in last]) + shift[:, None]
    apart = np.linalg.norm(ahead[:, None] - np.stack([spot.body for spot in found]), axis=-1)
    weights = np.minimum(np.stack([spot.weights for spot in last])[:, None], np.stack([spot.weights for spot in found]))
    total = weights.sum(axis=-1)
    mean = (np.minimum(apart / size[..., None], _FAR) * weights).sum(axis=-1) / np.where(total > 0, total, 1)
    centres = np.stack([spot.centre for spot in last]) + shift
    middle = np.linalg.norm(centres[:, None] - np.stack([spot.centre for spot in found]), axis=-1) / size
    return np.asarray(np.where(total > 0, mean, np.minimum(middle, _FAR)))


def _step(spot: Spot, before: _Step | None) -> _Step:
    recent = [spot.height, *(step.spot.height for step in islice(_back(before), 4))]
    return _Step(spot, before, median(recent), (*(before.tail[-2:] if before else ()), spot))


def _velocity(step: _Step, time: float) -> Array:
    """Pixels a second [2], as the median of the points moved over the last ``time`` seconds, or since the last spot."""
    last = first = step.spot
    for earlier in _back(step.before):
        if first is not last and last.time - earlier.spot.time > time + 1e-9:
            break
        first = earlier.spot
    if first is last:
        return np.zeros(2)
    both = np.minimum(last.weights, first.weights) > 0
    moved = np.median((last.body - first.body)[both], axis=0) if both.any() else last.centre - first.centre
    return np.asarray(moved / (last.time - first.time))


def _back(step: _Step | None) -> Iterator[_Step]:
    while step is not None:
        yield step
        step = step.before


def _within(step: _Step, now: float, away: float) -> bool:
    return now - step.spot.time <= away + 1e-9


def _double(kept: list[Spot], spot: Spot) -> bool:
    shared = np.array([(np.minimum(other.weights, spot.weights) > 0).sum() for other in kept])
    tall = np.array([other.height for other in kept])
    apart = _distances(kept, [spot], np.zeros((len(kept), 2)), tall)[:, 0]
    return bool(((shared >= 5) & (apart < _SAME)).any())

"""The people of a pose track: who is who over time, and whom to keep."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from ..errors import SettingsError
from . import notes
from .identity import Spot, likeliest_paths, spots_of
from .measure import GOOD
from .settings import RULES
from .track import POINTS, PoseTrack

MAX_AWAY_MS = 5000.0  # somebody gone for longer is somebody new

Array = np.ndarray[Any, Any]


def link(track: PoseTrack, *, max_away_ms: float = MAX_AWAY_MS) -> PoseTrack:
    """The track with each slot one person throughout; people keep their points and scores as they came.

    A slot with score 0 everywhere is nobody. Whoever was away for up to ``max_away_ms`` milliseconds comes back to
    their slot, when they come back near where they left or were going. Slots are ordered by the number of frames in
    which somebody was found, most first; then whoever came first; then from the left. P becomes the number of people,
    at least 1. One person found twice in a frame is kept once (a note says "duplicate dropped"); a frame with several
    people gets the note "2 people". The order of the slots that came in changes nothing. Raises SettingsError for a
    time below 0.

    Crossings are decided by place, pose, size and movement. What no net can see stays unknown: somebody who turns back
    while hidden behind somebody else of the same size and pose is taken for one who went on.
    """
    if not max_away_ms >= 0:
        raise SettingsError("People cannot be away for this time.", expected="ms from 0", got=f"{max_away_ms}")
    everybody, doubled = spots_of(track)
    longest = max_away_ms / 1000 + 1 / float(track.fps)  # from the last frame with somebody to the next
    paths = sorted(likeliest_paths(everybody, longest), key=_rank)
    frames = len(track)
    points = np.zeros((frames, max(1, len(paths)), POINTS, 2), np.float32)
    scores = np.zeros((frames, max(1, len(paths)), POINTS), np.float32)
    for slot, path in enumerate(paths):
        at, of = np.array([spot.frame for spot in path]), np.array([spot.slot for spot in path])
        points[at, slot], scores[at, slot] = track.points[at, of], track.scores[at, of]
    said = notes.add(track.notes, dict.fromkeys(sorted(doubled), notes.DUPLICATE))
    said = notes.add(said, {t: f"{len(found)} people" for t, found in enumerate(everybody) if len(found) > 1})
    return replace(track, points=points, scores=scores, notes=said)


def select(track: PoseTrack, rule: str | int = "all") -> PoseTrack:
    """The track of one person (P = 1), or of all.

    ``rule``: "all"; "largest": the largest box around the points that score more than 0.3; "central": the box nearest
    to the middle of the canvas; "longest": found in most frames; or a slot, from 0. Size and place are means over the
    whole clip, in which a frame without the person counts as size 0 and as the corner of the canvas: somebody who
    passes by close to the camera is not the dancer. Frames without the chosen person get the note "no person found".

    Raises SettingsError when there is nobody to choose, or no such rule or slot.
    """
    if rule == "all":
        return track
    present = np.asarray((track.scores > 0).any(axis=2))
    if isinstance(rule, str) and rule not in RULES:
        raise SettingsError(
            f"There is no rule {rule!r} to choose a person by.",
            expected=f"{', '.join(RULES)}, or a number from 0",
            got=repr(rule),
        )
    people = np.flatnonzero(present.any(axis=0))
    if people.size == 0:
        raise SettingsError(
            "There is nobody to choose in this pose track.",
            expected="somebody with points in at least one frame",
            got=f"nobody in {len(track)} frames",
            remedy="Look at the notes of the extraction; a larger, brighter or longer clip may help.",
        )
    if isinstance(rule, str):
        chosen = int(people[np.argmax(_worth(track, rule, present)[people])])
    elif isinstance(rule, Integral) and not isinstance(rule, bool) and rule in people:
        chosen = int(rule)
    else:
        raise SettingsError(
            f"There is no person {rule} in this pose track.",
            expected=f"one of {', '.join(map(str, people))}",
            got=str(rule),
            remedy="People are numbered from 0, the one found in most frames first.",
        )
    absent = {int(t): notes.NO_PERSON for t in np.flatnonzero(~present[:, chosen])}
    return replace(
        track,
        points=track.points[:, chosen : chosen + 1],
        scores=track.scores[:, chosen : chosen + 1],
        notes=notes.add(track.notes, absent),
    )


def _worth(track: PoseTrack, rule: str, present: Array) -> Array:
    """float [P]: the higher the better."""
    if rule == "longest":
        return np.asarray(present.sum(axis=0))
    good = track.scores > GOOD
    seen = np.asarray(good.any(axis=2))
    low = np.where(seen[..., None], np.where(good[..., None], track.points, np.inf).min(axis=2), 0)
    high = np.where(seen[..., None], np.where(good[..., None], track.points, -np.inf).max(axis=2), 0)
    if rule == "largest":
        return np.asarray(np.prod(high - low, axis=-1).mean(axis=0))
    middle = np.array([track.canvas[1] / 2, track.canvas[0] / 2])
    away = np.linalg.norm((low + high) / 2 - middle, axis=-1)
    return np.asarray(-np.where(seen, away, np.linalg.norm(middle)).mean(axis=0))


def _rank(path: list[Spot]) -> tuple[float, ...]:
    first = path[0]
    return (-len(path), first.frame, *map(float, first.centre))

"""Pose tracks as OpenPose's keypoints and back: the ``POSE_KEYPOINT`` socket and the dicts that JSON files hold.

A frame is a dict with ``people``; each has its points as flat lists x, y, confidence (OpenPose, doc/02_output.md).
comfyui_controlnet_aux adds ``canvas_width`` and ``canvas_height``, has 18 points for a body and 70 for a face (68 and
the eyes), writes None for what is absent, and drops every point whose confidence is below 1. So that nothing is lost on
the way through it, what is shown gets the confidence 1 there, and the key "skeleton2video", which no other program
reads, holds the true scores. ``openpose_file.py`` reads and writes the files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import SettingsError
from .draw import THRESHOLD
from .track import BODY, FACE, FEET, LEFT_HAND, POINTS, RIGHT_HAND, PoseTrack, as_fps

MARK, MARK_VERSION = "skeleton2video", 1
SOCKET = "POSE_KEYPOINT"
PARTS = {
    "pose_keypoints_2d": BODY,
    "face_keypoints_2d": FACE,
    "hand_left_keypoints_2d": LEFT_HAND,
    "hand_right_keypoints_2d": RIGHT_HAND,
    "foot_keypoints_2d": FEET,
}
BODY_KEY, FACE_KEY, *HAND_KEYS, FOOT_KEY = PARTS
# BODY_25's points in our layout (OpenPose, include/openpose/pose/poseParameters.hpp). Its 8 is the middle of the hips.
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, None, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)
EYES = [14, 15]
_COUNTS = {BODY_KEY: (18, 25), HAND_KEYS[0]: (21,), HAND_KEYS[1]: (21,), FOOT_KEY: (6,)}
# 71: OpenPose's face net as that pack runs it, background included; it leaves out what it does not find, so that any
# other number says nothing about which points these are.
_FACES = (68, 70, 71)
_MOST_PEOPLE = 1024

Array = np.ndarray[Any, Any]


def to_pose_keypoint(track: PoseTrack, *, threshold: float = THRESHOLD) -> list[dict[str, Any]]:
    """The track as the value of a ``POSE_KEYPOINT`` socket: one dict a frame, in pixels, made for JSON.

    Points that score more than ``threshold`` have the confidence 1.0, all others are 0, 0, 0, as comfyui_controlnet_aux
    writes them; a face or a hand without any is None. People who are not in a frame are left out of it. Feet, when
    there are any, are in ``foot_keypoints_2d``. ``from_pose_keypoint`` gives the same track back: the same numbers for
    all points that score more than 0.
    """
    points, scores = _known(track)
    shown = scores.astype(np.float32) > threshold  # in single precision, like the drawing
    triples = np.where(shown[..., None], np.concatenate([points, np.ones_like(scores)[..., None]], axis=-1), 0.0)
    frames = []
    for index in range(len(track)):
        people = []
        for who in np.flatnonzero((scores[index] > 0).any(axis=-1)).tolist():
            person = _person(triples[index, who], shown[index, who], who)
            hidden = (scores[index, who] > 0) & ~shown[index, who]
            person[MARK] = {
                "scores": scores[index, who].tolist(),
                "hidden": [[at, *points[index, who, at].tolist()] for at in np.flatnonzero(hidden).tolist()],
                "small": _small(person),
            }
            people.append(person)
        frames.append(_frame(track, index, people))
    return frames


def to_body_25(track: PoseTrack) -> list[dict[str, Any]]:
    """The track as OpenPose's own files have it: one dict a frame, BODY_25 points with their scores as confidences.

    The middle of the hips is added. The canvas, the rate and the notes, for which OpenPose has no place, are in keys of
    their own; ``from_pose_keypoint`` gives the same track back.
    """
    points, scores = _known(track)
    triples = np.concatenate([points, scores[..., None]], axis=-1)
    order = [0 if at is None else at for at in BODY_25]
    frames = []
    for index in range(len(track)):
        people = []
        for who in np.flatnonzero((scores[index] > 0).any(axis=-1)).tolist():
            own = triples[index, who]
            person = _person(own, own[:, 2] > 0, who, absent=[])
            body = own[order]
            hips = own[[8, 11]]
            body[BODY_25.index(None)] = (*hips[:, :2].mean(axis=0), hips[:, 2].min()) if hips[:, 2].all() else 0
            person[BODY_KEY] = body.ravel().tolist()
            person.pop(FOOT_KEY, None)
            person |= {key.replace("_2d", "_3d"): [] for key in PARTS if key != FOOT_KEY}
            if small := _small(person):
                person[MARK] = {"small": small}
            people.append(person)
        frames.append({"version": 1.3, **_frame(track, index, people)})
    return frames


def from_pose_keypoint(
    value: Any,
    fps: int | float | Fraction | None = None,
    *,
    canvas: tuple[int, int] | None = None,
    where: str = SOCKET,
    names: Sequence[str] = (),
) -> PoseTrack:
    """The track in ``value``: a frame's dict or a list of them, as nodes hand them on and JSON files hold them.

    Takes what comfyui_controlnet_aux and OpenPose make and what ``to_pose_keypoint`` and ``to_body_25`` made: bodies of
    18 or 25 points, faces of 68, 70 or 71, hands of 21, feet of 6; absent parts as None, [] or no key; flat lists or
    lists of [x, y, confidence]; pixels, or parts of the canvas from 0 to 1 (told list by list: no point that is there
    goes beyond 2). Points with a confidence of 0, and with numbers that are not finite, are not there. Animals, and
    faces of any other number, are left out, and the frame's note says so.

    Who is who: by ``person_id`` where every person of a frame has one of their own, otherwise by place in the list.

    ``fps``: frames a second; None takes the rate that this project wrote beside the points. ``canvas``: (height, width)
    where the frames do not name theirs. ``where`` and ``names``: what errors call the value and each frame. Raises
    SettingsError that names the place, what was expected and what came. The value is not changed.
    """
    frames = [value] if isinstance(value, Mapping) else value
    if not isinstance(frames, (list, tuple)) or not frames:
        raise _fault(where, "", "a list of frames, each with people, or one frame", _kind(value))
    names = names or [f"frame {index}" for index in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        if not isinstance(frame, Mapping) or not ({"people", "animals"} & set(frame)):
            came = f"the keys {_short(', '.join(map(str, frame)))}" if isinstance(frame, Mapping) else _kind(frame)
            raise _fault(where, name, 'a dict with "people"', came)
    marks = [_mark(frame) for frame in frames]
    size = _canvas(frames, canvas, where, names)
    read = [
        [
            _read_person(person, size, mark, f"{name}, people[{place}]", where)
            for place, person in enumerate(_people(frame, name, where))
        ]
        for name, frame, mark in zip(names, frames, marks, strict=True)
    ]
    slots, count = _slots(frames, marks)
    points = np.zeros((len(frames), count, POINTS, 2), np.float32)
    scores = np.zeros((len(frames), count, POINTS), np.float32)
    notes = []
    for index, (frame, mark) in enumerate(zip(frames, marks, strict=True)):
        remarks = [str(mark["note"])] if mark.get("note") else []
        if frame.get("animals"):
            remarks.append("animals are left out")
        for slot, (where_they_are, how_sure, remark) in zip(slots[index], read[index], strict=True):
            points[index, slot], scores[index, slot] = where_they_are, how_sure
            remarks += [remark] if remark else []
        if not mark and not scores[index].any():
            remarks.append("no person found")
        notes.append("; ".join(remarks))
    rate = as_fps(fps) if fps is not None else _rate_of(marks, where)
    return PoseTrack(points, scores, size, rate, str(marks[0].get("backend") or where), tuple(notes))


def _known(track: PoseTrack) -> tuple[Array, Array]:
    """Points and scores in double precision (the numbers of JSON), all 0 where a point was not found."""
    points, scores = track.points.astype(np.float64), track.scores.astype(np.float64)
    known = np.isfinite(points).all(axis=-1) & np.isfinite(scores) & (scores > 0)
    return np.where(known[..., None], points, 0.0), np.where(known, scores, 0.0)


def _person(triples: Array, there: Array, who: int, absent: Any = None) -> dict[str, Any]:
    """A person's lists; the body is always one, because readers take its first number without a look."""
    person: dict[str, Any] = {"person_id": [who]}
    for key, part in PARTS.items():
        own = triples[part]
        if key == FACE_KEY:
            own = np.concatenate([own, triples[EYES]])
        if key == BODY_KEY or there[part].any():
            person[key] = own.ravel().tolist()
        elif key != FOOT_KEY:
            person[key] = absent
    return person


def _small(person: dict[str, Any]) -> list[str]:
    """The lists whose pixels look like parts of the canvas."""
    return [key for key in PARTS if person.get(key) and _looks_relative(np.reshape(person[key], (-1, 3)))]


def _frame(track: PoseTrack, index: int, people: list[dict[str, Any]]) -> dict[str, Any]:
    height, width = (int(side) for side in track.canvas)
    return {
        "people": people,
        "canvas_height": height,
        "canvas_width": width,
        MARK: {
            "version": MARK_VERSION,
            "canvas": [height, width],
            "people": int(track.points.shape[1]),
            "fps": str(track.fps),
            "backend": track.backend,
            "note": track.notes[index],
        },
    }


def _mark(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    """What this project wrote beside a frame's points; empty when it is of another program or of another version."""
    mark = frame.get(MARK)
    return mark if isinstance(mark, Mapping) and mark.get("version") == MARK_VERSION else {}


def _people(frame: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    people = frame.get("people")
    if people is not None and not isinstance(people, (list, tuple)):
        raise _fault(where, f"{name}, people", "a list of people", _kind(people))
    return people or []


def _canvas(
    frames: Sequence[Mapping[str, Any]], given: tuple[int, int] | None, where: str, names: Sequence[str]
) -> tuple[int, int]:
    sizes = []
    for name, frame in zip(names, frames, strict=True):
        named = frame.get("canvas_height"), frame.get("canvas_width")
        if named == (None, None):
            if given is None:
                remedy = "Say how large the pictures are that the points were found in."
                raise _fault(where, name, "canvas_width and canvas_height", "neither", remedy)
            named = given
        height, width = (_side(side) for side in named)
        if height is None or width is None:
            got = " x ".join(_kind(side) for side in named[::-1])
            raise _fault(where, name, "canvas_width and canvas_height in whole pixels", got)
        sizes.append((height, width))
        if sizes[-1] != sizes[0]:
            expected = f"a canvas of {sizes[0][1]} x {sizes[0][0]} as in {names[0]}"
            remedy = "Bring the frames to one size before their poses are found."
            raise _fault(where, name, expected, f"{width} x {height}", remedy)
    return sizes[0]


def _side(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) and 1 <= number <= 1 << 20 else None


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(float(value)) else None
        except OverflowError:
            return None
    return None


def _read_person(
    person: Any, canvas: tuple[int, int], mark: Mapping[str, Any], place: str, where: str
) -> tuple[Array, Array, str]:
    """Points [134, 2], scores [134] and a remark."""
    if not isinstance(person, Mapping):
        raise _fault(where, place, "a dict of keypoint lists", _kind(person))
    own = person.get(MARK) if mark else None
    own = own if isinstance(own, Mapping) else {}
    small = own["small"] if isinstance(own.get("small"), list) else []
    triples = np.zeros((POINTS, 3))
    remark = ""
    for key, part in PARTS.items():
        found = _triples(person.get(key), f"{place}.{key}", where)
        if found is None:
            continue
        if key == FACE_KEY and len(found) not in _FACES:
            remark = f"a face of {len(found)} points is left out"
            continue
        if key in _COUNTS and len(found) not in _COUNTS[key]:
            counts = " or ".join(f"{count} points ({3 * count} numbers)" for count in _COUNTS[key])
            raise _fault(where, f"{place}.{key}", counts, f"{len(found)} points")
        found = np.where(np.isfinite(found).all(axis=-1, keepdims=True) & (found[:, 2:] > 0), found, 0.0)
        if not found.any():
            continue
        if _looks_relative(found) and key not in small:
            found = _to_pixels(found, canvas, is_body=key == BODY_KEY)
        if key == BODY_KEY and len(found) == len(BODY_25):
            for at, point in zip(BODY_25, found, strict=True):
                if at is not None:
                    triples[at] = point
        else:
            triples[part] = found[: part.stop - part.start]
    return (*_with_true_scores(triples, own, canvas, mark, f"{place}.{MARK}", where), remark)


def _triples(value: Any, place: str, where: str) -> Array | None:
    """[N, 3] out of a flat list or a list of triples; None when there is nothing."""
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return None
    expected = "numbers x, y, confidence, one point after the other"
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise _fault(where, place, expected, _kind(value))
    try:
        numbers = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise _fault(where, place, expected, "lists of different lengths") from None
    if numbers.dtype.kind not in "iuf":
        odd = next((entry for entry in value if _number(entry) is None), value)
        raise _fault(where, place, expected, _kind(odd))
    if numbers.ndim == 1 and numbers.size % 3 == 0:
        return numbers.reshape(-1, 3).astype(np.float64)
    if numbers.ndim == 2 and numbers.shape[1] == 3:
        return numbers.astype(np.float64)
    came = f"{numbers.size} numbers" if numbers.ndim == 1 else f"numbers of shape {list(numbers.shape)}"
    raise _fault(where, place, expected, came)


def _looks_relative(triples: Array) -> bool:
    """Whether these are parts of a canvas and not pixels. DWPose's points may lie some way outside of the picture."""
    seen = triples[triples[:, 2] > 0, :2]
    return bool(len(seen) and seen.min() >= -1 and seen.max() <= 2)


def _to_pixels(triples: Array, canvas: tuple[int, int], is_body: bool) -> Array:
    if not is_body:
        # The pack's OpenPose gives -1 pixel for what its hand and face nets do not find, with the confidence 1.
        triples = np.where((triples[:, :2] < 0).all(axis=1, keepdims=True), 0.0, triples)
    return triples * (canvas[1], canvas[0], 1)


def _with_true_scores(
    triples: Array, own: Mapping[str, Any], canvas: tuple[int, int], mark: Mapping[str, Any], place: str, where: str
) -> tuple[Array, Array]:
    """Points and scores in single precision. What other programs changed since counts more than what was noted."""
    points, scores = triples[:, :2].copy(), triples[:, 2].copy()
    if "scores" in own:
        (true,) = _rows([own["scores"]], POINTS, f"{place}.scores", f"{POINTS} numbers", where)
        scores = np.where((scores == 1) & (true > 0), true, scores)
        hidden = _rows(own.get("hidden", []), 3, f"{place}.hidden", "[number of the point, x, y]", where)
        for at, x, y in hidden if mark.get("canvas") == list(canvas) else ():  # the rest was moved to another canvas
            if at in range(POINTS) and triples[int(at), 2] == 0:
                points[int(at)], scores[int(at)] = (x, y), true[int(at)]
    with np.errstate(over="ignore", under="ignore"):
        small, sure = points.astype(np.float32), scores.astype(np.float32)
    there = np.isfinite(small).all(axis=-1) & np.isfinite(sure) & (sure > 0)
    return np.where(there[:, None], small, np.float32(0)), np.where(there, sure, np.float32(0))


def _rows(value: Any, length: int, place: str, expected: str, where: str) -> Array:
    """[N, length] numbers out of lists that this project wrote."""
    rows = value if isinstance(value, list) else [None]
    numbers = [[_number(entry) for entry in row] if isinstance(row, list) else [] for row in rows]
    if any(len(row) != length or None in row for row in numbers):
        raise _fault(where, place, expected, "something else")
    return np.array(numbers, np.float64).reshape(-1, length)


def _slots(frames: Sequence[Mapping[str, Any]], marks: Sequence[Mapping[str, Any]]) -> tuple[list[list[int]], int]:
    """For every frame the places of its people in the track, and how many places the track has."""
    ids = [[_id(person) for person in frame.get("people") or []] for frame in frames]
    named = all(None not in own and len(set(own)) == len(own) for own in ids)
    if not named:
        return [list(range(len(own))) for own in ids], max(map(len, ids))
    known = sorted({who for own in ids for who in own if who is not None})
    wanted = [mark.get("people") for mark in marks]
    most = max((count for count in wanted if isinstance(count, int)), default=-1)
    if all(marks) and most <= _MOST_PEOPLE and (not known or known[-1] < most):
        return [[who for who in own if who is not None] for own in ids], max(most, 0)
    place = {who: slot for slot, who in enumerate(known)}
    return [[place[who] for who in own if who is not None] for own in ids], len(known)


def _id(person: Mapping[str, Any]) -> int | None:
    """A person's number; OpenPose writes [-1] when it does not track people."""
    value = person.get("person_id")
    value = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _rate_of(marks: Sequence[Mapping[str, Any]], where: str) -> Fraction:
    said = {str(mark.get("fps", "")) for mark in marks}
    rate = re.fullmatch(r"(\d{1,18})(?:/(\d{1,18}))?", said.pop()) if len(said) == 1 else None
    if rate is None or not int(rate[2] or 1):
        expected, got = "its frame rate", "no rate, or several" if said else "no rate: other programs write none"
        raise _fault(where, "", expected, got, "Say how many frames a second these are.")
    return as_fps(Fraction(int(rate[1]), int(rate[2] or 1)))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    """A short name of what came."""
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 64):
        return repr(value)
    if isinstance(value, str):
        return f"the text {_short(value)!r}"
    if isinstance(value, (list, tuple)):
        return "an empty list" if not value else f"a list of {len(value)}"
    return "a dict" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _fault(where: str, place: str, expected: str, got: str, remedy: str = "") -> SettingsError:
    return SettingsError(
        f"{where} holds no pose that can be read{f' ({place})' if place else ''}.",
        expected=expected,
        got=got,
        remedy=remedy,
    )

"""BlazePose: one person's body, hands and face in every frame, found by MediaPipe's own nets on LiteRT.

The body's points say where to look for the hands and the face (blaze_body, blaze_hands, blaze_face). What they find is
put into DWPose's layout, so that it is drawn and used like DWPose's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from ..errors import Interrupted
from ..litert import LiteRTNet
from ..models import (
    BLAZEPOSE,
    BLAZEPOSE_FACE,
    BLAZEPOSE_HANDS,
    ModelFile,
    find_model,
    require_model,
)
from ..video.clip import Clip
from .blaze_body import BodyTracker
from .blaze_face import BODY_POINTS, MESH_OF_FACE, FaceNets, FaceTracker
from .blaze_hands import HandNets, HandTracker, one_of_each
from .blaze_roi import Array
from .track import FACE, LEFT_HAND, POINTS, RIGHT_HAND, PoseTrack

_NECK_MIN = 0.3  # DWPose's threshold for both shoulders
_log = logging.getLogger(__name__)

# DWPose's index of each point that BlazePose has. Its order of the feet is big toe, small toe, heel, left then right;
# BlazePose's "foot index" is the tip of the foot, taken as the big toe. It has no small toe.
FROM_BLAZEPOSE = {
    0: 0,  # nose
    2: 12, 3: 14, 4: 16,  # right shoulder, elbow, wrist
    5: 11, 6: 13, 7: 15,  # left shoulder, elbow, wrist
    8: 24, 9: 26, 10: 28,  # right hip, knee, ankle
    11: 23, 12: 25, 13: 27,  # left hip, knee, ankle
    14: 5, 15: 2, 16: 8, 17: 7,  # right eye, left eye, right ear, left ear
    18: 31, 20: 29,  # left big toe, heel
    21: 32, 23: 30,  # right big toe, heel
}  # fmt: skip
_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5
_HAND_POINTS = ((15, 17, 19), (16, 18, 20))  # BlazePose's wrist, little finger and index: left, right


def extract_blazepose(
    clip: Clip,
    *,
    hands: bool | None = None,
    face: bool | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> PoseTrack:
    """Find one person's points in every frame; the track has P = 1 and the clip's canvas and rate.

    ``hands``, ``face``: whether to look for them; None means: if their nets are in the model folders. The track's
    backend says which nets ran, for example "blazepose body+hands+face (litert, cpu)", and which are missing.

    The points' layout is DWPose's 134: FROM_BLAZEPOSE says which of body and feet are filled, hands have MediaPipe's
    order (it is OpenPose's), MESH_OF_FACE says what the 68 points of the face are. Scores of the body are visibility x
    presence; those of a hand or the face are what its net believes that it is there, and 0 when that is below 0.5. A
    frame without points has a note: "no person found", or "low score 0.31" when the second net did not believe the
    first.

    ``on_progress(frames done, frames in all)``; ``should_stop`` is asked before every frame. ``threads``: of LiteRT;
    None means ``default_threads()``.

    Raises ModelFileError (a net is missing or damaged), MissingPackageError (no LiteRT) and Interrupted.
    """
    wanted = {"hands": (hands, BLAZEPOSE_HANDS), "face": (face, BLAZEPOSE_FACE)}
    missing = [part for part, (choice, nets) in wanted.items() if choice is None and not _are_there(nets)]
    parts = ["body", *(part for part, (choice, _) in wanted.items() if choice is not False and part not in missing)]
    tracker = PersonTracker(
        float(clip.fps), hands="hands" in parts, face="face" in parts, threads=threads or default_threads()
    )
    if missing:
        absent = ", ".join(entry.file for part in missing for entry in wanted[part][1] if not find_model(entry.name))
        _log.warning(
            "BlazePose looks for no %s: missing %s. Run: %s", " and no ".join(missing), absent, BLAZEPOSE[0].get
        )
    points = np.zeros((len(clip), 1, POINTS, 2), np.float32)
    scores = np.zeros((len(clip), 1, POINTS), np.float32)
    notes = []
    with ThreadPoolExecutor(2) as pool:  # both hands at the same time: LiteRT lets go of Python's lock
        for index, frame in enumerate(clip.frames):
            if should_stop and should_stop():
                raise Interrupted(f"stopped after {index} of {len(clip)} frames")
            points[index, 0], scores[index, 0], note = tracker.next(frame, pool)
            notes.append(note)
            if on_progress:
                on_progress(index + 1, len(clip))
    backend = f"blazepose {'+'.join(parts)} (litert, cpu{'; no nets for ' * bool(missing) + ', '.join(missing)})"
    return PoseTrack(points, scores, (clip.height, clip.width), clip.fps, backend, tuple(notes))


def default_threads() -> int:
    """LiteRT's threads when nobody chose: the CPUs, at most four (the nets are small)."""
    return max(1, min(4, os.cpu_count() or 1))


class PersonTracker:
    """Follows one person's body, and their hands and face where the body has them."""

    def __init__(self, fps: float, *, hands: bool, face: bool, threads: int) -> None:
        """Load the nets from the model folders. ``threads``: of the body's nets; each hand has half of them."""
        beside = max(1, threads // 2)
        detector, landmarker = (_net(entry, threads) for entry in BLAZEPOSE)
        self._body = BodyTracker(detector, landmarker, fps)
        self._hands = [
            HandTracker(HandNets(*(_net(entry, beside) for entry in BLAZEPOSE_HANDS))) for _ in "lr" if hands
        ]
        self._face = FaceTracker(FaceNets(*(_net(entry, beside) for entry in BLAZEPOSE_FACE))) if face else None

    def next(self, frame: Array, pool: Executor) -> tuple[Array, Array, str]:
        """The frame's points [134, 2] in its pixels, their scores [134], and its note. ``pool``: for the hands."""
        body, note = self._body.next(frame)
        if body is None:
            for hand in self._hands:
                hand.forget()
            if self._face:
                self._face.forget()
            return np.zeros((POINTS, 2)), np.zeros(POINTS), note
        points, scores = to_dwpose(body[:, :2], body[:, 2])
        looking = [
            pool.submit(tracker.next, frame, *body[list(places)])
            for tracker, places in zip(self._hands, _HAND_POINTS, strict=False)
        ]
        face = self._face.next(frame, body[:BODY_POINTS, :2]) if self._face else None
        if looking:
            wrists = body[[places[0] for places in _HAND_POINTS], :2]
            left, right = (job.result() for job in looking)
            for place, seen in zip((LEFT_HAND, RIGHT_HAND), one_of_each(left, right, wrists), strict=True):
                if seen is not None:
                    points[place], scores[place] = seen.points, seen.presence
        if face is not None:
            points[FACE], scores[FACE] = face.points[list(MESH_OF_FACE)], face.presence
        return points, scores, note


def to_dwpose(points: Array, scores: Array) -> tuple[Array, Array]:
    """BlazePose's 33 points [33, 2] and scores [33] in DWPose's layout: float32 [134, 2] and [134].

    The neck is the middle of the shoulders, when both score more than 0.3; its score is the lower of theirs.
    """
    to, of = list(FROM_BLAZEPOSE), list(FROM_BLAZEPOSE.values())
    out = np.zeros((POINTS, 2), np.float32)
    out_scores = np.zeros(POINTS, np.float32)
    out[to], out_scores[to] = points[of], np.clip(scores[of], 0, 1)
    shoulders = [_RIGHT_SHOULDER, _LEFT_SHOULDER]
    if out_scores[shoulders].min() > _NECK_MIN:
        out[_NECK], out_scores[_NECK] = out[shoulders].mean(axis=0), out_scores[shoulders].min()
    return out, out_scores


def _are_there(nets: tuple[ModelFile, ...]) -> bool:
    return all(find_model(entry.name) for entry in nets)


def _net(entry: ModelFile, threads: int) -> LiteRTNet:
    return LiteRTNet(require_model(entry.name), threads=threads)

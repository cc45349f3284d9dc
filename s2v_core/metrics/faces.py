"""Faces as vectors: dlib's detector, alignment and recognition net (King 2009), when a user has installed them.

The nets are those of the package face-recognition-models, of which two files are read and no code runs. Two pictures of
one person are nearer to each other than 0.6, as a rule.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .missing import Missing
from .regions import Body
from .weights import find_faces

Array = np.ndarray[Any, Any]

SMALLEST_HEAD = 48  # pixels of the square around a head: in smaller ones any face looks like any other
SAME_PERSON = 0.6  # what dlib's author gives as the limit
_HEAD = 0.36  # side of the square around a head, in heights of the person
_SIDE = 240  # pixels to which it is scaled: the detector looks for faces of 80
_LARGEST = 640  # pixels of a whole picture that is looked through


@dataclass(frozen=True)
class FaceNets:
    """dlib's parts, loaded."""

    detector: Any
    alignment: Any
    recognition: Any

    def embed(self, picture: Array, person: Body | None) -> Array | None:
        """The face of ``picture`` uint8 [H, W, 3] as a vector [128]; None when none is found.

        ``person``: whose; the largest face of the whole picture without one.
        """
        import cv2

        if person is not None and (head := _head(picture, person)) is not None:
            picture = cv2.resize(head, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        elif max(picture.shape[:2]) > _LARGEST:
            scale = _LARGEST / max(picture.shape[:2])
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = np.ascontiguousarray(picture)
        faces = list(self.detector(picture, 0))
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.area())
        return np.asarray(self.recognition.compute_face_descriptor(picture, self.alignment(picture, largest)))


def face_nets() -> FaceNets:
    """The nets. Raises Missing, which says how to get them, when dlib or one of the files is not there."""
    files = find_faces()
    if files is None:
        raise Missing("There are no nets for faces here. Run: pip install skeleton2video[faces]")
    return _load(*files)


@lru_cache(maxsize=1)
def _load(recognition: Path, alignment: Path) -> FaceNets:
    dlib: Any = importlib.import_module("dlib")  # optional, so that it is no dependency
    return FaceNets(
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(alignment)),
        dlib.face_recognition_model_v1(str(recognition)),
    )


def _head(picture: Array, person: Body) -> Array | None:
    """The square around the head, as far as the picture goes; None when it is not seen. Raises Missing when tiny."""
    if not person.has(0) or not np.isfinite(person.height):
        return None
    half = _HEAD * person.height / 2
    if 2 * half < SMALLEST_HEAD:
        raise Missing(f"The head has {2 * half:.0f} pixels; faces are compared from {SMALLEST_HEAD} on.")
    x, y = person.points[0]
    rows = slice(max(0, int(y - half)), max(0, int(y + half)))
    columns = slice(max(0, int(x - half)), max(0, int(x + half)))
    head = picture[rows, columns]
    return head if min(head.shape[:2]) >= SMALLEST_HEAD // 2 else None

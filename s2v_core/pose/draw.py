"""Skeleton pictures, drawn by controlnet-aux's own DWPose functions.

Of that package only the one file with the drawing functions is loaded, by its path: importing the package itself takes
seconds and nets that are not needed here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import MissingPackageError, SettingsError, VideoError
from ..video.clip import Clip
from .track import BODY, FACE, LEFT_HAND, RIGHT_HAND, PoseTrack, scale_track

PALETTES = ("vace", "openpose")
STICKS = ("fixed", "vace")
THRESHOLD = 0.3  # DWPose's own
_VACE_SHORT_SIDE, _VACE_MULTIPLE = 1024, 64

Array = np.ndarray[Any, Any]
_log = logging.getLogger(__name__)


def draw_pose(
    track: PoseTrack,
    *,
    palette: str = "vace",
    body: bool = True,
    hands: bool = False,
    face: bool = True,
    size: tuple[int, int] | None = None,
    threshold: float = THRESHOLD,
    stick: str = "fixed",
) -> Clip:
    """The track as pictures on black, everybody in one frame, at the track's rate.

    ``palette``: "openpose" is what DWPose draws; "vace" has red and blue swapped, as the annotator writes it that
    Wan-VACE's control videos come from (ali-vilab/VACE, vace/annotators/pose.py). The layers ``body`` + ``face`` are
    those of its "pose" task. ``size``: (width, height) of the pictures, the track's canvas when None; the points are
    scaled evenly to fit and centred (for a crop use ``scale_track`` first). Points that do not score more than
    ``threshold`` are not drawn; a frame without points is black.

    ``stick``: "fixed" draws lines of 8 and joints of 4 pixels' radius at any size; "vace" draws on a canvas with a
    short side of 1024 and shrinks it, as the annotator does, so that lines grow thinner with the picture (slower).

    Raises SettingsError for unknown choices, MissingPackageError without controlnet-aux.
    """
    if palette not in PALETTES or stick not in STICKS:
        raise SettingsError(
            "This way of drawing a pose does not exist.",
            expected=f"palette {' or '.join(PALETTES)}, stick {' or '.join(STICKS)}",
            got=f"palette {palette!r}, stick {stick!r}",
        )
    if size is not None:
        track = fit_track(track, size)
    height, width = track.canvas
    canvas = _vace_canvas(height, width) if stick == "vace" else (height, width)
    pictures = np.zeros((len(track), height, width, 3), np.uint8)
    shown = track.scores > threshold
    drawing_functions()  # loaded before the threads ask for it

    def draw(index: int) -> None:
        picture = _draw_people(track.points[index], shown[index], (height, width), canvas, body, hands, face)
        if canvas != (height, width):
            picture = _resize(picture, height, width)
        pictures[index] = picture[..., ::-1] if palette == "vace" else picture

    filled = np.flatnonzero(shown.any(axis=(1, 2)))
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:  # OpenCV and NumPy let go of Python's lock
        list(pool.map(draw, filled))
    if empty := len(track) - len(filled):
        _log.warning("%d of %d pose pictures are black: no points in these frames", empty, len(track))
    return Clip(pictures, track.fps)


def overlay(clip: Clip, track: PoseTrack, *, dim: float = 0.55, threshold: float = THRESHOLD) -> Clip:
    """The clip, darkened to ``dim`` of its light, with the skeleton over it (openpose colours): for people to look at.

    The track is fitted to the clip's size. Raises VideoError when the numbers of frames differ.
    """
    if len(clip) != len(track):
        raise VideoError(
            "The clip and the pose track do not belong together.",
            expected=f"{len(clip)} frames, as the clip has",
            got=f"a track of {len(track)} frames",
        )
    if track.canvas != (clip.height, clip.width):
        track = fit_track(track, (clip.width, clip.height))
    drawn = draw_pose(track, palette="openpose", hands=True, threshold=threshold).frames
    frames = np.empty_like(clip.frames)
    for out, frame, lines in zip(frames, clip.frames, drawn, strict=True):
        lit = lines.any(axis=-1, keepdims=True)
        bright = np.minimum(lines.astype(np.float32) / 0.6, 255)  # DWPose dims its limbs to 0.6
        out[:] = np.where(lit, bright, frame * np.float32(dim)).astype(np.uint8)
    return clip.with_frames(frames)


def fit_track(track: PoseTrack, size: tuple[int, int]) -> PoseTrack:
    """The track on a canvas of ``size`` (width, height): scaled evenly so that all of it fits, and centred."""
    width, height = size
    if width < 1 or height < 1:
        raise SettingsError("A pose cannot be drawn at this size.", expected="(width, height) from 1", got=f"{size}")
    old_height, old_width = track.canvas
    scale = min(width / old_width, height / old_height)
    dx, dy = (width - old_width * scale) / 2, (height - old_height * scale) / 2
    return scale_track(track, scale, dx, dy, (height, width))


@lru_cache(maxsize=1)
def drawing_functions() -> ModuleType:
    """controlnet-aux's ``dwpose/util.py``, loaded alone. Raises MissingPackageError."""
    found = importlib.util.find_spec("controlnet_aux")
    folders = list(found.submodule_search_locations or []) if found else []
    file = next((path for folder in folders if (path := Path(folder) / "dwpose" / "util.py").is_file()), None)
    spec = importlib.util.spec_from_file_location("_s2v_controlnet_aux_dwpose_util", file) if file else None
    if spec is None or spec.loader is None:
        raise MissingPackageError(
            "Drawing a pose needs the package controlnet-aux.",
            expected="controlnet-aux 0.0.10 or newer, with dwpose/util.py",
            got=f"looked in {', '.join(folders)}" if folders else "not installed",
            remedy='Run: python -m pip install "controlnet-aux>=0.0.10"',
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _draw_people(
    points: Array, shown: Array, of: tuple[int, int], canvas: tuple[int, int], body: bool, hands: bool, face: bool
) -> Array:
    """One picture [*canvas, 3]. ``points`` [P, 134, 2] in pixels of a picture ``of`` (height, width)."""
    functions = drawing_functions()
    height, width = of
    picture = np.zeros((*canvas, 3), np.uint8)
    # The functions take points from 0 to 1, -1 for a point that is not there, and for the body each person's indices
    # into one list of points, -1 likewise. Double precision: a whole pixel stays one when it is multiplied back.
    relative = np.where(shown[..., None], points.astype(np.float64) / (width, height), -1.0)
    if body:
        people = len(points)
        count = BODY.stop
        indices = np.where(shown[:, BODY], np.arange(people * count).reshape(people, count), -1)
        picture = functions.draw_bodypose(picture, relative[:, BODY].reshape(-1, 2), indices)
    if hands:
        peaks = np.concatenate([relative[:, LEFT_HAND], relative[:, RIGHT_HAND]])
        picture = functions.draw_handpose(picture, peaks)
    if face:
        picture = functions.draw_facepose(picture, relative[:, FACE])
    return picture


def _vace_canvas(height: int, width: int) -> tuple[int, int]:
    scale = _VACE_SHORT_SIDE / min(height, width)
    rounded = (max(1, round(side * scale / _VACE_MULTIPLE)) * _VACE_MULTIPLE for side in (height, width))
    return next(rounded), next(rounded)


def _resize(picture: Array, height: int, width: int) -> Array:
    import cv2

    larger = height * width > picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LANCZOS4 if larger else cv2.INTER_AREA)

"""Skeleton pictures: a pose track as the control video that Wan-VACE was trained on, or as controlnet-aux draws it.

The strokes themselves are in ``strokes.py``; here they get a canvas, a palette and the annotator's line width.
"""

from __future__ import annotations

import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import SettingsError, VideoError
from ..video.clip import Clip
from .strokes import DIM, draw_skeletons
from .track import PoseTrack, scale_track

PALETTES = ("vace", "openpose")
STICKS = ("auto", "vace", "fixed")
THRESHOLD = 0.3  # DWPose's own
_VACE_SHORT_SIDE, _VACE_MULTIPLE = 1024, 64
_TILE = 64  # pixels of the canvas: smaller ones fit the lines better and cost more calls

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
    stick: str = "auto",
) -> Clip:
    """The track as pictures on black, everybody in one frame, at the track's rate.

    ``palette``: "openpose" is what DWPose draws; "vace" has red and blue swapped, as the annotator writes it that
    Wan-VACE's control videos come from (ali-vilab/VACE, vace/annotators/pose.py). The layers ``body`` + ``face`` are
    those of its "pose" task. ``size``: (width, height) of the pictures, the track's canvas when None; the points are
    scaled evenly to fit and centred (for a crop use ``scale_track`` first). Points that do not score more than
    ``threshold`` are not drawn; a frame without points is black.

    ``stick``: "vace" draws on a canvas with a short side of 1024 and resizes it, as the same annotator does, so that
    lines have the same share of every picture: 5.6 pixels of 720; "fixed" draws lines of 8 pixels and joints of 4
    pixels' radius at any size, as controlnet-aux does; "auto" is the one that belongs to the palette. Pictures whose
    short side is larger than 1024 take twenty times as long with "vace", since they are enlarged.

    Raises SettingsError for unknown choices.
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
    thin = stick == "vace" or (stick == "auto" and palette == "vace")
    canvas_size = _vace_canvas(height, width) if thin else (height, width)
    pictures = np.zeros((len(track), height, width, 3), np.uint8)
    shown = track.scores > threshold
    filled = np.flatnonzero(shown.any(axis=(1, 2)))

    def draw(indices: Array) -> None:
        canvas = np.zeros((*canvas_size, 3), np.uint8) if canvas_size != (height, width) else None
        for index in indices:
            target = pictures[index] if canvas is None else canvas
            box = draw_skeletons(
                target, track.points[index], shown[index], (height, width),
                body=body, hands=hands, face=face, swap=palette == "vace",
            )  # fmt: skip
            if canvas is not None:
                _move(canvas, pictures[index], box)

    workers = max(1, min(4, os.cpu_count() or 1, len(filled)))
    with ThreadPoolExecutor(workers) as pool:  # OpenCV lets go of Python's lock
        list(pool.map(draw, [filled[worker::workers] for worker in range(workers)]))
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
    # At the width that grows with the picture: at 4 pixels the hands in a small picture would be blots.
    drawn = draw_pose(track, palette="openpose", hands=True, threshold=threshold, stick="vace").frames
    frames = np.empty_like(clip.frames)
    for out, frame, lines in zip(frames, clip.frames, drawn, strict=True):
        bright = np.minimum(lines.astype(np.float32) / DIM, 255)  # limbs are drawn dimmed
        # The lighter of both: the lines' soft edges leave no dark seam.
        out[:] = np.maximum(bright, frame * np.float32(dim)).astype(np.uint8)
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


def _vace_canvas(height: int, width: int) -> tuple[int, int]:
    scale = _VACE_SHORT_SIDE / min(height, width)
    rounded = (max(1, round(side * scale / _VACE_MULTIPLE)) * _VACE_MULTIPLE for side in (height, width))
    return next(rounded), next(rounded)


def _move(canvas: Array, picture: Array, box: tuple[slice, slice]) -> None:
    """Resize ``canvas`` into ``picture``, which is black, and leave the canvas black. Only ``box`` of it was drawn on.

    A skeleton is thin, and resizing a large black picture takes ten times as long as drawing it: where it gives the
    same pixels, only the tiles with lines in them are resized.
    """
    size = picture.shape[:2]
    rows, columns = _tiles(canvas.shape[:2], size)
    if rows == columns == 1:
        _resize(canvas, picture)
        canvas.fill(0)
        return
    high, wide = canvas.shape[0] // rows, canvas.shape[1] // columns
    to_high, to_wide = size[0] // rows, size[1] // columns
    for row in range(box[0].start // high, -(-box[0].stop // high)):
        for column in range(box[1].start // wide, -(-box[1].stop // wide)):
            tile = canvas[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
            if tile.any():
                to = picture[row * to_high : (row + 1) * to_high, column * to_wide : (column + 1) * to_wide]
                _resize(tile, to)
                tile.fill(0)


@lru_cache(maxsize=32)
def _tiles(of: tuple[int, int], to: tuple[int, int]) -> tuple[int, int]:
    """Into how many rows and columns a picture can be cut so that resizing the pieces gives the whole's pixels.

    Both are (height, width). Averaging over areas needs no neighbour when a tile is a whole number of pixels on both
    sides. Noise is resized both ways to see that this OpenCV rounds both alike; (1, 1) when it does not.
    """
    if of[0] * of[1] < to[0] * to[1]:
        return 1, 1  # enlarged by Lanczos, which looks at neighbours
    rows, columns = (
        max(count for count in range(1, common + 1) if common % count == 0 and (count == 1 or side // count >= _TILE))
        for side, common in zip(of, map(math.gcd, of, to), strict=True)
    )
    noise = np.random.default_rng(0).integers(0, 256, (*of, 3), np.uint8)
    whole, tiled = np.empty((2, *to, 3), np.uint8)
    _resize(noise, whole)
    high, wide, to_high, to_wide = of[0] // rows, of[1] // columns, to[0] // rows, to[1] // columns
    for row in range(rows):
        for column in range(columns):
            _resize(
                noise[row * high : (row + 1) * high, column * wide : (column + 1) * wide],
                tiled[row * to_high : (row + 1) * to_high, column * to_wide : (column + 1) * to_wide],
            )
    return (rows, columns) if np.array_equal(whole, tiled) else (1, 1)


def _resize(picture: Array, to: Array) -> None:
    """Into ``to``: averaged over areas when it shrinks, by Lanczos when it grows, as VACE's annotator does."""
    import cv2

    height, width = to.shape[:2]
    larger = height * width > picture.shape[0] * picture.shape[1]
    way = cv2.INTER_LANCZOS4 if larger else cv2.INTER_AREA
    cv2.resize(picture, (width, height), dst=to, interpolation=way)

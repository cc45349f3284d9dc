"""What moves between neighbouring frames: dense optical flow, and what it does not explain."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..video.clip import Clip
from ..video.fit import resize
from .detect import Found
from .missing import Missing
from .regions import Body, person_mask

Array = np.ndarray[Any, Any]

SIDE = 240  # pixels of the shorter side at which movement is followed
SMALLEST = 192  # smaller pictures are enlarged: the method's patches have 8 pixels
# A pixel is covered, or comes into sight, where the ways there and back differ: Sundaram, Brox and Keutzer 2010.
_OUTLINE = -0.03  # heights: the outline is taken close to the body, for flow runs over edges
_OCCLUSION, _OCCLUSION_OFF = 0.01, 0.5


@dataclass(frozen=True, eq=False)
class Flow:
    """Of each pair of neighbouring frames [T - 1].

    ``moved``: the mean length of the flow, as a share of the picture's shorter side. ``danced``: its mean length within
    the dancer's outline, in shares of their height; NaN where nobody is found. ``left``: the mean difference of levels
    (0 to 255) between the frame and the next one brought back along the flow, where nothing is covered. ``side``:
    pixels of the shorter side that were looked at.
    """

    moved: Array
    danced: Array
    left: Array
    side: int


def follow(clip: Clip, people: Found | None = None) -> Flow:
    """The flow through a clip, and with ``people`` that of its dancer. Raises Missing for fewer than two frames."""
    if len(clip) < 2:
        raise Missing("Movement needs two frames, and there is one.")
    side = min(clip.height, clip.width)
    wanted = min(SIDE, max(side, SMALLEST))
    scale = wanted / side
    size = (max(16, round(clip.width * scale)), max(16, round(clip.height * scale)))
    dancers: dict[int, Body] = {}
    if people is not None:
        bodies = zip(people.index.tolist(), people.bodies(), strict=True)
        dancers = {t: main.scaled(scale) for t, (main, _) in bodies if main is not None}
    with ThreadPoolExecutor(2) as pool:  # OpenCV lets go of Python's lock
        small = list(pool.map(lambda frame: resize(frame, size), clip.frames))
        halves = np.array_split(np.arange(len(clip) - 1), 2)
        found = [pair for half in pool.map(lambda part: list(_pairs(small, part, dancers)), halves) for pair in half]
    moved, danced, left = (np.array(column) for column in zip(*found, strict=True))
    return Flow(moved / min(size), danced, left, wanted)


def _pairs(frames: list[Array], first: Array, dancers: dict[int, Body]) -> Iterator[tuple[float, float, float]]:
    import cv2

    height, width = frames[0].shape[:2]
    method: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    greys = {int(t): cv2.cvtColor(frames[t], cv2.COLOR_RGB2GRAY) for t in (*first, first[-1] + 1)} if len(first) else {}
    for t in first.tolist():
        there = method.calc(greys[t], greys[t + 1], None)
        back = method.calc(greys[t + 1], greys[t], None)
        to = columns + there[..., 0], rows + there[..., 1]
        brought = cv2.remap(frames[t + 1], *to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        home = cv2.remap(back, *to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        square = (there**2).sum(axis=2)
        apart = ((there + home) ** 2).sum(axis=2)
        seen = apart < _OCCLUSION * (square + (home**2).sum(axis=2)) + _OCCLUSION_OFF
        seen &= (to[0] >= 0) & (to[0] <= width - 1) & (to[1] >= 0) & (to[1] <= height - 1)
        off = cv2.absdiff(frames[t], brought).mean(axis=2)
        length = np.sqrt(square)
        dancer = dancers.get(t)
        danced = np.nan
        if dancer is not None and (outline := person_mask(dancer, (height, width), _OUTLINE)).any():
            danced = float(length[outline].mean()) / dancer.height
        yield float(length.mean()), danced, float(off[seen].mean()) if seen.any() else np.nan

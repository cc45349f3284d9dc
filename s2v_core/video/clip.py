"""``Clip``: the frames that travel through the whole pipeline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import VideoError


@dataclass(frozen=True)
class Source:
    """Where a clip came from: the file, its sha256, and the second at which the clip starts."""

    path: str
    sha256: str
    start: Fraction = Fraction(0)


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one size at a constant rate.

    ``frames``: uint8 [T, H, W, 3], RGB, full range. ``fps``: frames a second, exact.
    ``source``: the file that the frames were read from, or None.
    """

    frames: np.ndarray[Any, np.dtype[np.uint8]]
    fps: Fraction
    source: Source | None = None

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise VideoError(
                "These frames are not a clip.",
                expected="uint8 frames of shape [T, H, W, 3] with at least one frame",
                got=f"{self.frames.dtype} of shape {list(shape)}",
                remedy="Convert the pictures to RGB with 8 bits a channel (drop an alpha channel).",
            )
        if self.fps <= 0:
            raise VideoError("A clip needs a frame rate above 0.", got=str(self.fps))

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.frames.shape[1])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.frames.shape[2])

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's start to the last frame's end."""
        return Fraction(len(self)) / self.fps

    def with_frames(self, frames: np.ndarray[Any, np.dtype[np.uint8]]) -> Clip:
        """The same rate and source with other frames."""
        return replace(self, frames=frames)

    def sha256(self) -> str:
        """Hex sha256 of the pixels, the shape and the rate: what a cache or a cell id is made of."""
        digest = hashlib.sha256(f"{list(self.frames.shape)} {self.fps}".encode())
        digest.update(np.ascontiguousarray(self.frames).data)
        return digest.hexdigest()

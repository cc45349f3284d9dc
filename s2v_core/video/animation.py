"""Animated GIF and WebP by Pillow: FFmpeg reads neither animated WebP nor the browsers' rule for missing durations."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image

from ..errors import VideoError
from .fit import Image

# A frame with no duration of its own is shown for so long; browsers do the same.
_NO_DURATION = Fraction(1, 10)
# What Pillow raises for animations that break off or do not add up.
_BROKEN = (OSError, EOFError, SyntaxError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error)


def animation_kind(path: Path) -> str | None:
    """ "gif", "webp", or None for every other file, by its first bytes."""
    head = head_of(path)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if head.startswith(b"RIFF") and head[8:12] == b"WEBP" else None


def head_of(path: Path) -> bytes:
    """The first 16 bytes of a file."""
    with path.open("rb") as stream:
        return stream.read(16)


def animation_pictures(path: Path) -> Iterator[tuple[Fraction, Fraction, Image]]:
    """(time, end, RGB picture) of each stored frame, in seconds since the first; transparent parts are laid on white.

    Raises ``VideoError`` when the file breaks off or is damaged.
    """
    index = 0
    try:
        with PIL.Image.open(path) as image:
            time = Fraction(0)
            for index in range(getattr(image, "n_frames", 1)):
                image.seek(index)
                image.load()
                duration = Fraction(image.info.get("duration") or 0) / 1000 or _NO_DURATION
                yield time, time + duration, _on_white(image)
                time += duration
    except (*_BROKEN, PIL.Image.DecompressionBombError) as error:
        raise VideoError(
            f"{path.name} is damaged or breaks off at frame {index + 1}.",
            expected="an animation whose frames can all be read",
            got=str(error) or type(error).__name__,
            remedy="Copy or download it again.",
        ) from error


def _on_white(image: PIL.Image.Image) -> Image:
    rgba = image.convert("RGBA")
    white = PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.asarray(PIL.Image.alpha_composite(white, rgba).convert("RGB"))

"""Clips as the page plays them: a sheet of all frames for the grid, and a video in full size for the large view.

A sheet can be drawn from at any frame at once, in every browser, a hundred of them in one go; videos cannot be moved to
a frame that quickly, and not in step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Interrupted
from ..video.fit import resize

Frame = np.ndarray[Any, np.dtype[np.uint8]]
Size = tuple[int, int]

# Of one sheet: 32 MiB when it is decoded, so that a hundred small cells or forty large ones can be in memory.
MOST_PIXELS = 8 << 20
# What graphics hardware of any age takes as one texture; WebP itself ends at 16383.
MOST_SIDE = 8192
LEAST_TILE = 96
SHEET, VIDEO, STILL = ".webp", ".mp4", ".png"


@dataclass(frozen=True)
class Sheet:
    """All frames of a clip in one picture, along the rows. ``width``, ``height``: of one frame in it.

    ``every``: the sheet's frame i is the clip's frame i * every; 1 unless the clip is very long.
    """

    columns: int
    width: int
    height: int
    frames: int
    every: int = 1

    @property
    def size(self) -> Size:
        """Width and height of the whole picture."""
        return self.columns * self.width, -(-self.frames // self.columns) * self.height

    def corner(self, number: int) -> Size:
        """Left and top of the sheet's frame ``number``."""
        return number % self.columns * self.width, number // self.columns * self.height


def plan_sheet(frames: int, size: Size, tile: int) -> Sheet:
    """The sheet of ``frames`` frames of ``size`` (width, height), each at most ``tile`` pixels wide.

    Clips whose sheet would be too large get smaller frames, and then leave frames out.
    """
    width, height = size
    # A little larger than asked for is better than resampled, and then no video is needed beside it.
    wanted = width if width <= 1.5 * tile else tile
    shown = min(wanted, max(LEAST_TILE, int(math.sqrt(MOST_PIXELS / frames * width / height)) + 1))

    def shape_of(shown: int) -> Size:
        return shown, max(1, round(height * shown / width))

    # One or two steps, because heights are whole pixels.
    while shown > LEAST_TILE and math.prod(shape_of(shown)) * frames > MOST_PIXELS:
        shown -= 1
    shape = shape_of(shown)
    every = -(-frames // max(1, MOST_PIXELS // math.prod(shape)))
    kept = -(-frames // every)
    # About as wide as high, so that neither side reaches the limit of browsers.
    columns = max(1, min(kept, round(math.sqrt(kept * shape[1] / shape[0])), MOST_SIDE // shape[0]))
    return Sheet(columns, *shape, kept, every)


@dataclass(frozen=True)
class Packed:
    """A clip on its way into a page. ``video``: None when the sheet has its full size already, or was asked to be all.

    ``frames``, ``fps``, ``size`` are the clip's own.
    """

    sheet: Sheet
    picture: Path
    video: Path | None
    frames: int
    fps: Fraction
    size: Size


def pack(
    frames: Iterable[Frame],
    count: int,
    fps: Fraction,
    size: Size,
    target: Path,
    *,
    tile: int,
    quality: int,
    full: bool = True,
    should_stop: Callable[[], bool] | None = None,
) -> Packed:
    """Write a clip's sheet and video beside each other as ``target`` with their suffixes, reading the frames once.

    ``frames``: uint8 [H, W, 3], ``count`` of them, all of ``size`` (width, height). ``tile``: the largest width of a
    frame in the sheet. Raises ``VideoError`` when the files cannot be written, and ``Interrupted``.
    """
    from ..video.write import write_stream

    sheet = plan_sheet(count, size, tile)
    whole = np.zeros((sheet.size[1], sheet.size[0], 3), np.uint8)
    picture = target.with_name(target.name + SHEET)
    video = target.with_name(target.name + VIDEO) if full and not _has_all(sheet, size) else None
    stream = _filling(whole, sheet, frames, should_stop)
    if video:
        write_stream(stream, fps, size, video, quality=quality)
    else:
        for _ in stream:
            pass
    # A sheet that is the only copy of its clip is also the large view.
    _write_webp(whole, picture, quality if video else min(100, quality + _BETTER))
    return Packed(sheet, picture, video, count, fps, size)


def pack_still(picture: Frame, target: Path) -> Path:
    """Write one picture, lossless and no larger than a page can use; returns the file."""
    from ..video.fit import fit_image
    from ..video.write import write_png

    height, width = picture.shape[:2]
    if max(width, height) > _STILL_SIDE:
        scale = _STILL_SIDE / max(width, height)
        picture = fit_image(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    return write_png(picture, target.with_name(target.name + STILL))


_STILL_SIDE = 832


def _has_all(sheet: Sheet, size: Size) -> bool:
    return sheet.every == 1 and (sheet.width, sheet.height) == size


def _filling(
    whole: Frame, sheet: Sheet, frames: Iterable[Frame], should_stop: Callable[[], bool] | None
) -> Iterator[Frame]:
    """The frames, each put into the sheet on its way."""
    for number, frame in enumerate(frames):
        if should_stop and should_stop():
            raise Interrupted
        at, left_out = divmod(number, sheet.every)
        if not left_out and at < sheet.frames:
            x, y = sheet.corner(at)
            whole[y : y + sheet.height, x : x + sheet.width] = resize(frame, (sheet.width, sheet.height))
        yield frame


def _write_webp(picture: Frame, path: Path, quality: int) -> None:
    import PIL.Image

    from ..files import atomic_path

    with atomic_path(path) as temporary:
        PIL.Image.fromarray(picture).save(temporary, format="WEBP", quality=quality, method=_EFFORT)


_BETTER = 10
# Of 6: the smaller files of higher ones cost more time than they save.
_EFFORT = 3

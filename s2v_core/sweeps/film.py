"""Films: all frames of a cell in one picture, so that a page can show many cells exactly in step.

A browser plays sixty videos neither in step nor at all; it draws a piece of a picture at any moment. A film is small
and can be made again: it lies in a folder for such things, never in the store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..files import atomic_path
from ..video.fit import Size, resize
from .store import CellStore

TILES = (96, 160, 256, 384)
"""The longest sides in pixels in which films are made: few, so that a page that is resized finds them again."""

MOST_FRAMES = 128
_QUALITY = 88
Frame = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Film:
    """Where the frames stand: frame ``index * stride`` of the clip is at column ``index % columns`` and row
    ``index // columns``, each ``width`` x ``height`` pixels. ``count``: frames in the picture.
    """

    width: int
    height: int
    columns: int
    rows: int
    count: int
    stride: int

    def place(self, index: int) -> tuple[int, int]:
        """The top left corner (x, y) of a frame of the film."""
        return index % self.columns * self.width, index // self.columns * self.height

    def to_dict(self) -> dict[str, int]:
        """JSON-ready."""
        return asdict(self)


def film_of(frames: int, size: Size, tile: int) -> Film:
    """The film of a clip of ``frames`` frames of ``size`` (width, height), with frames of at most ``tile`` pixels a
    side. Nothing is made larger than it is; of a long clip every second, third... frame is shown.

    Raises ``SettingsError`` for a tile that is none of ``TILES``.
    """
    if tile not in TILES:
        raise SettingsError(f"Films are not made in {tile!r} pixels.", expected=f"one of {', '.join(map(str, TILES))}")
    scale = min(1.0, tile / max(size))
    width, height = (max(1, math.floor(side * scale + 0.5)) for side in size)
    stride = math.ceil(frames / MOST_FRAMES)
    count = math.ceil(frames / stride)
    # As square as it can be: browsers refuse pictures that are very long.
    columns = min(count, max(1, round(math.sqrt(count * height / width))))
    return Film(width, height, columns, math.ceil(count / columns), count, stride)


def draw_film(frames: Iterable[Frame], film: Film) -> Frame:
    """The picture of a film, uint8 [rows * height, columns * width, 3]; what no frame covers is black."""
    picture = np.zeros((film.rows * film.height, film.columns * film.width, 3), np.uint8)
    for number, frame in enumerate(frames):
        index, left = divmod(number, film.stride)
        if not left and index < film.count:
            x, y = film.place(index)
            picture[y : y + film.height, x : x + film.width] = resize(frame, (film.width, film.height))
    return picture


def film_file(store: CellStore, id: str, tile: int, folder: Path) -> tuple[Path, Film]:
    """The film of a stored cell as JPEG in ``folder``, made when it is not there yet, and where its frames stand.

    Raises ``StoreError`` for a missing or damaged cell, ``SettingsError`` as ``film_of``.
    """
    from PIL import Image

    said = store.meta(id)["clip"]
    film = film_of(said["frames"], (said["width"], said["height"]), tile)
    target = folder / f"{said['sha256'][:40]}-{tile}.jpg"
    if not target.exists():
        picture = Image.fromarray(draw_film(store.frames(id), film))
        with atomic_path(target) as temporary:
            picture.save(temporary, format="JPEG", quality=_QUALITY, subsampling=0)
    return target, film


def clip_file(store: CellStore, id: str, folder: Path) -> Path:
    """A stored cell as MP4 in ``folder``, for players that know no FFV1; made when it is not there yet.

    Raises ``StoreError`` for a missing or damaged cell, ``VideoError`` when it cannot be written.
    """
    from fractions import Fraction

    from ..video.write import write_stream

    said = store.meta(id)["clip"]
    target = folder / f"{said['sha256'][:40]}.mp4"
    if not target.exists():
        write_stream(store.frames(id), Fraction(said["fps"]), (said["width"], said["height"]), target, quality=90)
    return target

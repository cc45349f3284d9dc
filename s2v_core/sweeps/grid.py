"""The cells of a sweep side by side: a labelled, frame-synchronous video and a contact sheet.

The first axis runs over the rows, the second over the columns; the third and fourth group them, or are pages like all
further ones. A single axis runs over the columns of one row.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import SettingsError
from ..video.clip import Clip
from ..video.metadata import OWN, Metadata
from .axes import Sweep
from .gridoptions import GridOptions, arrange
from .gridpage import Frame, GridPage, Inputs, When
from .run import SweepResult
from .scores import Scores

__all__ = [
    *("GridOptions", "contact_sheet", "grid_clip", "grid_metadata", "pages", "targets"),
    *("write_contact_sheet", "write_grid"),
]


def pages(sweep: Sweep, layout: str = "auto") -> int:
    """How many pages the grid of a sweep has."""
    return arrange(sweep, layout).count(sweep)


def grid_clip(
    result: SweepResult,
    *,
    tile: tuple[int, int] | None = None,
    page: int = 0,
    options: GridOptions | None = None,
    inputs: Inputs | None = None,
    scores: Scores | None = None,
    frames: int | None = None,
) -> Clip:
    """One page of the grid as a clip, all of it in memory, or its first ``frames``.

    Frame t of the page shows frame t of every cell; shorter cells hold their last frame, and the page says so.
    ``tile``: (width, height) of a cell in pixels; chosen by ``options`` when left out. ``page``: from 0. ``inputs``:
    pictures above the grid by name, uint8 [T, H, W, 3]. ``scores``: cell id -> metric -> value, shown below each cell;
    those in the store when left out, none when empty. Cells that failed or are missing are drawn as tiles that say why.
    Raises ``SettingsError``, ``StoreError``.
    """
    drawn = GridPage(result, tile, page, options=options, inputs=inputs, scores=scores)
    return Clip(np.stack(list(itertools.islice(drawn.frames(), frames))), drawn.fps)


def write_grid(
    result: SweepResult,
    path: str | os.PathLike[str],
    *,
    tile: tuple[int, int] | None = None,
    page: int | None = None,
    options: GridOptions | None = None,
    inputs: Inputs | None = None,
    scores: Scores | None = None,
    metadata: Metadata | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Path, ...]:
    """Write the grid as video, by the suffix: .mp4, .webp or .gif; returns the files. Frames are drawn as they are
    written, so memory does not grow with their number.

    All pages, unless ``page`` (from 0) picks one. With several pages the files are ``name-1.mp4``, ``name-2.mp4``...
    ``metadata`` goes into the files beside ``grid_metadata``. Other arguments: see ``grid_clip``.
    ``on_progress(done, total)`` counts the frames of all pages. Raises ``SettingsError``, ``StoreError``,
    ``VideoError``, and ``Interrupted`` when ``should_stop()`` says so.
    """
    from ..video.write import write_stream

    places = targets(result.sweep, path, page, options)
    drawn = [GridPage(result, tile, at, options=options, inputs=inputs, scores=scores) for at, _ in places]
    total = sum(one.length for one in drawn)
    before = 0
    for one, (_, target) in zip(drawn, places, strict=True):

        def tell(done: int, _: int | None, before: int = before) -> None:
            if on_progress:
                on_progress(before + done, total)

        write_stream(
            one.frames(),
            one.fps,
            one.layout.size,
            target,
            metadata={**grid_metadata(result), **(metadata or {})},
            total=one.length,
            on_progress=tell,
            should_stop=should_stop,
        )
        before += one.length
    return tuple(target for _, target in places)


def contact_sheet(
    result: SweepResult,
    *,
    frames: Sequence[When] | When = ("first", "middle", "last"),
    tile: tuple[int, int] | None = None,
    page: int = 0,
    options: GridOptions | None = None,
    inputs: Inputs | None = None,
    scores: Scores | None = None,
) -> Frame:
    """One page of still pictures, uint8 [H, W, 3]: each cell as a strip of the chosen ``frames``.

    ``frames``: "first", "middle", "last" or numbers from 0 (a number past the end shows the last frame); one or
    several. ``tile``: (width, height) of one picture. Others: see ``grid_clip``. Raises ``SettingsError``,
    ``StoreError``.
    """
    wanted = (frames,) if isinstance(frames, (str, int)) else tuple(frames)
    return GridPage(result, tile, page, wanted, options=options, inputs=inputs, scores=scores).sheet()


def write_contact_sheet(
    result: SweepResult,
    path: str | os.PathLike[str],
    *,
    frames: Sequence[When] | When = ("first", "middle", "last"),
    tile: tuple[int, int] | None = None,
    page: int | None = None,
    options: GridOptions | None = None,
    inputs: Inputs | None = None,
    scores: Scores | None = None,
    metadata: Metadata | None = None,
) -> tuple[Path, ...]:
    """Write ``contact_sheet`` as PNG; pages, file names and metadata as in ``write_grid``."""
    from ..video.write import write_png

    written = []
    for number, target in targets(result.sweep, path, page, options):
        if target.suffix.lower() != ".png":
            raise SettingsError("A contact sheet is a PNG.", expected="a name that ends in .png", got=target.name)
        sheet = contact_sheet(
            result, frames=frames, tile=tile, page=number, options=options, inputs=inputs, scores=scores
        )
        written.append(write_png(sheet, target, {**grid_metadata(result), **(metadata or {})}))
    return tuple(written)


def grid_metadata(result: SweepResult) -> dict[str, Any]:
    """What the files of a grid carry: the base, the axes, and the id of every cell."""
    sweep = result.sweep
    axes = [{"name": axis.name, "labels": list(axis.labels)} for axis in sweep.axes]
    facts = {
        "kind": "grid",
        "version": __version__,
        "sweep": sweep.name,
        "prompt": sweep.prompt.text,
        "negative": sweep.prompt.negative,
        "settings": sweep.settings.to_dict(),
        "axes": axes,
        "cells": [{"id": cell.id, "index": list(cell.index)} for cell in result.cells],
        "failed": dict(result.failed),
    }
    return {OWN: facts}


def targets(
    sweep: Sweep, path: str | os.PathLike[str], page: int | None, options: GridOptions | None = None
) -> list[tuple[int, Path]]:
    """The pages that are written, from 0, and the file of each."""
    file = Path(path)
    count = pages(sweep, (options or GridOptions()).layout)
    if page is not None or count == 1:
        return [(page or 0, file)]
    return [(number, file.with_name(f"{file.stem}-{number + 1}{file.suffix}")) for number in range(count)]

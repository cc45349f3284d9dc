"""The cells of a sweep side by side: a labelled, frame-synchronous video and a contact sheet.

The first axis runs over the rows, the second over the columns; each combination of further axes is a page of its own.
A single axis runs over the columns of one row.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ..errors import SettingsError
from ..files import atomic_path
from ..video.clip import Clip
from ..video.fit import fit_image, resize
from ..wan.scales import say_number
from ..wan.settings import ADVANCED, SampleSettings, options
from .axes import LORA_AXES, Axis, Cell, Sweep, say_value
from .layout import GROUND, SMALLEST_TILE, Header, Layout, Page, draw_page, lay_out, tile_size
from .run import SweepResult

Frame = np.ndarray[Any, np.dtype[np.uint8]]
When = Literal["first", "middle", "last"] | int
_STRIP_GAP = 3
# Not worth a place in a headline: they say how, not what.
_UNSAID = ("fit", "precision", "tiling", "solver")


@dataclass(frozen=True)
class _Facts:
    """What is known of a stored cell without decoding it."""

    frames: int
    size: tuple[int, int]
    fps: Fraction


def pages(sweep: Sweep) -> int:
    """How many pages the grid of a sweep has."""
    count = 1
    for axis in sweep.axes[2:]:
        count *= len(axis)
    return count


def grid_clip(result: SweepResult, *, tile: tuple[int, int] | None = None, page: int = 0) -> Clip:
    """One page of the grid as a clip, all of it in memory.

    Frame t of the page shows frame t of every cell; shorter cells hold their last frame, and the page says so.
    ``tile``: (width, height) of a cell in pixels; chosen for a readable page when left out. ``page``: from 0.
    Cells that failed or are missing are drawn as tiles that say why. Raises ``SettingsError``, ``StoreError``.
    """
    drawn = _Drawn(result, tile, page)
    return Clip(np.stack(list(drawn.frames())), drawn.fps)


def write_grid(
    result: SweepResult,
    path: str | os.PathLike[str],
    *,
    tile: tuple[int, int] | None = None,
    page: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Path, ...]:
    """Write the grid as video, by the suffix: .mp4 or .webp; returns the files. Frames are drawn as they are written.

    All pages, unless ``page`` (from 0) picks one. With several pages the files are ``name-1.mp4``, ``name-2.mp4``...
    ``on_progress(done, total)`` counts the frames of all pages. Raises ``SettingsError``, ``StoreError``,
    ``VideoError``, and ``Interrupted`` when ``should_stop()`` says so.
    """
    from ..video.write import write_stream

    targets = _targets(result.sweep, Path(path), page)
    drawn = [_Drawn(result, tile, number) for number, _ in targets]
    total = sum(one.length for one in drawn)
    before = 0
    for one, (_, target) in zip(drawn, targets, strict=True):

        def tell(done: int, _: int | None, before: int = before) -> None:
            if on_progress:
                on_progress(before + done, total)

        write_stream(
            one.frames(),
            one.fps,
            one.layout.size,
            target,
            total=one.length,
            on_progress=tell,
            should_stop=should_stop,
        )
        before += one.length
    return tuple(target for _, target in targets)


def contact_sheet(
    result: SweepResult,
    *,
    frames: Sequence[When] | When = ("first", "middle", "last"),
    tile: tuple[int, int] | None = None,
    page: int = 0,
) -> Frame:
    """One page of still pictures, uint8 [H, W, 3]: each cell as a strip of the chosen ``frames``.

    ``frames``: "first", "middle", "last" or numbers from 0 (a number past the end shows the last frame); one or
    several. ``tile``: (width, height) of one picture. Raises ``SettingsError``, ``StoreError``.
    """
    wanted = (frames,) if isinstance(frames, (str, int)) else tuple(frames)
    return _Drawn(result, tile, page, wanted).sheet()


def write_contact_sheet(
    result: SweepResult,
    path: str | os.PathLike[str],
    *,
    frames: Sequence[When] | When = ("first", "middle", "last"),
    tile: tuple[int, int] | None = None,
    page: int | None = None,
) -> tuple[Path, ...]:
    """Write ``contact_sheet`` as PNG; pages and file names as in ``write_grid``."""
    written = []
    for number, target in _targets(result.sweep, Path(path), page):
        if target.suffix.lower() != ".png":
            raise SettingsError("A contact sheet is a PNG.", expected="a name that ends in .png", got=target.name)
        sheet = contact_sheet(result, frames=frames, tile=tile, page=number)
        with atomic_path(target) as temporary:
            Image.fromarray(sheet).save(temporary)
        written.append(target)
    return tuple(written)


class _Drawn:
    """One page: its cells, its layout, and the still picture under the moving ones."""

    def __init__(
        self, result: SweepResult, tile: tuple[int, int] | None, page: int, strip: tuple[When, ...] | None = None
    ) -> None:
        sweep = result.sweep
        if not 0 <= page < pages(sweep):
            raise SettingsError(f"There is no page {page}.", expected=f"0 to {pages(sweep) - 1}", got=str(page))
        if strip is not None and (not strip or any(not _is_when(when) for when in strip)):
            raise SettingsError(
                "These frames cannot be shown.", expected='"first", "middle", "last" or numbers from 0', got=repr(strip)
            )
        if tile is not None and min(tile) < 8:
            raise SettingsError("A tile needs 8 pixels or more a side.", got=f"{tile[0]} x {tile[1]}")
        self._store = result.store
        self._strip = strip
        self._cells = {_place(sweep, cell): cell for cell in result.cells if _page_of(sweep, cell) == page}
        self._known = {cell.id: _facts(result, cell) for cell in self._cells.values()}
        there = [facts for facts in self._known.values() if isinstance(facts, _Facts)]
        self.length = max((facts.frames for facts in there), default=1)
        self.fps = there[0].fps if there else Fraction(16)
        size = there[0].size if there else (sweep.settings.width, sweep.settings.height)
        rows, columns = _headers(sweep)
        pictures = len(strip) if strip else 1
        self._picture = tile or tile_size(size, len(rows.labels), len(columns.labels) * pictures)
        whole = (self._picture[0] * pictures + _STRIP_GAP * (pictures - 1), self._picture[1])
        said = Page(
            sweep.name, _subtitle(sweep, page), _lines(sweep, self.fps, strip), rows, columns, self._notes(there)
        )
        self.layout: Layout = lay_out(said, whole, strips=pictures > 1)
        empty = {
            place: facts for place, cell in self._cells.items() if isinstance(facts := self._known[cell.id], tuple)
        }
        self._ground = draw_page(self.layout, empty)

    def frames(self) -> Iterator[Frame]:
        """The page's frames one by one; one frame of each cell is in memory."""
        streams = {id: self._store.frames(id) for id, facts in self._known.items() if isinstance(facts, _Facts)}
        page = self._ground.copy()
        for _ in range(self.length):
            # A cell that has ended keeps its place untouched: it holds its last frame.
            fresh = {
                id: fit_tile(frame, self._picture)
                for id, stream in streams.items()
                if (frame := next(stream, None)) is not None
            }
            for place, cell in self._cells.items():
                if cell.id in fresh:
                    _paste(page, fresh[cell.id], self.layout.corners[place[0]][place[1]])
            yield page.copy()

    def sheet(self) -> Frame:
        """The page with a strip of stills in each tile."""
        page = self._ground.copy()
        width, height = self.layout.tile
        for id, facts in self._known.items():
            if not isinstance(facts, _Facts):
                continue
            wanted = [_frame_number(when, facts.frames) for when in self._strip or ("first",)]
            stills = _pick(self._store.frames(id), wanted)
            strip = np.full((height, width, 3), GROUND, np.uint8)
            for number, at in enumerate(wanted):
                _paste(strip, fit_tile(stills[at], self._picture), (number * (self._picture[0] + _STRIP_GAP), 0))
            for place, cell in self._cells.items():
                if cell.id == id:
                    _paste(page, strip, self.layout.corners[place[0]][place[1]])
        return page

    def _notes(self, there: list[_Facts]) -> tuple[str, ...]:
        notes = []
        if self._strip is None and len({facts.frames for facts in there}) > 1:
            notes.append("Cells shorter than the longest one hold their last frame.")
        if self._strip is None and len({facts.fps for facts in there}) > 1:
            notes.append(f"Cells of several frame rates, all shown at {say_number(float(self.fps))} frames a second.")
        failed = sum(isinstance(facts, tuple) for facts in self._known.values())
        if failed:
            notes.append(f"{failed} of {len(self._known)} cells have no video.")
        return tuple(notes)


def fit_tile(frame: Frame, tile: tuple[int, int]) -> Frame:
    """``frame`` uint8 [H, W, 3] centred in a tile of (width, height), its shape kept, on the page's ground.

    Tiny pictures grow by a whole factor with their pixels kept square and sharp; all others are resampled.
    """
    height, width = frame.shape[:2]
    scale = min(tile[0] / width, tile[1] / height)
    if scale >= 1 and width < SMALLEST_TILE:
        frame = frame.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
        whole = np.full((tile[1], tile[0], 3), GROUND, np.uint8)
        _paste(whole, frame, ((tile[0] - frame.shape[1]) // 2, (tile[1] - frame.shape[0]) // 2))
        return whole
    # A tile whose shape differs only by rounding is filled: no dark line of one pixel at an edge.
    if abs(width * scale - tile[0]) < 1 and abs(height * scale - tile[1]) < 1:
        return resize(frame, tile)
    return fit_image(frame, tile, "letterbox", GROUND)


def _facts(result: SweepResult, cell: Cell) -> _Facts | tuple[str, str]:
    """What is known of a cell's clip, or the heading and reason of its empty tile."""
    if cell.id in result.failed:
        return "failed", result.failed[cell.id]
    if not result.store.path(cell.id).exists():
        return "not computed", ""
    if reason := result.store.problem(cell.id):
        return "failed", f"damaged: {reason}"
    said = result.store.meta(cell.id)["clip"]
    return _Facts(said["frames"], (said["width"], said["height"]), Fraction(said["fps"]))


def _headers(sweep: Sweep) -> tuple[Header, Header]:
    if len(sweep.axes) == 1:
        return Header("", ("",)), _header(sweep.axes[0])
    return _header(sweep.axes[0]), _header(sweep.axes[1])


def _header(axis: Axis) -> Header:
    """The axis' title once, and its labels without it."""
    short = (label.removeprefix(axis.title).lstrip(": ") or label for label in axis.labels)
    return Header(axis.title, tuple(short))


def _place(sweep: Sweep, cell: Cell) -> tuple[int, int]:
    return (0, cell.index[0]) if len(sweep.axes) == 1 else (cell.index[0], cell.index[1])


def _page_of(sweep: Sweep, cell: Cell) -> int:
    page = 0
    for axis, at in zip(sweep.axes[2:], cell.index[2:], strict=True):
        page = page * len(axis) + at
    return page


def _subtitle(sweep: Sweep, page: int) -> str:
    """What this page has that the other pages have not."""
    combinations = list(itertools.product(*(axis.labels for axis in sweep.axes[2:])))
    if len(sweep.axes) < 3:
        return ""
    return f"{' · '.join(combinations[page])} (page {page + 1} of {len(combinations)})"


def _lines(sweep: Sweep, fps: Fraction, strip: tuple[When, ...] | None) -> tuple[str, ...]:
    """What stands under the title: the fixed settings, the fixed prompt, the frames of a strip."""
    varied = {axis.name for axis in sweep.axes}
    settings = sweep.settings
    fixed = [f"{settings.width} × {settings.height}", f"{settings.frames} frames at {say_number(float(fps))} a second"]
    for entry in options(SampleSettings):
        if entry.name in (*varied, *_UNSAID, "width", "height", "frames"):
            continue
        value = getattr(settings, entry.name)
        if entry.name not in ADVANCED or value != entry.default:
            fixed.append(f"{entry.name.replace('_', ' ')} {say_value(value)}")
    fixed += [f"{name} {getattr(settings, name)}" for name in ("fit",) if getattr(settings, name) != "letterbox"]
    if "lora" not in varied:
        for use in settings.loras:
            fixed.append(f"LoRA {use.say({LORA_AXES[name] for name in varied if name in LORA_AXES})}")
    # Non-breaking spaces keep each setting with its value.
    lines = [" · ".join(said.replace(" ", "\N{NO-BREAK SPACE}") for said in fixed)]
    if "prompt" not in varied and sweep.prompt.text:
        lines.append(f"“{sweep.prompt.text}”")
    if strip and len(strip) > 1:
        lines.append("Each cell: " + ", ".join(f"frame {when}" if isinstance(when, int) else when for when in strip))
    return tuple(lines)


def _targets(sweep: Sweep, path: Path, page: int | None) -> list[tuple[int, Path]]:
    if page is not None or pages(sweep) == 1:
        return [(page or 0, path)]
    return [(number, path.with_name(f"{path.stem}-{number + 1}{path.suffix}")) for number in range(pages(sweep))]


def _is_when(when: object) -> bool:
    return when in ("first", "middle", "last") or (isinstance(when, int) and not isinstance(when, bool) and when >= 0)


def _frame_number(when: When, frames: int) -> int:
    if isinstance(when, int):
        return min(when, frames - 1)
    return {"first": 0, "middle": (frames - 1) // 2, "last": frames - 1}[when]


def _pick(stream: Iterator[Frame], wanted: Sequence[int]) -> dict[int, Frame]:
    found = {}
    for number, frame in zip(range(max(wanted) + 1), stream, strict=False):
        if number in wanted:
            found[number] = frame
    return found


def _paste(onto: Frame, picture: Frame, corner: tuple[int, int]) -> None:
    x, y = corner
    onto[y : y + picture.shape[0], x : x + picture.shape[1]] = picture

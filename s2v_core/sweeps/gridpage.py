"""One page of a grid: what is known of its cells, its layout, and its frames one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from ..errors import SettingsError
from ..video.fit import fit_image, resize
from ..video.text import GROUND
from ..wan.scales import say_number
from ..wan.settings import ADVANCED, SampleSettings, options
from .axes import LORA_AXES, Cell, Sweep, say_value
from .gridoptions import GridOptions, arrange, check_page
from .layout import SMALLEST_TILE, Layout, Page, lay_out, tile_size
from .paint import ScoreLine, draw_page
from .run import SweepResult
from .scores import Scores, best_cells, lower_is_better, metrics_of, say_score, score_of

Frame = np.ndarray[Any, np.dtype[np.uint8]]
When = Literal["first", "middle", "last"] | int
# Pictures above the grid: name -> frames uint8 [T, H, W, 3]; one frame is a still picture.
Inputs = Mapping[str, Frame]
_STRIP_GAP = 3
_LEAST_TILE = 48
# Not worth a place in a headline: they say how, not what.
_UNSAID = ("fit", "precision", "tiling", "solver")


@dataclass(frozen=True)
class _Facts:
    """What is known of a stored cell without decoding it."""

    frames: int
    size: tuple[int, int]
    fps: Fraction


class GridPage:
    """One page: its cells, its layout, and the still picture under the moving ones."""

    def __init__(
        self,
        result: SweepResult,
        tile: tuple[int, int] | None,
        page: int,
        strip: tuple[When, ...] | None = None,
        *,
        options: GridOptions | None = None,
        inputs: Inputs | None = None,
        scores: Scores | None = None,
    ) -> None:
        chosen = options or GridOptions()
        sweep = result.sweep
        where = arrange(sweep, chosen.layout)
        check_page(page, where.count(sweep))
        if strip is not None and (not strip or any(not _is_when(when) for when in strip)):
            raise SettingsError(
                "These frames cannot be shown.", expected='"first", "middle", "last" or numbers from 0', got=repr(strip)
            )
        if tile is not None and min(tile) < 8:
            raise SettingsError("A tile needs 8 pixels or more a side.", got=f"{tile[0]} x {tile[1]}")
        self._store = result.store
        self._strip = strip
        self._cells = {at[1:]: cell for cell in result.cells if (at := where.place(sweep, cell))[0] == page}
        self._known = {cell.id: _facts(result, cell) for cell in self._cells.values()}
        there = [facts for facts in self._known.values() if isinstance(facts, _Facts)]
        self._inputs = dict(inputs or {})
        moving = 0 if strip else max((len(frames) for frames in self._inputs.values()), default=0)
        self.length = max((facts.frames for facts in there), default=max(1, moving))
        self.fps = there[0].fps if there else Fraction(16)
        size = there[0].size if there else (sweep.settings.width, sweep.settings.height)
        rows, columns = where.headers(sweep)
        pictures = len(strip) if strip else 1
        every = [cell.id for cell in result.cells]
        lines = _score_lines(scores if scores is not None else stored_scores(result), self._cells, every, chosen)

        def placed(picture: tuple[int, int], *more: str) -> Layout:
            said = Page(
                *(sweep.name, where.subtitle(sweep, page), _lines(sweep, self.fps, strip), rows, columns),
                notes=(*self._notes(there), *more),
                inputs=tuple(self._inputs),
                score_lines=max(map(len, lines.values()), default=0),
            )
            whole = (picture[0] * pictures + _STRIP_GAP * (pictures - 1), picture[1])
            return lay_out(said, whole, strips=pictures > 1)

        if tile is not None:
            self._picture, self.layout = tile, placed(tile)
        else:
            self._picture, self.layout = _sized(size, len(rows), len(columns) * pictures, chosen, placed)
        empty = {
            place: facts for place, cell in self._cells.items() if isinstance(facts := self._known[cell.id], tuple)
        }
        self._ground = draw_page(self.layout, empty, lines)

    def frames(self) -> Iterator[Frame]:
        """The page's frames one by one; one frame of each cell is in memory."""
        streams = {id: self._store.frames(id) for id, facts in self._known.items() if isinstance(facts, _Facts)}
        page = self._ground.copy()
        for number in range(self.length):
            for corner, shown in zip(self.layout.inputs, self._inputs.values(), strict=True):
                if number < len(shown):
                    _paste(page, fit_tile(shown[number], self.layout.tile), corner)
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
        for corner, shown in zip(self.layout.inputs, self._inputs.values(), strict=True):
            numbers = range(len(shown))
            _paste(page, self._stills(dict(zip(numbers, shown, strict=True)), len(shown)), corner)
        for id, facts in self._known.items():
            if not isinstance(facts, _Facts):
                continue
            wanted = [_frame_number(when, facts.frames) for when in self._strip or ("first",)]
            strip = self._stills(_pick(self._store.frames(id), wanted), facts.frames)
            for place, cell in self._cells.items():
                if cell.id == id:
                    _paste(page, strip, self.layout.corners[place[0]][place[1]])
        return page

    def _stills(self, frames: Mapping[int, Frame], count: int) -> Frame:
        width, height = self.layout.tile
        strip = np.full((height, width, 3), GROUND, np.uint8)
        wanted = [_frame_number(when, count) for when in self._strip or ("first",)]
        for number, at in enumerate(wanted[: 1 if count == 1 else None]):
            _paste(strip, fit_tile(frames[at], self._picture), (number * (self._picture[0] + _STRIP_GAP), 0))
        return strip

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


def _sized(
    size: tuple[int, int], rows: int, columns: int, chosen: GridOptions, placed: Any
) -> tuple[tuple[int, int], Layout]:
    """The size of a picture and its layout: as asked for, or as fits a page; never past the limit of the page."""
    picture = tile_size(size, rows, columns)
    if chosen.scale:
        picture = (max(8, round(size[0] * chosen.scale)), max(8, round(size[1] * chosen.scale)))
    note = ""
    while True:
        try:
            layout: Layout = placed(picture, *_size_note(size, picture, note))
            over = max(layout.size) / chosen.limit
        except SettingsError:
            # Far too large: try again from a size that can be laid out.
            layout, over = None, 2.0  # type: ignore[assignment]
        if over <= 1:
            return picture, layout
        if picture[0] <= _LEAST_TILE:
            if layout is None:
                placed(picture)
            raise SettingsError(
                f"The grid does not fit into {chosen.limit} pixels a side.",
                expected=f"cells of at least {_LEAST_TILE} pixels of width",
                got=f"{layout.size[0]} x {layout.size[1]} with cells of {picture[0]} x {picture[1]}",
                remedy="Raise the limit, put axes on pages, or use fewer values.",
            )
        width = max(_LEAST_TILE, int(picture[0] / max(over, 1.02)))
        picture = (width, max(8, round(size[1] * width / size[0])))
        note = f", made smaller to keep the page within {chosen.limit} pixels a side"


def _size_note(size: tuple[int, int], picture: tuple[int, int], limited: str) -> tuple[str, ...]:
    share = picture[0] / size[0]
    if abs(share - 1) < 0.005 and not limited:
        return ()
    return (f"Cells of {size[0]} × {size[1]} pixels are shown at {round(100 * share)}%{limited}.",)


def stored_scores(result: SweepResult) -> Scores:
    """What the store knows of the cells; a cell whose scores cannot be read has none, and ``verify`` says why."""
    store = result.store
    there = [id for id in dict.fromkeys(cell.id for cell in result.cells) if store.has(id)]
    return {id: scores for id in there if store.scores_problem(id) is None and (scores := store.scores(id))}


def _score_lines(
    scores: Scores, cells: Mapping[tuple[int, int], Cell], every: Sequence[str], chosen: GridOptions
) -> dict[tuple[int, int], list[ScoreLine]]:
    """The lines below each cell: the same metrics in the same order everywhere. The best is that of all pages."""
    metrics = metrics_of(scores, every)
    if chosen.best and chosen.best not in metrics:
        best_cells(scores, every, chosen.best)
    lower = {metric for metric in metrics if lower_is_better(scores, every, metric)} | chosen.lower_is_better
    best = {metric: best_cells(scores, every, metric, metric in lower) for metric in metrics}
    values = {metric: [score_of(scores, id, metric) for id in every] for metric in metrics}
    largest = {metric: max(abs(value) for value in known if value is not None) for metric, known in values.items()}
    return {
        place: [
            ScoreLine(
                metric,
                say_score(score_of(scores, cell.id, metric), largest[metric]),
                cell.id in best[metric],
                cell.id in best[metric] and metric == chosen.best,
            )
            for metric in metrics
        ]
        for place, cell in cells.items()
        if metrics
    }


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


def _lines(sweep: Sweep, fps: Fraction, strip: tuple[When, ...] | None) -> tuple[str, ...]:
    """What stands under the title: the fixed settings, the fixed prompt, the frames of a strip."""
    varied = {part.name for axis in sweep.axes for part in axis.parts}
    settings = sweep.settings
    rate = f"at {say_number(float(fps))} a second"
    fixed = [f"{settings.width} × {settings.height}"] if "size" not in varied else []
    fixed.append(f"{settings.frames} frames {rate}" if "frames" not in varied else f"frames {rate}")
    for entry in options(SampleSettings):
        if entry.name in (*varied, *_UNSAID, "width", "height", "frames"):
            continue
        value = getattr(settings, entry.name)
        if entry.name not in ADVANCED or value != entry.default:
            fixed.append(f"{entry.name.replace('_', ' ')} {say_value(value)}")
    fixed += [f"{name} {getattr(settings, name)}" for name in ("fit",) if getattr(settings, name) != "letterbox"]
    if not varied & {"lora", "lora_on"}:
        for use in settings.loras:
            fixed.append(f"LoRA {use.say({LORA_AXES[name] for name in varied if name in LORA_AXES})}")
    # Non-breaking spaces keep each setting with its value.
    lines = [" · ".join(said.replace(" ", "\N{NO-BREAK SPACE}") for said in fixed)]
    if "prompt" not in varied and sweep.prompt.text:
        lines.append(f"“{sweep.prompt.text}”")
    if strip and len(strip) > 1:
        lines.append("Each cell: " + ", ".join(f"frame {when}" if isinstance(when, int) else when for when in strip))
    return tuple(lines)


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

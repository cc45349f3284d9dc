"""How a grid is drawn, and which axis runs where."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..options import choice, number, settle, text

if TYPE_CHECKING:
    from .axes import Axis, Cell, Sweep
    from .layout import Header

# With more than so many columns or rows, "auto" puts a further axis on pages.
_MOST = 12


@dataclass(frozen=True)
class GridOptions:
    """What a person may choose of a grid; every field says what it does."""

    layout: str = choice(
        "auto",
        "Where the third and fourth axis go: nested (groups of columns and rows), pages, or auto (nested while there "
        "are at most 12 columns and rows). Further axes are always pages.",
        *("auto", "nested", "pages"),
    )
    scale: float = number(
        0.0, "Size of a cell against its own; 0 chooses one that makes a readable page.", 0.0, 16.0, 0.25
    )
    limit: int = number(
        4096, "Longest side of a page in pixels; cells are made smaller for it, and the page says so.", 480, 16382, 2
    )
    best: str = text("", "Mark the cells that are best by this metric; empty marks none.", str.strip)
    lower: str = text("", "Metrics whose lowest value is best, parted by commas.", str.strip)

    def __post_init__(self) -> None:
        settle(self)

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The metrics of ``lower``."""
        return frozenset(filter(None, (name.strip() for name in self.lower.split(","))))


@dataclass(frozen=True)
class Arrangement:
    """Numbers of the axes that run over ``rows``, ``columns`` (outer first) and ``pages``."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    pages: tuple[int, ...]

    def place(self, sweep: Sweep, cell: Cell) -> tuple[int, int, int]:
        """(page, row, column) of a cell, each from 0."""

        def at(axes: tuple[int, ...]) -> int:
            place = 0
            for axis in axes:
                place = place * len(sweep.axes[axis]) + cell.index[axis]
            return place

        return at(self.pages), at(self.rows), at(self.columns)

    def count(self, sweep: Sweep) -> int:
        """How many pages there are."""
        return prod(len(sweep.axes[axis]) for axis in self.pages)

    def subtitle(self, sweep: Sweep, page: int) -> str:
        """What this page has that the other pages have not."""
        combinations = list(itertools.product(*(sweep.axes[axis].labels for axis in self.pages)))
        if not self.pages:
            return ""
        return f"{' · '.join(combinations[page])} (page {page + 1} of {len(combinations)})"

    def headers(self, sweep: Sweep) -> tuple[Header, Header]:
        """Those of the rows and of the columns."""
        return _header([sweep.axes[at] for at in self.rows]), _header([sweep.axes[at] for at in self.columns])


def arrange(sweep: Sweep, layout: str = "auto") -> Arrangement:
    """Which axis runs where. One axis runs over columns; of two, the first runs over rows.

    The third groups the columns (or the rows, when only they have room), the fourth what is left.
    """
    counts = [len(axis) for axis in sweep.axes]
    if len(counts) == 1:
        return Arrangement((), (0,), ())
    sides: dict[str, tuple[int, ...]] = {"columns": (1,), "rows": (0,)}
    pages: tuple[int, ...] = ()
    for axis, count in enumerate(counts[2:], start=2):
        free = [
            side
            for side, axes in sides.items()
            if len(axes) == 1 and (layout == "nested" or prod(counts[at] for at in axes) * count <= _MOST)
        ]
        if layout == "pages" or pages or not free:
            pages += (axis,)
        else:
            sides[free[0]] = (axis, *sides[free[0]])
    return Arrangement(sides["rows"], sides["columns"], pages)


def check_page(page: int, count: int) -> int:
    """``page`` itself, or ``SettingsError`` when there are only ``count`` pages."""
    if not 0 <= page < count:
        raise SettingsError(f"There is no page {page}.", expected=f"0 to {count - 1}", got=str(page))
    return page


def _header(axes: Sequence[Axis]) -> Header:
    from .layout import Header

    if not axes:
        return Header("", ("",))
    inner = axes[-1]
    if len(axes) == 1:
        return Header(inner.title, _short(inner))
    return Header(inner.title, _short(inner), axes[0].title, _short(axes[0]))


def _short(axis: Any) -> tuple[str, ...]:
    """The labels without the axis' title, which the header says once."""
    return tuple(label.removeprefix(axis.title).lstrip(": ") or label for label in axis.labels)

"""One cell out of a sweep: by its number, by its labels, or the best by a score."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..options import choice, flag, number, settle, text

if TYPE_CHECKING:
    from .axes import Cell
    from .run import SweepResult
    from .scores import Scores


@dataclass(frozen=True)
class PickOptions:
    """How a cell is chosen."""

    by: str = choice("number", "What chooses the cell: its number, its labels, or a score.", "number", "label", "best")
    number: int = number(1, "The cell's number in the grid, from 1: along the first row, then the next.", 1, 100_000, 1)
    label: str = text(
        "", "Its labels, parted by commas, such as guidance 5, seed 0; those that are left out may be any.", str.strip
    )
    metric: str = text("", "The score by which a cell is best.", str.strip)
    lowest: bool = flag(False, "The lowest value of the score is the best.")

    def __post_init__(self) -> None:
        settle(self)


def pick_cell(result: SweepResult, options: PickOptions, scores: Scores | None = None) -> Cell:
    """The chosen cell of a sweep; the first of several that fit.

    ``scores``: cell id -> metric -> value; those in the store when left out. Raises ``SettingsError`` when no cell is
    meant, ``StoreError`` when scores cannot be read.
    """
    if options.by == "number":
        if options.number > len(result.cells):
            raise SettingsError(
                f"There is no cell {options.number}.", expected=f"1 to {len(result.cells)}", got=str(options.number)
            )
        return result.cells[options.number - 1]
    if options.by == "label":
        return _by_label(result, options.label)
    from .scores import best_cells

    there = [cell.id for cell in result.cells if result.store.has(cell.id)]
    known = scores if scores is not None else {id: result.store.scores(id) for id in set(there)}
    best = best_cells(known, there, options.metric, options.lowest)[0]
    return next(cell for cell in result.cells if cell.id == best)


def settings_text(cell: Cell) -> str:
    """The prompt and every setting of a cell, one a line."""
    lines = [f"prompt: {cell.prompt.text}", f"negative: {cell.prompt.negative}"]
    for name, value in cell.settings.to_dict().items():
        lines.append(f"{name}: {value}")
    return "\n".join(lines)


def cell_metadata(result: SweepResult, cell: Cell) -> dict[str, Any]:
    """What a file of one cell carries."""
    from .. import __version__
    from ..video.metadata import OWN

    return {
        OWN: {
            "kind": "cell",
            "version": __version__,
            "sweep": result.sweep.name,
            "id": cell.id,
            "labels": list(cell.labels),
            "prompt": cell.prompt.text,
            "negative": cell.prompt.negative,
            "settings": cell.settings.to_dict(),
        }
    }


def _by_label(result: SweepResult, label: str) -> Cell:
    # A label may hold commas itself, so the whole is tried before its parts.
    for cell in result.cells:
        if label and label in (*cell.labels, ", ".join(cell.labels)):
            return cell
    wanted = [part.strip() for part in label.split(",") if part.strip()]
    for cell in result.cells:
        if wanted and all(part in cell.labels for part in wanted):
            return cell
    known = list(dict.fromkeys(part for cell in result.cells for part in cell.labels))
    wrong = next((part for part in wanted if part not in known), "")
    near = difflib.get_close_matches(wrong, known, 1)
    raise SettingsError(
        f"No cell is labelled {label!r}." if label else "No label is given.",
        expected=f"labels such as {', '.join(result.cells[0].labels)}",
        got=label,
        remedy=f"Did you mean {near[0]}?" if near else "Take the labels from the grid's headers with their axis.",
    )

"""What a running sweep tells: small facts for a progress bar, a log or a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .axes import Cell, Sweep


@dataclass(frozen=True)
class Planned:
    """The plan is made. ``named``: cells of the grid; ``distinct``: different ones; ``stored``: finished before.

    ``sweeps`` and ``cells``: of each sweep all cells in row-major order. ``seconds``: estimated for what is left, from
    cells of this model that are stored; None where there are none.
    """

    named: int
    distinct: int
    stored: int
    sweeps: tuple[Sweep, ...] = field(default=(), compare=False, repr=False)
    cells: tuple[tuple[Cell, ...], ...] = field(default=(), compare=False, repr=False)
    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Started:
    """A cell begins. ``number`` of ``total`` counts the cells that this run has to compute, from 1."""

    cell: Cell
    number: int
    total: int


@dataclass(frozen=True)
class Stepped:
    """A step of a cell is done. ``step`` is the renderer's object: ``index``, ``total``, ``preview()``."""

    cell: Cell
    number: int
    total: int
    step: Any


@dataclass(frozen=True)
class Finished:
    """A cell is on the disk. ``seconds`` its rendering took; ``remaining``: estimated for the cells that are left.

    Where a cell is written while the next one is rendered, this may come after that one's ``Started`` and some of its
    ``Stepped``; cells come in the order of their numbers, ``Failed`` ones too.
    """

    cell: Cell
    number: int
    total: int
    seconds: float
    remaining: float


@dataclass(frozen=True)
class Failed:
    """A cell could not be rendered; ``reason`` says why."""

    cell: Cell
    number: int
    total: int
    reason: str


@dataclass(frozen=True)
class Damaged:
    """A stored cell was damaged; it was moved to ``moved_to`` and is computed again."""

    id: str
    reason: str
    moved_to: str


@dataclass(frozen=True)
class Waiting:
    """Only cells that other processes are computing are left; this many."""

    cells: int


Event = Planned | Started | Stepped | Finished | Failed | Damaged | Waiting

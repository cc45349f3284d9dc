"""Axes, cells and the sweep that they make.

A sweep is a base (a prompt and settings) and axes; each axis replaces one thing in the base by each of its values.
A cell is one point of that grid, with everything that decides its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..prompts.prompt import Prompt
from ..wan.settings import SampleSettings


@dataclass(frozen=True)
class Axis:
    """One thing that varies. ``name``: a key of ``AXES``; ``values`` and ``labels`` have the same length."""

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """A base and its axes. The first axis runs over the grid's rows, the second over its columns, others over pages."""

    prompt: Prompt
    settings: SampleSettings
    axes: tuple[Axis, ...]
    name: str = "sweep"


@dataclass(frozen=True)
class Cell:
    """One rendering of a sweep.

    ``id``: hex sha256 of everything that decides its pixels. ``index``: its place on each axis.
    ``labels``: one text an axis.
    """

    id: str
    prompt: Prompt
    settings: SampleSettings
    index: tuple[int, ...]
    labels: tuple[str, ...]

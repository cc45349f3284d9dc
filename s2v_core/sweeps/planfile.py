"""The plan of a sweep's latest run, beside its store: what the grid looks like before, during and after the run.

    <sweep>/plan.json     the axes, the base, and of each cell its id, its place and what it has of its own
    <sweep>/cells/        the store

With it a grid is shown again without models, pictures or a graph, the cells that are not finished too. The store does
not need it. Models and pictures are not in it; the labels name those that axes vary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import S2VError, StoreError
from ..files import write_text_atomic
from ..prompts.prompt import Prompt
from ..wan.settings import SampleSettings
from .axes import Cell, Sweep
from .run import SweepResult
from .store import CellStore
from .stored import StoredAxis, prompt_of

PLAN = "plan.json"
KIND = "skeleton2video plan"
VERSION = 1


def write_plan(file: str | os.PathLike[str], sweep: Sweep, cells: Iterable[Cell]) -> None:
    """Put the plan of a sweep in place in one step. ``cells``: all of the grid, in row-major order."""
    base = _settings(sweep.settings)
    prompts: dict[Prompt, int] = {sweep.prompt: 0}
    rows = []
    for cell in cells:
        own = _settings(cell.settings)
        changed = {name: value for name, value in own.items() if value != base[name]}
        row: dict[str, Any] = {"id": cell.id, "index": list(cell.index)}
        if number := prompts.setdefault(cell.prompt, len(prompts)):
            row["prompt"] = number
        rows.append(row | ({"settings": changed} if changed else {}))
    said = {
        "kind": KIND,
        "version": VERSION,
        "name": sweep.name,
        "axes": [_axis(axis) for axis in sweep.axes],
        "settings": base,
        "prompts": [{name: getattr(prompt, name) for name in ("text", "negative", "variant")} for prompt in prompts],
    }
    head = json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    # A cell a line: people look into it.
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    write_text_atomic(file, f'{head},\n "cells": [\n  {lines}\n ]\n}}\n')


def read_plan(file: str | os.PathLike[str]) -> tuple[Sweep, tuple[Cell, ...]]:
    """A sweep and its cells as they were planned last; the axes are ``StoredAxis``.

    Raises ``StoreError`` for a file that is missing, damaged or of a newer version.
    """
    path = Path(file)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["kind"] != KIND or said["version"] != VERSION:
            raise StoreError(f"{path} is not a plan of this version.", got=f"{said['kind']}, {said['version']}")
        axes: Any = tuple(map(_stored_axis, said["axes"]))
        prompts = [prompt_of({"prompt": prompt}) for prompt in said["prompts"]]
        sweep = Sweep(prompts[0], SampleSettings.from_dict(said["settings"]), axes, str(said["name"]))
        return sweep, tuple(_cell(row, sweep, prompts, said["settings"]) for row in said["cells"])
    except FileNotFoundError:
        raise StoreError(f"There is no plan {path}.", remedy="Run the sweep.") from None
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, S2VError) as error:
        if isinstance(error, StoreError):
            raise
        problem = error.problem if isinstance(error, S2VError) else str(error)
        raise StoreError(
            f"The plan {path} cannot be read.", got=problem, remedy="Run the sweep again: it is written anew."
        ) from error


def planned_result(folder: str | os.PathLike[str]) -> SweepResult:
    """What the store beside a plan holds of it now. Clips are not read: a cell counts by its ``cell.json`` and sizes.

    Raises ``StoreError`` for a plan or a store that cannot be read.
    """
    sweep, cells = read_plan(Path(folder) / PLAN)
    store = CellStore(Path(folder) / "cells", look=True)
    there = tuple(id for id in dict.fromkeys(cell.id for cell in cells) if store.problem(id, quick=True) is None)
    return SweepResult(sweep, cells, (), there, {}, store, 0.0)


def _settings(settings: SampleSettings) -> dict[str, Any]:
    values = settings.to_dict()
    return {**values, "loras": list(values["loras"])}


def _axis(axis: Any) -> dict[str, Any]:
    own = {"name": axis.name, "title": axis.title, "labels": list(axis.labels)}
    parts = [{"name": part.name, "labels": list(part.labels)} for part in axis.parts]
    return own | ({"parts": parts} if len(parts) > 1 else {})


def _stored_axis(said: Mapping[str, Any]) -> StoredAxis:
    labels = _labels(said)
    if not labels:
        raise ValueError("an axis without values")
    parts = tuple(StoredAxis(str(part["name"]), "", _labels(part)) for part in said.get("parts", ()))
    return StoredAxis(str(said["name"]), str(said["title"]), labels, parts)


def _labels(said: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(said["labels"], list):
        raise TypeError("labels that are no list")
    return tuple(map(str, said["labels"]))


def _cell(row: Mapping[str, Any], sweep: Sweep, prompts: list[Prompt], base: Mapping[str, Any]) -> Cell:
    index = tuple(row["index"])
    if len(index) != len(sweep.axes) or any(type(at) is not int or at < 0 for at in index):
        raise ValueError(f"a cell at {index}")
    labels = tuple(axis.labels[at] for axis, at in zip(sweep.axes, index, strict=True))
    own = row.get("settings", {})
    settings = SampleSettings.from_dict({**base, **own}) if own else sweep.settings
    number = row.get("prompt", 0)
    if type(number) is not int or number < 0:
        raise ValueError(f"a prompt {number!r}")
    return Cell(str(row["id"]), prompts[number], settings, index, labels)

"""A sweep as a page in a browser needs it: JSON-ready facts of its grid, of the state of each cell, and of one cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .axes import Cell, Sweep
from .gridoptions import arrange
from .layout import Header
from .run import SweepResult
from .store import CellStore


def grid_view(result: SweepResult, layout: str = "auto") -> dict[str, Any]:
    """The grid of a sweep. ``layout``: as in ``GridOptions``.

    ``rows``, ``columns``: ``title``, ``labels``, and for an outer axis ``group_title`` and ``groups``. ``pages``: what
    each has that the others have not, [""] where there is one. ``size``: [width, height] before the axes. ``cells``:
    ``id``, ``place`` [page, row, column] and ``labels`` in row-major order. ``states``: by id, see ``cell_state``.
    """
    sweep = result.sweep
    where = arrange(sweep, layout)
    rows, columns = where.headers(sweep)
    return {
        "name": sweep.name,
        "rows": _header(rows),
        "columns": _header(columns),
        "pages": [where.subtitle(sweep, page) for page in range(where.count(sweep))],
        "size": [sweep.settings.width, sweep.settings.height],
        "cells": [
            {"id": cell.id, "place": list(where.place(sweep, cell)), "labels": list(cell.labels)}
            for cell in result.cells
        ],
        "states": {
            id: cell_state(result.store, id, result.failed) for id in dict.fromkeys(cell.id for cell in result.cells)
        },
    }


def cell_state(store: CellStore, id: str, failed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What there is of a cell, told without reading its clip.

    ``state``: "stored", with ``frames``, ``width``, ``height``, ``fps`` (a number), ``version`` (changes with the clip)
    and ``seconds`` (that it took; left out where not known); "failed" or "damaged", with ``reason``; or "missing".
    """
    if not store.path(id).exists():
        reason = (failed or {}).get(id)
        return {"state": "missing"} if reason is None else {"state": "failed", "reason": reason}
    if reason := store.problem(id, quick=True):
        return {"state": "damaged", "reason": reason}
    said = store.meta(id, quick=True)
    clip = said["clip"]
    top, _, bottom = str(clip["fps"]).partition("/")
    return {
        "state": "stored",
        **{name: clip[name] for name in ("frames", "width", "height")},
        "fps": round(int(top) / int(bottom or 1), 3),
        "version": clip["sha256"][:12],
        **({"seconds": said["seconds"]} if "seconds" in said else {}),
    }


def cell_form(sweep: Sweep, cell: Cell) -> dict[str, Any]:
    """Everything of a cell that a form can take: what the fields of a sampler shall say.

    ``settings``: by name, without LoRAs. ``loras``: each with all its fields. ``prompt``: ``text``, ``negative``,
    ``variant``. ``base``: ``loras`` and ``prompt`` of the sweep, before the axes. ``varied``: names of the axes' parts.
    """
    values = {entry.name: getattr(cell.settings, entry.name) for entry in dataclasses.fields(cell.settings)}
    return {
        "id": cell.id,
        "labels": list(cell.labels),
        "settings": {name: value for name, value in values.items() if name != "loras"},
        "loras": [dataclasses.asdict(use) for use in cell.settings.loras],
        "prompt": _prompt(cell),
        "base": {"loras": [dataclasses.asdict(use) for use in sweep.settings.loras], "prompt": _prompt(sweep)},
        "varied": [part.name for axis in sweep.axes for part in axis.parts],
    }


def _header(header: Header) -> dict[str, Any]:
    return {
        "title": header.title,
        "labels": list(header.labels),
        "group_title": header.group_title,
        "groups": list(header.groups),
    }


def _prompt(holder: Cell | Sweep) -> dict[str, str]:
    return {name: getattr(holder.prompt, name) for name in ("text", "negative", "variant")}

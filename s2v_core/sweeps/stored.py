"""Results out of a store, with nothing rendered and no model read: for grids that are made again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import StoreError
from ..files import sha256_json
from ..prompts.prompt import Prompt
from ..wan.settings import SampleSettings
from .axes import AXES, Cell, Sweep
from .plan import plan
from .run import SweepResult
from .store import CellStore
from .upkeep import stored_ids

_NUMBER = re.compile(r"-?\d+(\.\d+)?$")


@dataclass(frozen=True)
class StoredAxis:
    """An axis of which only the labels are known. ``name`` is a key of ``AXES`` where the labels tell it.

    ``zipped``: where several things vary together, each of them.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    zipped: tuple[StoredAxis, ...] = ()

    @property
    def parts(self) -> tuple[StoredAxis, ...]:
        """What varies along it: itself, or what was zipped."""
        return self.zipped or (self,)

    def __len__(self) -> int:
        return len(self.labels)


def result_of_sweep(sweep: Sweep, store: CellStore, lora_sha256: Callable[[str], str]) -> tuple[SweepResult, int]:
    """What a store holds of a sweep, whatever models and pictures its cells were rendered with.

    Also how many cells are there in several renderings, of which the newest is taken. Raises what ``lora_sha256``
    raises, and ``StoreError``.
    """
    planned = plan(sweep, {}, lora_sha256)
    content = {cell.index: (cell.id, cell.scene) for cell in planned}
    labels: dict[Any, set[tuple[str, ...]]] = {}
    for cell in planned:
        labels.setdefault(content[cell.index], set()).add(cell.labels)
    found: dict[Any, tuple[str, ...]] = {}
    for named in stored_ids(sweep, store, lora_sha256):
        for cell in named.cells:
            what = content[cell.index]
            found[what] = named.ids
            if len(named.cells) > 1:
                # Models and pictures are not read: of cells that differ in these alone, labels tell which is which.
                found[what] = tuple(
                    id for id in named.ids if tuple(store.meta(id, quick=True)["labels"]) in labels[what]
                )
    chosen = {what: _newest(store, ids) for what, ids in found.items() if ids}
    missing = {what: sha256_json([what[0], number]) for number, what in enumerate(labels)}
    cells = tuple(replace(cell, id=chosen.get(content[cell.index], missing[content[cell.index]])) for cell in planned)
    return _result(sweep, cells, store), sum(len(ids) > 1 for ids in found.values())


def result_of_store(store: CellStore, name: str = "") -> SweepResult:
    """The cells of one sweep of a store, with the axes that their labels tell.

    ``name``: of the sweep, needed when the store holds several. A cell that sweeps share belongs to the one that
    rendered it. Raises ``StoreError``.
    """
    meta = {id: store.meta(id, quick=True) for id in store.ids() if store.problem(id, quick=True) is None}
    names = sorted({str(said.get("sweep", "")) for said in meta.values()})
    if not names or (name and name not in names) or (not name and len(names) > 1):
        raise StoreError(
            f"It is not clear which sweep of {store.folder} is meant." if names else f"{store.folder} has no cells.",
            expected=f"one of {', '.join(names)}" if names else "at least one sound cell",
            got=repr(name),
            remedy="Name the sweep, or give its sweep file." if names else "Run a sweep first.",
        )
    wanted = name or names[0]
    mine = {id: said for id, said in meta.items() if said.get("sweep", "") == wanted}
    order = sorted(mine, key=lambda id: str(mine[id].get("created", "")))
    depth = {len(mine[id]["labels"]) for id in order}
    if len(depth) != 1 or 0 in depth:
        raise StoreError(
            f"The cells of {wanted!r} come from sweeps with different axes.",
            expected="cells with equally many labels",
            got=" and ".join(map(str, sorted(depth))),
            remedy="Give the sweep file instead of the store.",
        )
    axes: Any = tuple(_axis(number, [mine[id]["labels"][number] for id in order]) for number in range(depth.pop()))
    cells = [_cell(id, mine[id], axes) for id in order]
    cells.sort(key=lambda cell: cell.index)
    first = cells[0]
    return _result(Sweep(first.prompt, first.settings, axes, wanted), tuple(cells), store)


def prompt_of(said: Mapping[str, Any]) -> Prompt:
    """The prompt that ``cell.json`` holds."""
    kept = said["prompt"]
    return Prompt(kept["text"], kept.get("negative", ""), variant=kept.get("variant", "custom"))


def _cell(id: str, said: Mapping[str, Any], axes: tuple[StoredAxis, ...]) -> Cell:
    labels = tuple(said["labels"])
    index = tuple(axis.labels.index(label) for axis, label in zip(axes, labels, strict=True))
    return Cell(id, prompt_of(said), SampleSettings.from_dict(said["settings"]), index, labels)


def _axis(number: int, labels: list[str]) -> StoredAxis:
    """The axis of these labels; numbers in their order, everything else as it came."""
    distinct = list(dict.fromkeys(labels))
    if all(_NUMBER.search(label) for label in distinct):
        distinct.sort(key=lambda label: float(_NUMBER.search(label)[0]))  # type: ignore[index]
    kinds = sorted(AXES.items(), key=lambda entry: -len(entry[1].title))
    for name, kind in kinds:
        if all(label.startswith(kind.title) for label in distinct):
            return StoredAxis(name, kind.title, tuple(distinct))
    return StoredAxis(f"axis {number + 1}", "", tuple(distinct))


def _newest(store: CellStore, ids: tuple[str, ...]) -> str:
    sound = [id for id in ids if store.problem(id, quick=True) is None] or list(ids)
    if len(sound) == 1:
        return sound[0]
    return max(sound, key=lambda id: str(store.meta(id, quick=True).get("created", "")))


def _result(sweep: Sweep, cells: tuple[Cell, ...], store: CellStore) -> SweepResult:
    there = tuple(id for id in dict.fromkeys(cell.id for cell in cells) if store.has(id))
    return SweepResult(sweep, cells, (), there, {}, store, 0.0)

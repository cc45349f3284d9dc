"""Looking after a cell store: what is in it, whether it is sound, what may go, and several stores into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import Interrupted, S2VError, StoreError
from ..files import sha256_json
from .axes import Cell, Sweep
from .halving import DRAFT, DRAFTS, Round, draft_settings
from .plan import cell_id, plan
from .scene import Scene
from .store import CellStore
from .storefiles import CLIP, LATENTS, SCORES, decode

Progress = Callable[[int, int], None]
Stop = Callable[[], bool]
# The parts of a store that disk use is told of, with the folder that they are in; cells are all the rest.
_PARTS = ("prefixes", "damaged", "locks")


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written. ``file`` is empty for a whole cell; ``moved_to`` if it was set aside."""

    id: str
    file: str
    reason: str
    moved_to: str = ""


@dataclass(frozen=True)
class Status:
    """What a store holds, as far as it can be told without reading the clips.

    ``damaged``: by ``cell.json``, ``scores.json`` and the sizes of files only. ``set_aside``: names in ``damaged/``.
    ``in_flight``: id -> who computes it. ``sweeps``: name -> cells that it computed. ``bytes``: by part of the store.
    """

    version: int
    writable: bool
    cells: int
    latents: int
    scored: int
    damaged: tuple[Damage, ...]
    set_aside: tuple[str, ...]
    in_flight: dict[str, dict[str, Any]]
    sweeps: dict[str, int]
    bytes: dict[str, int]


@dataclass(frozen=True)
class Removal:
    """A folder of a store that may go. ``what``: damaged, prefixes or unnamed; ``why`` is for people."""

    path: Path
    what: str
    why: str
    bytes: int


@dataclass(frozen=True)
class Merged:
    """What a merge did: ids that were copied or here already, and what stayed out, with the reason."""

    copied: tuple[str, ...]
    present: tuple[str, ...]
    left_out: tuple[Damage, ...]


@dataclass(frozen=True)
class Named:
    """Cells of a sweep that differ in nothing but models and pictures, and the ids of such cells in a store."""

    cells: tuple[Cell, ...]
    ids: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many of the cells must be missing."""
        return max(0, len(self.cells) - len(self.ids))


def status(store: CellStore) -> Status:
    """What is in a store now. Changes nothing; other processes may be at work."""
    damaged, sweeps = [], Counter[str]()
    latents = scored = 0
    ids = store.ids()
    for id in ids:
        if (meta := _facts(store, id)) is None:
            # Unless another process has moved it meanwhile.
            if store.path(id).exists() and (reason := store.problem(id, quick=True)):
                damaged.append(Damage(id, "", reason))
            continue
        sweeps[str(meta.get("sweep", ""))] += 1
        latents += (store.path(id) / LATENTS).exists()
        scored += (store.path(id) / SCORES).exists()
        if reason := store.scores_problem(id):
            damaged.append(Damage(id, SCORES, reason))
    parts = {name: folder_bytes(store.folder / name) for name in _PARTS}
    aside = store.folder / "damaged"
    return Status(
        store.version,
        store.writable,
        len(ids),
        latents,
        scored,
        tuple(damaged),
        tuple(sorted(path.name for path in aside.iterdir())) if aside.is_dir() else (),
        store.in_flight(),
        dict(sorted(sweeps.items())),
        {"cells": folder_bytes(store.folder) - sum(parts.values()), **parts},
    )


def stored_ids(sweep: Sweep, store: CellStore, lora_sha256: Callable[[str], str]) -> list[Named]:
    """Every cell of a sweep, each once, with the ids under which the store holds it.

    Models and pictures are not read: a cell counts whatever it was rendered with, so that one that was rendered with
    two models has two ids. Raises what ``lora_sha256`` raises.
    """
    there = set(store.ids())
    fingerprints = {sha256_json(said): said for said in _fingerprints(store)}
    # A store without cells has no fingerprint; an empty one tells equal cells from others as well.
    plans = [plan(sweep, said, lora_sha256) for said in fingerprints.values() or ({},)]
    found: dict[tuple[str, ...], dict[Scene, Cell]] = {}
    for same in zip(*plans, strict=True):
        found.setdefault(tuple(cell.id for cell in same), {}).setdefault(same[0].scene, same[0])
    return [
        Named(tuple(cells.values()), tuple(id for id in dict.fromkeys(ids) if id in there))
        for ids, cells in found.items()
    ]


def stored_drafts(sweep: Sweep, store: CellStore, lora_sha256: Callable[[str], str]) -> frozenset[str]:
    """The ids of the drafts of a sweep's cells (``halving``) that a store holds, of every round that its drafts tell.

    Counted as in ``stored_ids``. Drafts from before they told their round are not known. Raises what ``lora_sha256``
    raises.
    """
    metas = [meta for id in store.ids() if (meta := _facts(store, id)) is not None]
    rounds: dict[Round, None] = {}
    for meta in metas:
        with suppress(S2VError, KeyError, TypeError, ValueError):
            rounds[Round(float(meta[DRAFT]["steps"]), float(meta[DRAFT]["size"]))] = None
    if not rounds:
        return frozenset()
    content = cache(lora_sha256)
    fingerprints = {sha256_json(said): said for said in (meta.get("fingerprint", {}) for meta in metas)}
    drafts = {
        (cell.prompt, draft_settings(cell.settings, round)) for cell in plan(sweep, {}, content) for round in rounds
    }
    ids = {cell_id(*draft, said, content) for draft in drafts for said in fingerprints.values()}
    return frozenset(ids & set(store.ids()))


def verify(
    store: CellStore,
    *,
    read_frames: bool = False,
    set_aside: bool = False,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> tuple[Damage, ...]:
    """Check every byte of every cell against its checksum; returns what is damaged.

    ``read_frames``: decode every clip too. ``set_aside``: move what is damaged into ``damaged/``. Cells that another
    process works on are left to it. Raises ``Interrupted``; what was moved stays moved.
    """
    found: list[Damage] = []
    ids = store.ids()
    for number, id in enumerate(ids, start=1):
        _stop_if(should_stop, number - 1, len(ids))
        damage = _damage(store, id, read_frames)
        if damage and set_aside:
            with store.lock(id) as mine:
                # Whoever holds its lock is about to mend it; and meanwhile it may have been mended.
                damage = _damage(store, id, read_frames) if mine else None
                if damage:
                    moved = store.set_aside(id, damage.reason, damage.file)
                    damage = Damage(id, damage.file, damage.reason, str(moved))
        if damage:
            found.append(damage)
        if on_progress:
            on_progress(number, len(ids))
    return tuple(found)


def prunable(
    store: CellStore,
    *,
    damaged: bool = False,
    prefixes: bool = False,
    named_by: Sequence[Sweep] | None = None,
    lora_sha256: Callable[[str], str] | None = None,
    on_progress: Progress | None = None,
) -> tuple[Removal, ...]:
    """What may be removed. Removes nothing.

    ``damaged``: what was set aside, and cells that ``verify`` finds. ``prefixes``: all stored latents of shared steps.
    ``named_by``: the sweeps to keep; a cell goes when none of them names its prompt, settings and LoRAs, whatever its
    models and pictures, and it is no draft of theirs. ``lora_sha256`` is needed for these. Raises what ``stored_ids``
    raises.
    """
    found: list[Removal] = []
    if damaged:
        aside = store.folder / "damaged"
        for path in sorted(aside.iterdir()) if aside.is_dir() else ():
            found.append(Removal(path, "damaged", _reason(path), folder_bytes(path)))
        for damage in verify(store, on_progress=on_progress):
            path = store.path(damage.id) / damage.file
            found.append(Removal(path, "damaged", damage.reason, folder_bytes(path)))
    if prefixes and (path := store.folder / "prefixes").exists():
        found.append(Removal(path, "prefixes", "latents of shared steps", folder_bytes(path)))
    if named_by is not None:
        if lora_sha256 is None:
            raise TypeError("named_by needs lora_sha256")
        named = {id for sweep in named_by for one in stored_ids(sweep, store, lora_sha256) for id in one.ids}
        named.update(*(stored_drafts(sweep, store, lora_sha256) for sweep in named_by))
        for id in store.ids():
            if id not in named and (meta := _facts(store, id)) is not None:
                why = _why_unnamed(meta)
                found.append(Removal(store.path(id), "unnamed", why, folder_bytes(store.path(id))))
    return tuple(found)


def prune(store: CellStore, removals: Iterable[Removal]) -> tuple[Removal, ...]:
    """Remove what ``prunable`` found, each in one step; returns what was removed.

    What another process works on stays, and so do prefixes while any cell is computed. Raises ``StoreError``.
    """
    gone = []
    for removal in removals:
        if removal.what == "prefixes" and store.in_flight():
            continue
        if removal.path.exists() and store.discard(removal.path):
            gone.append(removal)
    return tuple(gone)


def merge(
    sources: Sequence[CellStore],
    into: CellStore,
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Merged:
    """Copy every sound cell of ``sources`` that ``into`` lacks, with latents and scores; the sources stay as they are.

    Cells are the same when their ids are; such cells must show the same frames. What is damaged, shows other frames or
    is worked on by another process stays out and is told; all else is copied. A merge that was stopped or killed is
    finished by the next one. Raises ``StoreError`` for a store merged into itself or one that cannot be written,
    ``Interrupted``.
    """
    for source in sources:
        if source.folder.resolve() == into.folder.resolve():
            raise StoreError(f"{into.folder} cannot be merged into itself.", remedy="Name another store to merge into.")
    copied: list[str] = []
    present: list[str] = []
    left_out: list[Damage] = []
    work = [(source, id) for source in sources for id in source.ids()]
    for number, (source, id) in enumerate(work):
        _stop_if(should_stop, number, len(work))
        reason = source.problem(id)
        if reason is None:
            try:
                (copied if into.adopt(source, id) == "copied" else present).append(id)
            except StoreError as error:
                # A full or read-only disk ends the merge; what is wrong with one cell does not.
                if isinstance(error.__cause__, OSError):
                    raise
                reason = str(error)
            if wrong := source.scores_problem(id):
                left_out.append(Damage(id, SCORES, f"{source.folder}: {wrong}"))
        if reason is not None:
            left_out.append(Damage(id, "", f"{source.folder}: {reason}"))
        if on_progress:
            on_progress(number + 1, len(work))
    return Merged(tuple(copied), tuple(present), tuple(left_out))


def folder_bytes(path: Path) -> int:
    """The bytes of all files below a folder, or of one file; 0 when there is nothing. Files may come and go."""
    total = 0
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue
    return total


def _damage(store: CellStore, id: str, read_frames: bool) -> Damage | None:
    if not store.path(id).exists():
        return None
    if reason := store.problem(id, again=True):
        return Damage(id, "", reason)
    if read_frames:
        said = store.meta(id)["clip"]
        try:
            sizes = Counter(frame.shape[1::-1] for frame in decode(store.path(id) / CLIP))
        except StoreError as error:
            return Damage(id, "", f"{CLIP} cannot be decoded: {error.got}")
        if sizes != {(said["width"], said["height"]): said["frames"]}:
            return Damage(id, "", f"{CLIP} does not hold {said['frames']} frames of {said['width']} x {said['height']}")
    if reason := store.scores_problem(id):
        return Damage(id, SCORES, reason)
    return None


def _facts(store: CellStore, id: str) -> dict[str, Any] | None:
    """What ``cell.json`` says, or None for a cell that is damaged, or that another process has just moved."""
    try:
        return store.meta(id, quick=True)
    except StoreError:
        return None


def _why_unnamed(meta: Mapping[str, Any]) -> str:
    sweep = str(meta.get("sweep", ""))
    said = ", ".join([sweep, *meta["labels"]])
    if DRAFT not in meta and sweep.endswith(DRAFTS):
        return f"{said} (an older draft, which does not tell its round: whose it is is not known)"
    return said


def _fingerprints(store: CellStore) -> Iterable[Mapping[str, str]]:
    for id in store.ids():
        if (meta := _facts(store, id)) is not None:
            yield meta.get("fingerprint", {})


def _reason(path: Path) -> str:
    try:
        return (path / "reason.txt").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _stop_if(should_stop: Stop | None, done: int, total: int) -> None:
    if should_stop and should_stop():
        raise Interrupted(f"Stopped after {done} of {total} cells. What was done is kept.")

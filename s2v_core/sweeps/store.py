"""The folder where finished cells live, so that no cell is ever computed twice. docs/store.md describes it.

    <store>/store.json            what this folder is, and its version
    <store>/<cell id>/            clip.mkv, cell.json; latents.safetensors and scores.json when asked for
    <store>/locks/                one lock a cell, held by the process that computes it
    <store>/damaged/              what was found damaged, with reason.txt
    <store>/prefixes/             latents of steps that cells share (``prefixes``); can be made again

A cell's folder appears in one step, when it is complete. Whatever a killed run leaves behind is a hidden temporary
file or folder, which the next run removes; the operating system releases the locks of a dead process.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import StoreError, VideoError
from ..files import atomic_folder, sha256_file, write_text_atomic
from ..video.clip import Clip, Source
from . import storefiles
from .axes import Cell
from .storefiles import CLIP, LATENTS, META, SCORES, STORE_VERSION
from .storelock import Locks

if TYPE_CHECKING:
    import torch

_ID = re.compile(r"[0-9a-f]{64}")
# ``atomic_folder`` shortens long names, so a temporary folder may begin with a part of the id only.
_LEFTOVER = re.compile(r"\.([0-9a-f]{16,64})-\w+")
_REMOVED = re.compile(r"\.removed-\w+")
_LEFTOVER_FILE = re.compile(r"\.(clip|cell|latents|scores|reason)\.[\w.]+-[0-9a-f]{16}\.\w+")
_STALE_SECONDS = 3600
# Long enough for a lock that somebody only tries, as ``clean`` and ``s2v sweep status`` do.
_TRY_SECONDS = 0.5
_SCORES_SECONDS = 60.0
_MIGRATE_SECONDS = 600.0
_log = logging.getLogger(__name__)


class CellStore:
    """A folder of finished cells. Several processes may share one.

    Made when it does not exist or is empty; a store of an older version is brought to this one. ``look``: the store
    must exist, and opening it changes nothing. A store that cannot be written can be read all the same.
    Raises ``StoreError`` when the folder holds something else or a store of a newer version, or cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str], *, look: bool = False) -> None:
        self.folder = Path(folder)
        self._locks = Locks(self.folder / "locks")
        self._sound: dict[Path, tuple[int, ...]] = {}
        try:
            self.version = storefiles.store_version(self.folder, make=not look)
            if not look and self.writable:
                self._prepare()
        except OSError as error:
            raise StoreError(
                f"The cell store {self.folder} cannot be opened.",
                expected="a folder that can be read, and written if it is new",
                got=str(error),
                remedy="Choose another folder, make room on the disk, or mend the permissions.",
            ) from error

    @property
    def writable(self) -> bool:
        """Whether cells can be put in: false on a read-only disk and without the permission."""
        return os.access(self.folder, os.W_OK)

    def ids(self) -> tuple[str, ...]:
        """The ids of all cells that are here, sorted, damaged ones too."""
        return tuple(sorted(path.name for path in self.folder.iterdir() if _ID.fullmatch(path.name)))

    def has(self, id: str) -> bool:
        """Whether this cell is here and sound."""
        return self.path(id).exists() and self.problem(id) is None

    def path(self, id: str) -> Path:
        """The folder of a cell, whether it is there or not."""
        if not _ID.fullmatch(id):
            raise StoreError(f"{id!r} is not the id of a cell.", expected="64 hexadecimal digits")
        return self.folder / id

    def problem(self, id: str, *, again: bool = False, quick: bool = False) -> str | None:
        """What is wrong with a stored cell, or None. Scores have ``scores_problem``.

        Reads every byte, of each file once for each state of it; ``again``: even when its state is known. ``quick``:
        only ``cell.json`` and the sizes of the other files.
        """
        try:
            meta = self._read_meta(id)
            for name, said in ((CLIP, meta["clip"]), (LATENTS, meta.get("latents"))):
                if said and (reason := self._wrong(self.path(id) / name, said, again, quick)):
                    return reason
        except OSError as error:
            return f"{Path(error.filename or META).name} cannot be read: {error.strerror}"
        except ValueError as error:
            return str(error)
        return None

    def scores_problem(self, id: str) -> str | None:
        """What is wrong with the scores of a cell whose ``problem`` is None, or None."""
        try:
            self._read_scores(id)
        except OSError as error:
            return f"{SCORES} cannot be read: {error.strerror}"
        except ValueError as error:
            return str(error)
        return None

    def meta(self, id: str, *, quick: bool = False) -> dict[str, Any]:
        """What ``cell.json`` says. Raises ``StoreError`` for a missing or damaged cell; ``quick`` as in ``problem``."""
        self._require(id, quick)
        return self._read_meta(id)

    def load(self, id: str) -> Clip:
        """All frames of a cell, as they were put in. Raises ``StoreError`` for a missing or damaged cell."""
        said = self.meta(id)["clip"]
        frames = np.stack(list(self.frames(id)))
        return Clip(frames, Fraction(said["fps"]), Source(str(self.path(id) / CLIP), said["sha256"]))

    def frames(self, id: str) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
        """The frames of a cell one by one, uint8 [H, W, 3], never all in memory. Raises ``StoreError``."""
        self._require(id)
        yield from storefiles.decode(self.path(id) / CLIP)

    def latents(self, id: str) -> torch.Tensor | None:
        """The latents of a cell on the CPU, or None when none were kept. Raises as ``load`` does."""
        return storefiles.read_latents(self.path(id)) if "latents" in self.meta(id) else None

    def scores(self, id: str) -> dict[str, dict[str, Any]]:
        """The scores of a cell by metric, {} when there are none yet. Raises ``StoreError`` as ``load`` does."""
        self._require(id)
        if reason := self.scores_problem(id):
            raise StoreError(
                f"The scores of cell {id[:12]} in {self.folder} are damaged.",
                got=reason,
                remedy="Score the cell again: the damaged file is moved aside.",
            )
        return self._read_scores(id)

    def put(
        self,
        cell: Cell,
        clip: Clip,
        meta: Mapping[str, Any] | None = None,
        *,
        latents: torch.Tensor | None = None,
    ) -> Path:
        """Keep a finished cell; returns its folder.

        ``meta``: further JSON-ready facts for ``cell.json`` (fingerprint, seconds, versions). ``latents``: kept beside
        the clip, bit for bit. The written clip is read back and compared before the cell counts as finished. A sound
        cell that is already here stays as it is, but for latents that it lacks; a damaged one is moved aside.
        Raises ``StoreError`` when it cannot be written (nothing is left then), or when another process is computing
        this cell.
        """
        target = self.path(cell.id)
        with self._mine(cell.id), self._written(cell.id):
            if target.exists():
                if (reason := self.problem(cell.id)) is None:
                    if latents is not None and "latents" not in (known := self._read_meta(cell.id)):
                        # cell.json is last: latents that it does not name are not there.
                        known["latents"] = storefiles.write_latents(target, latents)
                        storefiles.write_sealed(target / META, known)
                    return target
                self.set_aside(cell.id, reason)
            with atomic_folder(target) as folder:
                storefiles.write_cell(folder, cell, clip, meta or {}, latents)
        return target

    def add_scores(self, id: str, scores: Mapping[str, Mapping[str, Any]]) -> Path:
        """Add scores to a finished cell, in one step; returns ``scores.json``.

        ``scores``: metric -> JSON-ready facts with at least ``version``, the metric's. A metric that was there is
        replaced. Several processes may add to one cell. Raises ``StoreError``.
        """
        for metric, said in scores.items():
            if not isinstance(said.get("version"), str):
                raise StoreError(
                    f"The score {metric!r} has no version.", expected='"version" and a text', got=repr(said)
                )
        with self._mine(id, _SCORES_SECONDS), self._written(id):
            self._require(id)
            if reason := self.scores_problem(id):
                self.set_aside(id, reason, SCORES)
            known = self._read_scores(id)
            storefiles.write_scores(self.path(id), id, self._read_meta(id)["clip"]["sha256"], {**known, **scores})
        return self.path(id) / SCORES

    def adopt(self, other: CellStore, id: str) -> Literal["copied", "present"]:
        """Take over a finished cell of another store, byte for byte, with its latents and sound scores.

        A cell that is here already gets the latents and scores that it lacks. Raises ``StoreError`` when the other
        cell is damaged, when the cell here shows other frames, or when it cannot be written.
        """
        meta, source, target = other.meta(id), other.path(id), self.path(id)
        files = {CLIP: meta["clip"]} | ({LATENTS: meta["latents"]} if "latents" in meta else {})
        scores = other.scores(id) if other.scores_problem(id) is None else {}
        with self._mine(id), self._written(id):
            if target.exists() and (reason := self.problem(id)):
                self.set_aside(id, reason)
            if not target.exists():
                with atomic_folder(target) as folder:
                    for name, said in files.items():
                        storefiles.copy_file(source / name, folder / name, said["sha256"])
                    storefiles.write_sealed(folder / META, storefiles.upgraded(meta, folder))
                    if scores:
                        storefiles.write_scores(folder, id, meta["clip"]["sha256"], scores)
                return "copied"
            mine = self._read_meta(id)
            if not storefiles.same_clip(source, meta, target, mine):
                raise StoreError(
                    f"Cell {id[:12]} shows other frames in {other.folder} than in {self.folder}.",
                    expected=f"the clip with sha256 {mine['clip']['sha256']}",
                    got=f"the clip with sha256 {meta['clip']['sha256']}",
                    remedy="Both are kept where they are. Look at them, remove one and merge again.",
                )
            if LATENTS in files and "latents" not in mine:
                storefiles.copy_file(source / LATENTS, target / LATENTS, files[LATENTS]["sha256"])
                storefiles.write_sealed(target / META, {**mine, "latents": meta["latents"]})
            known = self.scores(id) if self.scores_problem(id) is None else {}
            if lacking := {metric: said for metric, said in scores.items() if metric not in known}:
                self.add_scores(id, lacking)
        return "present"

    def set_aside(self, id: str, reason: str, file: str = "") -> Path:
        """Move a damaged cell, or one ``file`` of it, into ``damaged/`` with its reason; returns where it is now.

        Nothing is deleted. Raises ``StoreError`` when another process is at work on this cell.
        """
        with self._mine(id), self._written(id):
            place = self.folder / "damaged"
            place.mkdir(exist_ok=True)
            number = 1
            while (target := place / f"{id}-{number}").exists():
                number += 1
            if file:
                target.mkdir()
            (self.path(id) / file).rename(target / file)
            if target.is_dir():
                # On a full disk the reason stays untold there; it is logged all the same.
                with suppress(OSError):
                    write_text_atomic(target / "reason.txt", reason + "\n")
        what = f"{file} of the cell" if file else "The cell"
        _log.warning("%s %s is damaged (%s). It was moved to %s.", what, id, reason, target)
        return target

    def discard(self, path: Path) -> bool:
        """Remove a folder of the store for good: a cell, one in ``damaged/``, or ``prefixes``. False if it is in work.

        It is gone in one step; a run that is killed on the way leaves a hidden folder, which ``clean`` removes.
        """
        with ExitStack() as held, self._written(path.name, "removed from"):
            if _ID.fullmatch(path.name) and not held.enter_context(self.lock(path.name, wait=_TRY_SECONDS)):
                return False
            gone = self.folder / f".removed-{secrets.token_hex(8)}"
            path.rename(gone)
            # Another process may clean up at the same time; what stays is hidden, and cleaned up later.
            shutil.rmtree(gone, ignore_errors=True) if gone.is_dir() else gone.unlink(missing_ok=True)
        return True

    @contextmanager
    def lock(self, id: str, wait: float = 0.0) -> Iterator[bool]:
        """Try to take a cell for this process, for ``wait`` seconds; gives False when another one holds it.

        May be nested. Released at the end of the block, and by the operating system when the process dies. Raises
        ``StoreError`` in a store that cannot be written.
        """
        with self._locks.hold(self.path(id).name, wait) as mine:
            yield mine

    def take_over(self, id: str) -> None:
        """Make the ``lock`` that another thread has taken through this object the calling thread's."""
        self._locks.take_over(self.path(id).name)

    def in_flight(self) -> dict[str, dict[str, Any]]:
        """The cells that processes hold now: id -> ``process``, ``host``, ``since``, as far as known, and ``sure``."""
        held = ((name, self._locks.holder(name)) for name in self._locks.names() if _ID.fullmatch(name))
        return {name: who for name, who in held if who is not None}

    def clean(self) -> tuple[Path, ...]:
        """Remove what killed runs left behind, never what a living one is writing; returns what was removed."""
        removed: list[Path] = []

        def remove(path: Path, ids: tuple[str, ...]) -> None:
            # What cannot be locked or removed here, by another user for example, stays.
            with suppress(OSError, StoreError), ExitStack() as held:
                if all(held.enter_context(self.lock(id)) for id in ids):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                    removed.append(path)

        for path in list(self.folder.glob(".*")):
            if (leftover := _LEFTOVER.fullmatch(path.name)) and path.is_dir():
                # Whoever writes this folder holds the lock of its cell, and made the lock's file before the folder.
                remove(path, self._locks.names(leftover[1]))
            elif _REMOVED.fullmatch(path.name) or (path.match(".store*.json") and _age(path) > _STALE_SECONDS):
                remove(path, ())
        folders = [(id, self.path(id)) for id in self.ids()]
        folders += [(path.name[:64], path) for path in self.folder.glob("damaged/*-*")]
        for id, path in [(id, path) for id, folder in folders for path in folder.glob(".*")]:
            if _LEFTOVER_FILE.fullmatch(path.name):
                remove(path, (id,))
        return (*removed, *self._locks.clean())

    def _prepare(self) -> None:
        """What the first look at a store that can be written is good for."""
        if self.version < STORE_VERSION:
            try:
                self._migrate()
            except (OSError, StoreError) as error:
                # Its cells can be read all the same, and new ones be put in.
                _log.warning("The cell store %s stays at version %d for now: %s", self.folder, self.version, error)
        self.clean()

    def _migrate(self) -> None:
        """From version 1: every ``cell.json`` gets its checksum. Can be killed at any moment and done again."""
        with self._locks.hold("store", _MIGRATE_SECONDS) as mine:
            if not mine:
                raise StoreError(f"Another process keeps {self.folder} locked.", remedy="Wait for it, or stop it.")
            self.version = storefiles.store_version(self.folder)
            if self.version == STORE_VERSION:
                return
            for id in self.ids():
                # What cannot be read stays as it is; it is found damaged when somebody asks for it.
                with suppress(ValueError, FileNotFoundError, NotADirectoryError):
                    storefiles.write_sealed(
                        self.path(id) / META, storefiles.upgraded(self._read_meta(id), self.path(id))
                    )
            storefiles.write_marker(self.folder)
            self.version = STORE_VERSION

    @contextmanager
    def _mine(self, id: str, wait: float = _TRY_SECONDS) -> Iterator[None]:
        with self.lock(id, wait) as mine:
            if not mine:
                raise StoreError(
                    f"Cell {id[:12]} is being computed by another process.",
                    remedy="Wait until it has finished, or stop it.",
                )
            yield

    @contextmanager
    def _written(self, id: str, done: str = "written to") -> Iterator[None]:
        try:
            yield
        except (OSError, VideoError) as error:
            raise StoreError(
                f"Cell {id[:12]} cannot be {done} {self.folder}.",
                expected="room on the disk and permission to write",
                got=error.got or error.problem if isinstance(error, VideoError) else str(error),
                remedy="Make room or choose another folder; the cells that are finished are kept.",
            ) from error

    def _require(self, id: str, quick: bool = False) -> None:
        if not self.path(id).exists():
            raise StoreError(f"There is no cell {id[:12]} in {self.folder}.", remedy="Run the sweep that makes it.")
        if reason := self.problem(id, quick=quick):
            raise StoreError(
                f"Cell {id[:12]} in {self.folder} is damaged.",
                got=reason,
                remedy="Run its sweep again: the cell is moved aside and computed anew.",
            )

    def _wrong(self, file: Path, said: Mapping[str, Any], again: bool, quick: bool) -> str | None:
        stat = file.stat()
        state = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)
        if quick:
            # Cells of version 1 do not say how long their files are.
            if (size := said.get("bytes", stat.st_size)) != stat.st_size:
                return f"{file.name} has changed: it should have {size} bytes and has {stat.st_size}"
        elif again or self._sound.get(file) != state:
            if (found := sha256_file(file)) != said["sha256"]:
                return f"{file.name} has changed: its sha256 should be {said['sha256']} and is {found}"
            self._sound[file] = state
        return None

    def _read_meta(self, id: str) -> dict[str, Any]:
        return storefiles.read_cell(self.path(id), id, self.version)

    def _read_scores(self, id: str) -> dict[str, dict[str, Any]]:
        return storefiles.read_scores(self.path(id), id, self._read_meta(id)["clip"]["sha256"])


def _age(path: Path) -> float:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0

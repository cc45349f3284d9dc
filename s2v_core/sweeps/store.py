"""The folder where finished cells live, so that no cell is ever computed twice.

    <store>/store.json            what this folder is, and its version
    <store>/<cell id>/clip.mkv    the frames, lossless (FFV1)
    <store>/<cell id>/cell.json   settings, prompt, labels, fingerprint, seconds, versions, sha256 of clip.mkv
    <store>/locks/<cell id>.lock  held by the process that computes this cell
    <store>/damaged/              cells that were found damaged, with reason.txt

A cell's folder appears in one step, when it is complete. Whatever a killed run leaves behind is a hidden temporary
folder, which the next run removes; the operating system releases the locks of a dead process.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ..errors import StoreError, VideoError
from ..files import atomic_folder, sha256_file, write_text_atomic
from ..video.clip import Clip, Source
from .axes import Cell

STORE_VERSION = 1
KIND = "skeleton2video cells"
CLIP, META = "clip.mkv", "cell.json"
_ID = re.compile(r"[0-9a-f]{64}")
# ``atomic_folder`` shortens long names, so a temporary folder may begin with a part of the id only.
_LEFTOVER = re.compile(r"\.([0-9a-f]{16,64})-\w+")
_STALE_SECONDS = 3600
_log = logging.getLogger(__name__)


class CellStore:
    """A folder of finished cells. Several processes may share one.

    Made when it does not exist or is empty. Raises ``StoreError`` when the folder holds something else, or a store of
    another version, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._locks: dict[str, FileLock] = {}
        self._sound: dict[str, tuple[int, int]] = {}
        try:
            self._open()
        except OSError as error:
            raise StoreError(
                f"The cell store {self.folder} cannot be opened.",
                expected="a folder that can be read and written",
                got=str(error),
                remedy="Choose another folder, or mend its permissions.",
            ) from error
        self.clean()

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

    def problem(self, id: str) -> str | None:
        """What is wrong with a stored cell, or None. Reads the whole clip file once for each state of it."""
        try:
            meta = self._read_meta(id)
            file = self.path(id) / CLIP
            stat = file.stat()
            state = (stat.st_mtime_ns, stat.st_size)
            if self._sound.get(id) != state:
                found = sha256_file(file)
                if found != meta["clip"]["sha256"]:
                    return f"{CLIP} has changed: its sha256 should be {meta['clip']['sha256']} and is {found}"
                self._sound[id] = state
        except OSError as error:
            return f"{Path(error.filename or META).name} cannot be read: {error.strerror}"
        except ValueError as error:
            return str(error)
        return None

    def meta(self, id: str) -> dict[str, Any]:
        """What ``cell.json`` says. Raises ``StoreError`` for a missing or damaged cell."""
        self._require(id)
        return self._read_meta(id)

    def load(self, id: str) -> Clip:
        """All frames of a cell, as they were put in. Raises ``StoreError`` for a missing or damaged cell."""
        said = self.meta(id)["clip"]
        frames = np.stack(list(self.frames(id)))
        return Clip(frames, Fraction(said["fps"]), Source(str(self.path(id) / CLIP), said["sha256"]))

    def frames(self, id: str) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
        """The frames of a cell one by one, uint8 [H, W, 3], never all in memory. Raises ``StoreError``."""
        self._require(id)
        yield from _decode(self.path(id) / CLIP)

    def put(self, cell: Cell, clip: Clip, meta: Mapping[str, Any] | None = None) -> Path:
        """Keep a finished cell; returns its folder.

        ``meta``: further JSON-ready facts for ``cell.json`` (fingerprint, seconds, versions). The written clip is read
        back and compared before the cell counts as finished. A sound cell that is already here stays as it is; a
        damaged one is moved aside. Raises ``StoreError`` when it cannot be written (nothing is left then), or when
        another process is computing this cell.
        """
        target = self.path(cell.id)
        with self.lock(cell.id) as mine:
            if not mine:
                raise StoreError(
                    f"Cell {cell.id[:12]} is being computed by another process.",
                    remedy="Wait until it has finished, or stop it.",
                )
            if target.exists():
                if (reason := self.problem(cell.id)) is None:
                    return target
                self.set_aside(cell.id, reason)
            try:
                with atomic_folder(target) as folder:
                    _write_cell(folder, cell, clip, meta or {})
            except (OSError, VideoError) as error:
                raise StoreError(
                    f"Cell {cell.id[:12]} cannot be written to {self.folder}.",
                    expected="room on the disk and permission to write",
                    got=str(error),
                    remedy="Make room or choose another folder; the cells that are finished are kept.",
                ) from error
        return target

    def set_aside(self, id: str, reason: str) -> Path:
        """Move a damaged cell into ``damaged/``, with its reason; returns where it is now. Nothing is deleted."""
        place = self.folder / "damaged"
        place.mkdir(exist_ok=True)
        number = 1
        while (target := place / f"{id}-{number}").exists():
            number += 1
        self.path(id).rename(target)
        self._sound.pop(id, None)
        if target.is_dir():
            write_text_atomic(target / "reason.txt", reason + "\n")
        _log.warning("The cell %s is damaged (%s). It was moved to %s and will be computed again.", id, reason, target)
        return target

    @contextmanager
    def lock(self, id: str) -> Iterator[bool]:
        """Try to take a cell for this process; gives False at once when another one holds it.

        May be nested. Released at the end of the block, and by the operating system when the process dies.
        """
        lock = self._locks.setdefault(id, FileLock(str(self.folder / "locks" / f"{self.path(id).name}.lock")))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def clean(self) -> tuple[Path, ...]:
        """Remove what killed runs left behind, never what a living one is writing; returns what was removed."""
        removed = []
        for path in list(self.folder.glob(".*")):
            if (leftover := _LEFTOVER.fullmatch(path.name)) and path.is_dir():
                # Whoever writes this folder holds the lock of its cell, and made the lock's file before the folder.
                ids = [lock.stem for lock in (self.folder / "locks").glob(f"{leftover[1]}*.lock")]
                with ExitStack() as held:
                    if all(held.enter_context(self.lock(id)) for id in ids):
                        shutil.rmtree(path, ignore_errors=True)
                        removed.append(path)
            elif path.match(".store*.json") and _age(path) > _STALE_SECONDS:
                path.unlink(missing_ok=True)
                removed.append(path)
        return tuple(removed)

    def _open(self) -> None:
        marker = self.folder / "store.json"
        if not marker.exists():
            if self.folder.exists() and (not self.folder.is_dir() or _visible(self.folder)):
                raise StoreError(
                    f"{self.folder} is not a cell store.",
                    expected="a cell store, an empty folder, or a folder that does not exist yet",
                    got=f"a folder with {_visible(self.folder)[0]}" if self.folder.is_dir() else "a file",
                    remedy="Choose another folder.",
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text_atomic(marker, json.dumps({"kind": KIND, "version": STORE_VERSION}) + "\n")
        (self.folder / "locks").mkdir(exist_ok=True)
        try:
            said = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            said = None
        if not isinstance(said, dict) or said.get("kind") != KIND:
            raise StoreError(
                f"{self.folder} is not a cell store: its store.json says something else.",
                expected=f'"kind": "{KIND}"',
                remedy="Choose another folder.",
            )
        if said.get("version") != STORE_VERSION:
            raise StoreError(
                f"The cell store {self.folder} is of another version.",
                expected=f"version {STORE_VERSION}",
                got=f"version {said.get('version')}",
                remedy="Choose another folder, or use the version of Skeleton2Video that made it.",
            )

    def _require(self, id: str) -> None:
        if not self.path(id).exists():
            raise StoreError(f"There is no cell {id[:12]} in {self.folder}.", remedy="Run the sweep that makes it.")
        if reason := self.problem(id):
            raise StoreError(
                f"Cell {id[:12]} in {self.folder} is damaged.",
                got=reason,
                remedy="Run its sweep again: the cell is moved aside and computed anew.",
            )

    def _read_meta(self, id: str) -> dict[str, Any]:
        text = (self.path(id) / META).read_text(encoding="utf-8")
        try:
            meta = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{META} is not JSON: {error}") from None
        clip = meta.get("clip") if isinstance(meta, dict) else None
        if not isinstance(clip, dict) or not isinstance(clip.get("sha256"), str) or "fps" not in clip:
            raise ValueError(f"{META} lacks the facts of its clip")
        if meta.get("version") != STORE_VERSION or meta.get("id") != id:
            raise ValueError(f"{META} is of another cell or version: {meta.get('id')}, {meta.get('version')}")
        return meta


def _write_cell(folder: Path, cell: Cell, clip: Clip, meta: Mapping[str, Any]) -> None:
    from ..video.write import write_clip

    file = folder / CLIP
    write_clip(clip, file, lossless=True)
    count = 0
    for count, written in enumerate(_decode(file), start=1):
        if count <= len(clip) and not np.array_equal(clip.frames[count - 1], written):
            raise VideoError(f"Frame {count - 1} of {CLIP} does not come back as it was written.")
    if count != len(clip):
        raise VideoError(f"{CLIP} does not come back whole.", expected=f"{len(clip)} frames", got=str(count))
    facts = {
        **meta,
        "version": STORE_VERSION,
        "id": cell.id,
        "settings": cell.settings.to_dict(),
        "prompt": dataclasses.asdict(cell.prompt),
        "labels": list(cell.labels),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "clip": {
            "file": CLIP,
            "sha256": sha256_file(file),
            "frames": len(clip),
            "width": clip.width,
            "height": clip.height,
            "fps": str(clip.fps),
        },
    }
    (folder / META).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _decode(file: Path) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Every frame of a lossless file in order, whatever its time stamps."""
    import av

    try:
        with av.open(str(file)) as container:
            for frame in container.decode(video=0):
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (av.error.FFmpegError, IndexError) as error:
        raise StoreError(
            f"{file} cannot be decoded.",
            expected="a lossless video with one video stream",
            got=str(error),
            remedy="Delete the cell's folder and run the sweep again.",
        ) from error


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _age(path: Path) -> float:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0

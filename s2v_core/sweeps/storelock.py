"""Locks of cells: held by the operating system for a process, and gone when it dies.

Beside each lock stands, while it is held, a note of who holds it. The note is for people; only the lock counts. A copy
of a lock file locks nothing, and a lock file that nobody holds means nothing.
"""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import StoreError


class Locks:
    """The locks in one folder, by name. Threads may share one object; a lock is one thread's at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Those that are held through this object, and by which thread.
        self._owners: dict[str, int] = {}

    @contextmanager
    def hold(self, name: str, wait: float = 0.0) -> Iterator[bool]:
        """Try to take a lock for at most ``wait`` seconds; gives False when another process or thread holds it.

        May be nested in the thread that holds it. Raises ``StoreError`` where no lock can be made.
        """
        if self._owners.get(name) == threading.get_ident():
            yield True
            return
        lock = self._lock(name)
        try:
            # Looked for first: making it would wait for the files that another thread flushes to the same disk.
            if not self.folder.is_dir():
                self.folder.mkdir(exist_ok=True)
            lock.acquire(timeout=wait)
        except Timeout:
            yield False
            return
        # Older versions of filelock raise NotImplementedError where the file system has no locks.
        except (OSError, NotImplementedError) as error:
            raise StoreError(
                f"Nothing can be locked in {self.folder}.",
                expected="a folder that can be written, on a file system with locks",
                got=str(error),
                remedy="Choose another folder, make room on the disk, or mend the permissions.",
            ) from error
        note = self._note(name)
        self._owners[name] = threading.get_ident()
        try:
            _write_note(note)
            yield True
        finally:
            with suppress(OSError):
                note.unlink(missing_ok=True)
            del self._owners[name]
            lock.release()

    def take_over(self, name: str) -> None:
        """Make a lock that another thread holds through this object the calling thread's: it may nest and end the
        block of ``hold`` that the other began.
        """
        if name not in self._owners:
            raise StoreError(f"Nobody holds the lock {name[:12]} here.", expected="a lock that a thread has taken")
        self._owners[name] = threading.get_ident()

    def holder(self, name: str) -> dict[str, Any] | None:
        """Who holds a lock: ``process``, ``host`` and ``since``, as far as they are known. None when nobody does.

        In a folder that cannot be written, a lock cannot be tried: the note is believed, and ``sure`` is False.
        """
        file = self.folder / f"{name}.lock"
        if not file.exists():
            return None
        if not os.access(file, os.W_OK):
            said = _read_note(self._note(name))
            return {**said, "sure": False} if said else None
        if name not in self._owners:
            with self._try(name) as free:
                if free:
                    return None
        return {**_read_note(self._note(name)), "sure": True}

    def names(self, beginning: str = "") -> tuple[str, ...]:
        """The names of all lock files that begin so, sorted, whether they are held or not."""
        return tuple(sorted(path.stem for path in self.folder.glob(f"{beginning}*.lock")))

    def clean(self) -> tuple[Path, ...]:
        """Remove the notes of dead processes; returns what was removed."""
        removed = []
        for note in list(self.folder.glob("*.json")):
            if note.stem in self._owners:
                continue
            with self._try(note.stem) as free:
                if free:
                    note.unlink(missing_ok=True)
                    removed.append(note)
        return tuple(removed)

    @contextmanager
    def _try(self, name: str) -> Iterator[bool]:
        """``hold`` without a note, for a look at things."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _lock(self, name: str) -> FileLock:
        # A new one for each block: the system keeps them apart, also those of two threads. What one thread has taken
        # another may release.
        return FileLock(str(self.folder / f"{name}.lock"), thread_local=False)

    def _note(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _write_note(file: Path) -> None:
    said = {
        "process": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    # A full disk is no reason to stop here: whoever needs the room will say so.
    with suppress(OSError):
        file.write_text(json.dumps(said) + "\n", encoding="utf-8")


def _read_note(file: Path) -> dict[str, Any]:
    """What a note says. It may be gone, or half written by a process that was killed."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}

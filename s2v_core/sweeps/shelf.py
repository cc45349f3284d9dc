"""Which stores may be shown to whoever asks for them by name: those below one folder, and those that were named."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from ..errors import SettingsError
from ..files import safe_join

CELLS = "cells"
_MARK = "@"


class Shelf:
    """Gives the folders of sweeps keys, and finds them again by these and by nothing else.

    ``root``: sweeps below it are found by their path in it, such as ``quick_look``. Any other one must be put here
    first, and gets a key that only this process knows. A sweep's folder holds its store, ``cells``. Threads may share
    one shelf.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._named: dict[str, Path] = {}
        self._lock = threading.Lock()

    def put(self, folder: str | os.PathLike[str]) -> str:
        """The key of a sweep's folder, which from now on is shown wherever it lies."""
        path = Path(folder).resolve()
        root = self.root.resolve()
        if root in path.parents:
            return path.relative_to(root).as_posix()
        key = _MARK + hashlib.sha256(str(path).encode()).hexdigest()[:16]
        with self._lock:
            self._named[key] = path
        return key

    def find(self, key: str) -> Path:
        """The folder of a key, whether it is there or not.

        Raises ``SettingsError`` for a key that leaves ``root`` (by ``..``, a root or a link), names ``root`` itself, or
        was never given.
        """
        name = key.strip()
        if name.startswith(_MARK):
            with self._lock:
                if name in self._named:
                    return self._named[name]
            raise SettingsError(
                "This sweep is not known any more.",
                expected="a sweep that a node of this session has shown",
                remedy="Run the graph again.",
            )
        path = safe_join(self.root, name)
        if path == self.root.resolve():
            raise SettingsError(f"{key!r} is not the name of a sweep.", expected="a name such as guidance_sweep")
        return path

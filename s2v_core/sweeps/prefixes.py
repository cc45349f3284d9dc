"""Latents on the way to a cell, kept for the cells that share this part of the way.

    <store>/prefixes/<key>.safetensors   a state or a prediction of ``trail`` (see ``tensorfiles``)

Nothing here is needed for good: whatever is missing or damaged is computed again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..tensorfiles import SUFFIX, drop_oldest, drop_unfinished, read_tensors, tensor_files, write_tensors

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

FOLDER = "prefixes"
LIMIT = 8 << 30
_log = logging.getLogger(__name__)


class Prefixes:
    """The folder of shared latents in a store. Several processes may use one. ``limit``: bytes."""

    def __init__(self, folder: str | os.PathLike[str], limit: int = LIMIT) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._full = False
        drop_unfinished(self.folder)

    def has(self, key: str) -> bool:
        """Whether there is a file for this key; it may still be damaged."""
        return self._path(key).is_file()

    def keys(self) -> frozenset[str]:
        """The keys of all files."""
        return frozenset(path.stem for _, _, path in tensor_files(self.folder))

    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, _ in tensor_files(self.folder))

    def read(self, key: str) -> dict[str, torch.Tensor] | None:
        """The tensors of a key, on the CPU; None when they are not there. A damaged file is removed, and this said."""
        path = self._path(key)
        try:
            return read_tensors(path)[0]
        except FileNotFoundError:
            return None
        except ValueError as error:
            _log.warning("The shared latents %s are damaged (%s); they are computed again.", path.name[:12], error)
            with suppress(OSError):
                path.unlink()
            return None

    def write(self, key: str, tensors: Tensors) -> bool:
        """Keep tensors under a key; False when there is no room or no permission, which is said once."""
        if self._full:
            return False
        path = self._path(key)
        try:
            write_tensors(path, tensors)
        except OSError as error:
            self._full = True
            _log.warning("Latents cannot be shared in %s (%s): cells are computed alone.", self.folder, error)
            return False
        drop_oldest(self.folder, self.limit, path)
        return True

    def remove(self, keys: Collection[str]) -> None:
        """Remove what nobody needs any more; what is not there is left out."""
        for key in keys:
            with suppress(OSError):
                self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

"""Latents on the way to a cell, kept for the cells that share this part of the way.

    <store>/prefixes/<key>.safetensors   a state or a prediction of ``trail``, with the sha256 of its tensors

Nothing here is needed for good: whatever is missing or damaged is computed again. A file appears in one step, and
the folder stays below a limit; what was used longest ago goes first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_path

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

FOLDER = "prefixes"
LIMIT = 8 << 30
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_STALE_SECONDS = 3600
_log = logging.getLogger(__name__)


class Prefixes:
    """The folder of shared latents in a store. Several processes may use one. ``limit``: bytes."""

    def __init__(self, folder: str | os.PathLike[str], limit: int = LIMIT) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._full = False
        for path in self.folder.glob(".*.safetensors"):
            # What a killed process was writing.
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()

    def has(self, key: str) -> bool:
        """Whether there is a file for this key; it may still be damaged."""
        return self._path(key).is_file()

    def keys(self) -> frozenset[str]:
        """The keys of all files."""
        return frozenset(path.stem for _, _, path in self._files())

    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, _ in self._files())

    def read(self, key: str) -> dict[str, torch.Tensor] | None:
        """The tensors of a key, on the CPU; None when they are not there. A damaged file is removed, and this said."""
        from safetensors import SafetensorError, safe_open

        path = self._path(key)
        try:
            with safe_open(str(path), "pt") as file:
                said = (file.metadata() or {}).get("sha256")
                # A copy: what is mapped from a file lies otherwise in memory, where some processors round otherwise.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if _digest(tensors) != said:
                raise ValueError("its sha256 is another one")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, SafetensorError) as error:
            _log.warning("The shared latents %s are damaged (%s); they are computed again.", path.name[:12], error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # its last use
        return tensors

    def write(self, key: str, tensors: Tensors) -> bool:
        """Keep tensors under a key; False when there is no room or no permission, which is said once."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        if self._full:
            return False
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            with atomic_path(self._path(key)) as temporary:
                save_file(plain, str(temporary), {"sha256": _digest(plain)})
        except (OSError, SafetensorError) as error:
            self._full = True
            _log.warning("Latents cannot be shared in %s (%s): cells are computed alone.", self.folder, error)
            return False
        self._bound(key)
        return True

    def remove(self, keys: Collection[str]) -> None:
        """Remove what nobody needs any more; what is not there is left out."""
        for key in keys:
            with suppress(OSError):
                self._path(key).unlink()

    def _bound(self, newest: str) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.limit:
                break
            if path.stem != newest:
                with suppress(OSError):
                    path.unlink()
                total -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob("*.safetensors"):
            with suppress(OSError):  # another process may have removed it
                facts = path.stat()
                if _NAME.fullmatch(path.name):
                    found.append((facts.st_mtime, facts.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _digest(tensors: Tensors) -> str:
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        raw: Any = tensor.contiguous().flatten().view(torch.uint8).numpy()
        digest.update(raw.data)
    return digest.hexdigest()

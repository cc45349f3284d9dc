"""Files of tensors that can be made again: written in one step, checked when they are read, and below a limit.

Each is a safetensors file with the sha256 of its tensors in its metadata. Several processes may use one folder: a file
appears whole or not at all, and may be gone at any moment.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import atomic_path

if TYPE_CHECKING:
    import torch

SUFFIX = ".safetensors"
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_STALE_SECONDS = 3600


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write tensors, with ``facts`` in the metadata. Raises ``OSError`` where there is no room or no permission."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with atomic_path(path, lasting=False) as temporary:
            save_file(plain, str(temporary), {**(facts or {}), "sha256": _digest(plain)})
    except SafetensorError as error:  # what a full disk is to the library
        raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and the facts that stand beside them. It counts as used now.

    Raises ``FileNotFoundError``, and ``ValueError`` for a file that is damaged or cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            facts = file.metadata() or {}
            # A copy: what is mapped from a file lies otherwise in memory, where some processors round otherwise.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError) as error:
        raise ValueError(str(error)) from error
    if _digest(tensors) != facts.pop("sha256", None):
        raise ValueError("its sha256 is another one")
    with suppress(OSError):
        os.utime(path)
    return tensors, facts


def tensor_files(folder: Path) -> list[tuple[float, int, Path]]:
    """When each file of a folder was last used, its bytes and its path; names are 64 hex digits."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # another process may have removed it
            facts = path.stat()
            if _NAME.fullmatch(path.name):
                found.append((facts.st_mtime, facts.st_size, path))
    return found


def drop_oldest(folder: Path, limit: int, newest: Path) -> None:
    """Remove what was used longest ago until at most ``limit`` bytes are left; ``newest`` stays at any rate."""
    files = sorted(tensor_files(folder))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= limit:
            break
        if path != newest:
            with suppress(OSError):
                path.unlink()
            total -= size


def drop_unfinished(folder: Path) -> None:
    """Remove what killed processes were writing."""
    for path in folder.glob(f".*{SUFFIX}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        raw: Any = tensor.contiguous().flatten().view(torch.uint8).numpy()
        digest.update(raw.data)
    return digest.hexdigest()

"""Small disks and read-only folders for tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextlib.contextmanager
def mounted(folder: Path, *given: str) -> Iterator[Path]:
    """A file system mounted on a folder. Skips the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    if not is_root():
        pytest.skip("only root may mount a small disk")
    ran = subprocess.run(["mount", *given, str(folder)], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"nothing can be mounted here: {ran.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder, while nothing in it can be changed: by a mount for root, by permissions for others."""
    if is_root():
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            yield folder
        return
    if os.name == "nt":
        pytest.skip("folders have no read-only flag on Windows")
    modes = [(path, path.stat().st_mode) for path in (folder, *folder.rglob("*"))]
    for path, mode in modes:
        path.chmod(mode & ~0o222)
    try:
        yield folder
    finally:
        for path, mode in modes:
            path.chmod(mode)

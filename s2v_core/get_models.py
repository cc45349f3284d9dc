"""Putting published model files in place: by a download that the user agreed to, or from files that are there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from .download import Patience, download
from .errors import ModelFileError
from .files import atomic_path
from .models import ModelFile, find_model, model_folders, verify_model


def missing_models(entries: Sequence[ModelFile]) -> list[ModelFile]:
    """Those of ``entries`` that are nowhere, or not what they should be."""
    return [entry for entry in entries if _found(entry) is None]


def model_url(entry: ModelFile) -> str:
    """Where the file is published. ``HF_ENDPOINT`` names a mirror of huggingface.co."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{entry.repository}/resolve/main/{entry.file}"


def download_models(
    entries: Sequence[ModelFile],
    folder: Path | None = None,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    patience: Patience | None = None,
) -> list[Path]:
    """Download these files into ``folder`` (the first of ``model_folders()`` when None); what is there is left alone.

    Call it only when the user agreed. ``on_progress(file, bytes so far, bytes in all)``. Raises DownloadError, and
    Interrupted, after which the next call goes on.
    """
    target = folder or model_folders()[0]
    paths = []
    for entry in entries:
        found = _found(entry)
        if found is None:
            found = download(
                model_url(entry),
                target / entry.file,
                size=entry.size,
                sha256=entry.sha256,
                on_progress=_named(on_progress, entry.file),
                should_stop=should_stop,
                patience=patience,
            )
        paths.append(found)
    return paths


def install_models(entries: Sequence[ModelFile], source: Path, folder: Path | None = None) -> list[Path]:
    """Copy these files out of the folder ``source``, once their size and sha256 are right, and return where they are.

    ``source`` may also be one of the files: then only that one is taken. Raises ModelFileError.
    """
    target = folder or model_folders()[0]
    places = {entry: source / entry.file if source.is_dir() else source for entry in entries}
    present = {entry: place for entry, place in places.items() if place.is_file() and place.name == entry.file}
    if not present or (source.is_dir() and len(present) < len(entries)):
        raise ModelFileError(
            f"{source} does not hold what is to be installed.",
            expected=" and ".join(entry.file for entry in entries),
            got=", ".join(entry.file for entry in present) or "none of them",
            remedy=f"Name the folder that holds them, or one of the files. They are published at {entries[0].source}.",
        )
    for entry, place in present.items():
        verify_model(place, entry)
    return [_copied(place, target / entry.file) for entry, place in present.items()]


def _found(entry: ModelFile) -> Path | None:
    path = find_model(entry.name)
    if path is not None:
        try:
            verify_model(path, entry)
        except ModelFileError:
            return None
    return path


def _copied(source: Path, target: Path) -> Path:
    if not (target.exists() and target.samefile(source)):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def _named(on_progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(name, done, total)

"""Putting published language models in place, by a download that the user agreed to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..download import Patience, download
from ..errors import ModelFileError, SettingsError
from ..files import sha256_file
from ..models import model_folders
from .language import LANGUAGE_MODELS

# What transformers reads; weights in other formats, pictures and code stay where they are.
_FILES = ("*.json", "*.txt", "*.jinja", "*.safetensors")
# ``find_language_model`` knows a model by this file, so it comes last.
_LAST = "config.json"


@dataclass(frozen=True)
class _Published:
    """A file as the hub lists it: ``sha256`` of one that is kept as LFS, git's own sha1 of the others."""

    name: str
    size: int
    sha256: str
    git_sha1: str

    def is_whole(self, path: Path) -> bool:
        """Whether ``path`` is this file."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        return sha256_file(path) == self.sha256 if self.sha256 else _git_sha1(path) == self.git_sha1


def download_language_model(
    name: str,
    folder: Path | None = None,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    patience: Patience | None = None,
) -> Path:
    """Fetch one of ``LANGUAGE_MODELS`` into a model folder and return where it is. Call it only when the user agreed.

    All files are of one commit, and each is checked against the size and the hash that the hub lists for it; those
    that are there already are left alone. ``HF_ENDPOINT`` names a mirror of huggingface.co. ``on_progress(file, bytes
    so far, bytes in all)``. Raises ``ModelFileError``, ``DownloadError``, and ``Interrupted``, after which the next
    call goes on.
    """
    if name not in LANGUAGE_MODELS:
        raise SettingsError(f"There is no language model {name!r}.", expected=", ".join(LANGUAGE_MODELS), got=name)
    repository = LANGUAGE_MODELS[name].repository
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    target = (folder or model_folders()[0]) / "language" / name
    commit, files = _listed(endpoint, repository, target)
    for file in files:
        path = target / file.name
        if file.is_whole(path):
            continue
        # What stands under this name is another version, or damaged: the model is not whole until it is replaced.
        (target / _LAST).unlink(missing_ok=True)
        download(
            f"{endpoint}/{repository}/resolve/{commit}/{file.name}",
            path,
            size=file.size,
            sha256=file.sha256 or None,
            on_progress=_named(on_progress, file.name),
            should_stop=should_stop,
            patience=patience,
        )
        if not file.is_whole(path):
            path.unlink()
            raise ModelFileError(
                f"{repository} gave another {file.name} than it lists.",
                expected=f"git's sha1 {file.git_sha1}",
                got="another one; the file was removed",
                remedy="Try again; if it stays so, the mirror in HF_ENDPOINT or a proxy changes files.",
            )
    return target


def _listed(endpoint: str, repository: str, target: Path) -> tuple[str, list[_Published]]:
    """The newest commit of a repository and its files that are needed, ``_LAST`` at the end."""
    from huggingface_hub import HfApi

    try:
        about: Any = HfApi(endpoint=endpoint).model_info(repository, files_metadata=True)
        files = [
            _Published(one.rfilename, one.lfs.size, one.lfs.sha256, "")
            if one.lfs
            else _Published(one.rfilename, int(one.size), "", str(one.blob_id))
            for one in about.siblings
            # Only names without a folder: such a file cannot leave its place, and no model has others that are needed.
            if Path(one.rfilename).name == one.rfilename and any(fnmatch(one.rfilename, form) for form in _FILES)
        ]
        commit = str(about.sha)
    except Exception as error:  # the hub's client raises those of several libraries
        raise ModelFileError(
            f"The files of {repository} could not be listed.",
            expected="an answer of huggingface.co, or of the mirror in HF_ENDPOINT",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            remedy=f"Try again, or put the repository's files into {target}.",
        ) from error
    names = [file.name for file in files]
    if _LAST not in names or not any(name.endswith(".safetensors") for name in names):
        raise ModelFileError(
            f"{repository} holds no model.", expected=f"{_LAST} and safetensors", got=", ".join(names) or "no file"
        )
    return commit, sorted(files, key=lambda file: (file.name == _LAST, file.name))


def _git_sha1(path: Path) -> str:
    """The name that git gives to these contents."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _named(on_progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[int, int], None] | None:
    return None if on_progress is None else lambda done, total: on_progress(name, done, total)

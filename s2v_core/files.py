"""Files that are never half written, and paths that never leave their folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import SettingsError

_CHUNK = 8 << 20


def sha256_file(path: str | os.PathLike[str], on_progress: Callable[[int], None] | None = None) -> str:
    """Hex sha256 of a file's bytes, read in pieces. ``on_progress`` gets the bytes read so far."""
    digest = hashlib.sha256()
    done = 0
    with Path(path).open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
            done += len(piece)
            if on_progress:
                on_progress(done)
    return digest.hexdigest()


def remembered_sha256(path: str | os.PathLike[str], on_progress: Callable[[str, int, int], None] | None = None) -> str:
    """``sha256_file``, remembered by path, size and time of change: model files take a minute to read."""
    file = Path(path).resolve()
    stat = file.stat()
    key = f"{file}|{stat.st_size}|{stat.st_mtime_ns}"
    memo = cache_dir() / "sha256.json"
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):
        known = json.loads(memo.read_text(encoding="utf-8"))
    if key not in known:
        size = stat.st_size
        known[key] = sha256_file(file, (lambda done: on_progress(str(file), done, size)) if on_progress else None)
        with suppress(OSError):
            write_text_atomic(memo, json.dumps(known, indent=0))
    return known[key]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same value always gives the same text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """Hex sha256 of ``canonical_json(value)``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


# The folders that ``atomic_folder`` is filling now; it flushes all that is in them at its end, once.
_unfinished: set[Path] = set()


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, lasting: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``, with the same suffix; moved over ``path`` when the block ends well.

    When the block raises, the temporary file is removed and ``path`` is as it was. A file that is replaced keeps its
    permissions. After the block, the file and its name survive a power cut; in a folder of ``atomic_folder`` they do
    when that folder is finished. ``lasting``: False for what can be made again and has a checksum of its own: a power
    cut may take or damage it, and nothing waits for the disk.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.stat() if target.exists() else None
    temporary = _beside(target, target.suffix)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if old else 0o666))
    mode = stat.S_IMODE((old or temporary.stat()).st_mode)
    try:
        yield temporary
        lasting = lasting and not _unfinished.intersection(target.parents)
        if lasting:
            _flush_to_disk(temporary)
        # Set at the end, because a library may have put a file of its own in the temporary one's place.
        temporary.chmod(mode)
        temporary.replace(target)
        if lasting:
            _flush_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside ``path``, renamed to ``path`` when the block ends well.

    ``path`` must not exist as a non-empty folder; whoever comes second keeps the first one's result. After the block,
    the folder with all that is in it survives a power cut.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    temporary.mkdir()
    _unfinished.add(temporary)
    readable = stat.S_IMODE(temporary.stat().st_mode) & 0o666
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                # safetensors writes files that only their owner may read.
                file.chmod(readable)
                _flush_to_disk(file)
            elif file.is_dir():
                _flush_folder(file)
        _flush_folder(temporary)
        try:
            temporary.rename(target)
            _flush_folder(target.parent)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        _unfinished.discard(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file in one step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_dir() -> Path:
    """The folder for things that can be made again: ``S2V_CACHE``, or the user's cache folder."""
    if chosen := os.environ.get("S2V_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return (Path(base) if base else Path.home() / ".cache") / "skeleton2video"


def safe_join(folder: str | os.PathLike[str], *parts: str) -> Path:
    """``folder/parts``, resolved; a path that leaves ``folder`` (by ``..``, a root or a link) is refused."""
    root = Path(folder).resolve()
    try:
        path = root.joinpath(*parts).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        # A NUL, a character that no file system has, a link to itself.
        raise SettingsError(
            f"The path {'/'.join(parts)!r} cannot be used.", expected=f"a path inside {root}", got=str(error)
        ) from error
    if path != root and root not in path.parents:
        raise SettingsError(
            f"The path {'/'.join(parts)!r} leaves its folder.",
            expected=f"a path inside {root}",
            got=str(path),
            remedy="Give a name or a path below that folder.",
        )
    return path


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(path: Path) -> None:
    """Put the names in a folder on the disk. Windows has no call for it: NTFS keeps a log of names by itself."""
    if os.name == "nt":
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        # Some network and FUSE file systems know no fsync of folders, and a drop box folder may not be opened.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise


def _beside(target: Path, suffix: str = "") -> Path:
    """A hidden name of its own in the target's folder. Whoever makes it gets the permissions of any new file."""
    return target.with_name(f".{target.name[:40]}-{secrets.token_hex(8)}{suffix}")

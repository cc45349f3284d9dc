"""BlazePose's nets out of the packages that hold them: a mediapipe wheel, Google's ``.task`` files, or folders."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from .errors import ModelFileError
from .files import atomic_path, sha256_file
from .models import BLAZEPOSE, BLAZEPOSE_NETS, LARGEST_NET, ModelFile, model_folders, note_path, write_accepted

_log = logging.getLogger(__name__)


def install_blazepose(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    accept_unknown: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Put BlazePose's nets into a model folder and return their paths there.

    The body's two must be in ``source``; of those for hands and face it may lack some, which is logged as a warning.

    ``source``: a wheel of mediapipe, one of Google's ``pose_landmarker_*.task`` files, a folder with the nets (or with
    mediapipe in it), or one ``.tflite`` file (then only that net is installed). ``folder``: the first of
    ``model_folders()`` when None. Everything is checked before the first byte is written; a file that is there already
    and right is left alone. ``on_progress(bytes done, bytes in all)``.

    A net whose sha256 is not in the table is refused with ModelFileError, unless ``accept_unknown``: then the shapes of
    its inputs and outputs must be right, and its sha256 is noted beside it.
    """
    source = Path(source).expanduser()
    target = Path(folder).expanduser() if folder is not None else model_folders()[0]
    contents = _read_nets(source)
    for entry, content in contents.items():
        _check_net(source, entry, content, accept_unknown)
    total, done = sum(len(content) for content in contents.values()), 0
    paths = []
    for entry, content in contents.items():
        paths.append(_place(target / entry.file, entry, content))
        done += len(content)
        if on_progress:
            on_progress(done, total)
    return paths


def _read_nets(source: Path) -> dict[ModelFile, bytes]:
    """The bytes of each net that ``source`` holds; at least all of BLAZEPOSE, but for a single ``.tflite`` file."""
    if not source.exists():
        raise ModelFileError(
            f"{source} does not exist.",
            expected="a mediapipe wheel, a pose_landmarker .task file, a folder, or a .tflite file",
            remedy=f"Run: {BLAZEPOSE[0].get}",
        )
    if source.is_dir():
        return _read_folder(source)
    if source.suffix == ".tflite":  # before archives: some nets carry a zip with their description at their end
        content = _bounded(source.read_bytes(), f"{source}")
        return {_entry_of(source, content): content}
    if zipfile.is_zipfile(source):
        return _read_archive(source)
    raise ModelFileError(
        f"{source} is not a file that BlazePose's nets can be taken from.",
        expected="a mediapipe wheel or a pose_landmarker .task file (both are zip archives), or a .tflite file",
        got=f"{source.stat().st_size:,} bytes that are neither",
        remedy="Get the file again; a download may have stopped early.",
    )


def _read_folder(source: Path) -> dict[ModelFile, bytes]:
    found = {}
    for entry in BLAZEPOSE_NETS:
        names = [entry.file, *entry.members, *(member.removeprefix("mediapipe/") for member in entry.members)]
        path = next((source / name for name in names if (source / name).is_file()), None)
        if path is not None:
            found[entry] = _bounded(path.read_bytes(), str(path))
    return _complete(source, found)


def _read_archive(source: Path) -> dict[ModelFile, bytes]:
    # Members are looked up by the exact names in the table and written under our own names: whatever else an archive
    # calls its members ("../..", absolute, links) never becomes a path.
    found = {}
    try:
        with zipfile.ZipFile(source) as archive:
            names = set(archive.namelist())
            for entry in BLAZEPOSE_NETS:
                if member := next((member for member in entry.members if member in names), None):
                    with archive.open(member) as stream:
                        found[entry] = _bounded(stream.read(LARGEST_NET + 1), f"{member} in {source}")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ModelFileError(
            f"The archive {source} cannot be read.",
            got=str(error),
            remedy="Get the file again; a download may have stopped early.",
        ) from error
    return _complete(source, found)


def _complete(source: Path, found: dict[ModelFile, bytes]) -> dict[ModelFile, bytes]:
    if missing := [entry for entry in BLAZEPOSE if entry not in found]:
        raise ModelFileError(
            f"{source} does not hold BlazePose's nets.",
            expected=" and ".join(" or ".join((entry.file, *entry.members)) for entry in missing),
            got=f"found there: {', '.join(entry.file for entry in found) or 'none of them'}",
            remedy=f"Run: {BLAZEPOSE[0].get}",
        )
    if absent := [entry.file for entry in BLAZEPOSE_NETS if entry not in found]:
        _log.warning("%s holds no %s: hands or face will not be found", source, ", ".join(absent))
    return found


def _bounded(content: bytes, what: str) -> bytes:
    if len(content) > LARGEST_NET:
        raise ModelFileError(
            f"{what} is too large for a BlazePose net.",
            expected=f"at most {LARGEST_NET:,} bytes",
            got="more than that",
        )
    return content


def _entry_of(source: Path, content: bytes) -> ModelFile:
    digest = hashlib.sha256(content).hexdigest()
    for entry in BLAZEPOSE_NETS:
        if digest == entry.sha256 or source.name in (entry.file, *(Path(member).name for member in entry.members)):
            return entry
    raise ModelFileError(
        f"{source} is not one of BlazePose's nets.",
        expected="; ".join(f"{entry.file}, sha256 {entry.sha256}" for entry in BLAZEPOSE_NETS),
        got=f"sha256 {digest}",
        remedy="For another version of a net, keep its original file name and use --accept-unknown.",
    )


def _check_net(source: Path, entry: ModelFile, content: bytes, accept_unknown: bool) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest == entry.sha256:
        return
    if not accept_unknown:
        raise ModelFileError(
            f"{entry.file} in {source} is damaged or another version than the one that is known.",
            expected=f"sha256 {entry.sha256} ({entry.size:,} bytes)",
            got=f"sha256 {digest} ({len(content):,} bytes)",
            remedy=f"If you trust this file, use --accept-unknown (its shapes are checked). Or run: {BLAZEPOSE[0].get}",
        )
    if content[4:8] != b"TFL3":
        raise ModelFileError(f"{entry.file} in {source} is not a .tflite file.", expected="TFL3 at byte 4")
    from .litert import LiteRTNet

    net = LiteRTNet(content, name=f"{entry.file} in {source}")
    if net.input_shapes != entry.inputs or sorted(net.output_shapes) != sorted(entry.outputs):
        raise ModelFileError(
            f"{entry.file} in {source} is another net than expected.",
            expected=f"inputs {entry.inputs}, outputs {sorted(entry.outputs)}",
            got=f"inputs {net.input_shapes}, outputs {sorted(net.output_shapes)}",
        )


def _place(path: Path, entry: ModelFile, content: bytes) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    note = note_path(path)
    if not (path.is_file() and sha256_file(path) == digest):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    if digest == entry.sha256:
        note.unlink(missing_ok=True)
    else:
        write_accepted(path)
    return path

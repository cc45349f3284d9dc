"""The model files that the project knows: what they are, where they lie, and how to put them there.

Nothing here downloads anything (``get_models`` does, when it is asked to). ``S2V_MODELS`` (folders, separated as in
PATH) and folders named by a host are looked through first, then ``models`` in the cache folder, then the places where
other programs keep the same files.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelFileError, SettingsError
from .files import atomic_path, cache_dir, remembered_sha256, sha256_file, write_text_atomic

Shape = tuple[int, ...]

_GET_BLAZEPOSE = (
    "pip download mediapipe==0.10.14 --no-deps --only-binary=:all: --python-version 3.11 "
    "--platform manylinux2014_x86_64 -d . && s2v models get blazepose "
    "--from mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
)
_GET_DWPOSE = "s2v models get dwpose"
_MEDIAPIPE = "the wheel of mediapipe 0.10.14 on PyPI (it is only unpacked, never installed)"
_LARGEST_NET = 64 << 20  # bytes; Google's heaviest pose net has 27 MB


@dataclass(frozen=True)
class ModelFile:
    """One model file, as it was published.

    ``size`` in bytes, ``sha256`` in hex. ``used_by`` is the stage that loads it, "" when this version does not use it.
    ``source`` says where it is published, ``get`` is the command that puts it in place. ``members`` are its names in
    the archives that hold it; ``inputs`` and ``outputs`` are the shapes of its tensors (outputs in any order).
    ``repository`` is the one on huggingface.co that publishes the file, "" when there is none.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    used_by: str
    source: str
    get: str
    members: tuple[str, ...] = ()
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    repository: str = ""


def _mediapipe(name: str, folder: str, file: str, size: int, sha256: str, used_by: str = "", task: str = "",
               inputs: tuple[Shape, ...] = (), outputs: tuple[Shape, ...] = ()) -> ModelFile:  # fmt: skip
    members = (f"mediapipe/modules/{folder}/{file}", *((task,) if task else ()))
    get = _GET_BLAZEPOSE if used_by else ""
    return ModelFile(name, file, size, sha256, "Apache-2.0", used_by, _MEDIAPIPE, get, members, inputs, outputs)


def _dwpose(name: str, file: str, size: int, sha256: str) -> ModelFile:
    repository = "yzd-v/DWPose"
    source = f"huggingface.co/{repository}, {file}"
    return ModelFile(
        name, file, size, sha256, "Apache-2.0", "pose (dwpose)", source, _GET_DWPOSE, repository=repository
    )


BLAZEPOSE_DETECTION = _mediapipe(
    "blazepose-detection", "pose_detection", "pose_detection.tflite", 2_959_046,
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c", "pose (blazepose)", "pose_detector.tflite",
    ((1, 224, 224, 3),), ((1, 2254, 12), (1, 2254, 1)),
)  # fmt: skip
BLAZEPOSE_LANDMARKS = _mediapipe(
    "blazepose-landmarks", "pose_landmark", "pose_landmark_full.tflite", 6_440_512,
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f", "pose (blazepose)",
    "pose_landmarks_detector.tflite",
    ((1, 256, 256, 3),), ((1, 195), (1, 1), (1, 256, 256, 1), (1, 64, 64, 39), (1, 117)),
)  # fmt: skip
BLAZEPOSE = (BLAZEPOSE_DETECTION, BLAZEPOSE_LANDMARKS)

DWPOSE_DETECTOR = _dwpose(
    "dwpose-detector", "yolox_l.onnx", 216_746_733,
    "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
)  # fmt: skip
DWPOSE_POSE = _dwpose(
    "dwpose-pose", "dw-ll_ucoco_384.onnx", 134_399_116,
    "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
)  # fmt: skip
DWPOSE = (DWPOSE_DETECTOR, DWPOSE_POSE)

# sha256 and sizes of the mediapipe files: computed from the wheel. Of DWPose's files: as published with them.
MODEL_FILES: tuple[ModelFile, ...] = (
    *BLAZEPOSE,
    _mediapipe("mediapipe-palm", "palm_detection", "palm_detection_full.tflite", 2_339_846,
               "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54"),
    _mediapipe("mediapipe-hand", "hand_landmark", "hand_landmark_full.tflite", 5_478_917,
               "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"),
    _mediapipe("mediapipe-face", "face_landmark", "face_landmark.tflite", 1_242_398,
               "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"),
    *DWPOSE,
)  # fmt: skip

_VACE_ANNOTATORS = ("VACE-Annotators/pose", "pose")  # ali-vilab/VACE-Annotators, whole or its inside

_host_folders: list[Path] = []
_verified: set[tuple[str, int, int, str]] = set()


def model_entry(name: str) -> ModelFile:
    """The table's entry of this name (or file name). Raises SettingsError for a name that is not in the table."""
    for entry in MODEL_FILES:
        if name in (entry.name, entry.file):
            return entry
    raise SettingsError(
        f"There is no model file named {name!r}.", expected=", ".join(entry.name for entry in MODEL_FILES), got=name
    )


def add_model_folder(path: str | os.PathLike[str]) -> None:
    """Let a host name one more folder to look in, after those of ``S2V_MODELS``. Naming it twice changes nothing."""
    folder = Path(path).expanduser()
    if folder not in _host_folders:
        _host_folders.append(folder)


def model_folders() -> list[Path]:
    """The folders of this project that are looked through, in this order; some may not exist. New files go first."""
    chosen = [Path(part).expanduser() for part in os.environ.get("S2V_MODELS", "").split(os.pathsep) if part.strip()]
    return list(dict.fromkeys([*chosen, *_host_folders, cache_dir() / "models"]))


def find_model(name: str) -> Path | None:
    """Where the file of this name lies, or None. Its contents are not looked at. SettingsError for an unknown name.

    Besides ``model_folders``, the places where other programs put a published file: comfyui_controlnet_aux's folder
    (``AUX_ANNOTATOR_CKPTS_PATH``, or a folder that a host named), VACE's annotators, and Hugging Face's cache.
    """
    entry = model_entry(name)
    places = [folder / entry.file for folder in model_folders()]
    if entry.repository:
        roots = [*model_folders(), *([Path(aux)] if (aux := os.environ.get("AUX_ANNOTATOR_CKPTS_PATH")) else [])]
        places += [root / part / entry.file for root in roots for part in (entry.repository, *_VACE_ANNOTATORS)]
        snapshots = _hugging_face_cache() / f"models--{entry.repository.replace('/', '--')}" / "snapshots"
        places += sorted(snapshots.glob(f"*/{entry.file}"))
    return next((place for place in places if place.is_file()), None)


def _hugging_face_cache() -> Path:
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen)
    home = os.environ.get("HF_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"


def require_model(name: str) -> Path:
    """Where the file lies, once its size and sha256 are right (remembered while the file stays as it is).

    Raises ModelFileError when it is missing (with the folders and the command that gets it) or damaged.
    """
    entry = model_entry(name)
    path = find_model(name)
    if path is None:
        raise ModelFileError(
            f"The model file {entry.file} ({entry.name}) is missing.",
            expected=f"{entry.file} in one of: {', '.join(str(folder) for folder in model_folders())}",
            got="no such file there",
            remedy=f"Run: {entry.get}" if entry.get.startswith("pip ") else entry.get or f"Take it from {entry.source}",
        )
    verify_model(path, entry)
    return path


def model_sha256(name: str) -> str:
    """The sha256 that the file of this name must have here: the table's, or that of a version that was accepted."""
    path = find_model(name)
    return (_accepted_sha256(path) if path else None) or model_entry(name).sha256


def write_accepted(path: Path) -> None:
    """Note beside a file that its present contents are accepted, though they are not the table's."""
    write_text_atomic(_note_path(path), f"{sha256_file(path)}\n")


def verify_model(path: Path, entry: ModelFile, on_progress: Callable[[int], None] | None = None) -> None:
    """Compare a file with its entry: first the size, then the sha256. Raises ModelFileError when they differ.

    A file that was installed with ``accept_unknown`` is compared with the sha256 noted beside it then.
    ``on_progress`` gets the bytes read so far.
    """
    stat = path.stat()
    accepted = _accepted_sha256(path)
    if accepted is None and stat.st_size != entry.size:
        raise _damaged(path, entry, f"{entry.size:,} bytes", f"{stat.st_size:,} bytes")
    wanted = accepted or entry.sha256
    key = (str(path), stat.st_size, stat.st_mtime_ns, wanted)
    if key in _verified:
        return
    # Hashing large files takes a second each time: a program that has seen this one tells the next.
    digest = remembered_sha256(path) if stat.st_size > _LARGEST_NET else sha256_file(path, on_progress)
    if digest != wanted:
        raise _damaged(path, entry, f"sha256 {wanted}", f"sha256 {digest}")
    _verified.add(key)


def install_blazepose(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    accept_unknown: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Put BlazePose's two nets into a model folder and return their paths there.

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
    """The bytes of each net that ``source`` holds; all of BLAZEPOSE, but for a single ``.tflite`` file."""
    if not source.exists():
        raise ModelFileError(
            f"{source} does not exist.",
            expected="a mediapipe wheel, a pose_landmarker .task file, a folder, or a .tflite file",
            remedy=f"Run: {_GET_BLAZEPOSE}",
        )
    if source.is_dir():
        return _read_folder(source)
    if zipfile.is_zipfile(source):
        return _read_archive(source)
    if source.suffix == ".tflite":
        content = _bounded(source.read_bytes(), f"{source}")
        return {_entry_of(source, content): content}
    raise ModelFileError(
        f"{source} is not a file that BlazePose's nets can be taken from.",
        expected="a mediapipe wheel or a pose_landmarker .task file (both are zip archives), or a .tflite file",
        got=f"{source.stat().st_size:,} bytes that are neither",
        remedy="Get the file again; a download may have stopped early.",
    )


def _read_folder(source: Path) -> dict[ModelFile, bytes]:
    found = {}
    for entry in BLAZEPOSE:
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
            for entry in BLAZEPOSE:
                if member := next((member for member in entry.members if member in names), None):
                    with archive.open(member) as stream:
                        found[entry] = _bounded(stream.read(_LARGEST_NET + 1), f"{member} in {source}")
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
            remedy=f"Run: {_GET_BLAZEPOSE}",
        )
    return found


def _bounded(content: bytes, what: str) -> bytes:
    if len(content) > _LARGEST_NET:
        raise ModelFileError(
            f"{what} is too large for a BlazePose net.",
            expected=f"at most {_LARGEST_NET:,} bytes",
            got="more than that",
        )
    return content


def _entry_of(source: Path, content: bytes) -> ModelFile:
    digest = hashlib.sha256(content).hexdigest()
    for entry in BLAZEPOSE:
        if digest == entry.sha256 or source.name in (entry.file, *(Path(member).name for member in entry.members)):
            return entry
    raise ModelFileError(
        f"{source} is not one of BlazePose's nets.",
        expected="; ".join(f"{entry.file}, sha256 {entry.sha256}" for entry in BLAZEPOSE),
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
            remedy=f"If you trust this file, use --accept-unknown (its shapes are checked). Or run: {_GET_BLAZEPOSE}",
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
    note = _note_path(path)
    if not (path.is_file() and sha256_file(path) == digest):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    if digest == entry.sha256:
        note.unlink(missing_ok=True)
    else:
        write_text_atomic(note, f"{digest}\n")
    return path


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.accepted")


def _accepted_sha256(path: Path) -> str | None:
    note = _note_path(path)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def _damaged(path: Path, entry: ModelFile, expected: str, got: str) -> ModelFileError:
    return ModelFileError(
        f"The model file {path} is damaged, or is not {entry.name}.",
        expected=expected,
        got=got,
        remedy=f"Delete it, then: {entry.get or entry.source}",
    )

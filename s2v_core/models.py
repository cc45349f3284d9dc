"""The model files that the project knows: what they are, and where they lie.

Nothing here writes or downloads anything (``get_models`` and ``get_blazepose`` do, when they are asked to).
``S2V_MODELS`` (folders, separated as in PATH) and folders named by a host are looked through first, then ``models`` in
the cache folder, then the places where other programs keep the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelFileError, SettingsError
from .files import cache_dir, remembered_sha256, sha256_file, write_text_atomic

Shape = tuple[int, ...]

_GET_BLAZEPOSE = (
    "pip download mediapipe==0.10.14 --no-deps --only-binary=:all: --python-version 3.11 "
    "--platform manylinux2014_x86_64 -d . && s2v models get blazepose "
    "--from mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
)
_GET_DWPOSE = "s2v models get dwpose"
_MEDIAPIPE = "the wheel of mediapipe 0.10.14 on PyPI (it is only unpacked, never installed)"
LARGEST_NET = 64 << 20  # bytes; Google's heaviest pose net has 27 MB


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
BLAZEPOSE = (BLAZEPOSE_DETECTION, BLAZEPOSE_LANDMARKS)  # the body; hands and face are extra

# Hands and face: each group is used only whole, in this order.
BLAZEPOSE_HANDS = (
    _mediapipe(
        "mediapipe-hand-recrop", "holistic_landmark", "hand_recrop.tflite", 123_792,
        "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d", "pose (blazepose, hands)", "",
        ((1, 256, 256, 3),), ((1, 1, 1, 4),),
    ),
    _mediapipe(
        "mediapipe-palm", "palm_detection", "palm_detection_full.tflite", 2_339_846,
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54", "pose (blazepose, hands)", "",
        ((1, 192, 192, 3),), ((1, 2016, 18), (1, 2016, 1)),
    ),
    _mediapipe(
        "mediapipe-hand", "hand_landmark", "hand_landmark_full.tflite", 5_478_917,
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3", "pose (blazepose, hands)", "",
        ((1, 224, 224, 3),), ((1, 63), (1, 1), (1, 1), (1, 63)),
    ),
)  # fmt: skip
BLAZEPOSE_FACE = (
    _mediapipe(
        "mediapipe-face-detection", "face_detection", "face_detection_short_range.tflite", 229_714,
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8", "pose (blazepose, face)", "",
        ((1, 128, 128, 3),), ((1, 896, 16), (1, 896, 1)),
    ),
    _mediapipe(
        "mediapipe-face", "face_landmark", "face_landmark.tflite", 1_242_398,
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814", "pose (blazepose, face)", "",
        ((1, 192, 192, 3),), ((1, 1, 1, 1404), (1, 1, 1, 1)),
    ),
)  # fmt: skip
BLAZEPOSE_NETS = (*BLAZEPOSE, *BLAZEPOSE_HANDS, *BLAZEPOSE_FACE)

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
MODEL_FILES: tuple[ModelFile, ...] = (*BLAZEPOSE_NETS, *DWPOSE)

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
        snapshots = hugging_face_cache() / f"models--{entry.repository.replace('/', '--')}" / "snapshots"
        places += sorted(snapshots.glob(f"*/{entry.file}"))
    return next((place for place in places if place.is_file()), None)


def hugging_face_cache() -> Path:
    """Where the hub's client keeps what it fetched."""
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
    write_text_atomic(note_path(path), f"{sha256_file(path)}\n")


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
    digest = remembered_sha256(path) if stat.st_size > LARGEST_NET else sha256_file(path, on_progress)
    if digest != wanted:
        raise _damaged(path, entry, f"sha256 {wanted}", f"sha256 {digest}")
    _verified.add(key)


def note_path(path: Path) -> Path:
    """Where the sha256 of an accepted version of ``path`` is noted."""
    return path.with_name(f"{path.name}.accepted")


def _accepted_sha256(path: Path) -> str | None:
    note = note_path(path)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def _damaged(path: Path, entry: ModelFile, expected: str, got: str) -> ModelFileError:
    return ModelFileError(
        f"The model file {path} is damaged, or is not {entry.name}.",
        expected=expected,
        got=got,
        remedy=f"Delete it, then: {entry.get or entry.source}",
    )

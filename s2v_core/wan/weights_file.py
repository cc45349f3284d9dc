"""Files of weights: one file, a set of shards or a folder of them, their tables of contents, and their tensors.

Nothing here knows what the tensors are for.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, ModelFileError

if TYPE_CHECKING:
    import torch

SAFETENSORS = (".safetensors", ".sft")
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
INDEX = ".index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
# Libraries that write these names put a config.json beside them that belongs to the weights.
_CONFIGURED = ("diffusion_pytorch_model", "model", "pytorch_model")
# safetensors' names of types, where they are not the lower-case name that torch uses (https://github.com/huggingface/safetensors).
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "BOOL": "bool",
}  # fmt: skip
_ARCHIVE, _OLD_PICKLE = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9"  # how torch's files begin, since 1.6 and before
# What else is found under a model's name, by its first bytes.
_STRANGERS = (
    (rb"version https://git-lfs", "a Git LFS pointer, which only stands for the file", "Get it: `git lfs pull`."),
    (rb"(?i)\s*<(!doctype|html|\?xml)", "a web page", "Sign in where the file is offered, and download it again."),
    (rb'\s*\{\s*"', "a text in JSON", "Download the weights themselves."),
    (rb"GGUF", "a GGUF file", "Choose the safetensors version: GGUF's quantisation is not read here."),
)  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """What a table of contents says of one tensor. ``dtype``: torch's name of the type. ``file``: where it lies."""

    shape: tuple[int, ...]
    dtype: str
    file: str


@dataclass(frozen=True)
class Weights:
    """The table of contents of one set of weights.

    ``path``: what the user chose. ``files``: the one file, or all shards in their order. ``config``: the config.json
    that a library wrote beside the weights, or empty.
    """

    path: str
    files: tuple[str, ...]
    tensors: Mapping[str, TensorInfo] = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(Path(file).stat().st_size for file in self.files)


def weight_files(path: str | os.PathLike[str]) -> list[tuple[str, ...]]:
    """The sets of weight files that ``path`` stands for, each a single file or all shards of one model, sorted.

    A file gives one set; one shard stands for all of its model, and so does their ``.index.json``. A folder gives each
    set that lies directly in it. Raises ``ModelFileError`` when there is nothing, or when a shard is missing.
    """
    chosen = Path(path)
    if chosen.is_dir():
        names = sorted(file.name for file in chosen.iterdir() if file.suffix in SAFETENSORS + PICKLES)
        found: dict[str, tuple[str, ...]] = {}
        for name in names:
            found.setdefault(_set_name(name), _one_set(chosen / name))
        return list(found.values())
    if not chosen.is_file():
        raise ModelFileError(
            f"There is no model file {path}.",
            expected="a .safetensors or .pth file, a folder of shards, or their .index.json",
            got="nothing",
            remedy="Check the path; `s2v doctor` lists the model files that were found.",
        )
    return [_one_set(chosen)]


def read_table(files: tuple[str, ...], path: str = "") -> Weights:
    """The table of contents of one set out of ``weight_files``, without its weights. ``path``: what the user chose.

    Raises ``ModelFileError`` for a file that is cut short, no model file, or a pickle with anything but tensors in it.
    """
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    for file in files:
        table, more = _table_of(file)
        if twice := tensors.keys() & table.keys():
            raise ModelFileError(
                f"{file} repeats a tensor of another shard.",
                expected="each tensor in one shard",
                got=min(twice),
                remedy="Shards of two models were mixed: keep those of one model in a folder of their own.",
            )
        tensors |= table
        metadata |= more
    return Weights(path or files[0], files, tensors, metadata, _config_beside(files[0]))


def read_tensors(
    weights: Weights,
    keys: Iterable[str],
    device: str = "cpu",
    *,
    on_bytes: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The named tensors, one after the other, file by file, as they are in the files.

    ``on_bytes`` gets the size of each tensor after it was taken. Raises ``Interrupted`` when ``should_stop`` says so.
    """
    by_file: dict[str, list[str]] = {file: [] for file in weights.files}
    for key in keys:
        by_file[weights.tensors[key].file].append(key)
    for file, wanted in by_file.items():
        if not wanted:
            continue
        for key, tensor in _read_one(file, wanted, device):
            if should_stop and should_stop():
                raise Interrupted(f"Stopped while {file} was read.")
            size = tensor.numel() * tensor.element_size()
            yield key, tensor
            if on_bytes:
                on_bytes(size)


def _one_set(path: Path) -> tuple[str, ...]:
    """The files of the model that ``path`` belongs to."""
    if path.name.endswith(INDEX):
        names = _names_in_index(path)
    elif match := _SHARD.fullmatch(path.name):
        count = int(match["count"])
        names = [f"{match['stem']}-{number:05}-of-{count:05}{match['suffix']}" for number in range(1, count + 1)]
    else:
        return (str(path),)
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing or not names:
        raise ModelFileError(
            f"Shards of the model {path} are missing.",
            expected=f"{len(names)} files in {path.parent}",
            got=f"{len(names) - len(missing)}; without {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}",
            remedy="Download the missing files into the same folder.",
        )
    return tuple(str(path.with_name(name)) for name in names)


def _set_name(name: str) -> str:
    match = _SHARD.fullmatch(name)
    return f"{match['stem']}-of-{match['count']}{match['suffix']}" if match else name


def _names_in_index(path: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        if any(Path(name).name != name or name in (".", "..") for name in names):
            raise ValueError("it names a file outside its folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"The index {path} cannot be read.",
            expected='JSON with a "weight_map" from the names of tensors to the names of files',
            got=f"{type(error).__name__}: {error}",
            remedy="Download it again, or choose one of the shards instead.",
        ) from error
    return names


def _config_beside(file: str) -> dict[str, Any]:
    path = Path(file)
    config = path.with_name("config.json")
    if re.split(r"[-.]", path.name)[0] not in _CONFIGURED or not config.is_file():
        return {}
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{config}, which belongs to {path.name}, cannot be read.",
            expected="a JSON object",
            got=str(error),
            remedy="Download it again.",
        ) from error
    return found


def _table_of(file: str) -> tuple[Mapping[str, TensorInfo], Mapping[str, str]]:
    """``_read_one_table``, or what it said of the same state of the file."""
    try:
        facts = Path(file).stat()
    except OSError:
        return _read_one_table(file)  # which says what is wrong
    return _remembered_table(file, (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))


@lru_cache(maxsize=64)
def _remembered_table(file: str, state: tuple[int, ...]) -> tuple[Mapping[str, TensorInfo], Mapping[str, str]]:
    table, metadata = _read_one_table(file)
    return MappingProxyType(table), MappingProxyType(metadata)


def _read_one_table(file: str) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    if Path(file).suffix in PICKLES:
        loaded = _load_pickle(file, "meta")
        return {key: TensorInfo(tuple(value.shape), _name(value), file) for key, value in loaded.items()}, {}
    if Path(file).suffix not in SAFETENSORS:
        raise ModelFileError(
            f"{file} is not a file of weights.",
            expected=f"a file that ends in {', '.join(SAFETENSORS + PICKLES)}",
            got=_stranger(file)[0] or f"the suffix {Path(file).suffix or '(none)'}",
            remedy=_stranger(file)[1] or "Choose the safetensors version of the model.",
        )
    from safetensors import SafetensorError, safe_open

    try:
        table = {}
        # As "numpy", because "pt" would reserve memory for all tensors.
        with safe_open(file, framework="numpy") as opened:
            for key in opened.keys():  # noqa: SIM118
                slice_ = opened.get_slice(key)
                kind = slice_.get_dtype()
                table[key] = TensorInfo(tuple(slice_.get_shape()), _TYPES.get(kind, kind.lower()), file)
            return table, opened.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(file, error) from error


def _read_one(file: str, keys: list[str], device: str) -> Iterator[tuple[str, torch.Tensor]]:
    if Path(file).suffix in PICKLES:
        loaded = _load_pickle(file, "cpu")
        yield from ((key, loaded.pop(key).to(device)) for key in keys)
        return
    from safetensors import SafetensorError, safe_open

    try:
        # It reserves memory for the whole file, which the system refuses where there is less.
        opened = safe_open(file, framework="pt", device=device)
    except (RuntimeError, MemoryError) as error:
        raise _no_memory(file, error) from error
    with opened:
        for key in keys:
            try:
                tensor = opened.get_tensor(key)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise _damaged(file, error) from error
            yield key, tensor


def _no_memory(file: str, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"There is not enough memory to read {file}.",
        expected=f"{Path(file).stat().st_size / 1e9:.1f} GB of main memory for it",
        got=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
        remedy="Close other programs, or choose the fp8 version of the model, which is half as large.",
    )


def _damaged(file: str, error: Exception) -> ModelFileError:
    what, remedy = _stranger(file)
    return ModelFileError(
        f"{file} cannot be read.",
        expected="a complete safetensors file",
        got=what or f"{Path(file).stat().st_size:,} bytes; {error}",
        remedy=remedy or "The download is probably cut short or damaged: delete the file and get it again.",
    )


def _load_pickle(file: str, device: str) -> dict[str, torch.Tensor]:
    """The tensors of a .pth file. Nothing in it is run: torch's loader admits tensors and plain containers only."""
    import torch

    archive = zipfile.is_zipfile(file)
    try:
        # The older form, from before torch 1.6, is no archive and cannot be mapped into memory.
        found = torch.load(file, map_location=device, weights_only=True, mmap=archive)
    except Exception as error:  # the parser of a damaged pickle raises whatever it stumbles over
        if isinstance(error, MemoryError) or "Cannot allocate memory" in str(error):
            raise _no_memory(file, error) from error
        what, remedy = _unpicklable(file, error)
        raise ModelFileError(
            f"{file} cannot be read.",
            expected="a .safetensors file, or a .pth file that holds tensors and nothing else",
            got=what,
            remedy=remedy,
        ) from error
    for wrapper in ("model_state", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    odd = (
        [key for key, value in found.items() if not isinstance(key, str) or not isinstance(value, torch.Tensor)]
        if isinstance(found, dict)
        else []
    )
    if not isinstance(found, dict) or odd:
        raise ModelFileError(
            f"{file} is not a table of tensors.",
            expected="a dictionary from names to tensors",
            got=f"{odd[0]!r}: {type(found[odd[0]]).__name__}" if odd else type(found).__name__,
            remedy="Choose the model's weights, not an optimiser or training state.",
        )
    return found


def _unpicklable(file: str, error: Exception) -> tuple[str, str]:
    """The cause in one line, and what to do; torch's own message goes on with advice to load the file unsafely."""
    what, remedy = _stranger(file)
    text = str(error).strip()
    if what:
        return what, remedy
    if match := re.search(r"GLOBAL (\S+)", text):
        return (
            f"a pickle that asks for {match[1]}, which is no tensor; nothing was run",
            "If the file comes from a source that you trust, get its safetensors version; otherwise delete it.",
        )
    if _head(file).startswith((_ARCHIVE, _OLD_PICKLE)):
        return "a .pth file that is cut short or damaged", "Delete the file and get it again."
    what = "a file that torch did not write" if "nsupported" in text or not text else text.splitlines()[0]
    return what, "Get the safetensors version of the model."


def _stranger(file: str) -> tuple[str, str]:
    """What a file is by its first bytes, and what to do; two empty texts for a file that is none of these."""
    head = _head(file)
    if not head:
        return "an empty file", "The download failed: delete the file and get it again."
    if head.startswith((_ARCHIVE, _OLD_PICKLE)) and Path(file).suffix not in PICKLES:
        return "a .pth file", "Give it back the suffix .pth."
    if re.match(rb'.{8}\{\s*"', head, re.DOTALL) and Path(file).suffix not in SAFETENSORS:
        return "a safetensors file", "Give it back the suffix .safetensors."
    return next(((what, remedy) for start, what, remedy in _STRANGERS if re.match(start, head)), ("", ""))


def _head(file: str) -> bytes:
    with Path(file).open("rb") as stream:
        return stream.read(64)


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

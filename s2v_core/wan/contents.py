"""What a model file holds: which nets, in which layout, under which keys; nothing is loaded for that.

Nothing is recognised by a hash or by a file's name: the nets and their layouts (see ``layouts``), and the sizes of each
net (see ``sizes``), are read from its keys and shapes. So the 1.3B, the 14B and a net of a few kilobytes go the same
way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..files import remembered_sha256, sha256_json
from .layouts import NETS, STRANGERS, find_net
from .sizes import transformer_sizes
from .weights_file import Weights, read_table, weight_files

# What to call each part in a sentence.
PARTS = {
    "dit": "a Wan transformer",
    "vace": "VACE blocks",
    "text_encoder": "a umT5 text encoder",
    "vae": "a Wan VAE",
}
# What to choose for each net, for messages.
CHOOSE = {
    "transformer": "Choose a Wan2.1-VACE checkpoint, for example wan2.1_vace_1.3B_fp16.safetensors; "
    "text-to-video and image-to-video checkpoints have no VACE blocks.",
    "text_encoder": "Choose umT5-XXL, for example umt5_xxl_fp16.safetensors or models_t5_umt5-xxl-enc-bf16.pth.",
    "vae": "Choose Wan2.1's VAE, for example wan_2.1_vae.safetensors or Wan2.1_VAE.pth.",
}
# Where a net lies below the folder of a whole model in the diffusers layout.
_SUBFOLDERS = {"transformer": "transformer", "text_encoder": "text_encoder", "vae": "vae"}
EIGHT_BIT = ("float8_e4m3fn", "float8_e5m2")
_FLOATS = ("float64", "float32", "float16", "bfloat16", *EIGHT_BIT)
_SCALES = (".scale_weight", ".weight_scale")  # ComfyUI until 0.4, and since
# What stands beside 8-bit weights: hints for 8-bit multiplication, which is not done here, and marks.
_HINTS = (".scale_input", ".input_scale", ".comfy_quant")
_MARKS = ("scaled_fp8", "spiece_model")


@dataclass(frozen=True)
class FileContents:
    """What a model file holds.

    ``parts``: all that were found. The rest is about one net of them: ``layout`` is the layout it came in, ``shapes``
    has Wan's own names, ``names`` says what each is called in the file, ``scales`` where the scale of an 8-bit weight
    is. ``metadata`` and ``config`` are the file's own and those of a config.json beside it.
    """

    path: str
    parts: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    layout: str = ""
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    scales: Mapping[str, str] = field(default_factory=dict, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    weights: Weights | None = field(default=None, repr=False)

    def describe(self) -> str:
        """The contents in a few words, for messages."""
        if self.parts:
            lone = {"dit": " without VACE blocks", "vace": " without a transformer"}
            return " and ".join(PARTS[part] for part in self.parts) + lone.get("".join(self.parts), "")
        for end, name in STRANGERS:
            if any(key.endswith(end) for key in self.shapes):
                return name
        sample = next(iter(self.shapes), "nothing")
        return f"{len(self.shapes)} tensors of an unknown model (for example {sample})"


def inspect_file(path: str | os.PathLike[str], net: str = "") -> FileContents:
    """Read the table of contents of a model file, a set of shards or a folder, without the weights.

    ``net``: one of ``layouts.NETS``, to be found in a file that holds several or in the folder of a whole model;
    without it, the first that is there. Raises ``ModelFileError`` when the file is missing, cut short, not a model
    file, or a pickle with anything but tensors in it; or when a folder holds no such net, or several.
    """
    if not Path(path).is_dir():
        return contents_of(read_table(weight_files(path)[0], os.fspath(path)), net)
    folders = [Path(path)]
    if net and (inner := Path(path) / _SUBFOLDERS[net]).is_dir():
        folders.append(inner)
    # A folder may hold other models too: whatever cannot be read among them is only described.
    found, others = [], []
    for files in (files for folder in folders for files in weight_files(folder)):
        name = os.path.relpath(files[0], path)
        try:
            contents = contents_of(read_table(files, os.fspath(path)), net)
        except ModelFileError as error:
            others.append(f"{name}: {error.got}")
            continue
        wanted = set(NETS[net]) if net else set(contents.parts)
        if wanted and wanted <= set(contents.parts):
            found.append((name, contents))
        else:
            others.append(f"{name}: {contents.describe()}")
    if len(found) != 1:
        named = [f"{name}: {contents.describe()}" for name, contents in found] or others
        raise ModelFileError(
            f"The folder {path} holds {'several models' if found else 'no model'} for this place.",
            expected=" and ".join(PARTS[part] for part in NETS[net]) if net else "one model",
            got="; ".join(named[:5]) or "no model file",
            remedy="Choose the file itself." if found else CHOOSE.get(net, "Choose a model file."),
        )
    return found[0][1]


def require(path: str | os.PathLike[str], net: str) -> FileContents:
    """``inspect_file`` for a net that has to be there, whole and in types that can be computed with.

    Raises ``ModelFileError``, which says what is there instead.
    """
    contents = inspect_file(path, net)
    if not set(NETS[net]) <= set(contents.parts):
        raise ModelFileError(
            f"{path} is not the file that is needed here.",
            expected=" and ".join(PARTS[part] for part in NETS[net]),
            got=contents.describe(),
            remedy=CHOOSE[net],
        )
    _check_types(contents)
    return contents


def weights_size(path: str | os.PathLike[str], net: str) -> int:
    """Bytes of the file, or of all shards, that ``net`` is loaded from. Raises what ``inspect_file`` raises."""
    weights = inspect_file(path, net).weights
    assert weights is not None
    return weights.size


def weights_stamp(path: str | os.PathLike[str], net: str) -> tuple[tuple[int, int], ...]:
    """Bytes and time of change of each file that ``net`` is loaded from: another stamp, other weights."""
    weights = inspect_file(path, net).weights
    assert weights is not None
    facts = [Path(file).stat() for file in weights.files]
    return tuple((fact.st_size, fact.st_mtime_ns) for fact in facts)


def weights_sha256(
    path: str | os.PathLike[str], net: str, on_progress: Callable[[str, int, int], None] | None = None
) -> str:
    """What identifies the weights that ``net`` is loaded from: the sha256 of a single file.

    For shards it is the sha256 of theirs, in their order. Where a config.json beside the file decides the net (and not
    the shapes alone), that decision is part of it. Names and places of files are not.
    """
    contents = inspect_file(path, net)
    assert contents.weights is not None
    hashes = [remembered_sha256(file, on_progress) for file in contents.weights.files]
    decided = transformer_sizes(contents) if net == "transformer" else {}
    with suppress(ModelFileError):  # raised when nothing can be said without the config: then it decides
        if decided and transformer_sizes(replace(contents, config={})) == decided:
            decided = {}
    return hashes[0] if len(hashes) == 1 and not decided else sha256_json({"files": hashes, "config": decided})


def contents_of(weights: Weights, net: str = "") -> FileContents:
    """A table of contents in Wan's names; ``net`` as in ``inspect_file``."""
    tensors = weights.tensors
    keys = [key for key in tensors if not key.endswith(_SCALES + _HINTS) and key.split(".")[-1] not in _MARKS]
    table = dict.fromkeys(keys)  # a dict is a set that keeps its order
    found = {name: hit for name in NETS if (hit := find_net(table.keys(), name))}
    parts = tuple(part for hit in found.values() for part in hit.parts)
    chosen = found.get(net) if net else next(iter(found.values()), None)
    if chosen is None:
        shapes = {key: tensors[key].shape for key in keys}
        return FileContents(
            weights.path, parts, shapes, metadata=weights.metadata, config=weights.config, weights=weights
        )
    scales = {}
    for key, name in chosen.names.items():
        places = [name.removesuffix(".weight") + end for end in _SCALES] if name.endswith(".weight") else []
        if place := next((place for place in places if place in tensors), None):
            scales[key] = place
    return FileContents(
        weights.path,
        parts,
        {key: tensors[name].shape for key, name in chosen.names.items()},
        chosen.layout.name,
        chosen.names,
        scales,
        weights.metadata,
        weights.config,
        weights,
    )


def _check_types(contents: FileContents) -> None:
    """Raise ``ModelFileError`` for weights that are no numbers, or whose 8 bits mean nothing without a scale."""
    assert contents.weights is not None
    kinds = {key: contents.weights.tensors[name].dtype for key, name in contents.names.items()}
    odd = [f"{key}: {kind}" for key, kind in kinds.items() if kind not in _FLOATS]
    if odd:
        raise ModelFileError(
            f"The weights in {contents.path} are of a type that cannot be used.",
            expected="float32, float16, bfloat16, or 8-bit floating point with or without a scale",
            got=f"{len(odd)} tensors such as {odd[0]}",
            remedy="Choose the fp16, bf16 or fp8 version of the model; other quantisation is not read.",
        )
    bare = [key for key, kind in kinds.items() if kind in EIGHT_BIT and key not in contents.scales]
    if bare and contents.scales:
        raise ModelFileError(
            f"Scales are missing in {contents.path}.",
            expected="a scale_weight or weight_scale for each weight in 8 bits, or for none",
            got=f"{len(bare)} without one, such as {bare[0]}",
            remedy="The file was not converted to the end: download it again, or choose another version.",
        )

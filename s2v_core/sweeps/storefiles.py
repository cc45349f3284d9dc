"""The files of a cell store: how they are written, read and checked. docs/store.md describes them.

``cell.json`` and ``scores.json`` are sealed: their last key is ``sha256``, the hash of every byte before its line, so
``head -n -2 cell.json | sha256sum`` gives it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StoreError, VideoError
from ..files import atomic_path, sha256_file, write_text_atomic
from ..video.bgr0 import BGR0, from_bgr0, threads
from ..video.clip import Clip

if TYPE_CHECKING:
    import torch

    from .axes import Cell

KIND = "skeleton2video cells"
STORE_VERSION = 2
# Version 1 had no checksum in cell.json, and neither latents nor scores.
OLDEST_VERSION = 1
CLIP, META, LATENTS, SCORES = "clip.mkv", "cell.json", "latents.safetensors", "scores.json"
_SEAL = re.compile(rb'  "sha256": "([0-9a-f]{64})"\n\}\n')
_SEAL_BYTES = len(b'  "sha256": ""\n}\n') + 64


def store_version(folder: Path, *, make: bool = False) -> int:
    """The version of the store in a folder, from its store.json.

    ``make``: a folder that does not exist or is empty becomes a store. Raises ``StoreError`` for anything but a store
    of a version that can be read, ``OSError``.
    """
    marker = folder / "store.json"
    if not marker.exists():
        found = "nothing"
        if folder.exists():
            names = _visible(folder) if folder.is_dir() else []
            found = f"a folder with {names[0]}" if names else "an empty folder" if folder.is_dir() else "a file"
        if not make or found not in ("nothing", "an empty folder"):
            raise StoreError(
                f"{folder} is not a cell store.",
                expected="a cell store" + (", an empty folder, or a folder that does not exist yet" if make else ""),
                got=found,
                remedy="Choose another folder.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_marker(folder)
    try:
        said = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("kind") != KIND:
        raise StoreError(
            f"{folder} is not a cell store: its store.json says something else.",
            expected=f'"kind": "{KIND}"',
            remedy=f'Choose another folder, or, if it is one, write {{"kind": "{KIND}", "version": {STORE_VERSION}}} '
            "into store.json.",
        )
    version = said.get("version")
    if isinstance(version, int) and OLDEST_VERSION <= version <= STORE_VERSION:
        return version
    newer = isinstance(version, int) and version > STORE_VERSION
    raise StoreError(
        f"The cell store {folder} is of {'a newer' if newer else 'an unknown'} version.",
        expected=f"version {OLDEST_VERSION} to {STORE_VERSION}",
        got=f"version {version}",
        remedy="Update Skeleton2Video, or choose another folder." if newer else "Choose another folder.",
    )


def write_marker(folder: Path) -> None:
    """Say in store.json that a folder is a store of this version."""
    write_text_atomic(folder / "store.json", json.dumps({"kind": KIND, "version": STORE_VERSION}) + "\n")


def seal(facts: Mapping[str, Any]) -> bytes:
    """JSON whose last key is the sha256 of all bytes before its line. ``facts`` must not be empty.

    Raises ``TypeError`` or ``ValueError`` for what JSON does not know, NaN too.
    """
    kept = {key: value for key, value in facts.items() if key != "sha256"}
    text = json.dumps(kept, indent=2, ensure_ascii=False, allow_nan=False)
    body = f"{text[:-2]},\n".encode()
    return body + f'  "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """What ``seal`` was given. Raises ``ValueError``, which names the file, for any byte that is not as it was."""
    body, said = data[:-_SEAL_BYTES], _SEAL.fullmatch(data[-_SEAL_BYTES:])
    if not said:
        raise ValueError(f"{name} has changed: its checksum, the last line, is not there")
    if (found := hashlib.sha256(body).hexdigest()) != said[1].decode():
        raise ValueError(f"{name} has changed: its sha256 should be {said[1].decode()} and is {found}")
    facts = json.loads(data)
    del facts["sha256"]
    return facts


def write_sealed(file: Path, facts: Mapping[str, Any]) -> None:
    """Put a sealed file in place in one step."""
    data = seal(facts)
    with atomic_path(file) as temporary:
        temporary.write_bytes(data)


def read_cell(folder: Path, id: str, store_version: int) -> dict[str, Any]:
    """``cell.json`` of a cell, checked. Raises ``ValueError`` with what is wrong with it, ``OSError``.

    Only a store of version 1 may hold cells of version 1.
    """
    data = (folder / META).read_bytes()
    if store_version == 1 and not _SEAL.fullmatch(data[-_SEAL_BYTES:]):
        try:
            meta = json.loads(data)
        except ValueError as error:
            raise ValueError(f"{META} is not JSON: {error}") from None
        versions = [1]
    else:
        meta = unseal(data, META)
        versions = [STORE_VERSION]
    clip = meta.get("clip") if isinstance(meta, dict) else None
    if not isinstance(clip, dict) or not isinstance(clip.get("sha256"), str) or "fps" not in clip:
        raise ValueError(f"{META} lacks the facts of its clip")
    if meta.get("id") != id or meta.get("version") not in versions:
        raise ValueError(f"{META} is of another cell or version: {meta.get('id')}, {meta.get('version')}")
    return meta


def upgraded(meta: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A cell's facts as this version keeps them, from those of any version that it reads."""
    said = meta["clip"]
    clip = {"file": CLIP, "sha256": said["sha256"], "bytes": (folder / CLIP).stat().st_size, **said}
    return {**meta, "version": STORE_VERSION, "clip": clip}


def write_cell(folder: Path, cell: Cell, clip: Clip, meta: Mapping[str, Any], latents: torch.Tensor | None) -> None:
    """Write all files of a cell into a folder, and read the clip back. Raises ``VideoError``, ``OSError``."""
    from ..video.write import write_clip

    file = folder / CLIP
    write_clip(clip, file, lossless=True)
    count = 0
    for count, written in enumerate(decode(file), start=1):
        if count <= len(clip) and not np.array_equal(clip.frames[count - 1], written):
            raise VideoError(f"Frame {count - 1} of {CLIP} does not come back as it was written.")
    if count != len(clip):
        raise VideoError(f"{CLIP} does not come back whole.", expected=f"{len(clip)} frames", got=str(count))
    facts = {
        "settings": cell.settings.to_dict(),
        "prompt": dataclasses.asdict(cell.prompt),
        "labels": list(cell.labels),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "clip": {
            **_file_facts(file),
            "frames": len(clip),
            "width": clip.width,
            "height": clip.height,
            "fps": str(clip.fps),
        },
    }
    if latents is not None:
        facts["latents"] = write_latents(folder, latents)
    own = {key: value for key, value in meta.items() if key not in (*facts, "version", "id", "latents")}
    write_sealed(folder / META, {"version": STORE_VERSION, "id": cell.id, **own, **facts})


def write_latents(folder: Path, latents: torch.Tensor) -> dict[str, Any]:
    """Write ``latents.safetensors``; returns what ``cell.json`` says of it."""
    from safetensors.torch import save

    tensor = latents.detach().cpu().contiguous()
    # Not safetensors' own way to write files: it does not say when a disk is full on every platform.
    with atomic_path(folder / LATENTS) as temporary:
        temporary.write_bytes(save({"latents": tensor}))
    kind = str(tensor.dtype).removeprefix("torch.")
    return {**_file_facts(folder / LATENTS), "shape": list(tensor.shape), "dtype": kind}


def read_latents(folder: Path) -> torch.Tensor:
    """The tensor of ``latents.safetensors``, on the CPU."""
    from safetensors.torch import load

    return load((folder / LATENTS).read_bytes())["latents"]


def read_scores(folder: Path, id: str, clip_sha256: str) -> dict[str, dict[str, Any]]:
    """What ``scores.json`` says, by metric; {} when there is none. Raises ``ValueError`` when it is damaged."""
    try:
        data = (folder / SCORES).read_bytes()
    except FileNotFoundError:
        return {}
    said = unseal(data, SCORES)
    if said.get("id") != id or said.get("clip sha256") != clip_sha256:
        raise ValueError(f"{SCORES} is of another cell or clip")
    return dict(said["scores"])


def write_scores(folder: Path, id: str, clip_sha256: str, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Put ``scores.json`` in place in one step."""
    ordered = {metric: scores[metric] for metric in sorted(scores)}
    write_sealed(folder / SCORES, {"version": STORE_VERSION, "id": id, "clip sha256": clip_sha256, "scores": ordered})


def decode(file: Path) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Every frame of a lossless file in order, uint8 [H, W, 3], whatever its time stamps. Raises ``StoreError``."""
    import av
    from av.video.reformatter import VideoReformatter

    converter = VideoReformatter()  # one for all frames: a new one starts threads for each
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = threads(stream.width, stream.height)
            for frame in container.decode(stream):
                if frame.format.name == BGR0:
                    yield from_bgr0(frame)
                else:
                    yield np.asarray(converter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
    except (av.error.FFmpegError, IndexError) as error:
        raise StoreError(
            f"{file} cannot be decoded.",
            expected="a lossless video with one video stream",
            got=str(error),
            remedy="Delete the cell's folder and run the sweep again.",
        ) from error


def same_clip(one: Path, meta: Mapping[str, Any], other: Path, other_meta: Mapping[str, Any]) -> bool:
    """Whether two cell folders hold the same frames at the same rate, whatever wrote them. Raises ``StoreError``."""
    if meta["clip"]["sha256"] == other_meta["clip"]["sha256"]:
        return True
    return meta["clip"]["fps"] == other_meta["clip"]["fps"] and all(
        a is not None and b is not None and np.array_equal(a, b)
        for a, b in zip_longest(decode(one / CLIP), decode(other / CLIP))
    )


def copy_file(source: Path, target: Path, sha256: str) -> None:
    """Copy a file in one step. Raises ``OSError`` when what arrives has another sha256."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        if sha256_file(temporary) != sha256:
            raise OSError(f"{source} was not copied as it is")


def _file_facts(file: Path) -> dict[str, Any]:
    return {"file": file.name, "sha256": sha256_file(file), "bytes": file.stat().st_size}


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))

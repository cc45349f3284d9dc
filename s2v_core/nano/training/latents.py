"""The material as latents of the trained VAE: what DiT and VACE are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import Interrupted
from ...files import atomic_path
from ..nets import Nets
from .config import NanoTraining
from .material import KINDS, Array
from .vae import as_pixels, autocast

_BATCH = 8


@dataclass(frozen=True, eq=False)
class Latents:
    """float16 [clips, 16, T, h, w] of each of ``KINDS``, scaled as the net sees them; ``grey``: of a grey clip."""

    kinds: Mapping[str, torch.Tensor]
    grey: torch.Tensor


def encode_material(
    config: NanoTraining, root: Path, nets: Nets, arrays: Mapping[str, list[Array]], told: Mapping[str, Any]
) -> Latents:
    """Encode everything with the VAE as it will be shipped, in 16 bits. What is on the disk already is read again."""
    with torch.no_grad():
        for value in nets.vae.model.parameters():
            value.copy_(value.bfloat16().float())
    folder = root / f"latents-{_identity(nets)[:8]}-{config.identity('world', 'precision')[:8]}"
    files = len(arrays[KINDS[0]])
    for index in range(files):
        place = folder / f"{index:05d}.npz"
        if not place.exists():
            if told["should_stop"] and told["should_stop"]():
                raise Interrupted
            coded: dict[str, Any] = {kind: _encode(config, nets, arrays[kind][index]) for kind in KINDS}
            with atomic_path(place) as temporary, temporary.open("wb") as stream:
                np.savez(stream, **coded)
        if told["on_step"]:
            told["on_step"]("latents", index + 1, files)
    loaded = [np.load(folder / f"{index:05d}.npz") for index in range(files)]
    kinds = {kind: torch.from_numpy(np.concatenate([one[kind] for one in loaded])) for kind in KINDS}
    shape = as_pixels(arrays["clip"][0][:1]).shape
    with torch.no_grad():
        grey = nets.vae.model.encode(torch.zeros(shape), nets.vae.scale)
    return Latents(kinds, grey)


def _encode(config: NanoTraining, nets: Nets, frames: Array) -> Array:
    if frames.ndim == 4:  # pictures: clips of one frame
        frames = frames[:, None]
    parts = []
    with torch.no_grad(), autocast(config.precision):
        for start in range(0, len(frames), _BATCH):
            pixels = as_pixels(frames[start : start + _BATCH])
            parts.append(nets.vae.model.encode(pixels, nets.vae.scale).float())
    return torch.cat(parts).half().numpy()


def _identity(nets: Nets) -> str:
    """A hash of the VAE's weights."""
    import hashlib

    found = hashlib.sha256()
    for key, value in sorted(nets.vae.model.state_dict().items()):
        found.update(key.encode())
        found.update(value.contiguous().numpy().tobytes())
    return found.hexdigest()

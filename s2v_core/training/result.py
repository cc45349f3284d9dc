"""The files of a training, and the LoRA file that is its result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import LoraError
from ..files import atomic_path, canonical_json
from ..wan.contents import require
from ..wan.lora_export import export_lora
from ..wan.lora_file import load_lora
from ..wan.lora_use import LoraUse
from ..wan.sizes import transformer_sizes
from .presets import meta_nets
from .settings import TrainSettings

if TYPE_CHECKING:
    import torch

CONFIG, LOG, CHECKPOINT = "config.json", "log.jsonl", "checkpoint.safetensors"
RESULT, FOR_COMFYUI = "lora.safetensors", "lora-comfyui.safetensors"
KEPT = "loras/step-{step:06d}.safetensors"
METADATA_KEY = "skeleton2video_training"  # one entry only: the order of several would differ from file to file


def write_lora(
    path: str | os.PathLike[str],
    tensors: Mapping[str, torch.Tensor],
    step: int,
    settings: TrainSettings,
    config: Mapping[str, Any],
) -> None:
    """Write a LoRA under the names that DiffSynth publishes, with its origin as JSON in the file's metadata.

    ``tensors``: as ``LoraModule.lora_tensors`` gives them, alpha / rank within. ``config``: the training's.
    """
    import torch
    from safetensors.torch import save_file

    origin = {
        "rank": settings.rank,
        "alpha": settings.alpha or float(settings.rank),
        "preset": settings.preset,
        "steps": step,
        "base": config["model"]["transformer"],
        "dataset": config["dataset"]["sha256"],
        "pictures": config["pictures"],
        "settings": settings.decisive(),
    }
    kind = getattr(torch, settings.file_dtype)
    plain = {name: value.to(kind).contiguous() for name, value in sorted(tensors.items())}
    with atomic_path(path) as temporary:
        save_file(plain, os.fspath(temporary), {METADATA_KEY: canonical_json(origin)})


def write_for_comfyui(source: str | os.PathLike[str], path: str | os.PathLike[str], transformer: str) -> None:
    """Write the same LoRA under the names that ComfyUI's own loader reads: it takes DiffSynth's for strangers.

    ``transformer``: the model's file, whose sizes say where the layers belong.
    """
    nets = meta_nets(transformer_sizes(require(transformer, "transformer")))
    use = LoraUse(os.fspath(source))
    export_lora([(load_lora(source), use)], [nets["dit"], nets["vace"]], path)


def read_origin(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a LoRA file of ours says of its training. Raises ``LoraError`` when it says nothing."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            origin: dict[str, Any] = json.loads((file.metadata() or {})[METADATA_KEY])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise LoraError(
            f"{path} does not say how it was trained.",
            expected=f"a LoRA file with the metadata {METADATA_KEY}",
            got=f"{type(error).__name__}: {error}",
        ) from error
    return origin

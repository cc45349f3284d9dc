"""Where the weights lie that some metrics need. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..models import hugging_face_cache, model_folders

# What a metric needs, by its name in ``scorecard.NEEDS``, and the model of it.
WEIGHTS: Mapping[str, str] = MappingProxyType({"clip weights": "clip", "dino weights": "dino"})


@dataclass(frozen=True)
class VisionModel:
    """``folder``: its name in ``vision`` in a model folder. ``repositories`` on huggingface.co, the usual one first.

    ``kinds``: what its config.json may call it.
    """

    folder: str
    repositories: tuple[str, ...]
    kinds: tuple[str, ...]


VISION_MODELS: Mapping[str, VisionModel] = MappingProxyType(
    {
        "clip": VisionModel("clip", ("openai/clip-vit-large-patch14", "openai/clip-vit-base-patch32"), ("clip",)),
        "dino": VisionModel(
            "dinov2",
            ("facebook/dinov2-base", "facebook/dinov2-small", "facebook/dinov2-large"),
            ("dinov2", "dinov2_with_registers"),
        ),
    }
)


def find_vision(name: str) -> Path | None:
    """The folder of "clip" or "dino": below ``vision`` in a model folder, or in Hugging Face's cache; None without."""
    model = VISION_MODELS[name]
    places = [folder / "vision" / model.folder for folder in model_folders()]
    for repository in model.repositories:
        snapshots = hugging_face_cache() / f"models--{repository.replace('/', '--')}" / "snapshots"
        places += sorted(snapshots.glob("*"))
    return next((place for place in places if (place / "config.json").is_file()), None)

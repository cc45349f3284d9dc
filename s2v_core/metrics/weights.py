"""Where the weights lie that some metrics need. Light to import."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..models import hugging_face_cache, model_folders

# What a metric needs, by its name in ``scorecard.NEEDS``, and the model of it.
WEIGHTS: Mapping[str, str] = MappingProxyType({"clip weights": "clip", "dino weights": "dino"})
FACES = "face"
RECOGNITION, ALIGNMENT = "dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"
_FACE_PACKAGE = "face_recognition_models"


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


def find_faces() -> tuple[Path, Path] | None:
    """The files of dlib's nets for faces (recognition, alignment), when dlib is installed too; None otherwise.

    In the model folders, or in the package (which is not imported: it needs a setuptools that is gone).
    """
    spec = importlib.util.find_spec(_FACE_PACKAGE)
    package = [Path(spec.origin).parent / "models"] if spec and spec.origin else []
    folders = [*model_folders(), *package]
    recognition, alignment = (
        next((folder / name for folder in folders if (folder / name).is_file()), None)
        for name in (RECOGNITION, ALIGNMENT)
    )
    if recognition is None or alignment is None or importlib.util.find_spec("dlib") is None:
        return None
    return recognition, alignment


def needs_that_are_there() -> frozenset[str]:
    """The keys of ``scorecard.NEEDS`` that stand for weights, of those that are here."""
    models = {need for need, model in WEIGHTS.items() if find_vision(model) is not None}
    return frozenset(models | ({FACES} if find_faces() else set()))

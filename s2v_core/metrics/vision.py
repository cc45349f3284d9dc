"""Pictures and texts as vectors: CLIP and DINOv2, when a user has put them into a folder. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelFileError
from ..models import model_folders
from .missing import Missing
from .weights import VISION_MODELS, find_vision

Array = np.ndarray[Any, Any]

FRAMES = 9  # of a clip, evenly spread


@dataclass(frozen=True)
class Vision:
    """A loaded model; ``name`` says which, for people."""

    net: Any
    processor: Any
    name: str

    def pictures(self, pictures: Sequence[Array]) -> Array:
        """DINOv2's vectors of pictures uint8 [H, W, 3]: [N, width], of length 1."""
        import torch

        with torch.inference_mode():
            batch = self.processor(images=list(pictures), return_tensors="pt")
            made = self.net(pixel_values=batch["pixel_values"]).last_hidden_state[:, 0]
        return np.asarray(torch.nn.functional.normalize(made.float(), dim=1).numpy())

    def likeness(self, pictures: Sequence[Array], text: str) -> tuple[Array, bool]:
        """CLIP's cosine of each picture and the text [N], and whether the text had to be cut."""
        import torch

        most = int(self.net.config.text_config.max_position_embeddings)
        whole = self.processor.tokenizer(text)["input_ids"]
        with torch.inference_mode():
            batch = self.processor(
                text=[text],
                images=list(pictures),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=most,
            )
            made = self.net(**batch)
            image, words = (
                torch.nn.functional.normalize(part.float(), dim=1) for part in (made.image_embeds, made.text_embeds)
            )
        return np.asarray((image @ words.T)[:, 0].numpy()), len(whole) > most


def load_vision(name: str) -> Vision:
    """The model "clip" or "dino". Raises Missing when it is not there, and ModelFileError when it cannot be loaded."""
    folder = find_vision(name)
    if folder is None:
        model = VISION_MODELS[name]
        place = model_folders()[0] / "vision" / model.folder
        raise Missing(f"There is no {model.kinds[0]} here. Put {model.repositories[0]} into {place}.")
    return _load(name, folder)


@lru_cache(maxsize=2)
def _load(name: str, folder: Path) -> Vision:
    from transformers import AutoImageProcessor, AutoModel, AutoProcessor

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    kinds = VISION_MODELS[name].kinds
    try:
        net: Any = AutoModel.from_pretrained(str(folder), use_safetensors=True, **options).eval()
        processor: Any = (AutoProcessor if name == "clip" else AutoImageProcessor).from_pretrained(
            str(folder), **options
        )
        kind = net.config.model_type
    except Exception as error:  # transformers raises whatever its parsers stumble over
        raise ModelFileError(
            f"The model in {folder} cannot be loaded.",
            expected=f"a {kinds[0]} as transformers writes it, with safetensors",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            remedy="Copy the whole model again.",
        ) from error
    if kind not in kinds:
        raise ModelFileError(
            f"{folder} holds another model.",
            expected=" or ".join(kinds),
            got=str(kind),
            remedy="Put the right model there.",
        )
    return Vision(net, processor, f"{kind} of width {_width(net)}")


def spread(count: int, most: int = FRAMES) -> Array:
    """Up to ``most`` indices of ``count`` frames, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def _width(net: Any) -> int:
    config = getattr(net.config, "vision_config", net.config)
    return int(config.hidden_size)

"""The layers of Wan-VACE by every name that LoRA files call them: Wan's own, diffusers', and both with underscores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from .layouts import DIFFUSERS_IN_BLOCK, DIFFUSERS_OUTSIDE
from .lora_scope import Place

if TYPE_CHECKING:
    import torch

# What trainers put in front of a layer's name, with dots; several may stand in a row.
_PREFIXES = (
    *("pipe.dit.", "pipe.vace.", "model.diffusion_model.", "diffusion_model."),  # DiffSynth, ComfyUI
    *("base_model.model.", "transformer.", "module.", "model.", "dit.", "unet."),  # PEFT, diffusers, others
)
# The same where dots are written as underscores: kohya and musubi, VideoX-Fun, OneTrainer, SimpleTuner.
_FLAT_PREFIXES = ("lora_unet__", "lora_unet_", "lora_transformer_", "lycoris_")
_BLOCK = re.compile(r"((?:vace_)?blocks)\.(\d+)\.(.+)")
_TEXT_ENCODER = re.compile(r"^(lora_te\d*_|text_encoders?[._]|text_model\.|.*t5xxl)|SelfAttention|EncDecAttention")
# The patch embedding is in every model; only one for more channels, those of an image, can be without a place.
_IMAGE = re.compile(r"k_img|v_img|img_emb|add_k_proj|add_v_proj|norm_added_k|image_embedder|(?<!vace_)patch_embedding")


@dataclass(frozen=True, eq=False)
class Layer:
    """A thing in the model that a LoRA can change.

    ``name``: Wan's own name. ``module``: what computes it. ``parameter``: "weight" for a module with a weight (and
    perhaps a bias), otherwise the name of a parameter that stands alone in its module, such as "modulation".
    ``shape``: of the weight or parameter.
    """

    name: str
    module: torch.nn.Module
    parameter: str
    shape: tuple[int, ...]
    place: Place

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies by a matrix (linear layers and convolutions), so that a change adds to its output."""
        import torch

        return self.parameter == "weight" and isinstance(self.module, (torch.nn.Linear, torch.nn.Conv3d))


def model_layers(nets: Sequence[torch.nn.Module]) -> dict[str, Layer]:
    """All layers of a transformer and its VACE blocks by Wan's own names."""
    import torch

    layers = {}
    for net in nets:
        for name, module in net.named_modules():
            # What keeps a weight in 8 bits for a linear layer is no layer of its own.
            if ".parametrizations" in name:
                continue
            shapes = {key: tuple(value.shape) for key, value in module.named_parameters(recurse=False)}
            if isinstance(module, torch.nn.Linear):
                shapes["weight"] = (module.out_features, module.in_features)
            for key, shape in shapes.items():
                full = name if key == "weight" else f"{name}.{key}"
                if key != "bias" or "weight" not in shapes:
                    layers[full] = Layer(full, module, key, shape, place_of(full))
    return layers


@cache
def place_of(name: str) -> Place:
    """Where the layer of this (Wan's own) name stands, for strength maps."""
    net = "vace" if name.startswith("vace_") else "dit"
    found = _BLOCK.fullmatch(name)
    if not found:
        return Place(net, "outside")
    part = found[3].split(".")[0]
    return Place(net, part if part in ("self_attn", "cross_attn", "ffn") else "other", int(found[2]))


class Names:
    """Finds a model's layer by any of its names. ``names``: Wan's own, of the model at hand."""

    def __init__(self, names: Iterable[str]) -> None:
        own = list(names)
        self._dotted = {diffusers_name(name): name for name in own} | {name: name for name in own}
        self._flat = {alias.replace(".", "_"): name for alias, name in self._dotted.items()}

    def find(self, written: str) -> str | None:
        """Wan's own name of the layer that a file calls ``written``; None when the model has none."""
        for prefix in _FLAT_PREFIXES:
            if written.startswith(prefix):
                return self._flat.get(written.removeprefix(prefix))
        return next((self._dotted[name] for name in _stripped(written) if name in self._dotted), None)


def diffusers_name(name: str) -> str:
    """What diffusers' ``WanVACETransformer3DModel`` calls the layer of Wan's own name ``name``."""
    found = _BLOCK.fullmatch(name)
    if not found:
        return DIFFUSERS_OUTSIDE.get(name, name)
    for own, theirs in DIFFUSERS_IN_BLOCK:
        if found[3] == own or found[3].startswith(f"{own}."):
            return f"{found[1]}.{found[2]}.{theirs}{found[3].removeprefix(own)}"
    return name


def sort_unmatched(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Names that no layer answers to, by what they belong to."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(names):
        if _TEXT_ENCODER.search(name):
            kind = "of a text encoder"
        elif _IMAGE.search(name):
            kind = "of image-to-video models only"
        else:
            kind = "unknown to this model"
        kinds.setdefault(kind, []).append(name)
    return kinds


def _stripped(written: str) -> Iterator[str]:
    """The name, and the name with one known prefix after the other taken away."""
    yield written
    while prefix := next((one for one in _PREFIXES if written.startswith(one)), None):
        written = written.removeprefix(prefix)
        yield written

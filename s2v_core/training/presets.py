"""Which layers a LoRA is trained on, and how many parameters that makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError

NETS = ("dit", "vace")
_SELF = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o")
_CROSS = ("cross_attn.q", "cross_attn.k", "cross_attn.v", "cross_attn.o")
_FFN = ("ffn.0", "ffn.2")


@dataclass(frozen=True)
class Preset:
    """Layers to train by the ends of their names, and what the choice is known for."""

    targets: tuple[str, ...]
    help: str


PRESETS: Mapping[str, Preset] = {
    "article": Preset(
        tuple(f"dit.{name}" for name in (*_SELF, *_FFN)),
        "the transformer's self-attention and feed-forward layers: nearly 32 million parameters on the 1.3B at rank 32",
    ),
    "self-attention": Preset(tuple(f"dit.{name}" for name in _SELF), "the transformer's self-attention only"),
    "vace": Preset(
        tuple(f"vace.{name}" for name in (*_SELF, *_CROSS, *_FFN)),
        "the VACE blocks: DiffSynth's published recipe for Wan2.1-VACE",
    ),
    "dit": Preset(
        tuple(f"dit.{name}" for name in (*_SELF, *_CROSS, *_FFN)),
        "the transformer with cross-attention: DiffSynth's published recipe for Wan2.1 without VACE",
    ),
}
# Arguments of WanModel and VaceWanModel for the released models (Wan-Video/Wan2.1, wan/configs; ali-vilab/VACE).
_WAN: Mapping[str, Any] = {
    "has_image_input": False, "patch_size": (1, 2, 2), "in_dim": 16, "freq_dim": 256, "text_dim": 4096, "out_dim": 16,
    "eps": 1e-6,
}  # fmt: skip
WAN_SIZES: Mapping[str, Mapping[str, Any]] = {
    "1.3B": {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30, "vace_layers": tuple(range(0, 30, 2))},
    "14B": {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "vace_layers": tuple(range(0, 40, 5))},
}
_TARGET = re.compile(r"(?:(?:dit|vace)\.)?[A-Za-z_][\w]*(?:\.\w+)*|(?:(?:dit|vace)\.)?\w+(?:\.\w+)+")


def parse_targets(value: Any) -> str:
    """A preset's name, or a list of layers separated by commas, in its one true form.

    A layer is written by its name or the end of it: ``self_attn.q``, ``ffn.0``, ``blocks.3.ffn.2``; with ``dit.`` or
    ``vace.`` in front it means that net only. Raises ``SettingsError``.
    """
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else []
    if names and len(names) == 1 and names[0] in PRESETS:
        return names[0]
    if not names or not all(_TARGET.fullmatch(name) for name in names):
        raise SettingsError(
            f"The layers to train cannot be {value!r}.",
            expected=f"one of {', '.join(PRESETS)}, or layers such as self_attn.q, ffn.0, vace.ffn.2",
            got=repr(value),
        )
    return ",".join(dict.fromkeys(names))


def targets_of(preset: str) -> tuple[str, ...]:
    """The ends of names that ``preset``, a name or a list (see ``parse_targets``), stands for."""
    known = PRESETS.get(preset)
    return known.targets if known else tuple(preset.split(","))


def select_layers(nets: Mapping[str, Any], preset: str) -> dict[str, list[str]]:
    """The linear layers that a preset means, by net: "dit" and "vace", names inside the net in its order.

    ``nets``: the torch modules "dit" and "vace"; they may be on the meta device. Raises ``SettingsError`` for a target
    that no layer answers to.
    """
    import torch

    linear = {
        net: [name for name, module in nets[net].named_modules() if isinstance(module, torch.nn.Linear)] for net in NETS
    }
    found: dict[str, list[str]] = {net: [] for net in NETS}
    for target in targets_of(preset):
        chosen = False
        for net in NETS:
            own, _, rest = target.partition(".")
            end = rest if own == net else target
            if own in NETS and own != net:
                continue
            hits = [name for name in linear[net] if f".{name}".endswith(f".{end}")]
            chosen = chosen or bool(hits)
            found[net] += hits
        if not chosen:
            raise SettingsError(
                f"No layer of the model is called {target}.",
                expected=f"the name of a linear layer or its end, such as {', '.join(linear['dit'][:2])}",
                got=target,
            )
    return {net: [name for name in linear[net] if name in set(found[net])] for net in NETS}


def count_parameters(nets: Mapping[str, Any], preset: str, rank: int) -> int:
    """How many numbers a LoRA of this rank trains: rank x (inputs + outputs) for each layer."""
    total = 0
    for net, names in select_layers(nets, preset).items():
        for name in names:
            layer = nets[net].get_submodule(name)
            total += rank * (layer.in_features + layer.out_features)
    return total


def meta_nets(sizes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``WanModel`` and ``VaceWanModel`` without weights. ``sizes``: their arguments (``sizes.transformer_sizes``)."""
    from ..wan.engine import keep_off_the_network

    keep_off_the_network()
    import torch
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel

    with torch.device("meta"):
        return {"dit": WanModel(**sizes["dit"]), "vace": VaceWanModel(**sizes["vace"])}


def wan_sizes(name: str) -> dict[str, dict[str, Any]]:
    """The arguments for a released model, "1.3B" or "14B", as ``meta_nets`` takes them."""
    own = {**_WAN, **WAN_SIZES[name]}
    shared = ("has_image_input", "patch_size", "dim", "num_heads", "ffn_dim", "eps")
    vace = {"vace_layers": own.pop("vace_layers"), "vace_in_dim": 96, **{key: own[key] for key in shared}}
    return {"dit": own, "vace": vace}

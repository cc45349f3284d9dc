"""LoRA at run time: the model's weights are never changed, a strength never needs a reload.

While ``applied`` is open, each matched linear layer adds ``x A^T B^T`` to what it computes, with A scaled by the
strength. At strength 0 nothing is added at all, so the result is the base model's, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LoraError

if TYPE_CHECKING:
    import torch

_PREFIXES = ("pipe.dit.", "pipe.vace.", "diffusion_model.", "base_model.model.")
# Suffixes of the down (A) and up (B) matrices, longest first.
_DOWN = (".lora_A.default.weight", ".lora_A.weight", ".lora_down.weight")
_UP = (".lora_B.default.weight", ".lora_B.weight", ".lora_up.weight")


@dataclass(frozen=True, eq=False)
class Lora:
    """A LoRA file in memory: for each layer's name, A [rank, in] (with alpha / rank in it) and B [out, rank]."""

    path: str
    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(repr=False)

    @property
    def rank(self) -> int:
        """The largest rank among the layers."""
        return max(int(a.shape[0]) for a, _ in self.layers.values())


def load_lora(path: str | os.PathLike[str]) -> Lora:
    """Read a LoRA file.

    Understands DiffSynth's, PEFT's and ComfyUI's names (``lora_A``/``lora_B``, ``lora_down``/``lora_up``, ``alpha``).
    Raises ``LoraError`` for a file without any pair of matrices, with half a pair, or with keys of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = os.fspath(path)
    if not Path(path).is_file():
        raise LoraError(f"There is no LoRA file {path}.", remedy="Check the path or the name in the list.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise LoraError(
            f"{path} cannot be read.",
            expected="a complete safetensors file",
            got=f"{Path(path).stat().st_size:,} bytes; {error}",
            remedy="The download is probably cut short or damaged: get the file again.",
        ) from error
    return parse_lora(path, tensors)


def parse_lora(path: str, tensors: Mapping[str, torch.Tensor]) -> Lora:
    """``load_lora`` on tensors that are in memory already."""
    downs: dict[str, torch.Tensor] = {}
    ups: dict[str, torch.Tensor] = {}
    alphas: dict[str, torch.Tensor] = {}
    foreign = []
    for key, tensor in tensors.items():
        for table, suffixes in ((downs, _DOWN), (ups, _UP), (alphas, (".alpha",))):
            suffix = next((s for s in suffixes if key.endswith(s)), None)
            if suffix:
                table[_layer_name(key.removesuffix(suffix))] = tensor
                break
        else:
            foreign.append(key)
    if not downs and not ups:
        raise LoraError(
            f"{path} holds no LoRA.",
            expected="pairs of lora_A and lora_B (or lora_down and lora_up)",
            got=f"{len(tensors)} tensors, for example {next(iter(tensors), 'none')}",
            remedy="Choose a LoRA file for Wan2.1.",
        )
    halves = sorted(set(downs) ^ set(ups))
    if halves or foreign:
        odd = [f"{name}: only one of the two matrices" for name in halves] + foreign
        raise LoraError(
            f"{path} holds {len(odd)} tensors that cannot be applied.",
            expected="pairs of lora_A and lora_B (or lora_down and lora_up), and alpha",
            got="; ".join(odd[:3]) + ("; ..." if len(odd) > 3 else ""),
            remedy="Half of a LoRA would give wrong pictures: convert the file, or train it again.",
        )
    layers = {}
    for name, down in downs.items():
        scale = float(alphas[name]) / down.shape[0] if name in alphas else 1.0
        layers[name] = (down if scale == 1.0 else (down.float() * scale).to(down.dtype), ups[name])
    return Lora(path, layers)


def match(lora: Lora, nets: Sequence[torch.nn.Module]) -> dict[torch.nn.Linear, tuple[torch.Tensor, torch.Tensor]]:
    """The linear layers of ``nets`` that the LoRA's layers belong to, each with its A and B.

    Raises ``LoraError`` when no layer fits, when some do not, or when a shape differs: the sizes or the kind of the
    model are then not those that the LoRA was trained on.
    """
    import torch

    linear = {
        name: module for net in nets for name, module in net.named_modules() if isinstance(module, torch.nn.Linear)
    }
    lost = sorted(set(lora.layers) - set(linear))
    if len(lost) == len(lora.layers):
        raise LoraError(
            f"No layer of {lora.path} belongs to this model.",
            expected=f"layers such as {next(iter(linear), 'none')}",
            got=f"{len(lost)} layers such as {lost[0]}",
            remedy="Choose a LoRA that was trained on Wan2.1 (text-to-video or VACE).",
        )
    if lost:
        raise LoraError(
            f"{len(lost)} of {len(lora.layers)} layers of {lora.path} do not belong to this model.",
            expected="every layer to have its place",
            got=", ".join(lost[:3]) + (", ..." if len(lost) > 3 else ""),
            remedy="The LoRA was made for another model (image-to-video, another size): choose one for this model.",
        )
    found: dict[torch.nn.Linear, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, (a, b) in lora.layers.items():
        module = linear[name]
        if (b.shape[0], a.shape[1]) != tuple(module.weight.shape) or a.shape[0] != b.shape[1]:
            raise LoraError(
                f"{lora.path} was made for a model of another size.",
                expected=f"a change of {list(module.weight.shape)} for {name}",
                got=f"A {list(a.shape)} and B {list(b.shape)}",
                remedy="Use a 1.3B LoRA with the 1.3B model and a 14B LoRA with the 14B model.",
            )
        found[module] = (a, b)
    return found


@contextmanager
def applied(nets: Sequence[torch.nn.Module], uses: Sequence[tuple[Lora, float]]) -> Iterator[int]:
    """Apply LoRAs at their strengths while the block runs; gives the number of layers that are changed.

    All files are matched, also those at strength 0, so that a wrong file is noticed at any strength.
    """
    hooks: list[Any] = []
    changed: set[torch.nn.Module] = set()
    try:
        for lora, strength in uses:
            for module, (a, b) in match(lora, nets).items():
                if strength == 0:
                    continue
                weight = module.weight
                down = a.to(weight) * strength
                hooks.append(module.register_forward_hook(_adder(down, b.to(weight))))
                changed.add(module)
        yield len(changed)
    finally:
        for hook in hooks:
            hook.remove()


def _adder(down: torch.Tensor, up: torch.Tensor) -> Any:
    def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output + inputs[0] @ down.T @ up.T

    return add


def _layer_name(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name

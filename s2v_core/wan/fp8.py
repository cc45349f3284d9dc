"""Weights in 8-bit floating point that stay in 8 bits: each layer is turned back into numbers while it is used.

A 14B transformer takes 17 GB this way instead of 35. The arithmetic is that of full-precision weights: what is
multiplied is ``weight * scale`` in the engine's own type, as if the file had been converted once and for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils import parametrize

if TYPE_CHECKING:
    import torch


def dequantise(weight: torch.Tensor, scale: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """``weight * scale``, multiplied in float32, as ``dtype``. ``scale``: one number, or one a row; None is 1."""
    import torch

    if scale is None:
        return weight.to(dtype)
    return weight.to(torch.float32, copy=True).mul_(scale.to(weight.device)).to(dtype)


def row_scale(scale: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A file's scale of a weight of ``shape``, as float32 that can be multiplied with it.

    Raises ``ValueError`` for anything but one number, or one a row.
    """
    import torch

    scale = scale.to(torch.float32)
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.numel() == shape[0] and scale.shape[0] == shape[0]:
        return scale.reshape(shape[0], *[1] * (len(shape) - 1))
    raise ValueError(f"a scale of {list(scale.shape)} for a weight of {list(shape)}")


def keep_quantised(layer: nn.Linear, scale: torch.Tensor | None, dtype: torch.dtype) -> None:
    """Let a linear layer keep its 8-bit weight; whoever reads ``layer.weight`` gets ``dequantise`` of it."""
    # unsafe: the type of what is read differs from the type of what is kept, which is the point.
    parametrize.register_parametrization(layer, "weight", _Dequantise(scale, dtype), unsafe=True)


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix in 8 bits (float8_e4m3fn), with one scale a row: the row's largest number is the type's largest."""
    import torch

    most = torch.finfo(torch.float8_e4m3fn).max
    wide = weight.float()
    scale = wide.abs().amax(dim=1, keepdim=True) / most
    scale[scale == 0] = 1.0
    return (wide / scale).to(torch.float8_e4m3fn), scale


def store_in_8_bits(
    net: nn.Module, dtype: torch.dtype, chosen: Callable[[str, tuple[int, ...]], bool]
) -> list[nn.Linear]:
    """Let the linear layers of a net whose weight is ``chosen(name, shape)`` keep it in 8 bits; gives those layers.

    Layers that came in 8 bits stay as they are.
    """
    found = []
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.Linear) and not is_quantised(layer):
            if not chosen(f"{name}.weight", tuple(layer.weight.shape)):
                continue
            weight, scale = quantise(layer.weight.data)
            layer.weight = nn.Parameter(weight, requires_grad=False)
            keep_quantised(layer, scale, dtype)
            found.append(layer)
    return found


def is_quantised(layer: nn.Module) -> bool:
    """Whether a layer keeps its weight in 8 bits."""
    return parametrize.is_parametrized(layer, "weight")


class _Dequantise(nn.Module):
    """What torch's ``parametrize`` puts between the kept weight and its readers; a module, so that it moves along."""

    scale: torch.Tensor | None

    def __init__(self, scale: torch.Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.dtype = dtype

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return dequantise(weight, self.scale, self.dtype)

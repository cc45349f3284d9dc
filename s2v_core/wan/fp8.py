"""Weights in 8-bit floating point that stay in 8 bits: each layer is turned back into numbers while it is used.

A 14B transformer takes 17 GB this way instead of 35. The arithmetic is that of full-precision weights: what is
multiplied is ``weight * scale`` in the engine's own type, as if the file had been converted once and for all.
"""

from __future__ import annotations

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

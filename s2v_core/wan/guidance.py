"""Classifier-free guidance and its refinements, on the velocities of the two prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_TINY = 1e-8  # keeps a division by an empty prediction finite


def guide(
    positive: torch.Tensor, negative: torch.Tensor, scale: float, *, cfg_zero: bool = False, rescale: float = 0.0
) -> torch.Tensor:
    """The guided velocity, of the inputs' shape [1, ...] and type.

    negative + scale * (positive - negative) (Ho and Salimans 2022, arXiv 2207.12598). With ``cfg_zero`` the negative
    velocity is first brought to the length that fits the positive one best (``fit_negative``). ``rescale`` from 0 to 1
    takes back the spread that guidance adds (``rescale_spread``).
    """
    if cfg_zero:
        negative = negative * fit_negative(positive, negative)
    guided = negative + scale * (positive - negative)
    return rescale_spread(guided, positive, rescale) if rescale else guided


def fit_negative(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """CFG-Zero*'s optimised scale s = <positive, negative> / |negative|^2: a tensor of one number, of their type.

    s * negative is the point nearest to ``positive`` on the line of ``negative`` (Fan et al. 2025, arXiv 2503.18886).
    Computed in float32.
    """
    wanted, given = positive.float(), negative.float()
    return ((wanted * given).sum() / (given.square().sum() + _TINY)).to(positive.dtype)


def rescale_spread(guided: torch.Tensor, positive: torch.Tensor, amount: float) -> torch.Tensor:
    """``guided`` with its standard deviation brought towards that of ``positive``, by ``amount`` from 0 to 1.

    Lin et al. 2023, arXiv 2305.08891, eq. 15 and 16. The deviations are taken over all but the first dimension.
    """
    axes = tuple(range(1, guided.ndim))
    before = guided.float().std(dim=axes, keepdim=True)
    wanted = positive.float().std(dim=axes, keepdim=True)
    factor = amount * (wanted / (before + _TINY)) + (1 - amount)
    return guided * factor.to(guided.dtype)

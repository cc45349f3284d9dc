"""Small pictures of unfinished latents, cheap enough for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .vae_stream import encode_parts

if TYPE_CHECKING:
    import torch

_SIDE = 16  # test colours a side


def fit_colours(vae: Any, device: str, dtype: torch.dtype) -> torch.Tensor:
    """The linear map from latent channels to RGB that fits this VAE best: float32 [17, 3] (the last row is the offset).

    Found by least squares on a picture of plain colours that the VAE itself encodes, so that any VAE has its own map.
    """
    import torch

    levels = torch.linspace(-1, 1, _SIDE)
    red, green = torch.meshgrid(levels, levels, indexing="ij")
    blue = torch.roll(red + green, (5, 3), (0, 1)).remainder(2) - 1
    colours = torch.stack([red, green, blue])  # [3, side, side]
    picture = colours.repeat_interleave(8, 1).repeat_interleave(8, 2)[None, :, None]
    latents = encode_parts(vae, picture.to(device=device, dtype=dtype), True, lambda work: work())
    latents = latents[0, :, 0].float().cpu()
    known = torch.cat([latents.flatten(1).T, torch.ones(_SIDE * _SIDE, 1)], dim=1)
    return torch.linalg.lstsq(known, colours.flatten(1).T, driver="gelsd").solution


def preview(latents: torch.Tensor, colours: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The middle frame of latents [1, 16, T, h, w] as uint8 [h, w, 3]."""
    import torch

    middle = latents[0, :, latents.shape[2] // 2].float().cpu()
    rgb = torch.einsum("chw,cr->hwr", middle, colours[:-1]) + colours[-1]
    scaled: np.ndarray[Any, np.dtype[np.uint8]] = ((rgb + 1) * 127.5).clip(0, 255).to(torch.uint8).numpy()
    return scaled

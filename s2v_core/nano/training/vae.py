"""Training of the nano VAE, and the folding of its latents' statistics into its weights."""

from __future__ import annotations

from typing import Any

import torch

from .config import NanoTraining, Vae
from .loop import Figures, generator
from .material import Array

_PLAIN = (torch.zeros(16), torch.ones(16))  # no scaling of latents


class VaeTraining:
    """The loss of a step, on random crops of the material, and the check on clips of held-out scenes."""

    def __init__(
        self, net: Any, config: NanoTraining, clips: list[Array], controls: list[Array], checked: Array
    ) -> None:
        self.net, self.config = net, config
        self.sources = (clips, controls)
        self.checked = checked

    def loss(self, step: int) -> tuple[torch.Tensor, Figures]:
        """Reconstruction and divergence of one batch of crops."""
        part, chance = self.config.vae, generator(self.config.seed, "vae", step)
        x = as_pixels(self._batch(part, chance))
        with autocast(self.config.precision):
            mean, spread = moments(self.net, x)
            spread = spread.float().clamp(-20, 10)
            z = mean.float()
            if part.decoder_only:
                # oneDNN's convolution frees memory twice when it needs gradients of weights alone (torch 2.14).
                z.requires_grad_()
            else:
                z = z + torch.exp(0.5 * spread) * torch.randn(mean.shape, generator=chance)
            y = self.net.decode(z, _PLAIN).float()
        error = y - x
        square = error.square().mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        kl = 0.5 * (mean.float().square() + spread.exp() - 1 - spread).mean()
        loss = error.abs().mean() + part.gradient * edges + part.square * square + part.kl * kl
        return loss, {"psnr": float(psnr(error.detach())), "kl": float(kl.detach())}

    def check(self) -> Figures:
        """Mean PSNR of the reconstructions, without noise in the latents."""
        found = []
        for clip in self.checked:
            x = as_pixels(clip[None])
            with autocast(self.config.precision):
                mean, _ = moments(self.net, x)
                y = self.net.decode(mean.float(), _PLAIN).float().clamp(-1, 1)
            found.append(float(psnr(y - x)))
        return {"psnr": sum(found) / len(found)}

    def _batch(self, part: Vae, chance: torch.Generator) -> Array:
        import numpy as np

        def below(limit: int) -> int:
            return int(torch.randint(limit, (1,), generator=chance))

        shares = torch.tensor([crop.share for crop in part.crops])
        crop = part.crops[int(torch.multinomial(shares, 1, generator=chance))]
        crops = []
        for _ in range(crop.batch):
            source = self.sources[int(torch.rand(1, generator=chance) < part.controls)]
            videos = source[below(len(source))]
            video = videos[below(len(videos))]
            frames, height, width = video.shape[:3]
            start = below(frames - crop.frames + 1)
            # At even places: the net halves the picture three times, and so learns edges at more than one phase.
            top, left = (2 * below((side - crop.side) // 2 + 1) for side in (height, width))
            crops.append(video[start : start + crop.frames, top : top + crop.side, left : left + crop.side])
        return np.stack(crops)


def moments(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log variance of the latents of ``x`` [B, 3, T, H, W] (-1 to 1): what ``VideoVAE_.encode`` computes.

    That method gives the mean alone. The frames go in as there: the first by itself, then four at a time.
    """
    net.clear_cache()
    parts = []
    for index in range(1 + (x.shape[2] - 1) // 4):
        net._enc_conv_idx = [0]
        frames = x[:, :, :1] if index == 0 else x[:, :, 4 * index - 3 : 4 * index + 1]
        out, net._enc_feat_map, net._enc_conv_idx = net.encoder(
            frames, feat_cache=net._enc_feat_map, feat_idx=net._enc_conv_idx
        )
        parts.append(out)
    mean, spread = net.conv1(torch.cat(parts, 2)).chunk(2, dim=1)
    net.clear_cache()
    return mean, spread


def train_all_or_decoder(net: Any, decoder_only: bool) -> None:
    """Say of ``VideoVAE_``'s weights which are trained."""
    net.requires_grad_(not decoder_only)
    for part in (net.conv2, net.decoder):
        part.requires_grad_(True)


def fold(vae: Any, pixels: list[torch.Tensor]) -> None:
    """Change the VAE's outer convolutions so that Wan's fixed means and deviations fit its latents; nothing else.

    ``vae``: ``WanVideoVAE``. ``pixels``: clips [1, 3, T, H, W]. Afterwards each channel of the scaled latents has
    mean 0 and deviation 1 over these clips, and decoding gives the same pictures as before.
    """
    net = vae.model
    with torch.no_grad():
        latents = torch.cat([moments(net, clip)[0].float() for clip in pixels])
        mean, spread = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
        size = vae.std / spread
        channels = len(size)
        net.conv1.weight[:channels] *= size.view(-1, 1, 1, 1, 1)
        net.conv1.bias[:channels] = (net.conv1.bias[:channels] - mean) * size + vae.mean
        inward = net.conv2.weight[:, :, 0, 0, 0].clone()
        net.conv2.bias += inward @ (mean - vae.mean / size)
        net.conv2.weight /= size.view(1, -1, 1, 1, 1)


def is_vae_matrix(name: str, value: torch.Tensor) -> bool:
    """Whether Muon trains this weight: kernels, but not the norms' gammas, which have axes for broadcasting."""
    return value.ndim >= 4 and value.numel() > 2 * max(value.shape) and "gamma" not in name


def as_pixels(frames: Array) -> torch.Tensor:
    """uint8 [B, T, H, W, 3] as float32 [B, 3, T, H, W] from -1 to 1."""
    import numpy as np

    return torch.from_numpy(np.array(frames)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def psnr(error: torch.Tensor) -> torch.Tensor:
    """Decibels of an error [B, ...] of values from -1 to 1: the mean over the batch."""
    return (-10 * torch.log10(error.square().flatten(1).mean(1).clamp_min(1e-10) / 4)).mean()


def autocast(precision: str) -> Any:
    """The arithmetic of ``precision``."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

"""The VAE's fast form beside DiffSynth's: equal but for rounding, and gone when the block ends."""

from __future__ import annotations

import pytest
import torch
from diffsynth.models.wan_video_vae import CausalConv3d, RMS_norm

from s2v_core.wan.vae import fast_vae


def pair(vae, call, fast=True):
    with torch.no_grad():
        plain = call()
        with fast_vae(vae, fast):
            other = call()
        assert torch.equal(call(), plain)
    return plain, other


@pytest.mark.parametrize("frames", [1, 5, 17])
@pytest.mark.parametrize("tiled", [False, True])
def test_latents_and_pictures_are_diffsynth_s_but_for_rounding(engine, frames, tiled):
    (vae,) = engine.use("vae")
    made = torch.Generator().manual_seed(frames)
    video = torch.rand(1, 3, frames, 48, 64, generator=made) * 2 - 1
    latents = torch.randn(1, 16, (frames + 3) // 4, 6, 8, generator=made)
    tiles = {"tiled": tiled, "tile_size": (4, 4), "tile_stride": (3, 3)}
    for call in (
        lambda: vae.encode(video, device="cpu", **tiles),
        lambda: vae.decode(latents, device="cpu", **tiles),
    ):
        plain, other = pair(vae, call)
        assert 0 < (plain - other).abs().max() < 2e-5 * plain.abs().max()


def test_it_can_be_left_out_and_leaves_other_types_alone(engine):
    (vae,) = engine.use("vae")
    latents = torch.randn(1, 16, 2, 4, 4)
    plain, other = pair(vae, lambda: vae.decode(latents, device="cpu"), fast=False)
    assert torch.equal(plain, other)
    vae.model.bfloat16()
    try:
        plain, other = pair(vae, lambda: vae.decode(latents.bfloat16(), device="cpu"))
    finally:
        vae.model.float()
    assert torch.equal(plain, other)


def test_an_error_leaves_the_classes_own_forms(engine):
    (vae,) = engine.use("vae")
    with pytest.raises(ValueError, match="stop"), fast_vae(vae):
        changed = [module for module in vae.model.modules() if "forward" in vars(module)]
        assert {type(module) for module in changed} == {CausalConv3d, RMS_norm}
        raise ValueError("stop")
    assert not any("forward" in vars(module) for module in vae.model.modules())

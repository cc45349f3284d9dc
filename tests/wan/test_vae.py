"""The VAE's fast form beside DiffSynth's: equal but for rounding, and gone when the block ends."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from diffsynth.models.wan_video_vae import CausalConv3d, RMS_norm

from s2v_core.wan.vae import fast_blocks, fast_vae
from s2v_core.wan.vae_stream import decode_parts


def pair(vae, call, exact=False):
    with torch.no_grad():
        plain = call()
        with fast_vae(vae, exact):
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
        plain, other = pair(vae, call, exact=True)
        assert torch.equal(plain, other)
        plain, other = pair(vae, call)
        assert 0 < (plain - other).abs().max() < 2e-5 * plain.abs().max()


def test_the_slow_kernel_is_what_the_exact_form_stands_for(engine, monkeypatch):
    """The tiny net's pictures are small enough for it: else the test above would compare a kernel with itself."""
    (vae,) = engine.use("vae")
    called = []
    conv3d = torch.nn.functional.conv3d
    monkeypatch.setattr(torch.nn.functional, "conv3d", lambda *a: called.append(a[0].shape) or conv3d(*a))
    with torch.no_grad(), fast_vae(vae, exact=True):
        vae.decode(torch.randn(1, 16, 2, 6, 8), device="cpu")
    assert not called


def test_other_types_are_left_alone(engine):
    vae = deepcopy(engine.use("vae")[0])
    latents = torch.randn(1, 16, 2, 4, 4)
    vae.model.bfloat16()
    plain, other = pair(vae, lambda: vae.decode(latents.bfloat16(), device="cpu"))
    assert torch.equal(plain, other)


def test_an_error_leaves_the_classes_own_forms(engine):
    (vae,) = engine.use("vae")
    with pytest.raises(ValueError, match="stop"), fast_vae(vae):
        changed = [module for module in vae.model.modules() if "forward" in vars(module)]
        assert {type(module) for module in changed} == {CausalConv3d, RMS_norm}
        raise ValueError("stop")
    assert not any("forward" in vars(module) for module in vae.model.modules())


def test_a_block_can_be_entered_again_and_asks_each_time_what_the_net_is(engine):
    vae = deepcopy(engine.use("vae")[0])
    blocks = fast_blocks(vae)

    def changed():
        return sum("forward" in vars(module) for module in vae.model.modules())

    with blocks():
        first = changed()
    with blocks():
        assert changed() == first > 0
    vae.model.bfloat16()
    with blocks():
        assert changed() == 0
    vae.model.float()
    with pytest.raises(ValueError, match="stop"), blocks():
        raise ValueError("stop")
    assert changed() == 0


def test_a_layer_that_was_replaced_takes_its_fast_form_in_the_next_video(engine):
    vae = deepcopy(engine.use("vae")[0])
    latents = torch.randn(1, 16, 2, 6, 8)

    def decoded():
        return torch.cat(list(decode_parts(vae, latents, False, lambda work: work())), dim=2)

    before = decoded()
    name, old = next((name, one) for name, one in vae.model.decoder.named_modules() if isinstance(one, CausalConv3d))
    new = deepcopy(old)
    new.weight.data.mul_(2)
    vae.model.decoder.set_submodule(name, new)
    called = []
    with fast_vae(vae):
        called += [module for module in vae.model.modules() if "forward" in vars(module)]
    assert new in called
    assert old not in called
    assert not torch.equal(decoded(), before)


def test_the_layers_are_looked_for_once_a_video(engine, monkeypatch):
    vae = deepcopy(engine.use("vae")[0])
    walks = []
    modules = vae.model.decoder.modules
    monkeypatch.setattr(vae.model.decoder, "modules", lambda: walks.append(1) or modules())
    monkeypatch.setattr(vae.model, "modules", lambda: pytest.fail("only the decoder's layers are needed"))
    assert sum(1 for _ in decode_parts(vae, torch.randn(1, 16, 3, 6, 8), False, lambda work: work())) == 3
    assert len(walks) == 1

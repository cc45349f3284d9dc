from __future__ import annotations

import pytest
import torch

from s2v_core.wan.engine import keep_off_the_network

keep_off_the_network()

import diffsynth.models.wan_video_dit as dit
import diffsynth.models.wan_video_vae as vae

from s2v_core.nano import fast
from s2v_core.nano.nets import NanoSizes, build_nets


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(2, 16, 3, 5, 6), (4, 16, 7, 6)])
def test_the_vae_norm_is_equal(shape: tuple[int, ...]) -> None:
    norm = vae.RMS_norm(16, images=len(shape) == 4)
    torch.nn.init.normal_(norm.gamma)
    x = random(*shape)
    x[0, :, 0] = 0  # no length at all
    torch.testing.assert_close(fast.vae_norm(norm, x), norm(x))


def test_rotary_embedding_is_equal() -> None:
    tables = dit.precompute_freqs_cis_3d(32)
    freqs = torch.cat([table[40:52] for table in tables], dim=1)[:, None]
    x = random(2, 12, 160)
    torch.testing.assert_close(fast.rope_apply(x, freqs, 5), dit.rope_apply(x, freqs, 5))


def test_attention_is_equal() -> None:
    q, k, v = random(2, 12, 160), random(2, 30, 160, seed=1), random(2, 30, 160, seed=2)
    exact = dit.flash_attention(q, k, v, 5)
    torch.testing.assert_close(fast.attention(q, k, v, 5), exact)
    # In bfloat16 it is nearer to the truth than what it replaces.
    half = [x.bfloat16() for x in (q, k, v)]
    mine, theirs = fast.attention(*half, 5), dit.flash_attention(*half, 5)
    truth = dit.flash_attention(*(x.float() for x in half), 5)
    assert mine.dtype == torch.bfloat16
    assert (mine - truth).norm() <= 1.05 * (theirs - truth).norm() < 0.02 * truth.norm()


def test_it_stays_in_float32_under_autocast() -> None:
    q, k, v = (random(2, 12, 160, seed=seed) for seed in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = fast.attention(q, k, v, 5)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, fast.attention(q, k, v, 5))


def test_whole_nets_give_equal_outputs_and_gradients() -> None:
    nets = build_nets(NanoSizes(layers=2, vace_layers=(0, 1)), seed=1)
    torch.nn.init.normal_(nets.dit.head.head.weight, std=0.1)
    video, tokens, modulation = random(1, 3, 5, 32, 32), random(1, 12, 160), random(1, 6, 160, seed=4) * 0.3
    context = random(1, 7, 160)
    freqs = torch.cat([table[3:15] for table in nets.dit.freqs], dim=1)[:, None]

    def run() -> list[torch.Tensor]:
        results = []
        net = nets.vae.model
        net.zero_grad()
        nets.dit.zero_grad()
        encoded = net.encode(video, nets.vae.scale)
        painted = net.decode(encoded, nets.vae.scale)
        hidden = tokens
        for block in nets.dit.blocks:
            hidden = block(hidden, context, modulation, freqs)
        flow = nets.dit.head(hidden, modulation[:, 0])
        (painted.square().mean() + flow.square().mean()).backward()
        results += [encoded.detach(), painted.detach(), flow.detach()]
        for part in (net, nets.dit):
            results += [value.grad.clone() for value in part.parameters() if value.grad is not None]
        return results

    slow = run()
    with fast.fast_on_cpu():
        assert vae.RMS_norm.forward is fast.vae_norm
        quick = run()
    assert len(slow) == len(quick) > 100
    for one, other in zip(slow, quick, strict=True):
        # Gradients of the widest layers sum thousands of terms: the error is relative to the tensor, not to a value.
        assert (one - other).norm() <= 1e-4 * one.norm() + 1e-8


def test_everything_is_as_before_even_after_an_error() -> None:
    before = (vae.RMS_norm.forward, dit.rope_apply, dit.flash_attention)
    with pytest.raises(KeyError), fast.fast_on_cpu():
        raise KeyError
    assert (vae.RMS_norm.forward, dit.rope_apply, dit.flash_attention) == before

"""The block's fast form beside DiffSynth's: equal but for rounding, whatever hangs on its layers."""

from __future__ import annotations

import pytest
import torch
from diffsynth.models.wan_video_dit import RMSNorm, WanModel, precompute_freqs_cis_3d, rope_apply
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.wan.block import Text, attend, exact, fast, feed, rms, rotate, without_padding

HEADS, SIZE, TOKENS = 2, 12, 30


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return WanModel(
        dim=HEADS * SIZE, in_dim=16, ffn_dim=48, out_dim=16, text_dim=16, freq_dim=16, eps=1e-6, patch_size=(1, 2, 2),
        num_heads=HEADS, num_layers=1, has_image_input=False,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def given_block(net):
    made = torch.Generator().manual_seed(1)
    dim = HEADS * SIZE
    x, keys, values = (torch.randn(1, count, dim, generator=made) for count in (TOKENS, 20, 20))
    modulation = torch.randn(1, 6, dim, generator=made)
    freqs = precompute_freqs_cis_3d(SIZE)[0][:TOKENS].view(TOKENS, 1, -1)
    freqs = torch.cat([freqs, freqs, freqs], -1)[..., : SIZE // 2]
    return net.blocks[0], x, Text(keys, values), modulation, freqs


def run(form, block, x, text, modulation, freqs):
    with torch.no_grad():
        return form(block, x, text, modulation, freqs.to(torch.complex64) if form is fast else freqs)


@pytest.mark.parametrize(("kind", "most"), [(torch.float32, 3e-6), (torch.bfloat16, 3e-2)])
def test_fast_is_exact_but_for_rounding(given_block, kind, most):
    block, x, text, modulation, freqs = given_block
    block = block.to(kind)
    text = Text(text.keys.to(kind), text.values.to(kind))
    try:
        one, other = (run(form, block, x.to(kind), text, modulation.to(kind), freqs) for form in (exact, fast))
    finally:
        block.float()
    assert one.dtype == other.dtype == kind
    assert (one - other).abs().max() <= most * one.abs().max()


def test_a_lora_s_hooks_act_on_the_fast_form_too(given_block):
    block = given_block[0]
    places = [block.self_attn.v, block.cross_attn.o, block.ffn[2], block.self_attn.norm_k, block.cross_attn.norm_q]
    plain = run(fast, *given_block)
    for place in places:
        handle = place.register_forward_hook(lambda module, inputs, output: output * 1.5)
        try:
            one, other = (run(form, *given_block) for form in (exact, fast))
        finally:
            handle.remove()
        assert (other - plain).abs().max() > 1e-3
        assert (one - other).abs().max() <= 3e-6 * one.abs().max()


@given(st.integers(0, 16), st.integers(0, 40))
def test_padding_weighs_as_much_as_one_token(used, padding):
    made = torch.Generator().manual_seed(used * 100 + padding)
    states = torch.zeros(1, used + padding, 8)
    states[:, :used] = torch.randn(1, used, 8, generator=made)
    if not used + padding:
        return
    short, bias = without_padding(states)
    assert (bias is None) == (padding < 2)
    assert short.shape[1] == (used + padding if padding < 2 else used + 1)
    assert torch.equal(short[:, :used], states[:, :used])
    project = torch.nn.Linear(8, 8)
    q = torch.randn(1, 5, 8, generator=made)
    with torch.no_grad():
        whole = attend(q, project(states), project(states), 2)
        one = attend(q, project(short), project(short), 2, bias)
    assert torch.allclose(whole, one, atol=1e-5)


def test_rotation_is_diffsynth_s():
    freqs = torch.polar(torch.ones(7, 1, 6, dtype=torch.float64), torch.randn(7, 1, 6, dtype=torch.float64) * 9)
    x = torch.randn(2, 7, 24)
    assert torch.allclose(rotate(x, freqs.to(torch.complex64)), rope_apply(x, freqs, 2), atol=1e-5)


def test_a_norm_that_a_lora_has_widened_is_called_itself():
    norm = RMSNorm(8, eps=1e-6)
    x = torch.randn(1, 3, 8, dtype=torch.bfloat16)
    norm.weight.data = norm.weight.data.float() * 1.5
    assert torch.equal(rms(norm, x), norm(x))


def test_the_ffn_is_its_own_bit_for_bit_and_can_be_trained(given_block):
    block, x, *_ = given_block
    with torch.no_grad():
        assert torch.equal(feed(block.ffn, x), block.ffn(x))
    feed(block.ffn, x).sum().backward()
    own = block.ffn[0].weight.grad.clone()
    block.zero_grad()
    block.ffn(x).sum().backward()
    assert torch.equal(own, block.ffn[0].weight.grad)
    block.zero_grad()

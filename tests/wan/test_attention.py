"""Kernels have names, run where they can, and are part of what identifies an engine."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from s2v_core.errors import SettingsError
from s2v_core.wan import attention
from s2v_core.wan.attention import SDPA, Kernel, pick_attention
from s2v_core.wan.block import Form, attend
from s2v_core.wan.engine import engine_identity, load_engine


def tensors(kind=torch.float32):
    made = torch.Generator().manual_seed(3)
    return [torch.randn(1, count, 24, generator=made).to(kind) for count in (9, 7, 7)]


def packed(q, k, v, **options):
    """What the packages compute, in their own layout: [batch, tokens, heads, size]."""
    assert q.shape[2:] == (2, 12)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for packages that only run on a GPU; and a GPU of the given generation."""

    def install(*names, generation=8):
        for name in names:
            module = types.ModuleType(name)
            module.__spec__ = types.SimpleNamespace(name=name)
            module.flash_attn_func = lambda q, k, v: (packed(q, k, v), None)
            module.sageattn = lambda q, k, v, tensor_layout: packed(q, k, v) if tensor_layout == "NHD" else None
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (generation, 0))

    return install


def test_torch_s_kernel_is_diffsynth_s_where_nothing_else_is_installed():
    from diffsynth.models.wan_video_dit import flash_attention

    if attention.diffsynth_package():
        pytest.skip(f"DiffSynth takes {attention.diffsynth_package()} here")
    q, k, v = tensors()
    assert torch.equal(SDPA(q, k, v, 2), flash_attention(q, k, v, 2))
    assert SDPA.identity() == {}


@pytest.mark.parametrize("kernel", [Kernel("flash", "flash_attn"), Kernel("sage", "sageattention")])
def test_the_others_get_their_own_layout(packages, kernel):
    packages(kernel.package)
    q, k, v = tensors()
    assert torch.allclose(kernel(q, k, v, 2), SDPA(q, k, v, 2), atol=1e-6)
    bias = torch.full((1, 1, 1, 7), -2.0)
    bias[..., 0] = 3
    assert torch.equal(attend(q, k, v, 2, bias, kernel), SDPA(q, k, v, 2, bias))
    assert not torch.allclose(SDPA(q, k, v, 2, bias), SDPA(q, k, v, 2), atol=1e-2)


@pytest.mark.parametrize(
    ("installed", "generation", "asked", "found"),
    [
        ((), 8, "auto", SDPA),
        (("flash_attn",), 8, "auto", Kernel("flash", "flash_attn")),
        (("flash_attn", "flash_attn_interface"), 8, "auto", Kernel("flash", "flash_attn")),
        (("flash_attn", "flash_attn_interface"), 9, "auto", Kernel("flash", "flash_attn_interface")),
        (("flash_attn_interface",), 12, "auto", SDPA),
        (("sageattention",), 8, "auto", SDPA),  # it rounds: only who asks for it gets it
        (("sageattention",), 8, "sage", Kernel("sage", "sageattention")),
        (("flash_attn",), 8, "sdpa", SDPA),
    ],
)
def test_what_is_picked_on_a_gpu(packages, installed, generation, asked, found):
    packages(*installed, generation=generation)
    assert pick_attention(asked, "cuda", torch.bfloat16) == found
    if asked == "auto":
        assert pick_attention(asked, "cuda", torch.float32) == SDPA
        assert pick_attention(asked, "cpu", torch.bfloat16) == SDPA


@pytest.mark.parametrize(
    ("asked", "device", "said"),
    [
        ("flash", "cpu", "bfloat16 on cpu"),
        ("sage", "cpu", "bfloat16 on cpu"),
        ("flash", "cuda", "No module named 'flash_attn'"),
        ("sage", "cuda", "No module named 'sageattention'"),
        ("xformers", "cpu", "There is no attention 'xformers'"),
    ],
)
def test_what_cannot_run_is_an_error_and_not_another_kernel(packages, asked, device, said):
    packages()
    with pytest.raises(SettingsError, match=said):
        pick_attention(asked, device, torch.bfloat16)


def test_the_engine_says_which_kernel_it_uses(packages, tiny, engine):
    assert engine.form.attention == SDPA
    assert engine_identity(tiny, "cpu", torch.float32) == engine.identity()
    packages("flash_attn")
    named = engine_identity(tiny, "cpu", torch.float32, form=Form(Kernel("flash", "flash_attn")))
    assert named["attention"].startswith("flash_attn ")
    # DiffSynth takes what is installed, and only its own precision is computed by it.
    assert named["attention of DiffSynth"].startswith("flash_attn ")
    with pytest.raises(SettingsError, match="float32 on cpu"):
        load_engine(tiny, device="cpu", dtype="float32", attention="flash")

"""LoRAs on a tiny Wan-VACE: what they add, in every key style."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.lora import applied
from s2v_core.wan.lora_file import load_lora, parse_lora
from s2v_core.wan.lora_names import model_layers
from s2v_core.wan.sampler import sample
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.vace import condition
from tests.wan.lora_files import STYLES, WHOLE_STYLES, dense, everything, low_rank, whole, write
from tests.wan.lora_runs import GENERATOR, identities, lora_of, nets, run, use


def input_for(layer):
    inside = layer.shape[1:] if layer.multiplies else layer.shape
    shape = (1, inside[0], 4, 4, 4) if len(layer.shape) == 5 else (7, *inside)
    return torch.randn(shape, generator=GENERATOR)


@pytest.mark.parametrize("strength", [-1.0, 0.25, 1.0, 3.0])
def test_every_layer_computes_with_w_plus_s_dw(engine, tiny, strength):
    """Each layer of both nets, low-rank and whole, against the dense sum in float64: below 1e-6."""
    changes = everything(tiny)
    layers = model_layers(nets(engine))
    assert set(changes) == set(layers)
    worst = {}
    with torch.no_grad(), applied(nets(engine), [(lora_of(changes), use(strength))]) as active:
        assert active.changed == len(layers)
        for name, layer in layers.items():
            change = dense(changes[name], layer.shape)
            if layer.parameter != "weight":
                own = torch.tensor(0.0).double() + engine_weight(engine, name)
                wanted, got = own + strength * change, getattr(layer.module, layer.parameter)
            else:
                x = input_for(layer)
                got = layer.module(x)
                exact = plain_copy(layer.module).double()
                exact.weight.copy_(engine_weight(engine, f"{name}.weight") + strength * change)
                if "diff_b" in changes[name]:
                    own = engine_weight(engine, f"{name}.bias")
                    exact.bias.copy_(own + strength * changes[name]["diff_b"].double())
                wanted = exact(x.double())
            worst[name] = float((got.double() - wanted).abs().max() / wanted.abs().max())
    assert max(worst.values()) < 1e-6, max(worst.items(), key=lambda entry: entry[1])


def engine_weight(engine, key):
    return load_file(engine.files.transformer)[key].double()


def plain_copy(module):
    """The module without the hooks that a LoRA put on it."""
    made = copy.deepcopy(module)
    made._forward_hooks.clear()
    made._forward_pre_hooks.clear()
    return made


def test_the_whole_net_computes_with_w_plus_s_dw(tiny, inputs):
    """Both nets in float64, with LoRAs of all kinds, against nets with merged weights."""
    both = [net.double() for net in load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)]
    merged = copy.deepcopy(both)
    first, second = everything(tiny, 0), low_rank(tiny, rank=2, seed=9)
    for changes, strength in ((first, 0.7), (second, -0.4)):
        for net in merged:
            weights = dict(net.named_parameters())
            for name, roles in changes.items():
                key = name if name in weights else f"{name}.weight"
                if key in weights:
                    weights[key].data += strength * dense(roles, weights[key].shape)
                if f"{name}.bias" in weights and "diff_b" in roles:
                    weights[f"{name}.bias"].data += strength * roles["diff_b"].double()
    base, wanted = run(both, inputs), run(merged, inputs)
    with applied(both, [(lora_of(first), use(0.7)), (lora_of(second), use(-0.4))]):
        got = run(both, inputs)
    assert (got - wanted).norm() / (wanted - base).norm() < 1e-6


@pytest.mark.parametrize("style", STYLES)
def test_all_key_styles_give_the_same_picture(
    engine, tiny, tmp_path, prompt, settings, control, reference, style, pictures
):
    path = write(tmp_path / f"{style}.safetensors", STYLES[style](low_rank(tiny)))
    assert torch.equal(pictures(LoraUse(path, 0.7)), pictures(None, low_rank))


@pytest.mark.parametrize("style", WHOLE_STYLES)
def test_all_styles_of_whole_changes_give_the_same_picture(engine, tiny, tmp_path, style, pictures):
    path = write(tmp_path / f"{style}.safetensors", WHOLE_STYLES[style](whole(tiny)))
    assert torch.equal(pictures(LoraUse(path, 0.7)), pictures(None, whole))


@pytest.fixture(scope="module")
def pictures(engine, tiny, prompt, settings, control, reference, tmp_path_factory):
    """Latents of a rendering with a LoRA; or with the changes that ``make`` gives, in ComfyUI's style, made once."""
    conditioning = condition(engine, prompt, settings, control=control, reference=reference)
    settings = replace(settings, steps=2, precision="float32")
    known = {}

    def draw(*uses):
        return sample(engine, conditioning, replace(settings, loras=uses))

    base = draw()

    def render(one, make=None):
        if make is None:
            made = draw(one)
            assert not torch.allclose(made, base, atol=1e-2)
            return made
        if make not in known:
            styles = STYLES if make is low_rank else WHOLE_STYLES
            path = write(tmp_path_factory.mktemp("same") / "comfy.safetensors", styles["ComfyUI"](make(tiny)))
            known[make] = render(LoraUse(path, 0.7))
        return known[make]

    return render


def test_diffusers_own_conversions_are_understood(tiny, engine, inputs):
    """What diffusers makes of ComfyUI's and musubi's files, with biases, is the same LoRA."""
    conversion = pytest.importorskip("diffusers.loaders.lora_conversion_utils")
    changes = low_rank(tiny, only=r"blocks\..*(_attn\.[qkvo]|ffn\.[02])|head\.head|time_projection\.1")
    for name in changes:
        if name.startswith("blocks"):
            changes[name]["diff_b"] = torch.full((changes[name]["B"].shape[0],), 0.1)
    plain = STYLES["ComfyUI"](changes)
    both = nets(engine)
    with applied(both, [(parse_lora("plain", plain), use())]):
        wanted = run(both, inputs)
    theirs = conversion._convert_non_diffusers_wan_lora_to_diffusers(dict(plain))
    assert any(key.endswith("attn1.to_q.lora_B.bias") for key in theirs)
    with applied(both, [(parse_lora("diffusers", theirs), use())]):
        assert torch.equal(run(both, inputs), wanted)

    only_blocks = {
        name: {role: roles[role] for role in "AB"} for name, roles in changes.items() if name.startswith("blocks")
    }
    musubi = STYLES["musubi"](only_blocks)
    with applied(both, [(parse_lora("musubi", musubi), use())]):
        wanted = run(both, inputs)
    theirs = conversion._convert_musubi_wan_lora_to_diffusers(dict(musubi))
    with applied(both, [(parse_lora("diffusers", theirs), use())]):
        assert torch.equal(run(both, inputs), wanted)


@pytest.mark.filterwarnings("ignore:Alpha detected")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("alpha", [None, 2.0, 8.0])
def test_dit_and_vace_are_diffsynths_hot_loaded_lora_bit_for_bit(tiny, inputs, dtype, alpha):
    from diffsynth.core.vram.layers import AutoWrappedLinear, enable_vram_management
    from diffsynth.utils.lora.general import GeneralLoRALoader

    kind = getattr(torch, dtype)
    changes = low_rank(tiny)
    tensors = STYLES["ComfyUI with A and B"](changes)
    if alpha:
        tensors |= {f"diffusion_model.{name}.alpha": torch.tensor(alpha) for name in changes}
    # Copies, so that all weights begin at the same places of a cache line: float32 products depend on it.
    both, twins = (copy.deepcopy(load_transformer(tiny.transformer, device="cpu", dtype=kind)) for _ in range(2))
    theirs = GeneralLoRALoader(torch_dtype=kind).convert_state_dict(
        {key: tensor.to(kind) for key, tensor in tensors.items()}
    )
    patched = 0
    for net in twins:
        config = dict.fromkeys(("offload_dtype", "onload_dtype", "preparing_dtype", "computation_dtype"), kind)
        config |= dict.fromkeys(("offload_device", "onload_device", "preparing_device", "computation_device"), "cpu")
        enable_vram_management(net, {torch.nn.Linear: AutoWrappedLinear}, config)
        for module in net.modules():
            if isinstance(module, AutoWrappedLinear) and f"{module.name}.lora_A.weight" in theirs:
                module.lora_A_weights.append(theirs[f"{module.name}.lora_A.weight"] * 0.7)
                module.lora_B_weights.append(theirs[f"{module.name}.lora_B.weight"])
                patched += 1
    assert patched == len(changes)
    wanted = run(twins, inputs)
    with applied(both, [(parse_lora("x", tensors), use(0.7))]):
        assert torch.equal(run(both, inputs), wanted)


def test_a_hosts_inference_mode_changes_nothing(tiny, inputs, tmp_path):
    """A host runs its nodes in inference mode: what is read and applied there works outside it too, and the reverse."""
    both = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    path = write(tmp_path / "all.safetensors", STYLES["ComfyUI"](everything(tiny)))
    base, own = run(both, inputs), identities(both)
    with torch.inference_mode():
        inside = load_lora(path)
    outside = load_lora(path)
    results = []
    for lora in (inside, outside):
        for mode in (True, False):
            with torch.inference_mode(mode), applied(both, [(lora, use(0.6, ramp_in=1))]) as active:
                active.set_step(0, 2)
                active.set_step(1, 2)
                results.append(run(both, inputs).clone())
    assert all(torch.equal(one, results[0]) for one in results)
    assert identities(both) == own
    assert torch.equal(run(both, inputs), base)
    assert not torch.equal(results[0], base)

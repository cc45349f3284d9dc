"""LoRAs on a tiny Wan-VACE: what they add, where, when, and that nothing of it stays."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import LoraError, SettingsError
from s2v_core.wan import transformer
from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.lora import applied, match
from s2v_core.wan.lora_file import load_lora, parse_lora
from s2v_core.wan.lora_names import model_layers
from s2v_core.wan.lora_scope import parse_map
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import sample
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.vace import condition
from tests.wan.lora_files import RANK, STYLES, WHOLE_STYLES, dense, everything, low_rank, whole, write

GENERATOR = torch.Generator()


def nets(engine):
    return engine.parts["dit"], engine.parts["vace"]


def use(strength=1.0, scope="", **values):
    return LoraUse("style.safetensors", strength, scope, **values)


def lora_of(changes, style="ComfyUI"):
    return parse_lora("style.safetensors", STYLES[style](changes))


@pytest.fixture(scope="module")
def inputs(tiny):
    """Latents, two prompts, control and time, of random numbers."""
    GENERATOR.manual_seed(5)
    latents = torch.randn(1, 16, 2, 4, 6, generator=GENERATOR)
    contexts = {side: torch.randn(1, 12, 32, generator=GENERATOR) for side in ("positive", "negative")}
    return latents, contexts, torch.randn(1, 96, 2, 4, 6, generator=GENERATOR), torch.tensor([700.0])


def run(both, inputs, state=None):
    """The transformer's prediction; ``state`` gives constants that were made before."""
    latents, _, _, time = inputs
    kind = both[0].head.head.weight.dtype
    with torch.no_grad():
        constants = state or prepare(both, inputs)
        return transformer.predict(*both, constants, "positive", latents.to(kind), time.to(kind))


def prepare(both, inputs):
    latents, contexts, control, _ = inputs
    with torch.no_grad():
        return transformer.prepare(*both, contexts, control, tuple(latents.shape))


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


def test_strength_0_is_the_base_and_touches_nothing(engine, tiny, inputs):
    both = nets(engine)
    base = run(both, inputs)
    lora = lora_of(everything(tiny))
    for at_zero in (use(0.0), use(1.0, from_step=3)):
        with applied(both, [(lora, at_zero)]) as active:
            assert active.changed == 0
            assert active.set_step(0, 2) is False
            assert not hooks(both)
            assert torch.equal(run(both, inputs), base)


def hooks(both):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for net in both for m in net.modules())


def test_nothing_remains_after_an_error_inside(engine, tiny, inputs):
    both = nets(engine)
    base, own = run(both, inputs), identities(both)
    with pytest.raises(ZeroDivisionError), applied(both, [(lora_of(everything(tiny)), use())]):
        assert hooks(both)
        assert identities(both) != own
        1 / 0  # noqa: B018
    assert not hooks(both)
    assert identities(both) == own
    assert torch.equal(run(both, inputs), base)


def identities(both):
    """Which tensor object each parameter is, and where its numbers lie."""
    return {name: (id(value), value.data_ptr()) for net in both for name, value in net.named_parameters()}


def test_any_sequence_of_uses_ends_in_the_state_of_a_fresh_load(tiny, inputs):
    """100 random sequences of loads, strengths, scopes, steps, errors and removals, each against untouched nets."""
    pristine = copy.deepcopy(load_transformer(tiny.transformer, device="cpu", dtype=torch.float32))
    weights = {key: value.clone() for net in pristine for key, value in net.state_dict().items()}
    made = [everything(tiny, 0), low_rank(tiny, rank=3, seed=4), whole(tiny, seed=6), everything(tiny, 8)]
    styles = ("ComfyUI", "kohya", "ComfyUI", "lightx2v")
    loras = [lora_of(changes, style) for changes, style in zip(made, styles, strict=True)]
    both = copy.deepcopy(pristine)
    own = identities(both)
    ends = set()
    for seed in range(100):
        rng = random.Random(seed)
        final = None
        for _ in range(rng.choice([1, 1, 2, 2, 3])):
            final, step = random_uses(rng, loras), rng.randrange(5)
            try:
                with applied(both, final) as active:
                    for index in (*rng.choices(range(5), k=rng.randint(0, 3)), step):
                        active.set_step(index, 5)
                    got = run(both, inputs)
                    if rng.random() < 0.1:
                        with applied(both, random_uses(rng, loras)):
                            run(both, inputs)
                        assert torch.equal(run(both, inputs), got)
                    if rng.random() < 0.2:
                        raise ArithmeticError
            except ArithmeticError:
                pass
        fresh = copy.deepcopy(pristine)
        with applied(fresh, final) as active:
            active.set_step(step, 5)
            assert torch.equal(run(fresh, inputs), got), seed
        ends.add(float(got.sum()))
        assert identities(both) == own
        assert not hooks(both)
    assert len(ends) > 60, "the sequences must end in many different states"
    assert torch.equal(run(both, inputs), run(pristine, inputs))
    for net in both:
        for key, value in net.state_dict().items():
            assert torch.equal(value, weights[key]), key


def random_uses(rng, loras):
    scopes = ["", "only self_attn ffn", "only vace", "cross_attn=0.5, blocks 1-2=0", "outside=0, vace_blocks 1=-1"]
    schedules = [{}, {"from_step": 2}, {"to_step": 3, "ramp_out": 2}, {"from_step": 1, "ramp_in": 2}]
    return [
        (
            rng.choice(loras),
            use(
                rng.choice([0.0, *(rng.uniform(-2, 2) for _ in range(4))]), rng.choice(scopes), **rng.choice(schedules)
            ),
        )
        for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))
    ]


SCOPES = {
    "only self_attn": r".*self_attn.*",
    "only cross_attn ffn": r".*(cross_attn|ffn).*",
    "only other": r"(vace_)?blocks\.\d+\.(norm3|modulation|before_proj|after_proj)",
    "only outside": r"(?!(vace_)?blocks\.).*",
    "only dit": r"(?!vace_).*",
    "only vace": r"vace_.*",
    "only blocks 1-2": r"blocks\.[12]\..*",
    "only vace_blocks 1 blocks 3-": r"(blocks\.3|vace_blocks\.1)\..*",
    "only ffn, only dit": r"blocks\.\d+\.ffn.*",
}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_is_the_lora_without_the_rest(engine, tiny, inputs, scope):
    both, changes = nets(engine), everything(tiny)
    inside = {name: roles for name, roles in changes.items() if re.fullmatch(SCOPES[scope], name)}
    assert 0 < len(inside) < len(changes)
    with applied(both, [(lora_of(changes), use(0.7, scope))]) as active:
        assert active.changed == len(inside)
        got = run(both, inputs)
    with applied(both, [(lora_of(inside), use(0.7))]):
        assert torch.equal(run(both, inputs), got)


def test_factors_multiply(engine, tiny, inputs):
    both, changes = nets(engine), everything(tiny)
    text = "dit=2, self_attn=0.5, outside=0.25, blocks 1-2=-0.5, vace_blocks 1=0.5"
    scaled = {
        name: {role: t if role == "B" else t * parse_map(text).factor(layer.place) for role, t in changes[name].items()}
        for name, layer in model_layers(both).items()
    }
    with applied(both, [(lora_of(scaled), use(0.5))]):
        wanted = run(both, inputs)
    with applied(both, [(lora_of(changes), use(0.5, text))]):
        assert torch.equal(run(both, inputs), wanted), "powers of two are exact"


@pytest.mark.parametrize(
    "only", [r".*cross_attn\.[kv]", r".*cross_attn\.norm_k", r"text_embedding\.[02]", r".*self_attn\.q"]
)
def test_constants_follow_the_state_of_the_loras(engine, tiny, inputs, only):
    """A schedule gives, in each step, what the same strength without a schedule gives."""
    both = nets(engine)
    changes = {name: roles for name, roles in everything(tiny).items() if re.fullmatch(only, name)}
    lora, steps = lora_of(changes), 6
    scheduled = use(0.8, from_step=1, to_step=5, ramp_in=1, ramp_out=1)
    shares = [scheduled.strength_at(index, steps) for index in range(steps)]
    assert shares == [0, 0.4, 0.8, 0.8, 0.4, 0]
    with applied(both, [(lora, scheduled)]) as active:
        state, changed = prepare(both, inputs), []
        stale = state
        for index, share in enumerate(shares):
            changed.append(active.set_step(index, steps))
            state = prepare(both, inputs) if changed[-1] else state
            got = run(both, inputs, state)
            with_old_constants = run(both, inputs, stale)
            old_ones_matter = "self_attn" not in only and share
            assert torch.equal(got, with_old_constants) == (not old_ones_matter)
            with applied(both, []):
                assert torch.equal(run(both, inputs), got)
            expected = at_strength(tiny, lora, share, inputs)
            assert torch.equal(got, expected)
    assert changed == [False, True, True, False, True, True]


def at_strength(tiny, lora, strength, inputs):
    both = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    with applied(both, [(lora, use(strength))]):
        return run(both, inputs)


def test_sampling_with_a_schedule_is_sampling_by_hand(engine, tiny, tmp_path, prompt, settings, control):
    """Steps without the LoRA, then with it, then without: stitched from the pieces, bit for bit."""
    path = write(tmp_path / "all.safetensors", STYLES["ComfyUI"](everything(tiny)))
    conditioning = condition(engine, prompt, settings, control=control)
    settings = replace(settings, steps=5, precision="float32")

    def draw(*uses):
        seen = []
        sample(
            engine, conditioning, replace(settings, loras=uses), on_step=lambda step: seen.append(step._clean.clone())
        )
        return seen

    base, full = draw(), draw(LoraUse(path, 0.6))
    late, early = draw(LoraUse(path, 0.6, from_step=2)), draw(LoraUse(path, 0.6, to_step=2))
    both = draw(LoraUse(path, 0.6, to_step=2), LoraUse(path, 0.6, from_step=2))
    for index in range(5):
        assert torch.equal(late[index], base[index]) == (index < 2)
        assert torch.equal(early[index], full[index]) == (index < 2)
        assert torch.equal(both[index], full[index])


def test_two_loras_add_up_in_any_mixture(engine, tiny, inputs):
    both = nets(engine)
    one, two = low_rank(tiny), low_rank(tiny, rank=2, seed=3)
    joined = {}
    for name, roles in one.items():
        a, b = torch.cat([roles["A"] * 0.5, two[name]["A"]]), torch.cat([roles["B"], two[name]["B"]], dim=1)
        joined[name] = {"A": a, "B": b}
    with applied(both, [(lora_of(joined), use())]):
        wanted = run(both, inputs)
    with applied(both, [(lora_of(one), use(0.5)), (lora_of(two), use())]):
        got = run(both, inputs)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    with applied(both, [(lora_of(one), use(0.25)), (lora_of(one), use(0.25))]):
        twice = run(both, inputs)
    with applied(both, [(lora_of(one), use(0.5))]):
        torch.testing.assert_close(twice, run(both, inputs), rtol=1e-4, atol=1e-5)


def test_a_changed_strength_reads_no_file_and_a_changed_file_is_read_again(engine, tiny, tmp_path, monkeypatch):
    from s2v_core.wan import engine as module

    read = []
    monkeypatch.setattr(module, "load_lora", lambda path: read.append(path) or load_lora(path))
    path = write(tmp_path / "a.safetensors", STYLES["PEFT"](low_rank(tiny)))
    first = engine.lora(path)
    assert engine.lora(path) is first
    write(path, STYLES["PEFT"](low_rank(tiny, rank=5)))
    assert engine.lora(path).rank == 5
    assert read == [path, path]
    monkeypatch.setattr(module, "_LORA_MEMORY", 2 * engine.lora(path).size)
    others = [write(tmp_path / f"{n}.safetensors", STYLES["PEFT"](low_rank(tiny, rank=5, seed=n))) for n in range(3)]
    for other in (*others, path):
        engine.lora(other)
    assert list(engine._loras)[-2:] == [others[2], path]
    assert sum(lora.size for _, lora in engine._loras.values()) <= 2 * first.size * 5 // RANK


def test_bfloat16_norms_keep_small_changes(tiny, inputs):
    """A change of 0.1 % of a norm's weight is lost in a bfloat16 sum; here it reaches the output."""
    both = load_transformer(tiny.transformer, device="cpu", dtype=torch.bfloat16)
    for name in ("blocks.0.norm3", "blocks.0.self_attn.norm_q"):
        layer = both[0].get_submodule(name)
        change = {name: {"diff": torch.full_like(layer.weight, 0.001).float()}}
        assert torch.equal(layer.weight + change[name]["diff"].bfloat16(), layer.weight), "merging loses it"
        x = torch.randn(4000, 48, generator=GENERATOR).bfloat16()
        with torch.no_grad():
            base = layer(x)
            with applied(both, [(lora_of(change), use())]):
                got = layer(x)
                assert got.dtype == torch.bfloat16
        moved = ((got.double() - base.double()) * base.double().sign()).mean() / base.double().abs().mean()
        assert 0.0008 < moved < 0.0012
        assert layer.weight.dtype == torch.bfloat16


def fails(engine, tensors, words, **values):
    with pytest.raises(LoraError, match=words) as caught:
        match(parse_lora("x/bad.safetensors", tensors), model_layers(nets(engine)), **values)
    assert "x/bad.safetensors" in caught.value.problem
    assert caught.value.got
    assert caught.value.remedy


def test_a_lora_for_another_model_is_refused_with_the_reason(engine, tiny):
    plain = STYLES["ComfyUI"](low_rank(tiny))
    other = {"diffusion_model.blocks.99.self_attn.q.lora_down.weight": torch.zeros(4, 48)}
    other |= {"diffusion_model.blocks.99.self_attn.q.lora_up.weight": torch.zeros(48, 4)}
    fails(engine, {f"text_model.{key}": tensor for key, tensor in plain.items()}, "No layer of")
    fails(engine, other, "No layer of", allow_unmatched=True)
    fails(engine, plain | other, r"1 of 61 layers of .* do not belong")
    fails(engine, plain | {"step": torch.zeros(1)}, "1 of 61 layers")
    narrow = {key: t[:, :20].contiguous() if "down" in key else t for key, t in plain.items()}
    fails(engine, narrow, "another size", allow_unmatched=True)
    one = "diffusion_model.blocks.0."
    fails(engine, {f"{one}norm3.diff": torch.zeros(47)}, "another size")
    fails(engine, {f"{one}self_attn.q.diff": torch.zeros(48, 47)}, "another size")
    fails(engine, {f"{one}self_attn.q.diff_b": torch.zeros(47)}, "another size")
    fails(engine, {f"{one}self_attn.norm_q.diff_b": torch.zeros(48)}, "another size")
    low = {f"{one}norm3.lora_down.weight": torch.zeros(1, 1), f"{one}norm3.lora_up.weight": torch.zeros(48, 1)}
    fails(engine, low, "another size")
    again = {"blocks.0.self_attn.q.lora_A.weight": torch.zeros(4, 48)}
    again |= {"blocks.0.self_attn.q.lora_B.weight": torch.zeros(48, 4)}
    fails(engine, plain | again, "changes blocks.0.self_attn.q twice")


def test_allow_unmatched_uses_what_fits_and_says_what_was_left_out(engine, tiny, inputs, caplog):
    both = nets(engine)
    plain = STYLES["ComfyUI"](low_rank(tiny))
    foreign = {
        "diffusion_model.blocks.0.cross_attn.k_img": (48, 48),
        "diffusion_model.img_emb.proj.1": (48, 1280),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": (8, 8),
        "diffusion_model.patch_embedding": (48, 36 * 4),
        "diffusion_model.blocks.77.ffn.0": (96, 48),
    }
    extra = {f"{name}.lora_down.weight": torch.ones(4, shape[1]) for name, shape in foreign.items()}
    extra |= {f"{name}.lora_up.weight": torch.ones(shape[0], 4) for name, shape in foreign.items()}
    with applied(both, [(parse_lora("x", plain), use())]) as active:
        assert active.notes == []
        wanted = run(both, inputs)
    lora = parse_lora("x/dance.safetensors", plain | extra | {"step": torch.zeros(1)})
    caplog.set_level("INFO")
    with pytest.raises(LoraError, match="6 of 66 layers") as caught, applied(both, [(lora, use())]):
        pass
    assert all(name in caplog.text for name in foreign), "the log names them all"
    assert "allow_unmatched" in caught.value.remedy
    for words in (
        "1 of a text encoder",
        "3 of image-to-video models only",
        "2 unknown to this model",
        "patch_embedding",
    ):
        assert words in caught.value.got
    with applied(both, [(lora, use(allow_unmatched=True))]) as active:
        assert torch.equal(run(both, inputs), wanted)
        (note,) = active.notes
    assert "6 of 66 layers of the LoRA dance" in note
    assert "lora_te1" in note


def test_a_use_that_does_nothing_says_so(engine, tiny):
    both = nets(engine)
    lora = lora_of({name: roles for name, roles in low_rank(tiny).items() if not name.startswith("vace_")})
    with applied(both, [(lora, use(1.0, "only vace"))]) as active:
        assert active.changed == 0
        assert "leaves none of the layers of the LoRA style" in active.notes[0]
    with applied(both, [(lora, use(from_step=7))]) as active:
        active.set_step(0, 5)
        active.set_step(1, 5)
        assert active.notes == ["The LoRA style acts in none of the 5 steps."]
    with (
        pytest.raises(SettingsError, match=r"names blocks 20-29") as caught,
        applied(both, [(lora, use(1.0, "blocks 20-29=0.5"))]),
    ):
        pass
    assert "blocks 0-3" in caught.value.expected
    with pytest.raises(ValueError, match="step 5 of 5"), applied(both, []) as active:
        active.set_step(5, 5)


def test_what_was_left_out_reaches_the_notes_of_the_rendering(engine, tiny, tmp_path, prompt, settings):
    foreign = {f"blocks.0.cross_attn.k_img.lora_{end}.weight": torch.ones(2, 2) for end in "AB"}
    path = write(tmp_path / "dance.safetensors", STYLES["DiffSynth"](low_rank(tiny)) | foreign)
    renderer = Renderer(engine)
    settings = replace(settings, steps=2)
    with pytest.raises(LoraError, match="1 of 61 layers"):
        renderer.render(prompt, replace(settings, loras=(LoraUse(path),)))
    uses = (LoraUse(path, allow_unmatched=True), LoraUse(path, allow_unmatched=True, from_step=7))
    renderer.render(prompt, replace(settings, loras=uses[:1]))
    (note,) = renderer.notes
    assert "1 of 61 layers of the LoRA dance" in note
    renderer.render(prompt, replace(settings, loras=uses))
    assert renderer.notes == (note, note, "The LoRA dance acts in none of the 2 steps.")
    renderer.render(prompt, settings)
    assert renderer.notes == ()


def test_a_wrong_lora_is_noticed_at_strength_0_too(engine, prompt, settings, tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"unet.x.lora_A.weight": torch.zeros(2, 3), "unet.x.lora_B.weight": torch.zeros(3, 2)}, path)
    conditioning = condition(engine, prompt, settings)
    with pytest.raises(LoraError, match="No layer"):
        sample(engine, conditioning, replace(settings, loras=(LoraUse(str(path), 0.0),)))


def test_8_bit_weights_are_changed_like_all_others(tiny, inputs):
    """A layer that keeps its weight in another form (torch's parametrize) is found, and not unpacked to be matched."""
    from torch.nn.utils import parametrize

    class Halve(torch.nn.Module):
        reads = 0

        def forward(self, weight):
            Halve.reads += 1
            return weight * 0.5

    both = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    plain = copy.deepcopy(both)
    for one, other in zip(both, plain, strict=True):
        for name, module in list(one.named_modules()):
            if isinstance(module, torch.nn.Linear):
                parametrize.register_parametrization(module, "weight", Halve())
                other.get_submodule(name).weight.data *= 0.5
    lora = lora_of(low_rank(tiny))
    with applied(plain, [(lora, use())]):
        wanted = run(plain, inputs)
    Halve.reads = 0
    with applied(both, [(lora, use())]):
        assert Halve.reads == 0
        assert torch.equal(run(both, inputs), wanted)

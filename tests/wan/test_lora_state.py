"""LoRAs on a tiny Wan-VACE: where and in which steps they act, and that nothing of it stays."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace

import pytest
import torch

from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.lora import applied
from s2v_core.wan.lora_file import load_lora
from s2v_core.wan.lora_names import model_layers
from s2v_core.wan.lora_scope import parse_map
from s2v_core.wan.sampler import sample
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.vace import condition
from tests.wan.lora_files import RANK, STYLES, everything, low_rank, whole, write
from tests.wan.lora_runs import GENERATOR, identities, lora_of, nets, prepare, run, use


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

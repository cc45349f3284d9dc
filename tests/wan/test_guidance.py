from dataclasses import replace

import numpy as np
import pytest
import torch

from s2v_core.wan import transformer
from s2v_core.wan.guidance import fit_negative, guide, rescale_spread
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import noise, sample
from s2v_core.wan.vace import condition

POSITIVE = torch.tensor([[3.0, 1.0, -2.0, 0.5]])
NEGATIVE = torch.tensor([[1.0, 2.0, -1.0, 4.0]])


@pytest.fixture
def calls(monkeypatch):
    """Which prompts the transformer is asked for, in order."""
    seen = []
    predict = transformer.predict

    def spy(dit, vace, constants, side, *rest):
        seen.append(side)
        return predict(dit, vace, constants, side, *rest)

    monkeypatch.setattr(transformer, "predict", spy)
    return seen


@pytest.fixture
def conditioning(engine, prompt, settings, control, reference):
    return condition(engine, prompt, settings, control=control, reference=reference)


def test_plain_guidance():
    assert torch.equal(guide(POSITIVE, NEGATIVE, 5.0), NEGATIVE + 5.0 * (POSITIVE - NEGATIVE))
    assert torch.equal(guide(POSITIVE, NEGATIVE, 0.0), NEGATIVE)


def test_cfg_zero_s_scale_is_the_nearest_point():
    scale = float(fit_negative(POSITIVE, NEGATIVE))
    assert scale == pytest.approx((3 + 2 + 2 + 2) / (1 + 4 + 1 + 16))
    left = POSITIVE - scale * NEGATIVE
    assert float((left * NEGATIVE).sum()) == pytest.approx(0, abs=1e-5)  # what is left stands upright on it
    wanted = scale * NEGATIVE + 5.0 * (POSITIVE - scale * NEGATIVE)
    assert torch.allclose(guide(POSITIVE, NEGATIVE, 5.0, cfg_zero=True), wanted)
    # A negative prediction that is the positive one at another length changes nothing at any guidance.
    for guidance in (0.0, 1.0, 7.0):
        assert torch.allclose(guide(POSITIVE, POSITIVE * 0.25, guidance, cfg_zero=True), POSITIVE, atol=1e-5)
    assert guide(POSITIVE, torch.zeros(1, 4), 2.0, cfg_zero=True).isfinite().all()


def test_rescaling_brings_the_spread_back():
    guided = guide(POSITIVE, NEGATIVE, 7.0)
    whole = guide(POSITIVE, NEGATIVE, 7.0, rescale=1.0)
    assert float(whole.std()) == pytest.approx(float(POSITIVE.std()), rel=1e-5)
    assert torch.allclose(whole / guided, (whole / guided)[0, 0].expand(1, 4))  # one factor for all
    half = guide(POSITIVE, NEGATIVE, 7.0, rescale=0.5)
    assert torch.allclose(half, (whole + guided) / 2)
    assert torch.equal(guide(POSITIVE, NEGATIVE, 7.0, rescale=0.0), guided)
    assert rescale_spread(torch.zeros(1, 4), POSITIVE, 0.7).isfinite().all()


def test_the_type_stays():
    for dtype in (torch.bfloat16, torch.float32):
        made = guide(POSITIVE.to(dtype), NEGATIVE.to(dtype), 3.0, cfg_zero=True, rescale=0.5)
        assert made.dtype == dtype


def test_outside_of_the_window_the_negative_prompt_is_not_computed(engine, conditioning, settings, calls):
    sample(engine, conditioning, replace(settings, steps=4, guidance_from=1, guidance_to=3))
    assert calls == ["positive", "positive", "negative", "positive", "negative", "positive"]
    calls.clear()
    sample(engine, conditioning, replace(settings, steps=3, guidance_schedule="4, 1, 2"))
    assert calls == ["positive", "negative", "positive", "positive", "negative"]
    calls.clear()
    sample(engine, conditioning, replace(settings, steps=3, guidance_to=0))
    assert calls == ["positive"] * 3


def test_a_window_and_a_list_of_the_same_numbers_give_the_same_bits(engine, conditioning, settings):
    settings = replace(settings, steps=3)
    window = sample(engine, conditioning, replace(settings, guidance_to=2))
    listed = sample(engine, conditioning, replace(settings, guidance=1.0, guidance_schedule="5, 5, 1"))
    assert torch.equal(window, listed)
    plain = sample(engine, conditioning, settings)
    assert torch.equal(sample(engine, conditioning, replace(settings, guidance_schedule=[5, 5, 5])), plain)
    assert not torch.equal(window, plain)


def test_standing_still_in_the_first_steps(engine, conditioning, settings, calls):
    settings = replace(settings, steps=3, zero_init_steps=1)
    states = []
    sample(engine, conditioning, settings, on_step=states.append)
    assert calls == ["positive", "negative"] * 2
    still = noise(conditioning, settings.seed)[:, :, 1:]
    assert torch.equal(states[0]._clean, still)  # without a velocity the guess is the noise itself
    assert not torch.equal(states[1]._clean, still)


@pytest.mark.parametrize("changes", [{"cfg_zero": True}, {"guidance_rescale": 0.7}, {"zero_init_steps": 1}])
def test_each_refinement_changes_the_picture(engine, conditioning, settings, changes):
    plain = sample(engine, conditioning, settings)
    changed = sample(engine, conditioning, replace(settings, **changes))
    assert changed.isfinite().all()
    assert not torch.allclose(plain, changed, atol=1e-3)


def test_cfg_zero_in_the_loop_is_its_formula(engine, conditioning, settings):
    settings = replace(settings, steps=1, guidance=4.0, cfg_zero=True, guidance_rescale=0.3, precision="float32")
    dit, vace = engine.use("dit", "vace")
    latents = noise(conditioning, settings.seed)
    sides = {"positive": conditioning.positive, "negative": conditioning.negative}
    with torch.no_grad():
        constants = transformer.prepare(dit, vace, sides, conditioning.vace_context, tuple(latents.shape), 1)
        at = torch.tensor([1000.0])
        positive, negative = (transformer.predict(dit, vace, constants, side, latents, at) for side in sides)
    scale = (positive * negative).sum() / negative.square().sum()
    guided = scale * negative + 4.0 * (positive - scale * negative)
    guided = 0.3 * guided * positive.std() / guided.std() + 0.7 * guided
    wanted = (latents - guided)[:, :, 1:]
    assert torch.allclose(sample(engine, conditioning, settings), wanted, atol=1e-4)


def test_the_renderer_encodes_the_negative_prompt_only_when_a_step_needs_it(engine, settings, monkeypatch):
    asked = []
    states = engine.text_states
    monkeypatch.setattr(type(engine), "text_states", lambda self, text, stop=None: asked.append(text) or states(text))
    from s2v_core.prompts.prompt import Prompt

    renderer = Renderer(engine)
    one = renderer.render(Prompt("one", "other"), replace(settings, guidance_to=0))
    assert asked == ["one"]
    two = renderer.render(Prompt("one", "other"), replace(settings, guidance=1.0, guidance_schedule="1, 1, 3"))
    assert asked == ["one", "one", "other"]
    assert not np.array_equal(one.frames, two.frames)

"""Step caching: which steps go without the model, what takes the place of their predictions, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from s2v_core.wan import transformer
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import sample
from s2v_core.wan.schedule import TRAIN_TIMESTEPS, sigmas
from s2v_core.wan.settings import LoraUse, SampleSettings
from s2v_core.wan.step_cache import MOST_IN_A_ROW, StepCache, estimable
from s2v_core.wan.vace import condition

EVERYTHING = 10.0  # the highest threshold
TWELVE = SampleSettings(steps=12, guidance=3.0, seed=7, width=64, height=48, frames=9, step_cache=EVERYTHING)
MOST = (2, 3, 4, 6, 7, 8, 10)  # of twelve steps: never the first two, the last, or more than three in a row


@pytest.fixture(scope="module")
def conditioning(engine, prompt, control, reference):
    return condition(engine, prompt, TWELVE, control=control, reference=reference)


@pytest.fixture
def run(engine, conditioning):
    """Latents and report of a rendering."""

    def rendered(**changes):
        reports = []
        latents = sample(engine, conditioning, replace(TWELVE, **changes), on_estimated=reports.append)
        return latents, (reports or [None])[0]

    return rendered


@pytest.fixture
def calls(monkeypatch):
    """The timestep and the prompt of each forward."""
    seen = []
    predict = transformer.predict

    def spy(dit, vace, constants, side, latents, timestep, *rest):
        seen.append((round(float(timestep), 3), side))
        return predict(dit, vace, constants, side, latents, timestep, *rest)

    monkeypatch.setattr(transformer, "predict", spy)
    return seen


def made(settings, levels=None):
    """An empty cache and its noise levels."""
    levels = sigmas(settings.steps, 1.0) if levels is None else levels
    return StepCache(settings, levels, 1), levels


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
def test_a_threshold_below_every_change_is_the_exact_result(run, solver):
    exact, nothing = run(step_cache=0.0, solver=solver)
    latents, report = run(step_cache=1e-12, solver=solver)
    assert torch.equal(latents, exact)
    assert nothing is None
    assert (report.steps, report.forwards, report.off_by) == ((), 0, None)
    assert report.say() == "step_cache estimated no step: this is the exact result."


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
def test_the_highest_threshold_leaves_out_the_most_and_the_blocks_do_not_run(engine, run, solver):
    dit, vace = engine.use("dit", "vace")
    counts = dict.fromkeys(("dit", "vace"), 0)
    hooks = []
    for name, blocks in (("dit", dit.blocks), ("vace", vace.vace_blocks)):
        for block in blocks:

            def count(*_, name=name):
                counts[name] += 1

            hooks.append(block.self_attn.q.register_forward_hook(count))
    try:
        latents, report = run(solver=solver)
    finally:
        for hook in hooks:
            hook.remove()
    assert report.steps == MOST
    computed = 12 - len(MOST)
    assert counts == {"dit": 2 * computed * len(dit.blocks), "vace": 2 * computed * len(vace.vace_blocks)}
    assert (report.forwards, report.forwards_total) == (2 * len(MOST), 24)
    assert latents.isfinite().all()
    assert torch.equal(latents, run(solver=solver)[0]), "again, the same bits"
    assert not torch.equal(latents, run(step_cache=0.0, solver=solver)[0])


def test_both_prompts_go_by_one_decision(run, calls):
    _, report = run(step_cache=1.0)
    moments = [round(float(level) * TRAIN_TIMESTEPS, 3) for level in sigmas(12, TWELVE.shift)]
    computed = [moments[index] for index in range(12) if index not in report.steps]
    assert 0 < len(report.steps) < len(MOST), "the threshold decides"
    assert calls == [(moment, side) for moment in computed for side in ("positive", "negative")]


def test_the_positive_prompt_decides():
    cache, levels = made(TWELVE)
    steady, wild = torch.ones(1, 4), torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    for index in (0, 1):
        cache.keep(index, {"positive": steady, "negative": wild * 10**index})
    found = cache.estimate(2, ("positive", "negative"))
    assert torch.equal(found["positive"], steady)
    share = (levels[2] - levels[1]) / (levels[1] - levels[0])
    assert torch.allclose(found["negative"], wild * 10 + wild * 9 * share)
    cache, _ = made(replace(TWELVE, step_cache=0.5))
    for index in (0, 1):
        cache.keep(index, {"positive": wild * 10**index, "negative": steady})
    assert cache.estimate(2, ("positive", "negative")) is None


def test_what_is_straight_over_the_noise_level_is_estimated_exactly():
    levels = sigmas(12, 5.0)
    start, slope = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(3)).double()
    cache, _ = made(TWELVE, levels=levels)

    def truth(index):
        return start + slope * float(levels[index])

    estimated = []
    for index in range(12):
        found = cache.estimate(index, ("positive",))
        if found is None:
            cache.keep(index, {"positive": truth(index)})
        else:
            estimated.append(index)
            assert torch.allclose(found["positive"], truth(index))
    report = cache.report()
    assert report.steps == tuple(estimated) == MOST
    assert report.off_by < 1e-6


def test_changes_are_added_up_to_the_threshold():
    """Even levels and a prediction that changes by 1% of its size a step: so many steps as the threshold holds."""
    settings = replace(TWELVE, steps=40)
    levels = torch.linspace(1, 0, 41)
    for threshold, row in ((0.005, 0), (0.015, 1), (0.025, 2), (0.035, 3), (0.9, MOST_IN_A_ROW)):
        cache, _ = made(replace(settings, step_cache=threshold), levels=levels)
        for index in (4, 5):
            cache.keep(index, {"positive": torch.full((1, 4), 1.0 + 0.0101 * (index - 5))})
        for index in range(6, 6 + row):
            assert cache.estimate(index, ("positive",)) is not None, threshold
        assert cache.estimate(6 + row, ("positive",)) is None, threshold


def test_the_error_is_measured_where_the_model_runs_again():
    cache, _ = made(TWELVE, levels=torch.linspace(1, 0, 13))
    for index, value in ((0, 1.0), (1, 1.2)):
        assert cache.estimate(index, ("positive",)) is None
        cache.keep(index, {"positive": torch.full((1, 4), value)})
    for index in (2, 3, 4):
        cache.estimate(index, ("positive",))
    assert cache.report().off_by is None
    cache.keep(5, {"positive": torch.full((1, 4), 2.5)})  # the line says 2.0
    assert cache.report().off_by == pytest.approx(0.2)
    assert "off by up to 20.0%" in cache.report().say()
    assert cache.report().to_dict() == {
        "steps estimated": [2, 3, 4],
        "steps": 12,
        "forwards left out": 3,
        "forwards in full": 5,
        "off by": pytest.approx(0.2),
    }


def test_the_loop_by_hand_gives_the_same_bits(engine, conditioning, run):
    """Euler without guidance: predictions of the model, and in the estimated steps the line through the last two."""
    latents, report = run(guidance=1.0)
    assert report.steps == MOST and (report.forwards, report.forwards_total) == (len(MOST), 12)
    levels = sigmas(12, TWELVE.shift)
    dit, vace = engine.use("dit", "vace")
    from s2v_core.wan.sampler import begin

    x = begin(conditioning, TWELVE, levels[0], "cpu", torch.float32)
    known = []
    with torch.no_grad():
        given = ({"positive": conditioning.positive}, conditioning.vace_context, tuple(x.shape))
        constants = transformer.prepare(dit, vace, *given, conditioning.references, False)
        for index in range(12):
            if index in MOST:
                (one, v1), (two, v2) = known[-2:]
                place = levels.tolist()
                velocity = v2 + (v2 - v1) * ((place[index] - place[two]) / (place[two] - place[one]))
            else:
                moment = (levels[index] * TRAIN_TIMESTEPS).unsqueeze(0)
                velocity = transformer.predict(dit, vace, constants, "positive", x, moment)
                known.append((index, velocity))
            x = x + velocity * (levels[index + 1] - levels[index])
    assert torch.equal(latents, x[:, :, conditioning.references :])


@pytest.mark.parametrize(
    "changes",
    [{"control_to": 6}, {"reference_from": 6}, {"guidance_from": 6}],
    ids=["the pose ends", "the reference begins", "guidance begins"],
)
def test_what_was_predicted_otherwise_is_not_gone_on_with(run, changes):
    _, report = run(**changes)
    # Step 5 is computed as ever; from step 6 on two new predictions are needed.
    assert report.steps == (2, 3, 4, 8, 9, 10)


def test_the_strength_of_what_is_not_there_does_not_matter(engine, prompt, control):
    """Else cells with one id would differ in their pixels."""
    for given, changes in ((control, {"reference_to": 6}), (None, {"reference_to": 6, "control_to": 6})):
        conditioning = condition(engine, prompt, TWELVE, control=given)
        settings = replace(TWELVE, **changes)
        assert torch.equal(sample(engine, conditioning, settings), sample(engine, conditioning, TWELVE))


def test_guidance_that_ends_needs_nothing_new(run):
    _, report = run(guidance_to=6)
    assert report.steps == MOST
    assert (report.forwards, report.forwards_total) == (2 * 3 + 4, 6 * 2 + 6)


def test_a_lora_that_changes_begins_anew(run, tiny_lora):
    late = LoraUse(tiny_lora, from_step=6)
    assert run(loras=(late,))[1].steps == (2, 3, 4, 8, 9, 10)
    # A ramp is another LoRA in each step, here in those from 3 to 8.
    assert run(loras=(LoraUse(tiny_lora, from_step=3, ramp_in=5),))[1].steps == (2, 10)
    assert run(loras=(LoraUse(tiny_lora, 0.5),))[1].steps == MOST
    exact = run(loras=(late,), step_cache=0.0)[0]
    assert torch.equal(run(loras=(late,), step_cache=1e-12)[0], exact)


def test_steps_that_stand_still_are_not_predictions(run):
    assert list(estimable(replace(TWELVE, zero_init_steps=3))) == [5, 6, 7, 8, 9, 10]
    assert run(zero_init_steps=3)[1].steps == (5, 6, 7, 9, 10)
    assert list(estimable(replace(TWELVE, steps=50)))[:1] == [5], "the first tenth"
    assert not estimable(replace(TWELVE, steps=3)) and estimable(replace(TWELVE, steps=4))


def test_all_windows_of_a_long_clip_are_one(engine, prompt, calls):
    long = replace(TWELVE, frames=25, width=32, height=32, window_frames=17, window_overlap=8)
    given = condition(engine, prompt, long)
    reports = []
    latents = sample(engine, given, long, on_estimated=reports.append)
    assert reports[0].steps == MOST
    assert len(calls) == 2 * 2 * (12 - len(MOST)), "two windows, two prompts"
    assert (reports[0].forwards, reports[0].forwards_total) == (4 * len(MOST), 48)
    assert latents.shape == (1, 16, 7, 4, 4)


def test_no_known_state_is_taken_and_none_kept(engine, conditioning, run):
    """A state does not hold what step caching remembers."""

    def refuse(*_):
        raise AssertionError

    lender = SimpleNamespace(
        latest=refuse, wants=lambda done: False, keep=refuse, prediction=lambda index, side, compute: compute()
    )
    assert torch.equal(sample(engine, conditioning, TWELVE, shared=lender), run()[0])


def test_a_renderer_says_what_was_left_out(engine, prompt, control, reference):
    renderer = Renderer(engine, control, reference)
    quick = renderer.render(prompt, TWELVE).frames
    assert renderer.estimated.steps == MOST
    assert renderer.notes[-1] == renderer.estimated.say()
    assert renderer.notes[-1].startswith("Approximate: step_cache estimated the predictions of 7 of 12 steps; 14 of 24")
    exact = renderer.render(prompt, replace(TWELVE, step_cache=0.0)).frames
    assert renderer.estimated is None and not any("step_cache" in note for note in renderer.notes)
    assert not np.array_equal(quick, exact)

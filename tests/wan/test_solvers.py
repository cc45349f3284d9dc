"""The solvers against diffusers' own loops, and against an equation with a known solution."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from s2v_core.errors import SettingsError
from s2v_core.wan import transformer
from s2v_core.wan.sampler import noise, sample
from s2v_core.wan.schedule import sigmas
from s2v_core.wan.settings import SampleSettings
from s2v_core.wan.solvers import make_solver
from s2v_core.wan.vace import condition

SOLVERS = ("euler", "unipc", "dpm++")


def theirs(name, steps, shift):
    """A scheduler as diffusers' pipelines make and set it, with its own schedule."""
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    if name == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
        scheduler.set_timesteps(sigmas=np.linspace(1, 0, steps + 1)[:-1])
    elif name == "unipc":
        scheduler = UniPCMultistepScheduler(**flow)
        scheduler.set_timesteps(sigmas=np.linspace(0.999, 0, steps + 1)[:-1])
    else:
        scheduler = DPMSolverMultistepScheduler(**flow)
        scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    return scheduler


@pytest.mark.parametrize("shift", [1.0, 5.0, 16.0])
@pytest.mark.parametrize("steps", [1, 4, 20, 50])
@pytest.mark.parametrize("name", SOLVERS)
def test_the_levels_are_those_of_diffusers(name, steps, shift):
    levels = sigmas(steps, shift, name)
    assert torch.allclose(levels, theirs(name, steps, shift).sigmas, rtol=1e-6, atol=1e-7)
    # Wan's own schedule: 0.999 down to 0 for UniPC, 1 for Euler, moved by the shift.
    even = np.linspace(1.0 if name == "euler" else 0.999, 0, steps + 1)
    assert np.allclose(levels, shift * even / (1 + (shift - 1) * even), rtol=1e-6, atol=1e-7)
    assert levels.dtype == torch.float32


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("name", SOLVERS)
def test_the_loop_is_diffusers_loop(engine, prompt, settings, control, reference, name, steps):
    """The whole sampler on the tiny model against a loop that is written as diffusers' pipelines write it."""
    settings = replace(settings, solver=name, steps=steps, precision="float32", guidance=3.0, shift=8.0)
    conditioning = condition(engine, prompt, settings, control=control, reference=reference)
    ours = sample(engine, conditioning, settings)

    dit, vace = engine.use("dit", "vace")
    scheduler = theirs(name, steps, settings.shift)
    latents = noise(conditioning, settings.seed)
    contexts = {"positive": conditioning.positive, "negative": conditioning.negative}
    with torch.no_grad():
        constants = transformer.prepare(dit, vace, contexts, conditioning.vace_context, tuple(latents.shape), 1)
        for level, timestep in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
            at = (level * 1000).reshape(1)
            positive, negative = (transformer.predict(dit, vace, constants, side, latents, at) for side in contexts)
            velocity = negative + settings.guidance * (positive - negative)
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    theirs_out = latents[:, :, 1:]
    assert (ours - theirs_out).abs().max() < 2e-4 * theirs_out.abs().max()
    assert not torch.allclose(ours, noise(conditioning, settings.seed)[:, :, 1:], atol=0.1)


def exact_velocity(x, sigma, mean, spread):
    """The velocity field of flow matching for data from N(mean, spread^2), in closed form."""
    variance = (1 - sigma) ** 2 * spread**2 + sigma**2
    return -mean + (sigma - (1 - sigma) * spread**2) / variance * (x - (1 - sigma) * mean)


def error(name, steps, denoise=1.0, shift=3.0, mean=0.5, spread=0.8):
    """The distance from the solution mean + spread * z, where z is the noise in units of its deviation."""
    levels = sigmas(steps, shift, name, denoise)
    x = torch.linspace(-2, 2, 9).view(1, 1, 1, 3, 3)
    start = float(levels[0])
    z = (x - (1 - start) * mean) / ((1 - start) ** 2 * spread**2 + start**2) ** 0.5
    advance = make_solver(name, levels)
    for level in levels[:-1]:
        x = advance(x, exact_velocity(x, float(level), mean, spread))
    return float((x - (mean + spread * z)).abs().max())


def test_unipc_and_dpm_beat_euler_at_equal_steps():
    for steps in (10, 20, 40, 80):
        euler, unipc, dpm = (error(name, steps) for name in SOLVERS)
        assert unipc < dpm < euler / 2, steps


def test_the_orders_of_convergence():
    """A quarter of the width leaves a quarter of Euler's error, and about a sixteenth of the others'."""
    orders = {
        name: np.log2(error(name, 40, denoise=0.7, shift=1.0) / error(name, 160, denoise=0.7, shift=1.0)) / 2
        for name in SOLVERS
    }
    assert 0.9 < orders["euler"] < 1.1, orders
    assert orders["dpm++"] > 1.6, orders
    assert orders["unipc"] > 1.9, orders


def test_a_solver_s_memory_is_its_own():
    levels = sigmas(4, 5.0, "unipc")
    velocity, x = torch.ones(1, 2, 1, 2, 2), torch.zeros(1, 2, 1, 2, 2)
    one, two = make_solver("unipc", levels), make_solver("unipc", levels)
    first = one(x, velocity)
    one(first, -velocity)
    assert torch.equal(two(x, velocity), first)


@pytest.mark.parametrize("name", ["unipc", "dpm++"])
def test_latents_stay_float32_beside_bfloat16_weights(tiny, prompt, settings, name):
    from s2v_core.wan.engine import load_engine

    engine = load_engine(tiny, device="cpu", dtype="bfloat16")
    settings = replace(settings, solver=name, precision="float32", guidance=1.0)
    latents = sample(engine, condition(engine, prompt, settings), settings)
    assert latents.dtype == torch.float32
    assert latents.isfinite().all()


def test_diffsynth_s_precision_goes_with_its_solver():
    for solver in ("unipc", "dpm++"):
        with pytest.raises(SettingsError, match="Use precision float32"):
            SampleSettings(solver=solver, precision="diffsynth")

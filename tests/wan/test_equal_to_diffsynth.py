"""Our loop gives the same bits as DiffSynth's pipeline on the same files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2v_core.wan.decoding import decode
from s2v_core.wan.engine import load_engine
from s2v_core.wan.sampler import sample
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.vace import condition
from tests.wan.pipeline_twin import load_pipeline, run_pipeline


def run_ours(engine, prompt, settings, control, reference, **pictures):
    conditioning = condition(engine, prompt, settings, control=control, reference=reference, **pictures)
    latents = sample(engine, conditioning, settings)
    return latents, decode(engine, latents, conditioning, settings).frames


def assert_same(ours, theirs):
    assert torch.equal(ours[0], theirs[0]), f"latents differ by {(ours[0] - theirs[0]).abs().max()}"
    assert np.array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("with_control", [False, True])
def test_the_forward_is_model_fn(engine, tiny, dtype, strength, with_control):
    """One forward against DiffSynth's, on the same nets and on nets that it loaded itself."""
    from diffsynth.pipelines.wan_video import model_fn_wan_video

    from s2v_core.wan import transformer

    pipe = load_pipeline(tiny, getattr(torch, dtype))
    ours = load_engine(tiny, device="cpu", dtype=dtype)
    generator = torch.Generator().manual_seed(11)

    def noise(*shape):
        return torch.randn(shape, generator=generator).to(ours.dtype)

    latents, control, text, time = noise(1, 16, 3, 6, 8), noise(1, 96, 3, 6, 8), noise(1, 20, 32), noise(1) + 500
    context = control if with_control else None
    with torch.no_grad():
        constants = transformer.prepare(
            ours.parts["dit"], ours.parts["vace"], {"positive": text}, context, tuple(latents.shape)
        )
        found = transformer.predict(
            ours.parts["dit"], ours.parts["vace"], constants, "positive", latents, time, strength
        )
        for dit, vace in ((pipe.dit, pipe.vace), (ours.parts["dit"], ours.parts["vace"])):
            theirs = model_fn_wan_video(
                dit,
                vace=vace,
                latents=latents,
                timestep=time,
                context=text,
                vace_context=context,
                vace_scale=strength,
            )
            assert torch.equal(found, theirs)


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize(("guidance", "steps"), [(1.0, 1), (1.0, 3), (3.0, 2), (5.5, 4), (0.0, 2)])
def test_guidance_and_steps(engine, pipeline, prompt, settings, control, reference, guidance, steps, with_reference):
    settings = replace(settings, guidance=guidance, steps=steps)
    picture = reference if with_reference else None
    assert_same(
        run_ours(engine, prompt, settings, control, picture),
        run_pipeline(pipeline, prompt, settings, control, picture),
    )


@pytest.mark.parametrize("case", ["no control", "reference only", "shift", "strength", "strength 0", "seed", "tiling"])
def test_other_settings(engine, pipeline, prompt, settings, control, reference, case):
    if case == "no control":
        control, reference = None, None
    elif case == "reference only":
        control = None
    changes = {
        "shift": {"shift": 16.0},
        "strength": {"control_strength": 0.6, "reference_strength": 0.6},
        "strength 0": {"control_strength": 0.0, "reference_strength": 0.0},
        "seed": {"seed": 12345},
        "tiling": {"tiling": True},
    }
    settings = replace(settings, **changes.get(case, {}))
    assert_same(
        run_ours(engine, prompt, settings, control, reference),
        run_pipeline(pipeline, prompt, settings, control, reference),
    )


def test_float32_latents_are_diffsynth_s_but_for_rounding_when_the_weights_are_float32(
    engine, pipeline, prompt, settings, control, reference
):
    ours, _ = run_ours(engine, prompt, replace(settings, precision="float32"), control, reference)
    theirs, _ = run_pipeline(pipeline, prompt, settings, control, reference)
    apart = (ours - theirs).abs().max() / theirs.abs().max()
    assert 0 < apart < 2e-5


@pytest.mark.parametrize("case", ["plain", "mask and start clip"])
def test_bfloat16(tiny, prompt, settings, control, reference, soft_mask, case):
    settings = replace(settings, steps=4)
    more = {}
    if case != "plain":
        settings = replace(settings, denoise=0.7)
        more = {"mask": soft_mask, "start": control.with_frames(255 - control.frames)}
    engine = load_engine(tiny, device="cpu", dtype="bfloat16")
    pipe = load_pipeline(tiny, torch.bfloat16)
    assert_same(
        run_ours(engine, prompt, settings, control, reference, **more),
        run_pipeline(pipe, prompt, settings, control, reference, **more),
    )


@pytest.mark.parametrize("strength", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_against_hot_loading(tiny, tiny_lora, prompt, settings, control, reference, strength, dtype):
    engine = load_engine(tiny, device="cpu", dtype=dtype)
    pipe = load_pipeline(tiny, getattr(torch, dtype))
    pipe.enable_lora_hot_loading(pipe.dit)
    pipe.load_lora(pipe.dit, tiny_lora, alpha=strength, hotload=True, verbose=0)
    settings = replace(settings, loras=(LoraUse(tiny_lora, strength),))
    assert_same(
        run_ours(engine, prompt, settings, control, reference), run_pipeline(pipe, prompt, settings, control, reference)
    )


def test_lora_strengths_differ_and_zero_is_the_base(engine, tiny_lora, prompt, settings, control, reference):
    def run(*loras):
        return run_ours(engine, prompt, replace(settings, loras=loras), control, reference)[0]

    base = run()
    full = run(LoraUse(tiny_lora, 1.0))
    assert torch.equal(run(LoraUse(tiny_lora, 0.0)), base)
    assert not torch.allclose(full, base, atol=1e-3)
    assert not torch.allclose(run(LoraUse(tiny_lora, 0.5)), full, atol=1e-3)
    assert torch.equal(run(), base), "a LoRA left something behind"


@pytest.fixture(scope="module")
def soft_mask():
    """A ramp that wanders through the frames, with all levels from kept to drawn anew."""
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([(columns * 4 + rows * 5 + frame * 31) % 256 for frame in range(9)]).astype(np.uint8)


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_masks(engine, pipeline, prompt, settings, control, reference, soft_mask, hard, with_reference):
    picture = reference if with_reference else None
    mask = np.where(soft_mask > 127.5, 255, 0).astype(np.uint8) if hard else soft_mask
    ours = run_ours(
        engine,
        prompt,
        replace(settings, mask_edge="hard" if hard else "soft"),
        control,
        picture,
        mask=soft_mask,
    )
    assert_same(ours, run_pipeline(pipeline, prompt, settings, control, picture, mask=mask))
    assert not torch.equal(ours[0], run_ours(engine, prompt, settings, control, picture)[0])


def test_several_references(engine, pipeline, prompt, settings, control, reference):
    pictures = [reference, np.ascontiguousarray(reference[::-1]), np.ascontiguousarray(255 - reference)]
    ours = run_ours(engine, prompt, settings, control, pictures)
    assert_same(ours, run_pipeline(pipeline, prompt, settings, control, pictures))
    turned = run_ours(engine, prompt, settings, control, pictures[::-1])
    assert not torch.equal(ours[0], turned[0]), "the order of the references plays no part"


@pytest.mark.parametrize("tiling", [False, True])
@pytest.mark.parametrize("with_reference", [False, True])
def test_start_clips(engine, pipeline, prompt, settings, control, reference, tiling, with_reference):
    picture = reference if with_reference else None
    start = control.with_frames(255 - control.frames)
    settings = replace(settings, denoise=0.6, tiling=tiling)
    ours = run_ours(engine, prompt, settings, control, picture, start=start)
    assert_same(ours, run_pipeline(pipeline, prompt, settings, control, picture, start=start))
    assert not torch.equal(ours[0], run_ours(engine, prompt, replace(settings, denoise=1.0), control, picture)[0])


@pytest.mark.parametrize(("control_strength", "reference_strength"), [(0.3, 1.5), (0.0, 1.0), (1.0, 0.0)])
def test_strengths_apart_are_a_scale_for_each_token(
    engine, pipeline, prompt, settings, control, reference, control_strength, reference_strength
):
    """DiffSynth takes a tensor for ``vace_scale`` too: 3 x 4 tokens of one reference frame, then those of the video."""
    scale = torch.full((1, 4 * 12, 1), control_strength)
    scale[:, :12] = reference_strength
    changed = replace(settings, control_strength=control_strength, reference_strength=reference_strength)
    assert_same(
        run_ours(engine, prompt, changed, control, reference),
        run_pipeline(pipeline, prompt, settings, control, reference, scale=scale),
    )

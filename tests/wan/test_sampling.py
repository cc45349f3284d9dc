from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.video.clip import Clip
from s2v_core.wan.decoding import decode
from s2v_core.wan.lora_use import LoraUse
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import sample
from s2v_core.wan.schedule import sigmas
from s2v_core.wan.vace import condition


def test_sigmas_fall_from_one_to_zero():
    for steps, shift in ((1, 5.0), (4, 1.0), (50, 16.0)):
        levels = sigmas(steps, shift)
        assert len(levels) == steps + 1
        assert levels[0] == 1
        assert levels[-1] == 0
        assert (levels.diff() < 0).all()
    assert torch.allclose(sigmas(4, 1.0), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    assert torch.isclose(sigmas(2, 3.0)[1], torch.tensor(0.75))  # 3 * 0.5 / (1 + 2 * 0.5)


def test_steps_are_told_with_a_picture(engine, prompt, settings, control, reference):
    seen = []
    conditioning = condition(engine, prompt, settings, control=control, reference=reference)
    sample(engine, conditioning, settings, on_step=seen.append)
    assert [(step.index, step.total) for step in seen] == [(0, 3), (1, 3), (2, 3)]
    assert seen[0].sigma == 1.0
    picture = seen[-1].preview()
    assert picture.shape == (settings.height // 8, settings.width // 8, 3)
    assert picture.dtype == np.uint8


def test_the_preview_shows_the_colours_of_what_was_encoded(engine):
    from s2v_core.wan.preview import fit_colours, preview

    colours = fit_colours(engine.parts["vae"], "cpu", torch.float32)
    assert colours.shape == (17, 3)
    latents = torch.zeros(1, 16, 1, 2, 2)
    latents[0, 3] = 50.0
    wanted = ((50.0 * colours[3] + colours[16] + 1) * 127.5).clip(0, 255).to(torch.uint8)
    assert np.array_equal(preview(latents, colours)[1, 1], wanted.numpy())


def test_stopping_between_steps(engine, prompt, settings):
    seen = []
    conditioning = condition(engine, prompt, settings)
    with pytest.raises(Interrupted, match="step 3 of 3"):
        sample(engine, conditioning, settings, on_step=seen.append, should_stop=lambda: len(seen) == 2)
    assert len(seen) == 2


def test_pictures_of_another_size_are_fitted_and_said(engine, prompt, settings):
    wide = Clip(np.full((12, 50, 200, 3), 90, np.uint8), Fraction(16))
    tall = np.full((80, 20, 3), 200, np.uint8)
    conditioning = condition(engine, prompt, settings, control=wide, reference=tall)
    assert conditioning.notes == (
        "The control video's first 9 of 12 frames are used.",
        "The control video was letterboxed from 200 x 50 to 64 x 48.",
        "The reference image was letterboxed from 20 x 80 to 64 x 48.",
    )
    assert conditioning.references == 1
    assert conditioning.vace_context.shape == (1, 96, 4, 6, 8)
    cropped = condition(engine, prompt, replace(settings, fit="crop"), control=wide, reference=tall)
    assert "cropped" in cropped.notes[1]
    assert not torch.equal(cropped.vace_context, conditioning.vace_context)


def test_what_cannot_be_used_is_an_error_before_anything_runs(engine, prompt, settings, control, reference):
    short = control.with_frames(control.frames[:7])
    with pytest.raises(SettingsError, match="Set the number of frames to 5"):
        condition(engine, prompt, settings, control=short)
    transparent = np.zeros((48, 64, 4), np.uint8)
    with pytest.raises(SettingsError, match="transparency"):
        condition(engine, prompt, settings, reference=transparent)
    with pytest.raises(SettingsError, match="reference image"):
        condition(engine, prompt, settings, reference=reference.astype(np.float32) / 255)
    with pytest.raises(SettingsError, match="too long"):
        condition(engine, Prompt("dance " * 600), settings)
    conditioning = condition(engine, prompt, settings, control=control)
    with pytest.raises(SettingsError, match="another size"):
        sample(engine, conditioning, replace(settings, width=80))


def test_rounding_to_8_bits(engine, prompt, settings):
    """float32 rounds to the nearest level, DiffSynth cuts: the two differ by at most one level, downwards."""
    conditioning = condition(engine, prompt, settings)
    latents = sample(engine, conditioning, settings)
    cut = decode(engine, latents, conditioning, settings).frames.astype(int)
    rounded = decode(engine, latents, conditioning, replace(settings, precision="float32")).frames.astype(int)
    assert set(np.unique(rounded - cut)) <= {0, 1}
    assert (rounded != cut).any()


def test_the_clip_has_the_control_s_rate_and_length(engine, prompt, settings, control):
    clip = Renderer(engine, control=Clip(control.frames, Fraction(25))).render(prompt, settings)
    assert (len(clip), clip.height, clip.width, clip.fps) == (9, 48, 64, Fraction(25))


def test_the_renderer_gives_what_the_stages_give(engine, prompt, settings, control, reference):
    conditioning = condition(engine, prompt, settings, control=control, reference=reference)
    wanted = decode(engine, sample(engine, conditioning, settings), conditioning, settings)
    renderer = Renderer(engine, control, reference)
    for _ in range(2):
        assert np.array_equal(renderer.render(prompt, settings).frames, wanted.frames)
    other = renderer.render(prompt, replace(settings, guidance=1.0))
    assert not np.array_equal(other.frames, wanted.frames)


def test_the_renderer_encodes_pictures_and_texts_once(engine, settings, control, reference):
    calls = []
    engine.grey.clear()
    # The convolution at the end of each video's encoding.
    engine.parts["vae"].model.conv1.register_forward_pre_hook(lambda *_: calls.append("vae"))
    (text,) = engine.use("text_encoder")
    text.register_forward_pre_hook(lambda *_: calls.append("text"))
    renderer = Renderer(engine, control, reference)
    prompt = Prompt("one text of its own", "and its negative")
    for guidance in (3.0, 4.0):
        for seed in (1, 2):
            renderer.render(prompt, replace(settings, guidance=guidance, seed=seed))
    assert calls.count("vae") == 3  # inactive, reactive, reference
    assert calls.count("text") == 2


def test_what_steps_share_is_computed_again_only_when_it_changed(
    engine, settings, prompt, control, reference, tiny_lora, monkeypatch
):
    from s2v_core.wan import transformer

    settings = replace(settings, guidance=3.0, loras=(LoraUse(str(tiny_lora), 0.5),))
    renderer, made = Renderer(engine, control, reference), []
    prepare = transformer.prepare
    monkeypatch.setattr(transformer, "prepare", lambda *a, **k: made.append(1) or prepare(*a, **k))
    other = Prompt("another text", prompt.negative)
    quarter = replace(settings.loras[0], strength=0.25)
    changes = [
        (prompt, settings, 1),
        (prompt, replace(settings, guidance=4.0, seed=7), 0),
        (other, settings, 1),
        (prompt, replace(settings, loras=(quarter,)), 1),
        (prompt, replace(settings, loras=(replace(quarter, scope="blocks 0-1: 0.5"),)), 1),
        (prompt, replace(settings, loras=(replace(quarter, from_step=1),)), 2),
        (prompt, replace(settings, guidance=1.0), 1),
        (prompt, replace(settings, precision="diffsynth"), 1),
    ]
    for text, one, computed in changes:
        engine.constants = None if one is settings and text is prompt else engine.constants
        made.clear()
        kept = renderer.render(text, one).frames
        assert len(made) == computed, (text.text, len(made), one.loras, one.guidance)
        engine.constants = None
        assert np.array_equal(kept, renderer.render(text, one).frames)


def test_the_fingerprint_names_all_that_decides_the_pixels(engine, tiny, tiny_lora, control, reference):
    base = Renderer(engine, control, reference).fingerprint
    assert base == Renderer(engine, control, reference).fingerprint
    assert base != Renderer(engine, control, None).fingerprint
    assert base != Renderer(engine, None, reference).fingerprint
    assert {"transformer sha256", "vae sha256", "text encoder sha256", "dtype", "device", "torch"} <= set(base)
    renderer = Renderer(engine)
    assert len(renderer.lora_sha256(tiny_lora)) == 64


def test_a_seed_decides_the_noise(engine, prompt, settings):
    from s2v_core.wan.sampler import noise

    conditioning = condition(engine, prompt, settings)
    assert torch.equal(noise(conditioning, 3), noise(conditioning, 3))
    assert not torch.equal(noise(conditioning, 3), noise(conditioning, 4))

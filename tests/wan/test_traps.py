"""What gives wrong pictures without a word elsewhere: here each is the right result, or an error that says so."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from s2v_core.errors import SettingsError, VideoError
from s2v_core.prompts.prompt import Prompt
from s2v_core.video.clip import Clip
from s2v_core.video.fit import fit_clip, fit_image
from s2v_core.wan import transformer
from s2v_core.wan.engine import load_engine
from s2v_core.wan.sampler import sample
from s2v_core.wan.vace import condition, encode_pictures


@pytest.mark.parametrize("size", [(32, 24), (40, 40), (160, 80)])
@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_trap_control_of_another_size(engine, settings, control, size, fit):
    """DiffSynth pads the tokens of a small control video with zeros, and fails at a large one."""
    settings = replace(settings, fit=fit)
    other = fit_clip(control, size)
    ours = encode_pictures(engine, settings, other)
    wanted = encode_pictures(engine, settings, fit_clip(other, (64, 48), fit))
    assert torch.equal(ours.vace_context, wanted.vace_context)
    assert any(f"from {size[0]} x {size[1]} to 64 x 48" in note for note in ours.notes)


@pytest.mark.parametrize("size", [(32, 24), (40, 40), (160, 80)])
def test_trap_reference_of_another_size(engine, settings, reference, size):
    """DiffSynth takes a reference of another size as it is: noise, or a crash. VACE letterboxes it on white."""
    other = fit_image(reference, size)
    ours = encode_pictures(engine, settings, reference=other)
    fitted = fit_image(other, (64, 48), "letterbox", (255, 255, 255))
    assert torch.equal(ours.vace_context, encode_pictures(engine, settings, reference=fitted).vace_context)
    assert ours.notes


@pytest.mark.parametrize("what", ["control video", "mask", "start clip"])
def test_trap_short_videos(engine, settings, control, what):
    """DiffSynth renders on with the tokens that are there; others repeat or pad with grey."""
    short = control.with_frames(control.frames[:7])
    given = {
        "control video": {"control": short},
        "mask": {"control": control, "mask": np.zeros((7, 48, 64), np.uint8)},
        "start clip": {"start": short},
    }[what]
    with pytest.raises(SettingsError, match=f"The {what} is too short") as caught:
        encode_pictures(engine, replace(settings, denoise=0.5 if what == "start clip" else 1.0), **given)
    assert "at least 9 frames" in str(caught.value) and "7 frames" in str(caught.value)


def test_trap_long_videos_are_cut_and_said(engine, settings, control):
    long = control.with_frames(np.concatenate([control.frames, 255 - control.frames]))
    ours = encode_pictures(engine, settings, long)
    assert torch.equal(ours.vace_context, encode_pictures(engine, settings, control).vace_context)
    assert ours.notes == ("The control video's first 9 of 18 frames are used.",)


@pytest.mark.parametrize("shape", [(48, 64, 4), (48, 64, 2), (0, 64, 3), (1, 48, 64, 3, 1)])
def test_trap_reference_with_transparency_or_other_channels(engine, settings, shape):
    with pytest.raises(SettingsError, match="cannot be used") as caught:
        encode_pictures(engine, settings, reference=[np.zeros(shape, np.uint8)])
    assert "RGB" in str(caught.value)


def test_trap_reference_of_another_type(engine, settings, reference):
    for wrong in (reference / 255, reference.astype(np.int32), "man.png"):
        with pytest.raises(SettingsError, match="cannot be used"):
            encode_pictures(engine, settings, reference=[wrong])


def test_trap_grey_reference(engine, settings, reference):
    """A picture of one channel crashes DiffSynth; here it is the grey picture that it shows."""
    grey = reference[..., 0]
    wanted = encode_pictures(engine, settings, reference=np.stack([grey] * 3, axis=-1)).vace_context
    for form in (grey, grey[..., None]):
        assert torch.equal(encode_pictures(engine, settings, reference=form).vace_context, wanted)


def test_trap_control_of_another_colour_mode(control):
    for wrong in (control.frames[..., :1], np.concatenate([control.frames, control.frames[..., :1]], -1)):
        with pytest.raises(VideoError, match="not a clip"):
            Clip(wrong, Fraction(16))


def test_trap_mask_forms(engine, settings, control):
    """A grey mask or a single picture crashes DiffSynth; a mask in colours mixes its channels."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 32:] = 255
    frames = np.repeat(mask[None], 9, axis=0)
    wanted = encode_pictures(engine, settings, control, mask=Clip(np.stack([frames] * 3, -1), Fraction(16)))
    for form in (mask, mask[None], mask / 255, mask > 0, frames, frames[..., None], (frames / 255).astype(np.float32)):
        assert torch.equal(encode_pictures(engine, settings, control, mask=form).vace_context, wanted.vace_context)
    coloured = np.stack([frames, 255 - frames, frames], axis=-1)
    with pytest.raises(SettingsError, match="has colours"):
        encode_pictures(engine, settings, control, mask=coloured)


def test_trap_mask_that_lies_on_nothing(engine, settings, control):
    with pytest.raises(SettingsError, match="needs a control video"):
        encode_pictures(engine, settings, mask=np.zeros((48, 64), np.uint8))
    with pytest.raises(SettingsError, match="another shape than the control video"):
        encode_pictures(engine, settings, control, mask=np.zeros((64, 64), np.uint8))


def test_trap_two_references_under_tiling(engine, settings, reference):
    """DiffSynth multiplies the tile size by eight again for each picture of a list (its issue 1224)."""
    settings = replace(settings, width=448, height=32, frames=1, tiling=True)  # larger than one tile
    one = fit_image(reference, (448, 32), "crop")
    two = np.ascontiguousarray(one[::-1])
    both = encode_pictures(engine, settings, reference=[one, two])
    assert both.references == 2
    for place, picture in enumerate((one, two)):
        alone = encode_pictures(engine, settings, reference=picture)
        assert torch.equal(both.vace_context[:, :, place], alone.vace_context[:, :, 0])
    untiled = encode_pictures(engine, replace(settings, tiling=False), reference=two)
    assert not torch.equal(both.vace_context[:, :, 1], untiled.vace_context[:, :, 0]), "nothing was tiled"


def test_trap_prompts_in_a_batch(engine):
    """DiffSynth cuts every text of a batch at the length of the shortest."""
    short, long = "A man.", "A man is dancing on a stage, full body, with sharp details and smooth motion."
    alone = [engine.text_states(text) for text in (short, long)]
    engine._texts.clear()
    again = [engine.text_states(text) for text in (long, short)][::-1]
    assert all(torch.equal(one, two) for one, two in zip(alone, again, strict=True))
    used = [int((states != 0).any(dim=2).sum()) for states in alone]
    assert used[1] > used[0] > 0


@pytest.mark.parametrize(("precision", "distinct"), [("float32", 50), ("diffsynth", 40)])
def test_trap_timesteps_in_bfloat16(tiny, prompt, settings, precision, distinct, monkeypatch):
    """In bfloat16 50 steps at shift 16 are only 40: some steps repeat the noise level of the one before."""
    engine = load_engine(tiny, device="cpu", dtype="bfloat16")
    seen = []

    def stand_still(dit, vace, constants, side, latents, timestep, *rest):
        seen.append(timestep)
        return torch.zeros_like(latents)

    settings = replace(settings, steps=50, shift=16.0, guidance=1.0, precision=precision)
    conditioning = condition(engine, prompt, settings)
    monkeypatch.setattr(transformer, "predict", stand_still)
    latents = sample(engine, conditioning, settings)
    assert len({float(timestep) for timestep in seen}) == distinct
    if precision == "float32":
        from diffsynth.models.wan_video_dit import sinusoidal_embedding_1d

        # What the net sees of them, in its own type, is distinct as well.
        (dit,) = engine.use("dit")
        rows = {tuple(sinusoidal_embedding_1d(256, one).to(torch.bfloat16)[0].tolist()) for one in seen}
        assert len(rows) == 50 and dit.freq_dim <= 256
        assert latents.dtype == torch.float32
        assert not torch.equal(latents, latents.to(torch.bfloat16).float())


def test_trap_denoise_without_a_clip(engine, prompt, settings, control):
    half = replace(settings, denoise=0.5)
    with pytest.raises(SettingsError, match="begins from a clip"):
        condition(engine, prompt, half, control=control)
    whole = condition(engine, prompt, settings, control=control, start=control)
    assert whole.notes == ("At denoise 1 the start clip plays no part.",)
    with pytest.raises(SettingsError, match="holds no clip"):
        sample(engine, whole, half)


def test_trap_a_negative_prompt_that_is_not_used(engine, settings):
    """At guidance 1 no word of the negative prompt can matter, however it came to be 1."""
    for changes in ({"guidance": 1.0}, {"guidance_to": 0}, {"guidance_schedule": "1"}):
        changed = replace(settings, **changes)
        one, two = (
            sample(engine, condition(engine, Prompt("a man dances", negative), changed), changed)
            for negative in ("blurry", "static")
        )
        assert torch.equal(one, two)

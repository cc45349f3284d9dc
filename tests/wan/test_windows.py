"""Long clips in overlapping windows."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import Interrupted
from s2v_core.video.clip import Clip
from s2v_core.wan import transformer
from s2v_core.wan.sampler import sample
from s2v_core.wan.vace import condition
from s2v_core.wan.windows import Window, blend, plan_windows


@given(st.integers(1, 120), st.integers(2, 40), st.data())
def test_windows_cover_the_clip_and_weigh_one(total, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    windows = plan_windows(total, length, overlap)
    sums = np.zeros(total)
    for window in windows:
        assert window.stop - window.start == min(length, total) == len(window.weights)
        assert min(window.weights) > 0
        sums[window.start : window.stop] += window.weights
    assert np.allclose(sums, 1)
    assert windows[0].start == 0 and windows[-1].stop == total
    for one, two in pairwise(windows):
        assert one.start < two.start <= one.stop - overlap


def test_weights_rise_in_the_overlap_and_are_full_at_the_clip_s_ends():
    first, second = plan_windows(10, 6, 2)
    assert (first.start, first.stop, second.start, second.stop) == (0, 6, 4, 10)
    assert first.weights[:4] == (1, 1, 1, 1) and second.weights[2:] == (1, 1, 1, 1)
    assert first.weights[4:] == pytest.approx((2 / 3, 1 / 3))
    assert second.weights[:2] == pytest.approx((1 / 3, 2 / 3))
    assert plan_windows(21, 21, 4) == (Window(0, 21, (1.0,) * 21),)


def test_predictions_that_agree_are_blended_to_themselves():
    """A prediction that depends on each frame alone is the same in windows as in one piece."""
    latents = torch.randn(1, 4, 2 + 11, 2, 3, generator=torch.Generator().manual_seed(0))
    windows = plan_windows(11, 5, 2)
    seen = []

    def predict(number, part):
        seen.append((number, part.shape[2]))
        assert torch.equal(part[:, :, :2], latents[:, :, :2])  # the references are in every window
        return part * 3 + 1

    assert torch.allclose(blend(windows, 2, latents, predict), latents * 3 + 1, atol=1e-5)
    assert seen == [(number, 7) for number in range(len(windows))]


@pytest.fixture(scope="module")
def long_settings(settings):
    return replace(settings, frames=33, steps=2, precision="float32")


@pytest.fixture(scope="module")
def long_control():
    frames = np.zeros((33, 48, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[8:40, 4 + index : 10 + index] = (255, 80, index * 7)
    return Clip(frames, Fraction(16))


@pytest.fixture(scope="module")
def long_conditioning(engine, prompt, long_settings, long_control, reference):
    return condition(engine, prompt, long_settings, control=long_control, reference=reference)


def test_a_clip_that_fits_one_window_is_the_plain_way_bit_for_bit(engine, long_settings, long_conditioning):
    plain = sample(engine, long_conditioning, long_settings)
    for length in (33, 81):
        assert torch.equal(plain, sample(engine, long_conditioning, replace(long_settings, window_frames=length)))
    windowed = sample(engine, long_conditioning, replace(long_settings, window_frames=17, window_overlap=8))
    assert windowed.shape == plain.shape
    assert not torch.allclose(windowed, plain, atol=1e-3)


def test_each_window_sees_the_reference_and_its_own_part_of_the_control(
    engine, long_settings, long_conditioning, monkeypatch
):
    seen = []
    predict = transformer.predict

    def spy(dit, vace, constants, side, latents, *rest):
        seen.append((constants, latents))
        return predict(dit, vace, constants, side, latents, *rest)

    monkeypatch.setattr(transformer, "predict", spy)
    settings = replace(long_settings, steps=1, guidance=1.0, window_frames=17, window_overlap=8)
    sample(engine, long_conditioning, settings)
    dit, vace = engine.use("dit", "vace")
    context = long_conditioning.vace_context
    assert [latents.shape[2] for _, latents in seen] == [1 + 5] * 3  # 9 latent frames: 0-5, 3-8, 4-9
    for (constants, latents), start in zip(seen, (0, 3, 4), strict=True):
        part = torch.cat([context[:, :, :1], context[:, :, 1 + start : 1 + start + 5]], dim=2)
        with torch.no_grad():
            alone = transformer.prepare(dit, vace, {}, part, tuple(latents.shape), 1, exact=False)
        assert constants.grid == alone.grid and constants.references == 1
        assert torch.allclose(constants.control, alone.control, atol=1e-5)
        assert torch.equal(constants.freqs, alone.freqs)


def test_windows_follow_every_part_of_the_control(engine, prompt, long_settings, long_control, long_conditioning):
    """A change in the last frames of the pose video reaches the last latents, and by way of the overlaps only them."""
    settings = replace(long_settings, steps=1, window_frames=17, window_overlap=4)
    changed = long_control.frames.copy()
    changed[-3:] = 255
    other = condition(engine, prompt, settings, control=long_control.with_frames(changed))
    same = condition(engine, prompt, settings, control=long_control)
    difference = (sample(engine, other, settings) - sample(engine, same, settings)).abs().amax(dim=(0, 1, 3, 4))
    assert difference[-1] > 1e-3
    assert (difference[:4] == 0).all()  # they lie in the first window alone


def test_a_long_clip_can_be_stopped_between_windows(engine, long_settings, long_conditioning):
    asked = []
    settings = replace(long_settings, window_frames=17, window_overlap=8, guidance=1.0)
    with pytest.raises(Interrupted, match="step 1 of 2"):
        sample(engine, long_conditioning, settings, should_stop=lambda: asked.append(1) or len(asked) == 3)


def test_a_clip_longer_than_the_training_is_said(engine, prompt, settings):
    long = replace(settings, frames=85, width=16, height=16)
    (note,) = condition(engine, prompt, long).notes
    assert "85 frames are rendered at once" in note and "window_frames 81" in note
    assert condition(engine, prompt, replace(long, window_frames=81)).notes == ()

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from s2v_core.errors import SettingsError, VideoError
from s2v_core.video.clip import Clip
from s2v_core.wan.masks import as_mask, fit_mask, keep_frames, region
from s2v_core.wan.vace import mask_shares

GREY = np.arange(9 * 48 * 64, dtype=np.int64).astype(np.uint8).reshape(9, 48, 64)


def test_every_usual_form_is_the_same_mask():
    colours = np.repeat(GREY[..., None], 3, axis=3)
    for form in (GREY, GREY[..., None], colours, Clip(colours, Fraction(16)), GREY / 255, (GREY / 255).astype("f4")):
        assert np.array_equal(as_mask(form), GREY)
    assert as_mask(None) is None
    for picture in (GREY[0], GREY[0][..., None], colours[0], GREY[0] / 255):
        assert np.array_equal(as_mask(picture), GREY[:1])
    assert np.array_equal(as_mask(GREY > 100), np.where(GREY > 100, 255, 0))
    slightly_off = colours.copy()
    slightly_off[..., 0] = np.minimum(slightly_off[..., 0], 252) + 3  # as video compression leaves it
    assert np.abs(as_mask(slightly_off).astype(int) - GREY).max() <= 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.stack([GREY, GREY // 2, GREY], -1), "has colours"),
        (np.full((9, 48, 64), 2.0), "0 to 1"),
        (np.full((9, 48, 64), -0.1), "0 to 1"),
        (np.full((9, 48, 64), np.nan), "0 to 1"),
        (GREY.astype(np.int32), "int32"),
        (np.zeros((9, 48, 64, 4), np.uint8), "[9, 48, 64, 4]"),
        (np.zeros((9, 0, 64), np.uint8), "[9, 0, 64]"),
        (np.uint8(3), "uint8 []"),
        ("mask.png", "frames"),
        (np.zeros((1, 9, 48, 64, 3), np.uint8), "[1, 9, 48, 64, 3]"),
    ],
)
def test_what_is_no_mask(wrong, said):
    with pytest.raises(SettingsError) as caught:
        as_mask(wrong)
    assert said in str(caught.value)


def test_fitting(settings, control):
    assert fit_mask(None, control, settings) == (None, ())
    given, notes = fit_mask(GREY, control, settings)
    assert np.array_equal(given, GREY) and notes == ()
    for_all, _ = fit_mask(GREY[0], control, settings)
    assert for_all.shape == (9, 48, 64) and all(np.array_equal(frame, GREY[0]) for frame in for_all)
    cut, notes = fit_mask(np.concatenate([GREY, GREY[:2]]), control, settings)
    assert np.array_equal(cut, GREY)
    assert notes == ("The mask's first 9 of 11 frames are used.",)
    hard, _ = fit_mask(GREY, control, replace(settings, mask_edge="hard"))
    assert np.array_equal(hard, np.where(GREY > 127.5, 255, 0))


def test_a_mask_is_fitted_as_its_video_is(settings):
    wide = Clip(np.zeros((9, 24, 64, 3), np.uint8), Fraction(16))
    kept = np.zeros((24, 64), np.uint8)
    fitted, notes = fit_mask(kept, wide, settings)
    assert notes == ("The mask was letterboxed from 64 x 24 to 64 x 48.",)
    assert (fitted[:, 12:36] == 0).all()
    assert (fitted[:, :12] == 255).all() and (fitted[:, 36:] == 255).all(), "the border is to be drawn"
    small, _ = fit_mask(np.zeros((12, 32), np.uint8), wide, settings)  # the same proportions
    assert np.array_equal(small, fitted)
    final, notes = fit_mask(np.zeros((48, 64), np.uint8), wide, settings)  # made for the rendering itself
    assert (final == 0).all() and notes == ()


def test_first_and_last_frame(settings, control):
    red = np.full((48, 64, 3), (200, 0, 0), np.uint8)
    tall = np.full((96, 64, 3), (0, 0, 200), np.uint8)
    clip, mask = keep_frames({0: red, -1: tall}, settings, control)
    assert np.array_equal(clip.frames[0], red)
    assert (clip.frames[-1][:, 16:48] == (0, 0, 200)).all() and (clip.frames[-1][:, :16] == 0).all()
    assert np.array_equal(clip.frames[1:-1], control.frames[1:-1])
    assert [int(frame.max()) for frame in mask] == [0, *[255] * 7, 0] and mask.shape == (9, 48, 64)
    alone, _ = keep_frames({0: red}, settings)
    assert (alone.frames[1:] == 127).all() and len(alone) == settings.frames
    with pytest.raises(SettingsError, match="from 0 to 8"):
        keep_frames({9: red}, settings)
    with pytest.raises(VideoError):
        keep_frames({0: red[..., 0]}, settings)


def test_regions(settings):
    mask = region((16, 8, 32, 40), settings)
    assert mask.shape == (1, 48, 64)
    assert (mask[0, 8:40, 16:32] == 255).all() and int((mask == 255).sum()) == 32 * 16
    assert np.array_equal(region((16, 8, 32, 40), settings, inside=False), 255 - mask)
    for box in ((0, 0, 65, 8), (8, 0, 8, 8), (-1, 0, 8, 8), (0, 9, 8, 8)):
        with pytest.raises(SettingsError, match="region"):
            region(box, settings)


def test_the_mask_as_vace_takes_it():
    """Channel p * 8 + q holds pixel (p, q) of each 8 x 8 block; the frames are picked at even distances."""
    drawn = torch.from_numpy(GREY).float()[None, None]
    shares = mask_shares(drawn)
    assert shares.shape == (1, 64, 3, 6, 8)
    for latent, frame in enumerate((1, 4, 7)):  # the middles of three equal parts
        for p, q in ((0, 0), (3, 5), (7, 7)):
            assert np.array_equal(shares[0, p * 8 + q, latent], GREY[frame, p::8, q::8])

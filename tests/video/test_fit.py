"""Sizes without stretching."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.errors import VideoError
from s2v_core.video.clip import Clip, Source
from s2v_core.video.fit import fit_clip, fit_image, fit_transform

sides = st.integers(1, 300)
sizes = st.tuples(sides, sides)
fits = st.sampled_from(["letterbox", "crop"])


@given(sizes, sizes, fits)
def test_the_transform_keeps_proportions_and_the_middle(source, target, fit):
    scale, dx, dy = fit_transform(source, target, fit)
    assert source[0] / 2 * scale + dx == pytest.approx(target[0] / 2)
    assert source[1] / 2 * scale + dy == pytest.approx(target[1] / 2)
    shown = (source[0] * scale, source[1] * scale)
    slack = [shown[0] - target[0], shown[1] - target[1]]
    assert min(abs(value) for value in slack) < 1e-6
    assert all(value <= 1e-6 for value in slack) if fit == "letterbox" else all(value >= -1e-6 for value in slack)


@given(sizes, sizes, fits)
@settings(max_examples=60, deadline=None)
def test_any_size_comes_out_and_white_stays_white(source, target, fit):
    image = np.full((source[1], source[0], 3), 255, np.uint8)
    out = fit_image(image, target, fit, fill=(10, 20, 30))
    assert out.shape == (target[1], target[0], 3)
    assert out.dtype == np.uint8
    white = (out == 255).all(-1)
    border = (out == (10, 20, 30)).all(-1)
    assert (white | border).all()
    assert white.all() if fit == "crop" else white.any()
    # The border is the same on both sides, give or take one pixel.
    rows, columns = np.nonzero(white.any(1))[0], np.nonzero(white.any(0))[0]
    assert abs(rows[0] - (target[1] - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (target[0] - 1 - columns[-1])) <= 1


@given(
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    fits,
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
)
@settings(max_examples=80, deadline=None)
def test_points_land_where_the_picture_does(source, target, fit, u, v):
    """The centre of mass of a bright spot, before and after."""
    image = np.zeros((source[1], source[0], 3), np.uint8)
    x, y = int(u * source[0]), int(v * source[1])
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    scale, dx, dy = fit_transform(source, target, fit)
    expected = ((x + 0.5) * scale + dx, (y + 0.5) * scale + dy)
    margin = 3 * scale + 2
    if not (margin < expected[0] < target[0] - margin and margin < expected[1] < target[1] - margin):
        return
    out = fit_image(image, target, fit)[..., 0].astype(float)
    rows, columns = np.mgrid[0 : target[1], 0 : target[0]] + 0.5
    found = ((out * columns).sum() / out.sum(), (out * rows).sum() / out.sum())
    assert abs(found[0] - expected[0]) < 1
    assert abs(found[1] - expected[1]) < 1


def test_the_same_size_is_not_touched():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert fit_image(image, (6, 4)) is image
    clip = Clip(image[None], Fraction(16), Source("a.mp4", "0" * 64))
    assert fit_clip(clip, (6, 4), "crop") is clip


def test_a_clip_keeps_rate_and_source():
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    clip = Clip(frames, Fraction(25), Source("a.mp4", "0" * 64, Fraction(2)))
    fitted = fit_clip(clip, (15, 15), "letterbox", (255, 255, 255))
    assert (fitted.fps, fitted.source) == (clip.fps, clip.source)
    expected = fit_image(frames[1], (15, 15), "letterbox", (255, 255, 255))
    assert np.array_equal(fitted.frames[1], expected)
    assert (fitted.frames[:, :2] == 255).all()


def test_halving_averages():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, ::2] = 100
    assert (fit_image(image, (2, 2)) == 50).all()


@pytest.mark.parametrize(
    "arguments",
    [
        ((0, 5),),
        ((5, -5),),
        ((5,),),
        ((5.5, 5),),
        ((True, 5),),
        ((5, 5), "stretch"),
        ((5, 5), "crop", (0, 0, 256)),
        ((5, 5), "crop", (0, 0)),
    ],
    ids=str,
)
def test_what_cannot_be_used(arguments):
    with pytest.raises(VideoError) as caught:
        fit_image(np.zeros((4, 4, 3), np.uint8), *arguments)
    assert caught.value.expected


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3), (1, 4, 4, 3)], ids=str)
def test_what_is_no_picture(shape):
    with pytest.raises(VideoError):
        fit_image(np.zeros(shape, np.uint8), (5, 5))
    with pytest.raises(VideoError):
        fit_image(np.zeros((4, 4, 3)), (5, 5))

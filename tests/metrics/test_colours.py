from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.metrics.colours import DIRECTIONS, average, distance, look, nearer, seen_regions, to_lab
from s2v_core.metrics.frames import interval, mean_score

colours = st.tuples(*[st.integers(0, 255)] * 3)


def flat(colour: tuple[int, ...]) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


def whole(picture: np.ndarray) -> np.ndarray:
    return look(to_lab(picture), np.ones(picture.shape[:2], bool))


def test_all_directions_count_alike() -> None:
    assert np.allclose(DIRECTIONS.T @ DIRECTIONS / len(DIRECTIONS), np.eye(3) / 3)


@given(colours, colours)
def test_flat_colours_are_as_far_apart_as_their_delta_e(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    wanted = np.linalg.norm(to_lab(flat(one))[0, 0] - to_lab(flat(other))[0, 0])
    assert distance(whole(flat(one)), whole(flat(other))) == pytest.approx(wanted, abs=1e-3)


def test_white_and_black_are_a_hundred_apart() -> None:
    assert distance(whole(flat((255, 255, 255))), whole(flat((0, 0, 0)))) == pytest.approx(100, abs=0.1)


def test_a_pattern_is_told_from_its_mean() -> None:
    stripes = flat((0, 0, 0))
    stripes[::2] = 255
    assert distance(whole(stripes), whole(flat((128, 128, 128)))) > 40
    assert distance(whole(stripes), whole(stripes[:, ::-1])) == 0


def test_a_few_pixels_of_something_else_do_not_matter() -> None:
    stained = flat((200, 30, 30))
    stained[0] = (0, 255, 255)
    assert distance(whole(stained), whole(flat((200, 30, 30)))) < 1e-3


def test_too_few_pixels_are_no_look() -> None:
    mask = np.zeros((8, 8), bool)
    mask[0, :5] = True
    seen = look(to_lab(flat((9, 9, 9))), mask)
    assert np.isnan(seen).all()
    assert seen_regions({"a": seen, "b": whole(flat((1, 2, 3)))}) == ("b",)


@given(st.floats(0, 1))
def test_nearer_is_the_share_of_the_straight_way(share: float) -> None:
    own, other = whole(flat((200, 40, 40))), whole(flat((240, 240, 240)))
    assert nearer(own + share * (other - own), own, other) == pytest.approx(share, abs=1e-9)


def test_sideways_is_no_nearer() -> None:
    own, other, aside = (whole(flat((level, level, level))) for level in (50, 200, 50))
    assert nearer(own, own, other) == 0
    assert nearer(other, own, other) == 1
    aside = whole(flat((50, 120, 50)))
    assert nearer(aside, own, other) < 0.1


def test_frames_in_which_nothing_was_seen_are_left_out() -> None:
    one = whole(flat((10, 20, 30)))
    looks = np.stack([one, np.full_like(one, np.nan), one])
    assert np.array_equal(average(looks), one)
    assert np.isnan(average(looks[1:2])).all()


def test_an_interval_holds_the_mean_and_shrinks_with_the_frames() -> None:
    chance = np.random.default_rng(1)
    short, long = chance.normal(5, 1, 20), chance.normal(5, 1, 400)
    scores = [mean_score(values, "") for values in (short, long)]
    for score in scores:
        assert score.low < score.value < score.high  # type: ignore[operator]
    assert scores[1].high - scores[1].low < (scores[0].high - scores[0].low) / 2  # type: ignore[operator]
    assert scores[0] == mean_score(short, ""), "the same numbers, the same interval"


def test_a_few_frames_have_no_interval() -> None:
    assert interval(5, lambda chosen: 0.0) == (None, None)
    assert mean_score(np.array([1.0, np.nan, 3.0]), "").value == 2

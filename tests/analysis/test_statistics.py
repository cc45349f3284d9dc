from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from s2v_core.analysis.statistics import mean_interval, shuffle_chance, slope, spearman
from s2v_core.errors import SettingsError

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


def coverage(draw, truth, count, rounds=400):
    held = 0
    for _ in range(rounds):
        found = mean_interval(draw(count))
        held += found.low <= truth <= found.high
    return held / rounds


@pytest.mark.parametrize(("count", "least"), [(2, 0.91), (3, 0.92), (5, 0.92), (9, 0.91)])
def test_intervals_of_normal_values_hold_the_truth_as_often_as_they_say(count, least):
    random = np.random.default_rng(count)
    assert least <= coverage(lambda n: random.normal(3, 2, n), 3, count) <= 0.98


@pytest.mark.parametrize(("count", "least"), [(3, 0.84), (9, 0.85)])
def test_intervals_of_skewed_values_fall_short_by_what_the_docs_say(count, least):
    random = np.random.default_rng(count)
    assert least <= coverage(lambda n: random.exponential(1, n), 1, count) <= 0.97


def test_the_plain_bootstrap_would_not_do():
    # Why the ends are moved: of three values the plain percentile interval is at most from the lowest to the highest.
    random = np.random.default_rng(0)
    held = sum(values.min() <= 0 <= values.max() for values in random.normal(0, 1, (2000, 3)))
    assert held / 2000 < 0.78


def test_the_interval_of_three_values_by_hand():
    found = mean_interval([1.0, 2.0, 3.0])
    # 1/27 of the resamples are all ones, more than 2.5%: the plain ends are 1 and 3.
    stretch = stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975) * np.sqrt(3 / 2)
    assert (found.value, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - stretch)
    assert found.high == pytest.approx(2 + stretch)


def test_one_value_has_no_interval_and_none_no_mean():
    found = mean_interval([4.0])
    assert (found.value, found.low, found.high, found.n) == (4.0, None, None, 1)
    with pytest.raises(SettingsError, match="no mean of nothing"):
        mean_interval([])


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=2, max_size=9), NUMBERS, st.floats(0.1, 10))
def test_intervals_move_and_scale_with_the_values(values, off, scale):
    plain, moved = mean_interval(values), mean_interval([scale * value + off for value in values])
    assert plain.low <= plain.value + 1e-9 and plain.value <= plain.high + 1e-9
    for one, other in ((plain.value, moved.value), (plain.low, moved.low), (plain.high, moved.high)):
        assert scale * one + off == pytest.approx(other, abs=1e-6 * (1 + abs(other)) * scale + 1e-6)


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_the_order_of_the_seeds_does_not_matter(values):
    one, other = mean_interval(values), mean_interval(values[::-1])
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)


@settings(max_examples=30)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=12))
def test_slope_and_spearman_are_scipys(pairs):
    x, y = zip(*pairs, strict=True)
    if len(set(x)) < 2:
        with pytest.raises(SettingsError):
            slope(x, y)
        return
    if np.ptp(x) > 0.1:
        assert slope(x, y) == pytest.approx(stats.linregress(x, y).slope, rel=1e-6, abs=1e-6)
    if len(set(y)) > 1:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    else:
        assert spearman(x, y) == 0.0


def test_the_chance_of_a_perfect_order_is_that_of_all_orders():
    # 4 values in one of 24 orders: 1 in 24 reaches the slope of the sorted one.
    found = shuffle_chance([([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])], 1)
    assert found == pytest.approx(1 / 24, abs=0.015)
    assert shuffle_chance([([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4])], -1) == 1.0
    groups = [([1, 2, 3], [1.0, 2.0, 3.0]), ([1, 2, 3], [2.0, 5.0, 9.0])]
    exact = sum(
        sum(order[2] - order[0] for order in both) >= 3 - 1 + 9 - 2
        for both in itertools.product(itertools.permutations([1, 2, 3]), itertools.permutations([2, 5, 9]))
    )
    assert shuffle_chance(groups, 1) == pytest.approx(exact / 36, abs=0.015)


def test_no_effect_has_a_chance_that_is_spread_evenly():
    random = np.random.default_rng(5)
    found = [shuffle_chance([(range(5), random.normal(size=5)) for _ in range(3)], 1) for _ in range(100)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.08)
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)

"""Heat maps, curves, the front, the recommendation and the marginal gain, with answers known by hand."""

from __future__ import annotations

import pytest

from s2v_core.analysis.choice import pareto, recommend
from s2v_core.analysis.gain import marginal_gain
from s2v_core.analysis.table import Factor, Row, ScoreTable
from s2v_core.analysis.views import curve, curves, heat_map
from s2v_core.errors import SettingsError
from s2v_core.metrics.scorecard import Metric


def metric(name, direction="higher", ideal=None):
    return Metric(name, name.title(), direction, "", (None, None), ("clip",), "", "", ideal=ideal)


METRICS = (metric("likeness"), metric("leakage", "lower"), metric("motion", "neutral", 1.0), metric("mood", "neutral"))
GUIDANCE = Factor("guidance", "guidance", (1.0, 3.0, 5.0), ("1", "3", "5"))
LORA = Factor("lora_on", "LoRA", (False, True), ("off", "on"))


def table(scores, axes=(LORA, GUIDANCE), seeds=(0, 1), seconds=None):
    """``scores(lora_on, guidance, seed)`` gives the scores of a cell; a text is the reason for a missing one."""
    rows = []
    for on in LORA.values:
        for guidance in GUIDANCE.values:
            for seed in seeds:
                given = scores(on, guidance, seed)
                known = {name: None if isinstance(value, str) else value for name, value in given.items()}
                reasons = {name: value for name, value in given.items() if isinstance(value, str)}
                at = {"lora_on": on, "guidance": guidance}
                cost = seconds(guidance) if seconds else None
                rows.append(Row(f"{on} {guidance} {seed}", at, seed, known, reasons, seconds=cost))
    return ScoreTable(axes, tuple(rows), METRICS)


def test_a_heat_map_holds_the_means_over_seeds():
    found = heat_map(table(lambda on, g, seed: {"likeness": g + 10 * on + seed}), "likeness", "lora_on", "guidance")
    assert found.values == [[1.5, 3.5, 5.5], [11.5, 13.5, 15.5]]
    assert (found.low, found.high) == (1.5, 15.5)
    assert found.spots[1][2].cells == ("True 5.0 0", "True 5.0 1")
    assert found.spots[0][0].mean.n == 2


def test_missing_scores_stay_missing_and_say_why():
    def scores(on, guidance, seed):
        if guidance == 5 and (seed == 0 or on):
            return {"likeness": "no face was found"}
        return {"likeness": 0.0 if guidance == 1 else 2.0}

    found = heat_map(table(scores), "likeness", "lora_on", "guidance")
    assert found.values == [[0.0, 2.0, 2.0], [0.0, 2.0, None]]
    assert [spot.missing for spot in found.spots[0]] == [0, 0, 1]
    assert found.spots[0][2].mean.n == 1
    assert found.spots[1][2].reason == "no face was found"
    assert found.low == 0.0
    # Over both, a seed with a gap is left out: its mean would be of something else.
    line = curve(table(scores), "likeness", "guidance")
    assert line.values == [0.0, 2.0, None]
    assert line.spots[2].missing == 3
    nothing = heat_map(table(lambda *_: {}), "likeness", "lora_on", "guidance")
    assert nothing.low is None and nothing.spots[0][0].reason == "not scored"


def test_curves_have_a_band_over_seeds_and_one_line_a_value_of_another_axis():
    found = curves(table(lambda on, g, seed: {"likeness": g * (1 + on) + seed}), "likeness", "guidance", "lora_on")
    assert [one.at for one in found] == [(("lora_on", "off"),), (("lora_on", "on"),)]
    assert found[0].values == [1.5, 3.5, 5.5] and found[1].values == [2.5, 6.5, 10.5]
    spot = found[0].spots[0]
    assert spot.mean.low < 1.0 and spot.mean.high > 2.0
    alone = curve(table(lambda on, g, seed: {"likeness": g}, seeds=(4,)), "likeness", "guidance")
    assert alone.spots[0].mean.low is None


def test_unknown_names_are_answered_with_the_nearest():
    scored = table(lambda on, g, seed: {"likeness": g})
    with pytest.raises(SettingsError, match="Did you mean likeness"):
        curve(scored, "likenes", "guidance")
    with pytest.raises(SettingsError, match="Did you mean guidance"):
        curve(scored, "likeness", "guidence")


def test_the_front_holds_what_nothing_beats():
    # More guidance: more likeness, more leakage. With the LoRA everything is worse, at guidance 1 as leaky as at 3.
    def scores(on, guidance, seed):
        return {"likeness": guidance - on, "leakage": guidance + (2 if on and guidance == 1 else on)}

    found = pareto(table(scores), ["likeness", "leakage"])
    assert [point.labels for point in found.points] == [("off", "1"), ("off", "3"), ("off", "5")]
    assert len(found.beaten) == 3 and not found.left_out
    gaps = pareto(table(lambda on, g, s: {**scores(on, g, s), **({"leakage": "no pose"} if g == 1 else {})}),
                  ["likeness", "leakage"])  # fmt: skip
    assert [point.labels for point in gaps.points] == [("off", "3"), ("off", "5")]
    assert [point.reasons for point in gaps.left_out] == [{"leakage": "no pose"}] * 2
    ideal = pareto(table(lambda on, g, seed: {"motion": g / 3, "likeness": 1.0 - on}), ["motion", "likeness"])
    assert [point.labels for point in ideal.points] == [("off", "3")]
    with pytest.raises(SettingsError, match="two metrics"):
        pareto(table(scores), ["likeness"])
    with pytest.raises(SettingsError, match="neither more nor less"):
        pareto(table(scores), ["likeness", "mood"])


def test_the_recommended_cell_says_by_which_weights_and_how_far_the_next_is():
    def scores(on, guidance, seed):
        return {"likeness": guidance + 0.1 * seed, "leakage": 2.0 * on}

    found = recommend(table(scores), {"likeness": 3, "leakage": 1})
    assert found.best.labels == ("off", "5") and found.total == 1.0
    assert found.weights == {"likeness": 0.75, "leakage": 0.25}
    # Next is guidance 5 with the LoRA: the leakage's whole weight behind; the seeds agree exactly.
    assert [point.labels for point, _ in found.ranked[:2]] == [("off", "5"), ("on", "5")]
    assert found.ahead.value == pytest.approx(0.25) and found.ahead.low == pytest.approx(0.25)
    assert not found.close
    assert found.best.cells == ("False 5.0 0", "False 5.0 1")


def test_a_lead_within_the_noise_of_the_seeds_is_called_close():
    noise = {0: 0.9, 1: -0.9, 2: 0.2}

    def scores(on, guidance, seed):
        return {"likeness": guidance + (noise[seed] - 0.1 if on else 0.0)}

    found = recommend(table(scores, seeds=(0, 1, 2)), {"likeness": 1})
    assert found.best.labels == ("off", "5")
    assert found.ahead.low < 0 < found.ahead.value and found.close
    single = recommend(table(lambda on, g, seed: {"likeness": g + on}, seeds=(7,)), {"likeness": 1})
    assert single.close and single.ahead.low is None


def test_points_without_a_score_are_not_recommended_and_not_counted_as_zero():
    def scores(on, guidance, seed):
        return {"leakage": "no pose" if guidance == 1 else guidance}

    found = recommend(table(scores), {"leakage": 1})
    assert found.best.labels == ("off", "3")
    assert {point.labels for point in found.left_out} == {("off", "1"), ("on", "1")}
    with pytest.raises(SettingsError, match="no pose"):
        recommend(table(lambda on, g, seed: {"leakage": "no pose"}), {"leakage": 1})
    with pytest.raises(SettingsError, match="must be positive"):
        recommend(table(scores), {"leakage": 0})


def test_what_each_step_gains_a_second_and_where_enough_is():
    # 1 -> 3 gains 0.8 in 2 s, 3 -> 5 gains 0.02 in 4 s.
    scored = table(
        lambda on, g, seed: {"likeness": {1: 0.0, 3: 0.8, 5: 0.82}[g] + seed}, seconds=lambda g: {1: 1, 3: 3, 5: 7}[g]
    )
    found = marginal_gain(scored, "likeness", "guidance")
    assert [(one.start, one.end) for one in found.steps] == [(1, 3), (3, 5)]
    assert [one.gain.value for one in found.steps] == pytest.approx([0.8, 0.02])
    # The seeds differ by 1, but within each seed the gain is the same.
    assert found.steps[0].gain.low == pytest.approx(0.8)
    assert [one.rate for one in found.steps] == pytest.approx([0.4, 0.005])
    assert found.enough == 3
    assert [one.rate for one in marginal_gain(scored, "likeness", "guidance", "axis").steps] == pytest.approx(
        [0.4, 0.01]
    )


def test_gains_count_in_the_direction_that_is_better():
    falling = marginal_gain(table(lambda on, g, seed: {"leakage": 1 / g}), "leakage", "guidance", "axis")
    assert [one.gain.value for one in falling.steps] == pytest.approx([2 / 3, 2 / 15])
    never = marginal_gain(table(lambda on, g, seed: {"likeness": -g}), "likeness", "guidance", "axis")
    assert never.enough is None and never.steps[0].gain.value == -2
    gap = marginal_gain(
        table(lambda on, g, seed: {"likeness": "no face" if g == 3 else g}), "likeness", "guidance", "seconds"
    )
    assert [(one.start, one.end, one.rate) for one in gap.steps] == [(1, 5, None)]
    assert gap.left_out == {3.0: "no face"}
    with pytest.raises(SettingsError, match="no number"):
        marginal_gain(table(lambda on, g, seed: {"likeness": g}), "likeness", "lora_on")

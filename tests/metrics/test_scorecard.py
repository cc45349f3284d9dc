from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.metrics.registry import METRICS, chosen_metrics, default_metrics, score_clip
from s2v_core.metrics.scorecard import NEEDS, Metric, Score, Scorecard, empty
from s2v_core.sweeps.scores import score_of

FINAL = (
    "identity_clothes", "identity_face", "background", "leakage", "pose_pck", "pose_oks", "pose_mpjpe", "motion",
    "flicker", "warp", "sharpness", "blockiness", "seconds", "peak_memory",
)  # fmt: skip
numbers = st.floats(allow_nan=False, allow_infinity=False)
filled = st.builds(
    Score,
    value=numbers,
    low=st.none() | numbers,
    high=st.none() | numbers,
    how=st.text(max_size=20),
    version=st.text(min_size=1, max_size=3),
)
cards = st.dictionaries(st.sampled_from(FINAL), filled | st.text(min_size=1, max_size=20).map(empty)).map(Scorecard)


@given(cards)
def test_a_card_survives_json(card: Scorecard) -> None:
    said = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert Scorecard.from_json(said) == card
    for name in card:
        assert score_of({"cell": said}, "cell", name) == card.value(name)
        assert isinstance(said[name]["version"], str), "what CellStore.add_scores asks for"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_is_a_finite_number(value: float) -> None:
    with pytest.raises(SettingsError, match="finite"):
        Score(value)
    with pytest.raises(SettingsError, match="finite"):
        Score(1.0, low=value)


def test_a_score_is_never_empty_without_a_reason() -> None:
    with pytest.raises(SettingsError, match="reason"):
        Score(None)
    with pytest.raises(SettingsError, match="reason"):
        Score(0.0, reason="but why")
    assert empty("no control").value is None


@pytest.mark.parametrize("said", [{"value": "much"}, {"value": math.nan}, [1], "x"])
def test_what_is_no_score_is_an_error(said: object) -> None:
    with pytest.raises(SettingsError):
        Scorecard.from_json({"warp": said})  # type: ignore[dict-item]


def test_a_stored_null_gets_a_reason() -> None:
    assert Scorecard.from_json({"warp": {"value": None}})["warp"].reason


def test_the_names_are_final() -> None:
    assert tuple(METRICS)[: len(FINAL)] == FINAL
    assert set(FINAL) <= set(default_metrics())
    for metric in METRICS.values():
        assert metric.says.endswith(".")
        assert metric.source
        assert set(metric.needs) <= set(NEEDS)
        low, high = metric.range
        assert low is None or high is None or low < high


def test_a_metric_is_described_in_known_words() -> None:
    with pytest.raises(SettingsError, match="described"):
        Metric("x", "X", "sideways", "", (0, 1), ("clip",), "s", "Says.")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="moon"):
        Metric("x", "X", "higher", "", (0, 1), ("moon",), "s", "Says.")


def test_unknown_metrics_and_inputs_are_errors() -> None:
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(SettingsError, match="beauty"):
        chosen_metrics(["beauty"])
    with pytest.raises(SettingsError, match="control"):
        score_clip(frames, control="pose.mp4", metrics=["warp"])
    with pytest.raises(SettingsError, match="reference"):
        score_clip(frames, reference=frames.astype(float)[0], metrics=["warp"])
    with pytest.raises(SettingsError, match="detector"):
        score_clip(frames, detector="eyes", metrics=["warp"])
    with pytest.raises(SettingsError, match="training"):
        score_clip(frames, training=[], metrics=["warp"])
    with pytest.raises(SettingsError, match="measured"):
        score_clip(frames[..., 0], metrics=["warp"])


def test_what_cannot_be_measured_says_why() -> None:
    """A grey clip, and nothing else given: some values, and a reason in place of each other one."""
    card = score_clip(np.full((4, 64, 64, 3), 128, np.uint8))
    assert card.value("flicker") == 1
    assert card.value("warp") == 0
    assert card.value("sharpness") == 0
    for name in ("identity_clothes", "background", "leakage", "pose_pck", "motion", "seconds", "peak_memory"):
        assert card.value(name) is None
        assert len(card[name].reason) > 10
    assert "control" in card["motion"].reason
    assert "reference" in card["background"].reason
    assert score_clip(np.zeros((1, 64, 64, 3), np.uint8), metrics=["warp", "flicker"]).value("warp") is None


def test_the_cost_is_what_the_run_noted() -> None:
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    noted = {"seconds": 12.5, "peak_memory": 3 << 29, "forwards": 40, "fingerprint": {"device": "NVIDIA L4"}}
    card = score_clip(frames, provenance=noted, metrics=["seconds", "peak_memory"])
    assert card.value("seconds") == 12.5
    assert card["seconds"].how == "40 forwards of its own, on NVIDIA L4"
    assert card.value("peak_memory") == 1.5
    for bad in (-1, math.nan, "long", True):
        assert score_clip(frames, provenance={"seconds": bad}, metrics=["seconds"]).value("seconds") is None


def test_measuring_can_be_watched_and_stopped() -> None:
    frames, seen = np.zeros((2, 32, 32, 3), np.uint8), []
    score_clip(frames, metrics=["flicker", "warp"], on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(Interrupted):
        score_clip(frames, metrics=["flicker"], should_stop=lambda: True)

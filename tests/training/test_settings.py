from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.training.settings import TrainSettings


def test_settings_survive_json() -> None:
    made = TrainSettings(preset="self_attn.q, ffn.0", rank=8, alpha=16, learning_rate=1, decay="cosine")
    assert TrainSettings.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.preset == "self_attn.q,ffn.0"
    assert made.scale == 2.0
    assert TrainSettings(rank=8).scale == 1.0


@pytest.mark.parametrize(
    "values",
    [{"rank": 0}, {"preset": "nothing at all"}, {"width": 64}, {"leakage_limit": 0.5}, {"steps": 1.5}, {"decay": "x"}],
)
def test_what_makes_no_sense_is_refused(values) -> None:
    with pytest.raises(SettingsError):
        TrainSettings(**values)


@given(st.integers(1, 400), st.floats(0, 1))
def test_the_reference_is_seen_in_its_share_of_steps_evenly(steps: int, share: float) -> None:
    settings = TrainSettings(reference_share=share)
    seen = [settings.sees_reference(step) for step in range(steps)]
    for end in range(1, steps + 1):
        assert abs(sum(seen[:end]) - share * end) <= 1 + 1e-9


def test_the_three_shares_of_the_article() -> None:
    seen = {share: [TrainSettings(reference_share=share).sees_reference(n) for n in range(6)] for share in (0, 0.5, 1)}
    assert seen == {0: [False] * 6, 0.5: [False, True] * 3, 1: [True] * 6}


def test_the_learning_rate_rises_and_falls() -> None:
    plain = TrainSettings(learning_rate=0.1)
    assert {plain.rate(step) for step in range(5)} == {0.1}
    shaped = TrainSettings(learning_rate=0.1, warmup=4, decay="cosine", steps=24)
    rates = [shaped.rate(step) for step in range(24)]
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rates[14] == pytest.approx(0.05)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert all(map(math.isfinite, rates))


def test_a_longer_training_begins_like_a_shorter_one_unless_the_rate_knows_the_end() -> None:
    one, longer = TrainSettings(steps=10), TrainSettings(steps=20, save_every=3, score_every=5)
    assert one.decisive() == longer.decisive()
    assert TrainSettings(steps=10, decay="cosine").decisive() != TrainSettings(steps=20, decay="cosine").decisive()
    assert one.decisive() != TrainSettings(steps=10, seed=1).decisive()

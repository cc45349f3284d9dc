from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.nano.measure import (
    colour,
    dancer,
    distance,
    inside,
    iou,
    leakage,
    off,
    psnr,
    shows,
    silhouette,
    towards,
)
from s2v_core.nano.palette import PARTS
from s2v_core.nano.world import HELD_OUT, Take, render, scene


@pytest.fixture(scope="module", params=range(6))
def take(request: pytest.FixtureRequest) -> tuple[Take, dict[str, str]]:
    made = scene(request.param, held=HELD_OUT)
    named = {part: getattr(made.character, part) for part in PARTS}
    return render(made.character, made.motion, seed=made.seed), named


def test_a_true_clip_shows_its_dancer_and_colours(take: tuple[Take, dict[str, str]]) -> None:
    made, named = take
    frames = made.clip.frames
    # Not 1: clothes can have nearly the colour of the wall behind them.
    assert iou(silhouette(frames), dancer(made.labels)) > 0.6
    for part in ("wall", "trousers", "shirt"):
        assert shows(frames, made.labels, part, named[part])
        assert off(frames, frames, made.labels, part) == 0
    assert psnr(frames, frames) == float("inf")


def test_another_motion_has_another_shape() -> None:
    masks = []
    for number in range(8):
        made = scene(number, held=HELD_OUT)
        masks.append(dancer(render(made.character, made.motion, seed=made.seed).labels))
    others = [iou(one, other) for place, one in enumerate(masks) for other in masks[:place]]
    assert np.mean(others) < 0.5


def test_known_answers() -> None:
    one, other = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    assert iou(one, other) == 1
    one[0, :2], other[0, 1:3] = True, True
    assert iou(one, other) == pytest.approx(1 / 3)
    assert distance((0, 0, 0), (3, 0, 0)) == pytest.approx(3**0.5)
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    assert psnr(grey, grey + 10) == pytest.approx(28.13, abs=0.01)
    labels = np.zeros((1, 20, 20), np.uint8)
    assert inside(labels, "wall").all() and not inside(labels, "shirt").any()
    assert colour(np.full((1, 20, 20, 3), 7, np.uint8), labels, "wall") == (7, 7, 7)
    assert colour(np.full((1, 20, 20, 3), 7, np.uint8), labels, "shirt") is None
    with pytest.raises(SettingsError):
        inside(labels, "hat")
    with pytest.raises(SettingsError):
        iou(one, np.zeros((1, 2, 2), bool))


def test_leakage_is_the_way_gone_to_the_training_set() -> None:
    assert towards((0, 0, 0), (0, 0, 0), (10, 0, 0)) == 0
    assert towards((5, 3, 0), (0, 0, 0), (10, 0, 0)) == pytest.approx(0.5)
    assert towards((-5, 0, 0), (0, 0, 0), (10, 0, 0)) == pytest.approx(-0.5)
    with pytest.raises(SettingsError):
        towards((0, 0, 0), (1, 1, 1), (1, 1, 1))
    made = scene(3, held=HELD_OUT, fixed={"trousers": "yellow", "wall": "green"})
    biased = replace(made.character, trousers="black", wall="white")
    true, other = (render(one, made.motion, seed=made.seed) for one in (made.character, biased))
    bias = {"trousers": "black", "wall": "white"}
    assert leakage(true.clip.frames, true.clip.frames, true.labels, bias) == 0
    assert leakage(other.clip.frames, true.clip.frames, true.labels, bias) == pytest.approx(1, abs=0.1)
    assert leakage(other.clip.frames, other.clip.frames, other.labels, bias) is None

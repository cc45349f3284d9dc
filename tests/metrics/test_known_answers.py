"""Clips of the toy world whose right scores are known: what each change moves, and what it must leave alone.

docs/metrics.md has the table of these effects. The points are found by the toy world's net, not given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from s2v_core.metrics.registry import score_clip
from s2v_core.metrics.scorecard import Scorecard
from s2v_core.nano.world import AIST_LIKE, Take, reference, render, scene
from s2v_core.pose.measure import body_height
from s2v_core.video.clip import Clip
from tests.metrics import changes

Array = np.ndarray[Any, Any]
FRAMES = 9
# Farther from the score of the clip itself than this, and a metric has moved. Where a change is known to move a metric
# a little, the test says by how much.
BANDS = {
    "identity_clothes": 0.8,
    "background": 0.5,
    "leakage": 0.03,
    "pose_pck": 0.05,
    "pose_oks": 0.03,
    "pose_mpjpe": 0.5,
    "motion": 0.08,
    "flicker": 0.004,
    "warp": 0.5,
    "sharpness": 80.0,
    "blockiness": 0.15,
}
POSE = ("pose_pck", "pose_oks", "pose_mpjpe")
LOOKS = ("identity_clothes", "background", "leakage")


@pytest.fixture(scope="module")
def scenes() -> tuple[Any, Take]:
    made = scene(7)
    colours = {"wall": "blue", "floor": "brown", "trousers": "yellow", "shirt": "red"}
    made = replace(made, character=replace(made.character, **colours))
    return made, render(made.character, made.motion, seed=made.seed, frames=FRAMES)


@pytest.fixture(scope="module")
def training() -> list[Clip]:
    biased = [scene(number, fixed=AIST_LIKE) for number in range(3)]
    return [render(one.character, one.motion, seed=one.seed, frames=2).clip for one in biased]


@pytest.fixture(scope="module")
def score(scenes: tuple[Any, Take], training: list[Clip]) -> Callable[[Array], Scorecard]:
    """The scores of frames that should be the scene's own clip; each is measured once."""
    made, take = scenes
    picture = reference(made.character, made.motion, seed=made.seed)
    known: dict[bytes, Scorecard] = {}

    def measure(frames: Array) -> Scorecard:
        key = frames.tobytes()
        if key not in known:
            known[key] = score_clip(
                take.clip.with_frames(frames),
                control=take.track,
                reference=picture,
                training=training,
                driving=take.clip,
                metrics=list(BANDS),
            )
        return known[key]

    return measure


@pytest.fixture(scope="module")
def same(score: Any, scenes: tuple[Any, Take]) -> Scorecard:
    return score(scenes[1].clip.frames)


def values(cards: Sequence[Scorecard], metric: str) -> list[float]:
    found = [card.value(metric) for card in cards]
    assert None not in found, [card[metric].reason for card in cards]
    return found  # type: ignore[return-value]


def check(same: Scorecard, cards: Sequence[Scorecard], moves: Mapping[str, str], but: Mapping[str, float]) -> None:
    """``moves``: metric -> "up" or "down", ever farther with the strength. All others stay within their band.

    ``but``: metric -> another band, for what a change touches by its nature.
    """
    for metric, way in moves.items():
        steps = np.diff(values([same, *cards], metric))
        assert (steps > 0).all() if way == "up" else (steps < 0).all(), (metric, way, values([same, *cards], metric))
        assert abs(cards[-1].value(metric) - same.value(metric)) > BANDS[metric], metric
    for metric in set(BANDS) - set(moves):
        away = np.abs(np.array(values(cards, metric)) - same.value(metric))
        assert away.max() <= but.get(metric, BANDS[metric]), (metric, away)


def test_the_clip_itself_is_right(same: Scorecard) -> None:
    assert same.value("identity_clothes") < 1
    assert same.value("background") < 0.1
    assert abs(same.value("leakage")) < 0.02
    assert same.value("pose_pck") > 0.95
    assert same.value("pose_oks") > 0.97
    assert same.value("pose_mpjpe") < 1
    assert same.value("motion") == pytest.approx(1, abs=1e-6)


def test_a_shifted_clip_loses_the_pose_by_as_many_pixels(score: Any, same: Scorecard, scenes: Any) -> None:
    take = scenes[1]
    pixels = (2, 4, 8)
    cards = [score(changes.shifted(take.clip.frames, shift)) for shift in pixels]
    check(same, cards, {"pose_oks": "down", "pose_mpjpe": "up"}, {"pose_pck": 1, "warp": 0.8})
    height = float(body_height(take.track)[0])
    for shift, card in zip(pixels, cards, strict=True):
        assert card.value("pose_mpjpe") == pytest.approx(100 * shift / height, abs=0.3)
    assert values(cards[1:], "pose_pck") == [0, 0]


def test_a_frozen_clip_does_not_move(score: Any, same: Scorecard, scenes: Any) -> None:
    card = score(changes.frozen(scenes[1].clip.frames, 0))
    check(
        same,
        [card],
        {"pose_pck": "down", "pose_oks": "down", "pose_mpjpe": "up", "motion": "down", "flicker": "up", "warp": "down"},
        {},
    )
    assert (card.value("motion"), card.value("flicker"), card.value("warp")) == (0, 1, 0)


def test_a_slower_clip_moves_less(score: Any, same: Scorecard, scenes: Any) -> None:
    cards = [score(changes.slower(scenes[1].clip.frames, times)) for times in (2, 4)]
    moves = {"motion": "down", "flicker": "up", "warp": "down", "pose_oks": "down", "pose_mpjpe": "up"}
    check(same, cards, {**moves, "pose_pck": "down"}, {})
    assert values(cards, "motion") == pytest.approx([0.5, 0.25], abs=0.2)


def test_noise_is_sharp_and_unsteady(score: Any, same: Scorecard, scenes: Any) -> None:
    cards = [score(changes.noised(scenes[1].clip.frames, deviation)) for deviation in (4, 8, 16)]
    moves = {"flicker": "down", "warp": "up", "sharpness": "up"}
    check(same, cards, moves, {"identity_clothes": 3.5, "background": 4.5})


def test_blur_takes_the_sharpness(score: Any, same: Scorecard, scenes: Any) -> None:
    cards = [score(changes.blurred(scenes[1].clip.frames, deviation)) for deviation in (0.5, 1, 1.5)]
    check(same, cards, {"sharpness": "down"}, {"identity_clothes": 6, "flicker": 0.01, "warp": 1})


def test_compression_shows_blocks(score: Any, same: Scorecard, scenes: Any) -> None:
    cards = [score(changes.compressed(scenes[1].clip.frames, loss)) for loss in (50, 80, 95)]
    touched = {"identity_clothes": 25, "background": 12, "leakage": 0.1, "pose_pck": 0.25, "pose_oks": 0.1}
    touched |= {"pose_mpjpe": 2.5, "motion": 0.15, "flicker": 0.02, "sharpness": 400}
    check(same, cards, {"blockiness": "up", "warp": "up"}, touched)


def test_a_flickering_clip_is_unsteady(score: Any, same: Scorecard, scenes: Any) -> None:
    cards = [score(changes.flickering(scenes[1].clip.frames, levels)) for levels in (5, 10, 20)]
    touched = {"identity_clothes": 4, "leakage": 0.06}
    check(same, cards, {"flicker": "down", "warp": "up", "background": "up"}, touched)


def variant(scenes: Any, **colours: str) -> Array:
    made = scenes[0]
    return render(replace(made.character, **colours), made.motion, seed=made.seed, frames=FRAMES).clip.frames


def test_other_clothes_are_another_identity(score: Any, same: Scorecard, scenes: Any) -> None:
    other = variant(scenes, shirt="blue", trousers="green")
    cards = [score(changes.mixed(scenes[1].clip.frames, other, share)) for share in (0.25, 0.5, 1)]
    check(same, cards, {"identity_clothes": "up"}, {"leakage": 0.15, "sharpness": 150})
    half, whole = values(cards[1:], "identity_clothes")
    assert half / whole == pytest.approx(0.5, abs=0.1)


def test_another_place_is_another_background(score: Any, same: Scorecard, scenes: Any) -> None:
    other = variant(scenes, wall="green", floor="green")
    cards = [score(changes.mixed(scenes[1].clip.frames, other, share)) for share in (0.25, 0.5, 1)]
    check(same, cards, {"background": "up"}, {"leakage": 0.15, "sharpness": 200})
    assert abs(cards[-1].value("leakage")) < 0.06, "green is not on the way to the training set's white and grey"


@pytest.mark.parametrize(
    ("parts", "moves", "whole"),
    [
        (("wall", "floor"), {"background": "up", "leakage": "up"}, 0.47),
        (("trousers",), {"identity_clothes": "up", "leakage": "up"}, 0.23),
        (tuple(AIST_LIKE), {"background": "up", "identity_clothes": "up", "leakage": "up"}, 0.70),
    ],
    ids=["place", "trousers", "all"],
)
def test_what_comes_from_the_training_set_is_leakage(
    score: Any, same: Scorecard, scenes: Any, parts: tuple[str, ...], moves: dict[str, str], whole: float
) -> None:
    other = variant(scenes, **{part: AIST_LIKE[part] for part in parts})
    cards = [score(changes.mixed(scenes[1].clip.frames, other, share)) for share in (0.25, 0.5, 1)]
    check(same, cards, moves, {"sharpness": 900, "warp": 1, "flicker": 0.006})
    assert cards[-1].value("leakage") == pytest.approx(whole, abs=0.08)
    assert cards[1].value("leakage") == pytest.approx(whole / 2, abs=0.08)


def test_a_mirrored_clip_has_another_pose_only(score: Any, same: Scorecard, scenes: Any) -> None:
    card = score(changes.mirrored(scenes[1].clip.frames))
    check(same, [card], {"pose_pck": "down", "pose_oks": "down", "pose_mpjpe": "up"}, {})
    assert card.value("pose_pck") < 0.3


def test_a_clip_that_runs_backwards_has_another_pose_only(score: Any, same: Scorecard, scenes: Any) -> None:
    card = score(changes.reversed_(scenes[1].clip.frames))
    check(same, [card], {"pose_pck": "down", "pose_oks": "down", "pose_mpjpe": "up"}, {})


def test_pose_is_not_identity(score: Any, same: Scorecard, scenes: Any) -> None:
    """Another person who dances the same, and the same person who dances something else."""
    made, _ = scenes
    other = scene(40)
    place = {"wall": made.character.wall, "floor": made.character.floor, "shade": made.character.shade}
    body = {"height": made.character.height, "girth": made.character.girth}
    person = replace(other.character, **place, **body)
    danced = score(render(person, made.motion, seed=made.seed, frames=FRAMES).clip.frames)
    check(same, [danced], {"identity_clothes": "up"}, {"leakage": 0.3, "sharpness": 400, "flicker": 0.006})
    assert danced.value("identity_clothes") > 20
    dance = score(render(made.character, scene(41).motion, seed=3, frames=FRAMES).clip.frames)
    assert dance.value("identity_clothes") < 1.5
    assert dance.value("background") < 0.5
    assert dance.value("pose_pck") < 0.3
    assert dance.value("pose_oks") < 0.4

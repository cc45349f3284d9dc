from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.pose.contact import find_root, find_stance, foot_slide, plant_feet, runs, sole_points
from s2v_core.pose.proportions import limb_lengths
from s2v_core.pose.skeleton import ANKLES, HIPS, LIMBS, complete, grow
from s2v_core.pose.track import PoseTrack
from tests.pose.toy_dancer import ADULT, FPS, dance, seen

LEG = 84.0 * 3  # of the toy dancer, in pixels


def stance_of(track: PoseTrack) -> tuple[np.ndarray, np.ndarray]:
    points = track.points[:, 0].astype(float)
    soles = sole_points(points, np.ones(134, bool), True)
    known = np.ones((len(track), 2), bool)
    return find_stance(soles, known, points[:, HIPS, 1].mean(axis=1), LEG, track.fps), soles


@pytest.mark.parametrize("every", [1, 2])
def test_stances_of_a_known_dance_are_found(every: int) -> None:
    points, planted = dance(ADULT, 192)
    whole = seen(points[::every])
    track = PoseTrack(whole.points, whole.scores, whole.canvas, FPS * 2 / every, "perfect", whole.notes)
    found, _ = stance_of(track)
    planted = planted[::every]
    assert 0.2 < planted.mean() < 0.9
    assert (found & ~planted).mean() < 0.04, "only the slow ends of a swing"
    assert (planted & ~found).mean() < 0.01


def test_noise_of_a_net_breaks_few_stances() -> None:
    points, planted = dance(ADULT)
    track = seen(points)
    noise = np.random.default_rng(1).normal(0, 1.0, track.points.shape).astype(np.float32)
    found, _ = stance_of(PoseTrack(track.points + noise, track.scores, track.canvas, FPS, "noisy", track.notes))
    assert (found == planted).mean() > 0.93


def test_a_foot_held_high_and_feet_above_the_hips_are_not_planted() -> None:
    points, _ = dance(ADULT, 48)
    still = np.repeat(points[:1], 48, axis=0)
    standing, _ = stance_of(seen(still))
    assert standing.all()
    lifted = still.copy()
    lifted[:, [10, 21, 22, 23], 1] += 25
    assert stance_of(seen(lifted))[0].all(axis=0).tolist() == [True, False]
    upside_down = still * [1, -1, 1] + [0, 180, 0]
    assert not stance_of(seen(upside_down))[0].any()


def test_what_is_not_known_is_not_planted() -> None:
    soles = np.tile([[100.0, 300.0], [150.0, 300.0]], (20, 1, 1))
    known = np.ones((20, 2), bool)
    known[5:, 1] = False
    assert find_stance(soles, known, np.full(20, 100.0), 100, FPS).sum(axis=0).tolist() == [20, 5]
    assert not find_stance(soles, known & False, np.full(20, 100.0), 100, FPS).any()
    assert not find_stance(soles, known, np.full(20, 100.0), 0, FPS).any()


def test_a_moment_is_no_stance() -> None:
    soles = np.tile([[100.0, 300.0], [150.0, 300.0]], (30, 1, 1))
    soles[:, 0, 0] += np.arange(30) * 20.0
    soles[14:16, 0] = soles[14, 0]
    known = np.ones((30, 2), bool)
    assert not find_stance(soles, known, np.full(30, 100.0), 100, Fraction(60))[:, 0].any()


def test_slide_is_the_way_of_planted_feet() -> None:
    soles = np.zeros((5, 2, 2))
    soles[:, 0, 0] = [0, 3, 3, 10, 10]
    soles[:, 1, 1] = [0, 4, 8, 8, 9]
    stance = np.array([[1, 1], [1, 1], [1, 0], [0, 1], [0, 1]], bool)
    assert foot_slide(soles, stance, 10) == pytest.approx((3 + 0 + 4 + 1) / 10)
    assert foot_slide(soles, stance & False, 10) == 0
    assert runs(stance[:, 1]) == [(0, 2), (3, 5)]
    assert runs(np.zeros(3, bool)) == []


def test_the_root_of_the_same_body_is_its_own() -> None:
    track = seen(dance(ADULT)[0])
    stance, soles = stance_of(track)
    neck = track.points[:, 0, 1].astype(float)
    root = find_root(soles, soles - neck[:, None], neck, stance)
    assert np.abs(root - neck).max() < 1e-6


def test_in_the_air_the_root_moves_as_in_the_clip() -> None:
    neck = np.cumsum(np.random.default_rng(0).normal(0, 5, (30, 2)), axis=0)
    soles = neck[:, None] + np.array([[-10.0, 100.0], [10.0, 100.0]])
    stance = np.zeros((30, 2), bool)
    stance[:5] = True
    reach = (soles - neck[:, None]) * 1.3
    root = find_root(soles, reach, neck, stance)
    assert np.abs(np.diff(root - neck, axis=0)[5:]).max() < 1e-9
    assert root[:5].mean(axis=0) == pytest.approx((soles - reach)[:5].mean(axis=(0, 1)), abs=0.5)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.75, 1.3), st.floats(0.75, 1.3), st.floats(0.75, 1.3), st.integers(0, 5))
def test_planting_changes_no_angle_by_a_degree_and_takes_the_slide_away(
    torso: float, thigh: float, shin: float, seed: int
) -> None:
    track = seen(dance(ADULT)[0])
    points, _ = complete(track.points[:, 0], track.scores[:, 0] > 0)
    points += np.random.default_rng(seed).normal(0, 0.3, points.shape)
    stance, _ = stance_of(track)
    ratios = np.ones(134)
    ratios[list(HIPS)], ratios[[12, 9]], ratios[list(ANKLES)] = torso, thigh, shin
    ratios[18:24] = shin
    scale = (43 * thigh + 41 * shin) / 84
    grown, everything = grow(points, ratios), np.ones(134, bool)
    floor, reach = scale * sole_points(points, everything, True), sole_points(grown, everything, True)
    root = find_root(floor, reach, scale * points[:, 1], stance)
    planted = plant_feet(grown, root, floor, reach, stance, FPS)

    def slide(body: np.ndarray) -> float:
        return foot_slide(root[:, None] + sole_points(body, everything, True), stance, LEG * scale)

    before = foot_slide(sole_points(points, everything, True), stance, LEG)
    assert slide(planted) <= before * 1.02
    away = root[:, None] + sole_points(planted, everything, True) - floor
    for side in range(2):
        for start, end in runs(stance[:, side]):
            assert np.ptp(away[start:end, side], axis=0).max() < 0.01 * LEG, "it stays where it stepped"
    for limb in LIMBS:
        old, new = (body[:, limb.end] - body[:, limb.start] for body in (grown, planted))
        cross = old[:, 0] * new[:, 1] - old[:, 1] * new[:, 0]
        turn = np.degrees(np.abs(np.arctan2(cross, (old * new).sum(-1))))
        most = {"thigh": 0.9, "shin": 1.8}.get(limb.name, 0.0)
        assert turn.max() <= most + 1e-6, "a shin has its own 0.9 degrees and the thigh's"
    scores = track.scores[:, 0]
    assert limb_lengths(planted, scores) == pytest.approx(limb_lengths(grown, scores), rel=0.06)

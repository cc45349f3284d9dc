from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.options import check, options
from s2v_core.pose import notes
from s2v_core.pose.measure import GOOD, Jitter, body_height, heights, heights_over_time, jitter
from s2v_core.pose.tidy import MAX_GAP_MS, SMOOTH_MS, TidySettings, fill_gaps, smooth, tidy
from s2v_core.pose.track import BODY, FACE, LEFT_HAND, POINTS, RIGHT_HAND, PoseTrack
from tests.pose.walkers import Walker, track_of

Array = np.ndarray[Any, Any]


def path(values: Array, fps: Fraction | int = 16) -> PoseTrack:
    """One person whose every point moves down by ``values`` [T] and across by twice that."""
    points = np.zeros((len(values), 1, POINTS, 2), np.float32)
    points[..., 0], points[..., 1] = 2 * values[:, None, None], values[:, None, None]
    scores = np.full(points.shape[:-1], 0.9, np.float32)
    return PoseTrack(points, scores, (480, 832), Fraction(fps), "path", ("",) * len(values))


def down(track: PoseTrack, point: int = 4) -> Array:
    return track.points[:, 0, point, 1].astype(np.float64)


def moved(track: PoseTrack, other: PoseTrack) -> float:
    """The median distance of the body's points that both have, in body heights."""
    both = (track.scores[..., BODY] > GOOD) & (other.scores[..., BODY] > GOOD)
    return float(
        np.median(np.linalg.norm(track.points - other.points, axis=-1)[..., BODY][both]) / body_height(track)[0]
    )


# --- measures -----------------------------------------------------------------------------------------------------


def test_the_body_height_is_the_figures_own_with_or_without_feet_and_crouching() -> None:
    track = track_of([Walker(np.linspace(100, 500, 40), size, noise=0.0).points(np.random.default_rng(0))
                      for size in (200.0, 300.0)])  # fmt: skip
    assert body_height(track) == pytest.approx([200, 300], rel=0.02)
    track.scores[:, :, 9:14] = 0
    track.scores[20:] = 0
    assert body_height(track) == pytest.approx([200, 300], rel=0.02)
    track.points[10:20] = 0  # folded up in half of the frames
    assert body_height(track) == pytest.approx([200, 300], rel=0.02)
    assert heights(track.points, track.scores).shape == (40, 2)
    track.scores[:, 1] = GOOD
    assert math.isnan(body_height(track)[1])


def test_the_height_over_time_follows_who_comes_nearer() -> None:
    still = Walker(np.full(48, 300.0), 200, noise=0.0).points(np.random.default_rng(0))
    nearer = still.copy()
    nearer[24:] *= 1.5
    track = track_of([nearer])
    tall = heights_over_time(track, 250)[:, 0]
    assert tall[:20] == pytest.approx(np.full(20, 200), rel=0.05)
    assert tall[28:] == pytest.approx(np.full(20, 300), rel=0.05)
    track.scores[:10] = 0
    assert np.isfinite(heights_over_time(track, 250)).all()
    track.scores[:] = 0
    assert np.isnan(heights_over_time(track, 250)).all()


def test_jitter_is_the_mean_second_difference_of_the_points_that_are_seen() -> None:
    track = track_of([Walker(np.full(9, 300.0), 200, noise=0.0, cadence=0.0).points(np.random.default_rng(0))])
    assert jitter(track) == Jitter(0.0, 0.0)
    track.points[4, 0, 2] += (3, 4)  # 5 pixels: second differences of 5, 10 and 5 among 18 points in 7 triples
    assert jitter(track).pixels == pytest.approx(20 / (18 * 7), rel=1e-3)
    assert jitter(track).share == pytest.approx(jitter(track).pixels / 200, rel=0.02)
    track.scores[[3, 5], 0, 2] = GOOD
    assert jitter(track) == Jitter(0.0, 0.0)
    for frames in (0, 1, 2):
        assert jitter(path(np.arange(frames))) == Jitter(0.0, 0.0)


def test_notes_add_parts_once_and_can_be_taken_apart() -> None:
    noted = notes.add(("", "2 people", "a; b"), {0: "filled 1 point", 1: "2 people", 2: "c"})
    assert noted == ("filled 1 point", "2 people", "a; b; c")
    assert notes.parts(noted[2]) == ("a", "b", "c")
    assert notes.parts("") == ()


# --- gaps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "frames"), [(16, 4), (15, 3), (24, 6), (Fraction(30000, 1001), 7), (60, 15), (3, 0)])
def test_gaps_up_to_the_time_are_filled_and_no_longer_ones(fps: Fraction | int, frames: int) -> None:
    truth = path(np.arange(60) * 3.0, fps)
    gaps = {10: frames, 40: frames + 1}
    holed = replace(truth, points=truth.points.copy(), scores=truth.scores.copy())
    for start, length in gaps.items():
        holed.scores[start : start + length, 0, 4] = 0.2
        holed.points[start : start + length, 0, 4] = np.nan
    filled = fill_gaps(holed, max_gap_ms=250)
    assert down(filled)[: 40 - 1] == pytest.approx(down(truth)[: 40 - 1], abs=1e-3)
    assert np.isnan(down(filled)[40 : 40 + frames + 1]).all()
    assert (filled.scores[40 : 40 + frames + 1, 0, 4] <= GOOD).all()
    assert [note == "filled 1 point" for note in filled.notes] == [10 <= t < 10 + frames for t in range(60)]


def test_a_filled_score_is_the_lower_of_the_two_beside_the_gap() -> None:
    track = path(np.arange(20.0))
    track.scores[8:10] = 0
    track.scores[7, 0], track.scores[10, 0] = 0.8, 0.6
    track.scores[10, 0, 5] = 0.85
    filled = fill_gaps(track)
    assert filled.scores[8:10, 0, 4] == pytest.approx(0.6)
    assert filled.scores[8:10, 0, 5] == pytest.approx(0.8)
    assert filled.notes[8] == filled.notes[9] == f"filled {POINTS} points"


def test_the_ends_of_a_clip_and_points_never_found_stay_empty() -> None:
    track = path(np.arange(20.0))
    track.scores[:2] = track.scores[-2:] = 0
    track.scores[:, 0, 7] = 0
    filled = fill_gaps(track)
    assert np.array_equal(filled.scores, track.scores)
    assert filled.notes == track.notes


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), holes=st.floats(0, 1), gap=st.floats(0, 2000))
def test_found_points_stay_and_filled_ones_lie_between_their_neighbours(seed: int, holes: float, gap: float) -> None:
    random = np.random.default_rng(seed)
    track = path(random.normal(0, 50, 24).cumsum())
    track.scores[random.random(track.scores.shape) < holes] = random.choice([0.0, 0.25])
    filled = fill_gaps(track, max_gap_ms=gap)
    found = track.scores > GOOD
    assert np.array_equal(filled.points[found], track.points[found])
    assert np.array_equal(filled.scores[found], track.scores[found])
    new = (filled.scores > GOOD) & ~found
    for t, _, point in np.argwhere(new):
        before = max(np.flatnonzero(found[:t, 0, point]))
        after = t + min(np.flatnonzero(found[t:, 0, point]))
        assert after - before - 1 <= gap * 16 / 1000 + 1e-6
        ends = np.sort(track.points[[before, after], 0, point], axis=0)
        assert (ends[0] - 0.01 <= filled.points[t, 0, point]).all()
        assert (filled.points[t, 0, point] <= ends[1] + 0.01).all()
    assert sum(int(note.split()[1]) for note in filled.notes if note) == new.sum()


# --- smoothing ----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.integers(1, 60), st.floats(0, 1500))
def test_rest_steady_movement_and_speeding_up_stay_as_they_are(terms: list[float], frames: int, window: float) -> None:
    track = path(np.polyval(terms, np.arange(frames) / 4))
    assert smooth(track, window_ms=window).points == pytest.approx(track.points, abs=0.02)


@pytest.mark.parametrize(
    ("fps", "frames"),
    [(10, 1), (12, 1), (13, 1), (14, 5), (15, 5), (16, 5), (Fraction(24000, 1001), 7), (25, 7), (30, 9), (60, 19)],
)
def test_the_window_is_a_time_not_a_number_of_frames(fps: Fraction | int, frames: int) -> None:
    """An impulse spreads over two windows less one frame; with fewer than 5 frames there is nothing to smooth."""
    impulse = np.zeros(101)
    impulse[50] = 1000
    spread = np.flatnonzero(np.abs(down(smooth(path(impulse, fps), window_ms=300))) > 1e-3)
    assert spread[-1] - spread[0] + 1 == 2 * frames - 1


def test_a_gap_is_never_smoothed_across_and_low_scores_pull_at_nothing() -> None:
    values = np.where(np.arange(40) < 20, 0.0, 500.0)
    track = path(values)
    track.scores[19:21, 0, 4] = 0
    track.scores[19:21, 0, 5] = GOOD
    track.points[19:21, 0, 5] = 9000
    smoothed = smooth(track)
    for point in (4, 5):
        assert np.array_equal(smoothed.points[:, 0, point], track.points[:, 0, point])
    assert np.abs(down(smoothed, 6) - values).max() > 10
    assert np.array_equal(smoothed.scores, track.scores)


@pytest.mark.parametrize("length", range(1, 12))
def test_short_runs_take_a_window_that_fits(length: int) -> None:
    random = np.random.default_rng(length)
    track = path(random.normal(0, 10, 30))
    track.scores[length:] = 0
    for window in (300, 700):
        smoothed = smooth(track, window_ms=window)
        assert np.array_equal(smoothed.points[length:], track.points[length:])
        changed = not np.array_equal(smoothed.points, track.points)
        assert changed == (length >= 5)


@pytest.mark.parametrize(("beats", "kept"), [(60, 0.996), (120, 0.942), (150, 0.869)])
def test_the_beat_keeps_its_width_and_its_time(beats: int, kept: float) -> None:
    """The figures of smooth's docstring, at 16 frames a second."""
    time = np.arange(160) / 16
    angle = 2 * np.pi * beats / 60 * time
    out = down(smooth(path(100 * np.sin(angle + 0.3))))[20:-20]
    sine, cosine = np.linalg.lstsq(np.stack([np.sin(angle), np.cos(angle)], 1)[20:-20], out, rcond=None)[0]
    assert math.hypot(sine, cosine) / 100 == pytest.approx(kept, abs=0.002)
    assert math.atan2(cosine, sine) == pytest.approx(0.3, abs=1e-3)


def test_accents_stay_in_their_frame() -> None:
    """A move of 150 ms from rest to rest, and one of 300 ms there and back, at all places between two frames."""
    time, speeds, reaches, beyond = np.arange(80) / 16, [], [], []
    for place in np.arange(8) / 8 / 16:
        done = np.clip((time - 2.5 - place) / 0.15, 0, 1)
        move = 100 * (10 * done**3 - 15 * done**4 + 6 * done**5)  # the least jerk
        out = down(smooth(path(move)))
        assert np.argmax(np.diff(out)) == np.argmax(np.diff(move))
        speeds.append(np.diff(out).max() / np.diff(move).max())
        beyond.append(out.max() - 100)
        hit = 100 * np.sin(np.pi * np.clip((time - 2.5 - place) / 0.3, 0, 1)) ** 2
        reaches.append(down(smooth(path(hit))).max() / hit.max())
    assert np.mean(speeds) == pytest.approx(0.65, abs=0.01)
    assert max(beyond) == pytest.approx(3.8, abs=0.3)
    assert np.mean(reaches) == pytest.approx(0.85, abs=0.01)


def test_noise_is_cut_to_a_fifth() -> None:
    track = path(np.random.default_rng(0).normal(0, 10, 2000))
    ratio = np.linalg.norm(np.diff(down(smooth(track)), 2)) / np.linalg.norm(np.diff(down(track), 2))
    assert ratio == pytest.approx(0.22, abs=0.01)


@pytest.mark.parametrize("name", ["dancer_track", "field_track", "gown_track"])
def test_on_real_dancers_the_trembling_is_halved_and_points_hardly_move(
    name: str, request: pytest.FixtureRequest
) -> None:
    track: PoseTrack = request.getfixturevalue(name)
    for made in (smooth(track), tidy(track)):
        before, after = jitter(track), jitter(made)
        assert before.pixels > 5
        assert after.pixels <= before.pixels / 2
        assert after.share <= before.share / 2
        assert 0 < moved(track, made) < 0.01


@pytest.mark.parametrize("name", ["dancer_track", "field_track", "gown_track"])
def test_on_real_dancers_points_blink_less(name: str, request: pytest.FixtureRequest) -> None:
    track: PoseTrack = request.getfixturevalue(name)
    before, after = (np.diff(made.scores[..., BODY] > GOOD, axis=0).sum() for made in (track, tidy(track)))
    assert after <= 0.65 * before


@pytest.mark.parametrize("name", ["dancer_track", "field_track", "gown_track"])
def test_on_real_dancers_hands_and_face_come_and_go_half_as_often(name: str, request: pytest.FixtureRequest) -> None:
    track: PoseTrack = request.getfixturevalue(name)

    def changes(made: PoseTrack) -> int:
        there = [(made.scores[:, 0, part] > GOOD).any(axis=1) for part in (FACE, LEFT_HAND, RIGHT_HAND)]
        return int(np.diff(there, axis=1).sum())

    assert changes(track) >= 10
    assert changes(tidy(track)) <= changes(track) / 2


def test_times_below_zero_are_refused() -> None:
    for wrong in (-1.0, math.nan):
        with pytest.raises(SettingsError, match="gap"):
            fill_gaps(path(np.arange(9.0)), max_gap_ms=wrong)
        with pytest.raises(SettingsError, match="window"):
            smooth(path(np.arange(9.0)), window_ms=wrong)


# --- the whole ----------------------------------------------------------------------------------------------------


def couple() -> PoseTrack:
    random = np.random.default_rng(4)
    people = [
        Walker(np.linspace(*ends, 60), size).points(random) for ends, size in (((100, 400), 260), ((700, 500), 200))
    ]
    shown = [np.ones(60, bool), np.arange(60) >= 10]
    return track_of(people, shown)


def test_tidy_links_chooses_notes_fills_and_smooths() -> None:
    track = couple()
    track.scores[30:32, 0] = 0
    track.scores[40, 0] = 0.35
    swapped = replace(track, points=track.points[:, ::-1].copy(), scores=track.scores[:, ::-1].copy())
    everybody = tidy(swapped)
    assert everybody.points.shape[1] == 2
    alone = tidy(swapped, TidySettings(person="largest"))
    assert alone.points.shape[1] == 1
    assert np.array_equal(alone.points, tidy(swapped, TidySettings(person="number", person_number=0)).points)
    for made in (everybody, alone):
        assert np.array_equal(made.points[:, :1], alone.points)
        assert (made.scores[30:32, 0] > GOOD).all()
        assert [("2 people" in notes.parts(note)) for note in made.notes] == [
            t >= 10 and t not in (30, 31) for t in range(60)
        ]
    assert notes.parts(alone.notes[30]) == (notes.NO_PERSON, f"filled {POINTS} points")
    assert "low score 0.35" in notes.parts(alone.notes[40])
    assert jitter(alone).pixels < jitter(track).pixels / 2
    assert track.points.flags.writeable and not np.shares_memory(alone.points, track.points)


def test_what_is_off_changes_nothing() -> None:
    track = path(np.random.default_rng(0).normal(0, 10, 30))
    off = TidySettings(guard=False, max_gap_ms=0, smooth_ms=0)
    assert np.array_equal(tidy(track, off).points, track.points)
    assert np.array_equal(tidy(track, off).scores, track.scores)


def test_an_empty_track_is_noted_in_every_frame() -> None:
    track = path(np.zeros(5))
    track.scores[:] = 0
    track = replace(track, notes=("", "low score 0.20", "", "no person found", ""))
    assert tidy(track).notes == (
        "no person found",
        "low score 0.20",
        "no person found",
        "no person found",
        "no person found",
    )
    with pytest.raises(SettingsError, match="nobody to choose"):
        tidy(track, TidySettings(person="central"))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 30), people=st.integers(0, 3), fps=st.integers(1, 60),
    holes=st.floats(0, 1), rubbish=st.sampled_from([0.0, -1.0, np.nan, np.inf]),
)  # fmt: skip
def test_any_track_can_be_tidied(seed: int, frames: int, people: int, fps: int, holes: float, rubbish: float) -> None:
    random = np.random.default_rng(seed)
    points = random.normal(200, 100, (frames, people, POINTS, 2)).astype(np.float32)
    scores = random.random((frames, people, POINTS), np.float32)
    scores[random.random(scores.shape) < holes] = 0
    points[scores == 0] = rubbish
    track = PoseTrack(points, scores, (480, 640), Fraction(fps), "any", ("",) * frames)
    with np.errstate(all="raise", under="ignore"):
        made = tidy(track)
    assert len(made) == frames
    assert made.points.dtype == made.scores.dtype == np.float32
    assert np.isfinite(made.points[made.scores > 0]).all()
    assert all(bool(note) or found for note, found in zip(made.notes, made.found, strict=True))


def test_settings_describe_themselves_and_survive_json() -> None:
    made = TidySettings(person="central", smooth_ms=400, guard=False)
    assert type(made.smooth_ms) is float
    assert TidySettings.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert [entry.name for entry in options(TidySettings)] == [entry.name for entry in dataclasses.fields(TidySettings)]
    for entry in options(TidySettings):
        assert entry.help.endswith(".")
        assert check(entry, entry.default) == entry.default
    assert (TidySettings().max_gap_ms, TidySettings().smooth_ms) == (MAX_GAP_MS, SMOOTH_MS)


@pytest.mark.parametrize(
    "wrong", [{"person": "tallest"}, {"person_number": -1}, {"smooth_ms": -1}, {"smooth_ms": math.nan}, {"guard": 1},
              {"max_gap_ms": "250"}, {"smoth_ms": 3}],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        TidySettings.from_dict(wrong)

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.pose import identity, notes
from s2v_core.pose.people import RULES, link, select
from s2v_core.pose.track import POINTS, PoseTrack, scale_track
from tests.pose.walkers import Walker, hidden, shuffled, track_of

Array = np.ndarray[Any, Any]
FRAMES = 81


def same(one: PoseTrack, other: PoseTrack) -> bool:
    points = np.array_equal(one.points, other.points, equal_nan=True)
    return points and np.array_equal(one.scores, other.scores) and one.notes == other.notes


def who(linked: PoseTrack, truth: PoseTrack) -> list[list[int]]:
    """For each slot, who was in it (numbers of the true track), in the order of their coming."""
    slots = []
    for slot in range(linked.points.shape[1]):
        there = np.flatnonzero((linked.scores[:, slot] > 0).any(axis=1))
        names = [int(np.argmin(np.abs(truth.points[t] - linked.points[t, slot]).sum(axis=(1, 2)))) for t in there]
        slots.append(list(dict.fromkeys(names)))
    return slots


def assert_everybody_keeps_a_slot(linked: PoseTrack, truth: PoseTrack) -> None:
    people = truth.points.shape[1]
    assert sorted(who(linked, truth)) == [[person] for person in range(people)]
    present = (truth.scores > 0).any(axis=2)
    assert ((linked.scores > 0).any(axis=2).sum(axis=1) == present.sum(axis=1)).all()


# --- crossings ----------------------------------------------------------------------------------------------------


def line(start: float, stop: float) -> Array:
    return np.linspace(start, stop, FRAMES)


SCENES: dict[str, list[tuple[Array, float]]] = {
    "through each other": [(line(150, 680), 1), (line(680, 150), 1)],
    "through each other, one smaller": [(line(150, 680), 1), (line(680, 150), 0.75)],
    "slowly": [(line(250, 580), 1), (line(580, 250), 1)],
    "overtaking": [(line(60, 760), 1), (line(300, 500), 1)],
    "three, one on the spot": [(line(150, 680), 1), (line(680, 150), 0.95), (416 + 20 * np.sin(line(0, 9)), 0.9)],
    "three, all through one another": [(line(150, 680), 1), (line(680, 150), 1), (line(300, 540), 1)],
    "meet and turn back": [
        (416 - 0.25 * 260 - 200 * np.abs(line(-1, 1)), 1),
        (416 + 0.25 * 260 + 200 * np.abs(line(-1, 1)), 1),
    ],
    "swaying side by side": [(300 + 30 * np.sin(line(0, 20)), 1), (420 + 30 * np.sin(line(1, 25)), 0.95)],
}


@pytest.mark.parametrize("same_step", [True, False], ids=["in step", "out of step"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("scene", SCENES)
def test_identity_survives_crossings_with_one_hidden(scene: str, seed: int, same_step: bool) -> None:
    random = np.random.default_rng(seed)
    size = random.uniform(220, 300)
    walkers = [
        Walker(
            x + random.normal(0, 1, FRAMES),
            size * share,
            cadence=1.2 if same_step else random.uniform(0.9, 1.5),
            phase=0.0 if same_step else random.uniform(0, 6),
        )
        for x, share in SCENES[scene]
    ]
    people = [walker.points(random) for walker in walkers]
    shown = hidden(people, list(random.permutation(len(people))), overlap=0.5)
    shown = [there & (random.random(FRAMES) > 0.03) for there in shown]  # the net misses somebody now and then
    truth = track_of(people, shown)
    assert any((~there).sum() > 3 for there in shown) or scene in ("meet and turn back", "swaying side by side")
    assert_everybody_keeps_a_slot(link(shuffled(truth, random)), truth)


@pytest.mark.parametrize("seed", [0, 2, 4, 8])
def test_what_looks_best_in_one_frame_is_not_always_right(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overtaking in step, found in nine frames of ten: who only ever takes the nearest swaps the two."""
    random = np.random.default_rng(seed)
    ways = [line(150, 650), line(300, 500)]
    people = [Walker(x + random.normal(0, 1, FRAMES), 250).points(random) for x in ways]
    shown = [there & (random.random(FRAMES) > 0.1) for there in hidden(people, [0, 1], overlap=0.8)]
    truth = track_of(people, shown)
    track = shuffled(truth, random)
    assert_everybody_keeps_a_slot(link(track), truth)
    monkeypatch.setattr(identity, "_BEAM", 1)
    assert sorted(who(link(track), truth)) != [[0], [1]]


def test_who_is_pushed_aside_by_whom_they_pass_is_told_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stiff people who sway on their way, the one in front a tenth taller: of the other only a side is seen."""
    random, share = np.random.default_rng(0), np.linspace(0, 1, 49)
    sway = 6 * np.sin(share * 20)
    ways = [262 - 215 * share + sway, 43 + 225 * share + sway]
    ways[1][20:29] = 138, 137, 136, 135, np.nan, 177, 174, 173, 173
    people = [
        Walker(np.nan_to_num(way), size, cadence=0.0, noise=0.0).points(random)
        for way, size in zip(ways, (280, 255), strict=True)
    ]
    people[1][:, :, 0] = 2 * np.nan_to_num(ways[1])[:, None] - people[1][:, :, 0]  # both face the same way
    people[1][:, :, 1] += (people[0] - people[1])[:, :18, 1].mean()  # and stand at the same height in the picture
    truth = track_of(people, [~np.isnan(way) for way in ways])
    assert_everybody_keeps_a_slot(link(shuffled(truth, random)), truth)
    monkeypatch.setattr(identity, "_SIZE", 0.0)
    assert sorted(who(link(truth), truth)) != [[0], [1]]


@pytest.mark.parametrize("fps", [8, Fraction(30000, 1001), 60])
def test_identity_does_not_hang_on_the_frame_rate(fps: Fraction | int) -> None:
    random, frames = np.random.default_rng(5), int(5 * fps)
    people = [
        Walker(np.linspace(*ends, frames), 260, fps=float(fps)).points(random) for ends in ((150, 680), (680, 150))
    ]
    truth = track_of(people, hidden(people, [0, 1], 0.5), fps)
    assert not (truth.scores > 0).any(axis=2).all()
    assert_everybody_keeps_a_slot(link(shuffled(truth, random)), truth)


def test_real_dancers_walk_through_each_other(dancer_track: PoseTrack, gown_track: PoseTrack) -> None:
    frames = min(len(dancer_track), len(gown_track))
    one = scale_track(dancer_track, 1.0, 0.0, 60.0, (480, 832))
    other = scale_track(gown_track, 0.8, 0.0, 60.0, (480, 832))
    away = np.linspace(0, 400, frames, dtype=np.float32)[:, None, None] * np.array([1, 0], np.float32)
    points = np.stack([one.points[:frames, 0] + away, other.points[:frames, 0] + 380 - away], axis=1)
    scores = np.stack([one.scores[:frames, 0], other.scores[:frames, 0]], axis=1)
    boxes = [points[:, person, 1:14] for person in range(2)]
    shown = hidden(boxes, [0, 1], 0.6)[0] & (other.scores[:frames, 0] > 0).any(axis=1)
    shown |= ~(other.scores[:frames, 0] > 0).any(axis=1)
    scores[~shown, 0] = 0
    assert 2 < (~shown).sum() < 20
    truth = PoseTrack(points, scores, (480, 832), Fraction(15), "two", ("",) * frames)
    assert_everybody_keeps_a_slot(link(shuffled(truth, np.random.default_rng(0))), truth)


# --- coming and going ---------------------------------------------------------------------------------------------


def standing(x: float, frames: int = FRAMES, size: float = 250.0, seed: int = 0) -> Array:
    return Walker(np.full(frames, x), size).points(np.random.default_rng(seed))


@pytest.mark.parametrize("away", [2, 32, 33, 40])
def test_who_comes_back_within_the_time_keeps_the_slot(away: int) -> None:
    there = np.ones(FRAMES, bool)
    there[20 : 20 + away] = False
    linked = link(track_of([standing(200), standing(600)], [there, np.ones(FRAMES, bool)]), max_away_ms=2000)
    assert linked.points.shape[1] == (2 if away <= 32 else 3)  # 32 frames are two seconds
    if away > 32:
        assert [int((linked.scores[:, slot] > 0).any(axis=1).sum()) for slot in range(3)] == [81, 61 - away, 20]
    assert link(linked, max_away_ms=0).points.shape[1] == 3


def test_who_leaves_the_view_and_returns_keeps_the_slot() -> None:
    x = np.concatenate([np.linspace(300, -120, 40), np.linspace(-120, 300, 41)])
    people = [Walker(x, 250).points(np.random.default_rng(1)), standing(650)]
    there = people[0][:, :18, 0].min(axis=1) > 0
    assert 16 < (~there).sum() < 40
    truth = track_of(people, [there, np.ones(FRAMES, bool)])
    linked = link(shuffled(truth, np.random.default_rng(2)))
    assert who(linked, truth) == [[1], [0]]


def test_slots_are_ordered_and_trimmed() -> None:
    there = np.zeros((3, FRAMES), bool)
    there[0, 60:] = there[1, 10:50] = there[2, 5:45] = True
    truth = track_of([standing(150), standing(420), standing(700)], list(there))
    linked = link(shuffled(truth, np.random.default_rng(0), spare=5))
    assert who(linked, truth) == [[2], [1], [0]]  # as long as the second, but earlier; and the shortest last
    assert link(linked).points.shape[1] == 3


def test_nobody_is_one_empty_slot() -> None:
    for people in (0, 1, 3):
        empty = PoseTrack(
            np.ones((4, people, POINTS, 2), np.float32), np.zeros((4, people, POINTS), np.float32),
            (48, 64), Fraction(16), "none", ("a",) * 4,
        )  # fmt: skip
        linked = link(empty)
        assert linked.points.shape == (4, 1, POINTS, 2)
        assert not linked.found.any()
        assert linked.notes == empty.notes


def test_somebody_found_twice_is_kept_once() -> None:
    truth = track_of([standing(200), standing(600)])
    double = truth.points[:, :1] + np.float32(1.5)
    scores = truth.scores[:, :1] * np.float32(0.8)
    scores[FRAMES // 2 :] = 0
    both = replace(
        truth, points=np.concatenate([truth.points, double], 1), scores=np.concatenate([truth.scores, scores], 1)
    )
    linked = link(both)
    assert np.array_equal(linked.points, link(truth).points)
    assert [notes.DUPLICATE in notes.parts(note) for note in linked.notes] == [t < FRAMES // 2 for t in range(FRAMES)]
    assert all("2 people" in notes.parts(note) for note in linked.notes)


def test_people_of_whom_only_the_head_or_one_hand_is_seen() -> None:
    truth = track_of([standing(200), standing(600)])
    truth.scores[:, 0, 1:14] = 0
    truth.scores[:, 0, 18:] = 0
    truth.scores[:, 1, :92] = 0
    assert_everybody_keeps_a_slot(link(shuffled(truth, np.random.default_rng(0))), truth)


def test_a_time_below_zero_is_refused() -> None:
    with pytest.raises(SettingsError, match="away"):
        link(track_of([standing(200)]), max_away_ms=-1)


# --- whatever comes in --------------------------------------------------------------------------------------------


def crowd(seed: int, frames: int, people: int, spread: float, rubbish: float) -> PoseTrack:
    """People anywhere, of any size, there or not, with points missing, which hold ``rubbish``."""
    random = np.random.default_rng(seed)
    shape = Walker(np.full(frames, 300.0), 250).points(random)
    points = shape[:, None] * random.uniform(0.5, 1.5, (1, people, 1, 1))
    points = points + random.normal(0, spread, (frames, people, 1, 2))
    scores = random.uniform(0, 1, (frames, people, POINTS)) * (random.random((frames, people, POINTS)) < 0.8)
    scores *= random.random((frames, people, 1)) < 0.8
    points[scores == 0] = rubbish
    points, scores = points.astype(np.float32), scores.astype(np.float32)
    return PoseTrack(points, scores, (480, 640), Fraction(int(random.integers(1, 60))), "any", ("",) * frames)


crowds = st.builds(
    crowd, st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 4),
    st.sampled_from([0.0, 5.0, 100.0, 1000.0]), st.sampled_from([0.0, -1.0, np.nan]),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(track=crowds, seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_slots_changes_nothing_and_linking_twice_neither(track: PoseTrack, seed: int) -> None:
    linked = link(track)
    assert same(link(shuffled(track, np.random.default_rng(seed), spare=seed % 3)), linked)
    assert same(link(linked), linked)


@settings(max_examples=50, deadline=None)
@given(track=crowds)
def test_nobody_is_lost_split_or_invented(track: PoseTrack) -> None:
    linked = link(track)
    for t in range(len(track)):
        came = {scores.tobytes() for scores in track.scores[t] if scores.any()}
        left = [scores.tobytes() for scores in linked.scores[t] if scores.any()]
        assert len(left) == len(set(left))
        assert set(left) <= came
        assert set(left) == came or notes.DUPLICATE in notes.parts(linked.notes[t])
        assert bool(left) == bool(came)
    lives = (linked.scores > 0).any(axis=2).sum(axis=0)
    assert (np.diff(lives) <= 0).all()


# --- whom to keep -------------------------------------------------------------------------------------------------


def three() -> PoseTrack:
    """0: small, in the middle, half of the time; 1: middling, on the left, always; 2: huge, on the right, briefly."""
    there = np.zeros((3, FRAMES), bool)
    there[0, :60] = there[1] = there[2, 30:40] = True
    people = [standing(416, size=120), standing(150, size=260), standing(700, size=700)]
    return track_of(people, list(there))


def test_rules_choose_whom_they_say() -> None:
    track = three()
    for rule, person in (("largest", 1), ("central", 0), ("longest", 1), (2, 2), (0, 0)):
        chosen = select(track, rule)
        assert chosen.points.shape == (FRAMES, 1, POINTS, 2)
        assert np.array_equal(chosen.points[:, 0], track.points[:, person])
        assert np.array_equal(chosen.scores[:, 0], track.scores[:, person])
        absent = ~(track.scores[:, person] > 0).any(axis=1)
        assert [notes.NO_PERSON in notes.parts(note) for note in chosen.notes] == absent.tolist()
    assert select(track, "all") is track


def test_a_moment_close_to_the_camera_is_not_the_largest_but_a_long_one_is() -> None:
    track = three()
    track.scores[10:70, 2] = 0.9
    assert np.array_equal(select(track, "largest").points[:, 0], track.points[:, 2])


@pytest.mark.parametrize("rule", [-1, 3, 99, "biggest", "", "0", True, 0.0, None])
def test_who_is_not_there_cannot_be_chosen(rule: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        select(three(), rule)
    assert caught.value.expected


@pytest.mark.parametrize("rule", [*RULES[1:], 0])
def test_there_is_nobody_to_choose_in_an_empty_track(rule: str | int) -> None:
    empty = three()
    empty.scores[:] = 0
    with pytest.raises(SettingsError, match="nobody to choose") as caught:
        select(empty, rule)
    assert caught.value.remedy
    assert select(empty, "all") is empty
    none = replace(empty, points=empty.points[:, :0], scores=empty.scores[:, :0])
    with pytest.raises(SettingsError, match="nobody to choose"):
        select(none, rule)

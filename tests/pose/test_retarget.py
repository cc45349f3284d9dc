from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.pose.contact import sole_points
from s2v_core.pose.proportions import spread
from s2v_core.pose.retarget import retarget
from s2v_core.pose.settings import RetargetSettings
from s2v_core.pose.skeleton import HEAD, HEAD_NAMES, LIMBS
from s2v_core.pose.track import LEFT_HAND, RIGHT_HAND, PoseTrack, scale_track
from tests.pose.measures import frame_of, lengths, measured, most_turned, pair_lengths, slide
from tests.pose.toy_dancer import ADULT, LENGTHS, OTHER, dance, seen, still

MIRROR = np.arange(134)
for left, right in (
    (5, 2),
    (6, 3),
    (7, 4),
    (11, 8),
    (12, 9),
    (13, 10),
    (15, 14),
    (17, 16),
    (18, 21),
    (19, 22),
    (20, 23),
):
    MIRROR[[left, right]] = right, left
MIRROR[LEFT_HAND], MIRROR[RIGHT_HAND] = np.arange(113, 134), np.arange(92, 113)


@pytest.fixture(scope="module")
def toy() -> PoseTrack:
    return seen(dance(ADULT)[0])


@pytest.fixture(scope="module")
def other() -> PoseTrack:
    """Another body, in a picture of another size."""
    return seen(still(OTHER), (700, 900), 3.4, 0.45)


# --- what it must show, on a dancer of known bones --------------------------------------------------------------------


def test_a_known_dancer_gets_the_other_body(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other)
    own = [limb.name not in HEAD_NAMES for limb in LIMBS]
    assert pair_lengths(result.track)[own] == pytest.approx(pair_lengths(other)[own], rel=0.01)
    head = [spread(track.points[:, 0], track.scores[:, 0], HEAD) for track in (result.track, other)]
    assert head[0] == pytest.approx(head[1], rel=0.01)
    # The bones' true ratios are met up to what the picture's plane hides of the dancer's limbs.
    found = {entry.limb.removeprefix("left "): entry.ratio for entry in result.ratios}
    for name in LENGTHS:
        truth = getattr(OTHER, name) * 3.4 / (getattr(ADULT, name) * 3.0)
        assert found[name.replace("_", " ")] == pytest.approx(truth, rel=0.05), name
    assert result.notes == ()


def test_each_line_of_the_head_can_have_its_own_length(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other, RetargetSettings(head="limbs", plausible=0.0))
    assert pair_lengths(result.track) == pytest.approx(pair_lengths(other), rel=0.01)


def test_no_angle_changes_by_a_degree(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other)
    assert 0.01 < most_turned(toy, result.track) < 1
    plain = retarget(toy, other, RetargetSettings(plant_feet=False))
    assert most_turned(toy, plain.track) < 0.01


def test_planted_feet_stay_planted(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other)
    truth = dance(ADULT)[1]
    assert (result.stance == truth).mean() > 0.96
    assert slide(result.track, truth) <= slide(toy, truth) + 1e-3
    assert slide(result.track, result.stance) <= slide(toy, result.stance) + 1e-3
    assert result.slide_after == pytest.approx(slide(result.track, result.stance), abs=1e-3)
    assert result.slide_before == pytest.approx(slide(toy, result.stance), abs=1e-3)
    loose = retarget(toy, other, RetargetSettings(plant_feet=False))
    assert slide(loose.track, truth) > 0.2, "without care they do slide"


def test_feet_stand_on_the_references_floor(toy: PoseTrack, other: PoseTrack) -> None:
    everything = np.ones(134, bool)
    of_reference = sole_points(other.points[:, 0].astype(float), everything, True)[0]
    result = retarget(toy, other, RetargetSettings(stay_inside=False))
    assert result.floor == pytest.approx(of_reference[:, 1].max(), abs=1e-3)
    soles = sole_points(result.track.points[:, 0].astype(float), everything, True)
    truth = dance(ADULT)[1]
    leg = lengths(other)[[9, 11]].sum()
    assert np.abs(soles[..., 1][truth] - result.floor).max() < 0.012 * leg
    assert soles[..., 1].max() < result.floor + 0.012 * leg, "and none goes below"
    assert np.median(soles[..., 0].mean(axis=1)) == pytest.approx(of_reference[:, 0].mean(), abs=1e-3)
    assert (result.floor - soles[..., 1].max(axis=1)).max() > 0.15 * leg, "the jump is still one"


def test_noise_does_not_make_feet_slide(toy: PoseTrack, other: PoseTrack) -> None:
    noise = np.random.default_rng(2).normal(0, 1.0, toy.points.shape).astype(np.float32)
    noisy = replace(toy, points=toy.points + noise)
    result = retarget(noisy, other)
    assert result.slide_before > 0.2
    assert slide(result.track, result.stance) <= slide(noisy, result.stance) * 1.001
    assert most_turned(noisy, result.track) < 1
    jerk = [np.linalg.norm(np.diff(t.points[:, 0, 1], 2, axis=0), axis=-1).mean() for t in (noisy, result.track)]
    assert jerk[1] / result.scale < 1.2 * jerk[0], "and the body does not jitter for it"


# --- what it must show, on real dancers -------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [0, 12, 36])
@pytest.mark.parametrize("way", ["to the field", "from the field", "to himself"])
def test_a_real_dancer_gets_another_body(way: str, frame: int, dancer_track: PoseTrack, field_track: PoseTrack) -> None:
    track = field_track if way == "from the field" else dancer_track
    reference = frame_of(field_track if way == "to the field" else dancer_track, frame)
    result = retarget(track, reference)
    which = measured(result)
    assert which.sum() >= 9
    assert pair_lengths(result.track)[which] == pytest.approx(pair_lengths(reference)[which], rel=0.01)
    assert most_turned(track, result.track) < 1
    assert slide(result.track, result.stance) <= slide(track, result.stance) * 1.001
    assert result.track.canvas == reference.canvas
    assert (len(result.track), result.track.fps) == (len(track), track.fps)
    assert np.array_equal(result.track.scores, track.scores)
    if way != "from the field":
        assert result.stance.sum() > 40
        loose = retarget(track, reference, RetargetSettings(plant_feet=False))
        assert slide(loose.track, result.stance) != pytest.approx(slide(track, result.stance), rel=0.001)


def test_each_side_of_a_real_dancer_can_have_its_own_length(dancer_track: PoseTrack, field_track: PoseTrack) -> None:
    reference = frame_of(dancer_track, 4)
    result = retarget(dancer_track, reference, RetargetSettings(sides="each"))
    which = measured(result)
    assert which.sum() == 13
    assert lengths(result.track)[which] == pytest.approx(lengths(reference)[which], rel=0.01)
    assert most_turned(dancer_track, result.track) < 1
    assert slide(result.track, result.stance) <= slide(dancer_track, result.stance) * 1.001


# --- symmetries -------------------------------------------------------------------------------------------------------


def portrait(track: PoseTrack) -> PoseTrack:
    """The dancer's own body in one picture: a frame of the clip with every limb at its measured length."""
    frame = frame_of(track, 0)
    wanted, here = pair_lengths(track), lengths(frame)
    old, new = frame.points[0, 0].astype(float), frame.points[0, 0].astype(float).copy()
    for index, limb in enumerate(LIMBS):
        new[limb.end] = new[limb.start] + (old[limb.end] - old[limb.start]) * wanted[index] / here[index]
    head = list(HEAD)
    sizes = [spread(t.points[:, 0], t.scores[:, 0], HEAD) for t in (track, frame)]
    new[head] = new[0] + (old[head] - old[0]) * sizes[0] / sizes[1]
    for ankle, foot in ((13, [18, 19, 20]), (10, [21, 22, 23])):
        new[foot] = old[foot] + new[ankle] - old[ankle]
    return replace(frame, points=new[None, None].astype(np.float32))


@pytest.mark.parametrize("which", ["toy", "dancer_track"])
def test_ones_own_body_dances_the_same(which: str, request: pytest.FixtureRequest) -> None:
    track = request.getfixturevalue(which)
    result = retarget(track, portrait(track), RetargetSettings(place="clip"))
    assert [entry.ratio for entry in result.ratios] == pytest.approx([1] * len(result.ratios), abs=1e-5)
    shown = track.scores > 0
    assert np.abs(result.track.points - track.points)[shown].max() < 0.01
    assert result.scale == pytest.approx(1, abs=1e-5)


scales = st.floats(0.4, 3.0)
shifts = st.tuples(st.floats(-300, 300), st.floats(-300, 300))


@settings(max_examples=6, deadline=None)
@given(scales, shifts)
def test_where_and_how_large_the_clips_dancer_is_does_not_matter(scale: float, shift: tuple[float, float]) -> None:
    track, reference = seen(dance(ADULT, 32)[0]), seen(still(OTHER), (700, 900), 3.4)
    chosen = RetargetSettings(stay_inside=False)
    plain = retarget(track, reference, chosen)
    moved = retarget(scale_track(track, scale, *shift), reference, chosen)
    assert moved.track.points == pytest.approx(plain.track.points, abs=0.05)
    assert moved.scale == pytest.approx(plain.scale / scale, rel=1e-4)


@settings(max_examples=6, deadline=None)
@given(scales, shifts)
def test_the_result_follows_the_reference(scale: float, shift: tuple[float, float]) -> None:
    track, reference = seen(dance(ADULT, 32)[0]), seen(still(OTHER), (700, 900), 3.4)
    chosen = RetargetSettings(stay_inside=False)
    plain = retarget(track, reference, chosen)
    moved = retarget(track, scale_track(reference, scale, *shift), chosen)
    assert moved.track.points == pytest.approx(scale_track(plain.track, scale, *shift).points, abs=0.05)
    assert moved.floor == pytest.approx(plain.floor * scale + shift[1], abs=0.05)


def mirrored(track: PoseTrack) -> PoseTrack:
    points = track.points[:, :, MIRROR] * np.array([-1, 1], np.float32) + np.array([track.canvas[1], 0], np.float32)
    return replace(track, points=points, scores=track.scores[:, :, MIRROR])


@pytest.mark.parametrize(("place", "sides"), [("reference", "shared"), ("clip", "each"), ("centre", "shared")])
@pytest.mark.parametrize("which", ["toy", "dancer_track"])
def test_a_mirrored_dance_is_mirrored(
    which: str, place: str, sides: str, request: pytest.FixtureRequest, other: PoseTrack
) -> None:
    track = request.getfixturevalue(which)
    chosen = RetargetSettings(place=place, sides=sides)
    plain, flipped = retarget(track, other, chosen), retarget(mirrored(track), mirrored(other), chosen)
    shown = plain.track.scores > 0
    assert mirrored(flipped.track).points[shown] == pytest.approx(plain.track.points[shown], abs=0.02)
    assert np.array_equal(flipped.stance, plain.stance[:, ::-1])

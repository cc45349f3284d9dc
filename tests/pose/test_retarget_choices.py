from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.options import check, options
from s2v_core.pose.contact import foot_slide, sole_points
from s2v_core.pose.proportions import spread
from s2v_core.pose.retarget import retarget
from s2v_core.pose.settings import RetargetSettings
from s2v_core.pose.skeleton import HEAD_NAMES, LIMBS, PALMS
from s2v_core.pose.track import BODY, FACE, LEFT_HAND, RIGHT_HAND, PoseTrack, scale_track
from tests.pose.measures import SHOWN, lengths, most_turned, pair_lengths, slide, without
from tests.pose.toy_dancer import ADULT, OTHER, dance, seen, still


@pytest.fixture(scope="module")
def toy() -> PoseTrack:
    return seen(dance(ADULT)[0])


@pytest.fixture(scope="module")
def other() -> PoseTrack:
    """Another body, in a picture of another size."""
    return seen(still(OTHER), (700, 900), 3.4, 0.45)


# --- what hangs on the limbs ------------------------------------------------------------------------------------------


def relative(track: PoseTrack, part: slice, to: int) -> np.ndarray:
    return track.points[:, 0, part].astype(float) - track.points[:, 0, [to]]


def test_hands_feet_and_face_go_with_their_limb(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other, RetargetSettings(plant_feet=False))
    ratio = {entry.limb: entry.ratio for entry in result.ratios}
    for part, to, name in (
        (LEFT_HAND, 7, "left forearm"),
        (RIGHT_HAND, 4, "right forearm"),
        (FACE, 0, "head"),
        (slice(18, 21), 13, "left shin"),
        (slice(21, 24), 10, "right shin"),
    ):
        assert relative(result.track, part, to) == pytest.approx(ratio[name] * relative(toy, part, to), abs=1e-3)


def test_hands_can_be_measured(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other, RetargetSettings(hands="measured"))
    for palm in PALMS:
        sizes = [spread(track.points[:, 0], track.scores[:, 0], palm) for track in (result.track, other)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert result.ratios[-1].limb == "right hand"
    no_hands = replace(other, scores=other.scores.copy())
    no_hands.scores[..., 92:] = 0
    fallen_back = retarget(toy, no_hands, RetargetSettings(hands="measured"))
    assert any(note.startswith("Hand (both): not measurable") for note in fallen_back.notes)
    by_forearm = retarget(toy, no_hands)
    assert np.array_equal(fallen_back.track.points, by_forearm.track.points)


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_portrait_without_legs_uses_the_dancers_and_says_so(toy: PoseTrack, other: PoseTrack) -> None:
    cut = without(other, 9, 10, 12, 13, *range(18, 24))
    result = retarget(toy, cut)
    ratio = {entry.limb: entry.ratio for entry in result.ratios}
    seen_ratios = [ratio[f"left {name}"] for name in ("shoulder", "upper arm", "forearm", "torso")]
    assert ratio["left thigh"] == ratio["right shin"] == pytest.approx(np.median(seen_ratios))
    assert any("Thigh (both), shin (both): the reference does not show them" in note for note in result.notes)
    assert any("placed by its neck" in note for note in result.notes)
    assert np.median(result.track.points[:, 0, 1, 1]) == pytest.approx(cut.points[0, 0, 1, 1], abs=1e-3)
    assert most_turned(toy, result.track) < 1
    assert slide(result.track, result.stance) <= slide(toy, result.stance) + 1e-3


@pytest.mark.parametrize("sides", ["shared", "each"])
def test_one_side_stands_for_the_other(sides: str, toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, without(other, 3, 4), RetargetSettings(sides=sides))
    ratio = {entry.limb: entry for entry in result.ratios}
    assert ratio["right upper arm"].ratio == pytest.approx(ratio["left upper arm"].ratio, rel=1e-6)
    assert ratio["right upper arm"].how == ("longer side of each" if sides == "shared" else "its other side's")
    assert result.notes == ()


def test_a_limb_seen_from_its_end_is_not_believed(toy: PoseTrack, other: PoseTrack) -> None:
    sitting = replace(other, points=other.points.copy())
    for hip in (8, 11):
        thigh = sitting.points[0, 0, hip + 1] - sitting.points[0, 0, hip]
        below = [hip + 1, hip + 2, *((21, 22, 23) if hip == 8 else (18, 19, 20))]
        sitting.points[0, 0, below] -= 0.8 * thigh
    result = retarget(toy, sitting)
    assert any(note.startswith("Thigh (both): much too short in the reference") for note in result.notes)
    assert lengths(result.track)[9] > 3 * lengths(sitting)[9]
    believed = retarget(toy, sitting, RetargetSettings(plausible=0.0))
    assert lengths(believed.track)[9] == pytest.approx(lengths(sitting)[9], rel=0.01)
    assert not any("too short" in note for note in believed.notes)


def test_gaps_in_the_clip_stay_gaps(toy: PoseTrack, other: PoseTrack) -> None:
    scores, points = toy.scores.copy(), toy.points.copy()
    scores[20:24, :, [9, 12]] = 0
    points[20:24, :, [9, 12]] = np.nan
    scores[40:44] = 0
    points[40:44] = np.nan
    notes = tuple("no person found" if 40 <= frame < 44 else "" for frame in range(len(toy)))
    holed = replace(toy, points=points, scores=scores, notes=notes)
    result = retarget(holed, other)
    whole = retarget(toy, other)
    assert np.array_equal(result.track.scores, scores)
    assert result.track.notes == notes
    assert np.isfinite(result.track.points).all()
    shown = scores > SHOWN
    away = np.linalg.norm(result.track.points - whole.track.points, axis=-1)[shown]
    assert np.quantile(away, 0.99) < 12, "pixels, of a figure 600 high: an ankle under a guessed knee"
    assert most_turned(holed, result.track) < 1


def test_unsure_points_move_along_but_decide_nothing(toy: PoseTrack, other: PoseTrack) -> None:
    unsure = replace(toy, points=toy.points.copy(), scores=toy.scores.copy())
    unsure.scores[10:20, :, 4] = 0.2
    unsure.points[10:20, :, 4] += 200
    plain, result = retarget(toy, other), retarget(unsure, other)
    assert (result.track.scores[10:20, 0, 4] == np.float32(0.2)).all()
    forearm = next(entry.ratio for entry in result.ratios if entry.limb == "right forearm")
    moved = result.track.points[10:20, 0, 4] - result.track.points[10:20, 0, 3]
    wanted = forearm * (unsure.points[10:20, 0, 4] - unsure.points[10:20, 0, 3])
    assert moved == pytest.approx(wanted, abs=1e-3)
    rest = [point for point in range(24) if point != 4]
    assert result.track.points[:, 0, rest] == pytest.approx(plain.track.points[:, 0, rest], abs=8)


def test_a_body_without_feet_hands_and_face_is_enough(toy: PoseTrack, other: PoseTrack) -> None:
    track, reference = without(toy, *range(18, 134)), without(other, *range(18, 134))
    result = retarget(track, reference)
    soles = result.track.points[:, 0, [13, 10]].astype(float)
    assert (
        foot_slide(soles, result.stance, 1) <= foot_slide(track.points[:, 0, [13, 10]], result.stance, 1) * result.scale
    )
    assert result.floor == pytest.approx(reference.points[0, 0, [10, 13], 1].max(), abs=1e-3)
    assert not result.track.points[:, 0, 18:].any()


def test_a_clip_without_legs_dances_by_its_neck(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(without(toy, 9, 10, 12, 13, *range(18, 24)), other)
    assert np.isnan(result.floor)
    assert not result.stance.any()
    assert any("the clip shows no foot" in note for note in result.notes)
    assert any("The clip shows no planted foot" in note for note in result.notes)
    assert any("Thigh (both), shin (both): the clip does not show them" in note for note in result.notes)
    steps = np.diff(result.track.points[:, 0, 1].astype(float), axis=0)
    assert steps == pytest.approx(result.scale * np.diff(toy.points[:, 0, 1], axis=0), abs=1e-3)


def test_one_shoulder_is_neck_enough(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(without(toy, 1, 2, 3, 4), other)
    assert np.isfinite(result.track.points).all()
    assert not result.track.scores[:, 0, 1].any()
    assert slide(without(result.track, 1), result.stance) <= slide(toy, result.stance) + 1e-3


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(frames: int, other: PoseTrack) -> None:
    track = seen(dance(ADULT)[0][:frames])
    result = retarget(track, other)
    own = [limb.name not in HEAD_NAMES for limb in LIMBS]
    assert lengths(result.track)[own] == pytest.approx(lengths(other)[own], rel=0.01)
    assert result.floor == pytest.approx(
        sole_points(other.points[:, 0].astype(float), np.ones(134, bool), True)[..., 1].max(), abs=0.01
    )


# --- place and size ---------------------------------------------------------------------------------------------------


def inside(track: PoseTrack, which: np.ndarray | None = None) -> np.ndarray:
    height, width = track.canvas
    points = track.points if which is None else track.points[which]
    return ((points >= -0.01) & (points <= np.array([width, height]) + 0.01)).all(axis=-1)


@pytest.mark.parametrize("x", [0.02, 0.98])
def test_the_figure_stays_in_the_picture(x: float, toy: PoseTrack) -> None:
    reference = seen(still(OTHER), (1100, 900), 3.4, x)
    result = retarget(toy, reference)
    assert inside(toy).all()
    assert inside(result.track).all()
    assert any("moved" in note and ("right" if x < 0.5 else "left") in note for note in result.notes)
    free = retarget(toy, reference, RetargetSettings(stay_inside=False))
    assert not inside(free.track).all()
    assert any("leaves the picture" in note for note in free.notes)
    assert np.ptp(result.track.points - free.track.points, axis=(0, 2)).max() < 1e-3, "moved as a whole"
    assert result.floor == free.floor


def test_what_the_clip_cuts_off_may_stay_outside(toy: PoseTrack, other: PoseTrack) -> None:
    cropped = scale_track(toy, 1.0, -330, 0, (720, 390))
    cut_off = ~inside(cropped)
    assert cut_off.any()
    result = retarget(cropped, seen(still(OTHER), (480, 900), 3.0))
    assert inside(result.track, ~cut_off).all()


def test_too_large_a_figure_is_said_and_can_be_fitted(toy: PoseTrack) -> None:
    reference = seen(still(OTHER), (300, 400), 2.2)
    large = retarget(toy, reference)
    assert any("leaves the picture" in note and "size fit" in note for note in large.notes)
    fitted = retarget(toy, reference, RetargetSettings(size="fit"))
    assert inside(fitted.track).all()
    assert not any("leaves the picture" in note for note in fitted.notes)
    shares = pair_lengths(fitted.track)[:13] / pair_lengths(reference)[:13]
    assert shares == pytest.approx(shares[0], rel=0.01)
    assert shares[0] < 1
    assert any(f"{shares[0]:.3f} of the reference's size" in note for note in fitted.notes)


def test_the_top_of_the_head_stays_in_the_picture_too(toy: PoseTrack) -> None:
    reference = seen(still(OTHER), (900, 450), 3.0)
    fitted = retarget(toy, reference, RetargetSettings(size="fit")).track.points[:, 0]
    assert (fitted[:, 0, 1] + 0.8 * (fitted[:, 0, 1] - fitted[:, 1, 1])).min() >= -0.01
    assert any("top by" in note for note in retarget(toy, reference).notes)


def test_legs_too_different_for_the_feet_are_said(toy: PoseTrack, other: PoseTrack) -> None:
    lame = replace(other, points=other.points.copy())
    for knee, below in ((12, [13, 18, 19, 20]), (9, [10, 21, 22, 23])):
        lame.points[0, 0, below] -= 0.55 * (other.points[0, 0, below[0]] - other.points[0, 0, knee])
    result = retarget(toy, lame, RetargetSettings(plausible=0.0))
    assert most_turned(toy, result.track) < 1
    assert result.slide_after > result.slide_before + 0.05, "no wonder: shins of half their length"
    assert any("Planted feet slide" in note for note in result.notes)


def test_places(toy: PoseTrack, other: PoseTrack) -> None:
    def middle_of(track: PoseTrack) -> float:
        soles = sole_points(track.points[:, 0].astype(float), np.ones(134, bool), True)
        return float(np.median(soles[..., 0].mean(axis=1)))

    at_reference = retarget(toy, other)
    assert middle_of(at_reference.track) == pytest.approx(middle_of(other), abs=0.05)
    in_clip = retarget(toy, other, RetargetSettings(place="clip", stay_inside=False))
    assert middle_of(in_clip.track) / 700 == pytest.approx(middle_of(toy) / 720, abs=1e-4)
    centred = retarget(toy, other, RetargetSettings(place="centre", stay_inside=False))
    assert (centred.track.points[..., 0].min() + centred.track.points[..., 0].max()) / 2 == pytest.approx(350, abs=0.01)
    assert centred.floor == at_reference.floor


def test_the_size_of_the_clip(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other, RetargetSettings(size="clip"))
    fitted = 700 / 720
    tall = [pair_lengths(track)[[0, 7, 9, 11]].sum() for track in (result.track, toy)]
    assert tall[0] == pytest.approx(tall[1] * fitted, rel=0.01)
    shares = pair_lengths(result.track)[:13] / pair_lengths(other)[:13]
    assert shares == pytest.approx(shares[0], rel=0.01), "the proportions are still the reference's"


# --- people -----------------------------------------------------------------------------------------------------------


def test_others_are_dropped_or_kept(toy: PoseTrack, other: PoseTrack) -> None:
    neighbour = scale_track(toy, 1.0, 150, 0, toy.canvas)
    both = replace(
        toy,
        points=np.concatenate([neighbour.points, toy.points], axis=1),
        scores=np.concatenate([neighbour.scores, toy.scores], axis=1),
    )
    alone = retarget(toy, other)
    dropped = retarget(both, other, RetargetSettings(person=1))
    assert dropped.track.points.shape == toy.points.shape
    assert np.array_equal(dropped.track.points, alone.track.points)
    assert any("Person 1 of 2 dances; the others are left out" in note for note in dropped.notes)
    kept = retarget(both, other, RetargetSettings(person=1, others="keep"))
    assert np.array_equal(kept.track.points[:, 1], alone.track.points[:, 0])
    expected = kept.scale * np.diff(neighbour.points[:, 0, BODY], axis=1)
    assert np.diff(kept.track.points[:, 0, BODY], axis=1) == pytest.approx(expected, abs=1e-3)
    soles = sole_points(kept.track.points[:, 0].astype(float), np.ones(134, bool), True)
    assert np.abs(soles[0, :, 1].max() - kept.floor) < 4, "on the same floor"


def test_what_cannot_be_retargeted(toy: PoseTrack, other: PoseTrack) -> None:
    nobody = replace(other, scores=other.scores * 0)
    crowd = replace(other, points=np.repeat(other.points, 2, axis=1), scores=np.repeat(other.scores, 2, axis=1))
    for wrong, said in ((nobody, "nobody is found"), (crowd, "2 people"), (toy, "96 frames")):
        with pytest.raises(SettingsError, match="reference pose cannot be used") as caught:
            retarget(toy, wrong)
        assert said in caught.value.got
    with pytest.raises(SettingsError, match="no person 1"):
        retarget(toy, other, RetargetSettings(person=1))
    with pytest.raises(SettingsError, match="found in no frame"):
        retarget(replace(toy, scores=toy.scores * 0.2), other)
    with pytest.raises(SettingsError, match="no limb in common"):
        retarget(without(toy, *range(1, 18)), other)


def test_the_settings_describe_themselves() -> None:
    entries = {entry.name: entry for entry in options(RetargetSettings)}
    assert {"place", "size", "stay_inside", "plant_feet", "sides", "head", "person", "others"} < set(entries)
    for entry in entries.values():
        assert entry.help.endswith(".")
        assert check(entry, entry.default) == entry.default
    for wrong in ({"place": "left"}, {"quantile": 0.3}, {"person": -1}, {"plant_feet": 1}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            RetargetSettings(**wrong)


def test_the_result_says_what_was_done(toy: PoseTrack, other: PoseTrack) -> None:
    result = retarget(toy, other)
    said = str(result)
    assert "left upper arm: 0.9" in said
    assert f"scale {result.scale:.3f}" in said
    assert result.track.backend == "perfect, retargeted"
    assert result.reference is other

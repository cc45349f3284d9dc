"""Who is measured: detectors that are given, several people, frames that are left out, canvases of other sizes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.metrics import background, identity_clothes, leakage, motion, pose
from s2v_core.metrics.detect import Found, detect
from s2v_core.metrics.inputs import gather
from s2v_core.metrics.regions import CLOTHES, body, clothes_masks, person_mask
from s2v_core.metrics.registry import score_clip
from s2v_core.metrics.subject import Subject
from s2v_core.nano.measure import dancer
from s2v_core.nano.world import AIST_LIKE, Take, reference_take, render, scene
from s2v_core.pose.measure import body_height
from s2v_core.pose.track import PoseTrack, scale_track
from s2v_core.video.clip import Clip
from s2v_core.video.fit import fit_clip

Array = np.ndarray[Any, Any]
POSE = ["pose_pck", "pose_oks", "pose_mpjpe"]


@pytest.fixture(scope="module")
def take() -> Take:
    made = scene(7)
    return render(made.character, made.motion, seed=made.seed, frames=9)


def two(one: PoseTrack, other: PoseTrack) -> PoseTrack:
    return replace(
        one,
        points=np.concatenate([one.points, other.points], axis=1),
        scores=np.concatenate([one.scores, other.scores], axis=1),
    )


def test_true_points_can_be_given(take: Take) -> None:
    asked: list[Clip] = []

    def truth(clip: Clip) -> PoseTrack:
        asked.append(clip)
        return take.track

    card = score_clip(take.clip, control=take.track, metrics=POSE, detector=truth)
    assert [card.value(name) for name in POSE] == [1, 1, 0]
    assert "points by toy world in 9 of 9 frames" in card["pose_pck"].how
    assert len(asked) == 1, "one look for all metrics"


def test_points_of_another_clip_are_an_error(take: Take) -> None:
    for wrong in (scale_track(take.track, 2), pose.replace_frames(take.track, np.arange(3))):
        with pytest.raises(SettingsError, match="another clip"):
            detect(take.clip, lambda clip, wrong=wrong: wrong)


def test_the_dancer_is_the_largest_person(take: Take) -> None:
    child = scale_track(take.track, 0.5, 5, 5, (96, 96))
    for track, main in ((two(child, take.track), 1), (two(take.track, child), 0)):
        found = detect(take.clip, lambda clip, track=track: track)
        assert set(found.main.tolist()) == {main}
        assert len(found.bodies()[0][1]) == 2


def test_the_best_match_of_several_people_counts(take: Take) -> None:
    """The control's dancer is compared with whoever is nearest; order and strangers do not matter."""
    far = scale_track(take.track, 0.7, 30, 10, (96, 96))
    for control, found in (
        (take.track, two(far, take.track)),
        (two(far, take.track), take.track),
        (two(take.track, far), two(far, take.track)),
    ):
        card = score_clip(take.clip, control=control, metrics=POSE, detector=lambda clip, found=found: found)
        assert card.value("pose_mpjpe") < 0.1
        assert card.value("pose_pck") == 1
    assert "best match of 2 people" in card["pose_pck"].how


def test_joints_that_are_not_found_are_misses(take: Take) -> None:
    scores = take.track.scores.copy()
    scores[:, :, [4, 7]] = 0
    scores[3:] = 0
    seen = replace(take.track, scores=scores)
    card = score_clip(take.clip, control=take.track, metrics=POSE, detector=lambda clip: seen)
    assert card.value("pose_pck") == pytest.approx(3 / 9 * 11 / 13)
    assert card.value("pose_mpjpe") == 0
    assert f"{3 * 11} of {9 * 13} joints" in card["pose_mpjpe"].how
    assert "in 3 of 9 frames" in card["pose_pck"].how


def test_points_outside_the_picture_are_not_asked_for(take: Take) -> None:
    points = take.track.points.copy()
    points[:, :, 4] = (-20, 40)
    control = replace(take.track, points=points)
    card = score_clip(take.clip, control=control, metrics=POSE, detector=lambda clip: take.track)
    assert card.value("pose_pck") == 1
    assert f"{9 * 12} of {9 * 12} joints" in card["pose_mpjpe"].how


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_a_control_of_another_shape_is_fitted_as_for_the_rendering(take: Take, fit: str) -> None:
    wide = scale_track(take.track, 2, 48, 0, (192, 288))
    shown = fit_clip(Clip(np.zeros((9, 192, 288, 3), np.uint8), Fraction(16)), (96, 96), fit)
    scale = 96 / 288 if fit == "letterbox" else 96 / 192
    placed = scale_track(wide, scale, 0 if fit == "letterbox" else -24, 16 if fit == "letterbox" else 0, (96, 96))
    card = score_clip(
        shown, control=wide, provenance={"settings": {"fit": fit}}, metrics=POSE, detector=lambda clip: placed
    )
    assert card.value("pose_mpjpe") == pytest.approx(0, abs=1e-3)


def test_a_control_of_another_length_is_compared_as_far_as_it_goes(take: Take) -> None:
    short = pose.replace_frames(take.track, np.arange(4))
    card = score_clip(take.clip, control=short, metrics=POSE, detector=lambda clip: take.track)
    assert card.value("pose_pck") == 1
    assert "the first 4 frames" in card["pose_pck"].how


def test_frames_that_were_not_looked_at_are_left_out(take: Take) -> None:
    """As DWPose does without a GPU: every 4th frame."""
    made = scene(7)
    inputs = gather(
        control=take.track,
        reference=reference_take(made.character, made.motion, seed=made.seed).clip.frames[0],
        training=[render(scene(1, fixed=AIST_LIKE).character, made.motion, frames=2).clip],
        driving=take.clip,
        provenance={},
        detector="toy",
    )
    subject = Subject(take.clip, inputs)
    index = np.arange(0, 9, 4)
    found = Found(pose.replace_frames(take.track, index), index, "points by truth, every 4th frame")
    subject.once("found", lambda: found)
    assert pose.measure_pck(subject).value == 1
    assert "every 4th frame in 3 of 3 frames" in pose.measure_pck(subject).how
    whole = Subject(take.clip, inputs)
    for metric, band in ((identity_clothes, 0.5), (background, 0.3), (leakage, 0.03), (motion, 0.25)):
        assert metric.measure(subject).value == pytest.approx(metric.measure(whole).value, abs=band)


def test_clothes_are_looked_for_inside_their_limbs_and_people_are_covered() -> None:
    """On the toy world's true masks: nearly all that is called trousers is trousers, and no dancer is background."""
    right, covered = [], []
    for number in range(6):
        made = scene(number)
        take = render(made.character, made.motion, seed=made.seed, frames=3)
        height = float(body_height(take.track)[0])
        for t in range(3):
            person = body(take.track.points[t, 0], take.track.scores[t, 0], height)
            masks = clothes_masks(person, (96, 96))
            assert set(masks) == set(CLOTHES)
            for part, name in (("torso", "shirt"), ("thighs", "trousers"), ("shins", "trousers")):
                if masks[part].sum() >= 12:
                    right.append(float(take.mask(name)[t][masks[part]].mean()))
            outside = ~person_mask(person, (96, 96), 0.06)
            covered.append(float((dancer(take.labels)[t] & outside).mean()))
    assert np.mean(right) > 0.93
    assert max(covered) < 0.005


def test_a_reference_of_the_place_alone_tells_of_the_place() -> None:
    made = scene(7)
    biased = replace(made.character, **AIST_LIKE)
    leaked = render(biased, made.motion, seed=made.seed, frames=5)
    place = np.repeat(render(made.character, made.motion, frames=1).clip.frames[0][:, :1], 96, axis=1)
    training = [render(scene(number, fixed=AIST_LIKE).character, made.motion, frames=2).clip for number in range(2)]
    names = ["identity_clothes", "background", "leakage"]
    card = score_clip(leaked.clip, reference=place, training=training, metrics=names)
    assert "No person was found in the reference" in card["identity_clothes"].reason
    assert card.value("background") > 20
    assert "nobody was found in the reference" in card["background"].how
    assert card.value("leakage") > 0.7
    assert card["leakage"].how.startswith("background")
    assert "clothes" not in card["leakage"].how

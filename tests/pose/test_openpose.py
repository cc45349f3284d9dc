from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.openpose import BODY_25, PARTS, from_pose_keypoint, to_body_25, to_pose_keypoint
from s2v_core.pose.track import BODY, FACE, FEET, LEFT_HAND, PoseTrack
from tests.pose.openpose_tracks import broken, plain, same, some_track, tracks


@settings(max_examples=150, deadline=None)
@given(track=tracks(), threshold=st.sampled_from([0.3, 0.0, 0.9, 2.0]))
def test_a_socket_gives_back_the_track(track: PoseTrack, threshold: float) -> None:
    value = to_pose_keypoint(track, threshold=threshold)
    before = copy.deepcopy(value)
    back = from_pose_keypoint(value)
    assert same(track, back)
    assert value == before, "what a socket holds is never changed"
    assert same(track, from_pose_keypoint(json.loads(json.dumps(value, allow_nan=False))))


@settings(max_examples=100, deadline=None)
@given(track=tracks())
def test_openposes_own_form_gives_back_the_track(track: PoseTrack) -> None:
    assert same(track, from_pose_keypoint(json.loads(json.dumps(to_body_25(track), allow_nan=False))))


def test_the_form_of_a_socket() -> None:
    track = some_track(2)
    track.scores[0, 0, LEFT_HAND] = 0.2
    track.scores[1, 0] = 0
    first, second = to_pose_keypoint(track)
    assert (first["canvas_width"], first["canvas_height"]) == (320, 240)
    assert len(first["people"]) == 2
    assert len(second["people"]) == 1, "who is not in a frame is not in it"
    person = first["people"][0]
    assert [len(person[key] or []) for key in PARTS] == [54, 210, 0, 63, 18]
    assert person["hand_left_keypoints_2d"] is None
    triples = np.reshape(person["pose_keypoints_2d"], (-1, 3))
    shown = track.scores[0, 0, BODY] > 0.3
    assert 0 < shown.sum() < 18
    assert triples[:, 2].tolist() == shown.astype(float).tolist(), "1 or 0: the pack drops all below 1"
    assert np.array_equal(triples[shown, :2], track.points[0, 0, BODY][shown])
    assert not triples[~shown].any()
    face = np.reshape(person["face_keypoints_2d"], (-1, 3))
    assert np.array_equal(face[68:], triples[[14, 15]]), "the last two points of a face are the eyes"


def test_the_form_of_openpose() -> None:
    track = some_track(1, 1)
    (frame,) = to_body_25(track)
    assert frame["version"] == 1.3
    (person,) = frame["people"]
    body = np.reshape(person["pose_keypoints_2d"], (25, 3))
    points, scores = track.points[0, 0].astype(np.float64), track.scores[0, 0].astype(np.float64)
    assert np.array_equal(body[9, :2], points[8]), "the right hip follows the middle of the hips"
    assert body[8].tolist() == pytest.approx([*points[[8, 11]].mean(axis=0), scores[[8, 11]].min()])
    assert np.array_equal(body[19:, :2], points[FEET]), "left big toe, small toe, heel, then the right foot's"
    assert np.array_equal(body[:, 2][:8], scores[:8])
    assert person["pose_keypoints_3d"] == []
    assert sorted(at for at in BODY_25 if at is not None) == list(range(24))


def test_what_the_packs_dwpose_makes() -> None:
    track = some_track()
    value = plain(track)
    value[1]["people"] = []
    read = from_pose_keypoint(value, 16)
    assert (read.fps, read.canvas, read.backend) == (Fraction(16), (240, 320), "POSE_KEYPOINT")
    assert read.points.shape == (3, 2, 134, 2)
    shown = track.scores > 0.3
    shown[..., FEET] = False
    shown[1] = False
    assert np.array_equal(read.scores, shown.astype(np.float32))
    assert np.array_equal(read.points[shown], track.points[shown])
    assert read.notes == ("", "no person found", "")
    only_body = [{**frame, "people": [{"pose_keypoints_2d": [0.0] * 54}]} for frame in value]
    assert not from_pose_keypoint(only_body, 16).found.any()


def test_what_the_packs_openpose_makes() -> None:
    """Parts of the canvas; a hand's missing points at -1 pixel with the confidence 1; 71 points of a face."""
    track = some_track(1, 1)
    track.scores[:] = 1
    (frame,) = plain(track)
    (person,) = frame["people"]
    for key in person:
        if person[key]:
            person[key] = (np.reshape(person[key], (-1, 3)) / (320, 240, 1)).ravel().tolist()
    person["hand_left_keypoints_2d"][:3] = [-1 / 320, -1 / 240, 1.0]
    person["face_keypoints_2d"] += [0.5, 0.5, 1.0]
    read = from_pose_keypoint(frame, 16)
    seen = np.ones(134, bool)
    seen[FEET] = False
    seen[LEFT_HAND.start] = False
    assert (read.scores[0, 0] > 0).tolist() == seen.tolist()
    assert read.points[0, 0, seen] == pytest.approx(track.points[0, 0, seen], abs=1e-4)
    person["face_keypoints_2d"] = person["face_keypoints_2d"][:-9]
    assert "a face of 68 points" not in from_pose_keypoint(frame, 16).notes[0]
    person["face_keypoints_2d"] = person["face_keypoints_2d"][:-3]
    left_out = from_pose_keypoint(frame, 16)
    assert left_out.notes == ("a face of 67 points is left out",)
    assert not left_out.scores[..., FACE].any()


@pytest.mark.parametrize("beyond", [1.1131, -0.2])
def test_every_list_says_itself_whether_it_is_relative(beyond: float) -> None:
    """Editors hand on bodies as parts of the canvas beside faces in pixels, and points outside of the picture."""
    track = some_track(1, 1)
    track.scores[:] = 1
    (frame,) = plain(track)
    (person,) = frame["people"]
    body = np.reshape(person["pose_keypoints_2d"], (-1, 3)) / (320, 240, 1)
    body[10, 1] = beyond
    person["pose_keypoints_2d"] = body.tolist()  # nested, as that pack's own description has it
    person["hand_right_keypoints_2d"] = []
    del person["hand_left_keypoints_2d"]
    read = from_pose_keypoint(frame, 16)
    assert read.points[0, 0, BODY][:10] == pytest.approx(track.points[0, 0, BODY][:10], abs=1e-4)
    assert read.points[0, 0, 10, 1] == pytest.approx(beyond * 240)
    assert np.array_equal(read.points[0, 0, FACE], track.points[0, 0, FACE])
    assert not read.scores[..., LEFT_HAND.start :].any()


def test_people_keep_their_places() -> None:
    def frame(*ids: Any) -> dict[str, Any]:
        people = [{"person_id": who, "pose_keypoints_2d": [float(index + 10)] * 2 + [1.0] + [0.0] * 51}
                  for index, who in enumerate(ids)]  # fmt: skip
        return {"people": people, "canvas_width": 100, "canvas_height": 100}

    tracked = from_pose_keypoint([frame([7], [3]), frame([3]), frame(9, [7])], 16)
    assert tracked.points[:, :, 0, 0].tolist() == [[11, 10, 0], [10, 0, 0], [0, 11, 10]]
    untracked = from_pose_keypoint([frame([-1], [-1]), frame([-1])], 16)
    assert untracked.points[:, :, 0, 0].tolist() == [[10, 11], [10, 0]]
    twice = from_pose_keypoint([frame([1], [1]), frame([1])], 16)
    assert twice.points.shape[1] == 2
    assert from_pose_keypoint(frame(), 16).points.shape == (1, 0, 134, 2)


def test_what_another_program_changed_counts() -> None:
    track = some_track(1, 1)
    track.scores[:] = 0.6
    track.scores[0, 0, 3] = 0.1
    (frame,) = to_pose_keypoint(track)
    (person,) = frame["people"]
    person["hand_left_keypoints_2d"] = None
    person["pose_keypoints_2d"][:3] = [77.0, 66.0, 1.0]
    person["pose_keypoints_2d"][3:6] = [0.0, 0.0, 0.0]
    read = from_pose_keypoint(frame)
    assert not read.scores[..., LEFT_HAND].any(), "a hand that was taken out does not come back"
    assert read.points[0, 0, 0].tolist() == [77, 66]
    assert read.scores[0, 0, [0, 1, 2, 3]].tolist() == pytest.approx([0.6, 0, 0.6, 0.1])
    frame["canvas_width"] = 640
    assert from_pose_keypoint(frame).scores[0, 0, 3] == 0, "what was hidden did not move to the new canvas"
    person["pose_keypoints_2d"] = (np.reshape(person["pose_keypoints_2d"], (-1, 3)) / (640, 240, 1)).ravel().tolist()
    assert from_pose_keypoint(frame).points[0, 0, 0] == pytest.approx([77, 66], abs=1e-3)


def test_animals_are_said() -> None:
    animals = {"version": "ap10k", "animals": [[[1, 2, 1.0]] * 17], "canvas_height": 50, "canvas_width": 60}
    track = from_pose_keypoint([animals], 16)
    assert track.notes == ("animals are left out; no person found",)


@pytest.mark.parametrize(
    ("value", "place", "came"),
    [
        ([], "POSE_KEYPOINT", "an empty list"),
        ("text", "POSE_KEYPOINT", "the text 'text'"),
        ([5], "frame 0", "5"),
        ([{"faces": 1}], "frame 0", "the keys faces"),
        ([{"people": 5, "canvas_width": 9, "canvas_height": 9}], "frame 0, people", "5"),
        ([{"people": [5], "canvas_width": 9, "canvas_height": 9}], "frame 0, people[0]", "5"),
        ([{"people": [], "canvas_width": 0.5, "canvas_height": 9}], "frame 0", "0.5 x 9"),
        ([{"people": [], "canvas_width": 9}], "frame 0", "9 x None"),
        ([broken(), {**broken(), "canvas_width": 4}], "frame 1", "4 x 240"),
        ([broken(), broken(pose_keypoints_2d=[1.0] * 45)], "frame 1, people[0].pose_keypoints_2d", "15 points"),
        ([broken(hand_left_keypoints_2d=[1.0] * 62)], "people[0].hand_left_keypoints_2d", "62 numbers"),
        ([broken(hand_left_keypoints_2d=["1"] * 63)], "people[0].hand_left_keypoints_2d", "the text '1'"),
        ([broken(face_keypoints_2d=[[1, 2], [3]])], "people[0].face_keypoints_2d", "lists of different lengths"),
        ([broken(foot_keypoints_2d={"a": 1})], "people[0].foot_keypoints_2d", "a dict"),
        ([broken(foot_keypoints_2d=[None] * 18)], "people[0].foot_keypoints_2d", "None"),
        ([broken(foot_keypoints_2d=[10**400] * 18)], "people[0].foot_keypoints_2d", "a int"),
    ],
)
def test_what_is_wrong_is_named(value: Any, place: str, came: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_pose_keypoint(value, 16)
    assert place in caught.value.problem
    assert caught.value.got == came
    assert caught.value.expected


@pytest.mark.parametrize("fps", [0, -1, float("nan"), 1e9, "x", None])
def test_a_rate_must_be_one(fps: Any) -> None:
    with pytest.raises(SettingsError):
        from_pose_keypoint(plain(some_track()), fps)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*PARTS, "people", "x"]), inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), marked=st.booleans())
def test_no_json_crashes(data: st.DataObject, marked: bool) -> None:
    """A value with any one place of it replaced by anything is read, or refused with an error for people."""
    value: Any = to_pose_keypoint(some_track(2, 1)) if marked else plain(some_track(2, 1))
    spot: Any = value
    while True:
        keys = list(range(min(len(spot), 5))) if isinstance(spot, list) else list(spot)
        key = data.draw(st.sampled_from(keys))
        inner = spot[key]
        if not isinstance(inner, (list, dict)) or not inner or data.draw(st.integers(0, 3)) == 0:
            break
        spot = inner
    spot[key] = data.draw(json_values)
    try:
        track = from_pose_keypoint(value, data.draw(st.sampled_from([None, 16])))
    except SettingsError as error:
        assert error.expected
        assert error.got
    else:
        assert np.isfinite(track.points).all()
        assert (track.scores >= 0).all()
        draw_pose(track, hands=True, size=(64, 64))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=json_values)
def test_no_other_json_crashes(value: Any) -> None:
    try:
        assert len(from_pose_keypoint(value, 16)) > 0
    except SettingsError as error:
        assert error.got

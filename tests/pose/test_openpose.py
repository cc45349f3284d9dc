from __future__ import annotations

import copy
import importlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.openpose import BODY_25, MARK, PARTS, from_pose_keypoint, to_body_25, to_pose_keypoint
from s2v_core.pose.openpose_file import load_openpose, save_openpose
from s2v_core.pose.track import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, PoseTrack

numbers = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(-2, 2, width=32)


@st.composite
def tracks(draw: Any) -> PoseTrack:
    """Any track: nobody to four people, any numbers (NaN and infinity too), whole parts missing, any notes."""
    frames, people = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    points = random.uniform(-50, 900, (frames, people, 134, 2)).astype(np.float32)
    scores = random.choice(np.float32([0, 1e-9, 0.1, 0.3, 0.31, 0.7, 1, 1.1]), (frames, people, 134)).astype(np.float32)
    scores *= np.repeat(random.uniform(0, 1, (frames, people, 67)) < 0.9, 2, axis=-1)
    for part in (BODY, FEET, FACE, LEFT_HAND, RIGHT_HAND):
        scores[..., part] *= random.uniform(0, 1, (frames, people, 1)) < 0.7
    for index in draw(st.lists(st.integers(0, 133), max_size=6)) if people else []:
        points[:, -1, index] = draw(arrays.arrays(np.float32, (frames, 2), elements=numbers))
        scores[:, -1, index] = draw(arrays.arrays(np.float32, frames, elements=numbers))
    canvas = draw(st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
    fps = draw(st.fractions(min_value=Fraction(1, 100), max_value=1000, max_denominator=10**6))
    texts = tuple(draw(st.text(max_size=8)) for _ in range(frames))
    return PoseTrack(points, scores, canvas, fps, draw(st.text(min_size=1, max_size=12)), texts)


def same(one: PoseTrack, other: PoseTrack) -> bool:
    """Equal in every bit of every point that was found; the others have score 0 in both."""
    rest = ("canvas", "fps", "backend", "notes")
    found = np.isfinite(one.points).all(axis=-1) & np.isfinite(one.scores) & (one.scores > 0)
    return (
        np.array_equal(np.where(found, one.scores, 0), other.scores)
        and np.array_equal(one.points[found], other.points[found])
        and all(getattr(one, name) == getattr(other, name) for name in rest)
    )


def some_track(frames: int = 3, people: int = 2, seed: int = 0) -> PoseTrack:
    random = np.random.default_rng(seed)
    points = random.uniform(5, 235, (frames, people, 134, 2)).astype(np.float32)
    scores = random.uniform(0.05, 1, (frames, people, 134)).astype(np.float32)
    return PoseTrack(points, scores, (240, 320), Fraction(30000, 1001), "test", ("",) * frames)


def plain(track: PoseTrack) -> list[dict[str, Any]]:
    """The track as comfyui_controlnet_aux writes it: without anything of ours."""
    frames = to_pose_keypoint(track)
    for frame in frames:
        del frame[MARK]
        for person in frame["people"]:
            del person[MARK], person["person_id"]
            person.pop("foot_keypoints_2d", None)
    return frames


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


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(track=tracks())
def test_files_give_back_the_track(tmp_path_factory: pytest.TempPathFactory, track: PoseTrack) -> None:
    folder = tmp_path_factory.mktemp("poses")
    file = save_openpose(track, folder / "pose.json")
    many = save_openpose(track, folder / "dance.v1")
    assert same(track, load_openpose(file))
    assert same(track, load_openpose(many))
    names = sorted(path.name for path in many.iterdir())
    assert names == [f"dance.v1_{index:012d}_keypoints.json" for index in range(len(track))]
    assert sorted(path.name for path in folder.iterdir()) == ["dance.v1", "pose.json"]


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


def test_what_openpose_itself_makes(tmp_path: Path) -> None:
    for index in range(3):
        body = np.zeros((25, 3))
        body[:, 0], body[:, 1], body[:, 2] = 100 + index, 50, 0.5
        body[4] = 0
        person = {
            "person_id": [-1],
            "pose_keypoints_2d": body.ravel().tolist(),
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": [],
            "pose_keypoints_3d": [],
        }
        path = tmp_path / f"clip_{20 + 2 * index:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": [person] * (index + 1)}))
    track = load_openpose(tmp_path, 25.5, canvas=(480, 640))
    assert (track.points.shape, track.canvas, track.fps) == ((3, 3, 134, 2), (480, 640), Fraction(51, 2))
    assert track.points[:, 0, 0, 0].tolist() == [100, 101, 102]
    assert track.scores[0, 0, :24].tolist() == [0.5] * 4 + [0] + [0.5] * 19
    assert track.scores[0, 1:].any() == 0
    with pytest.raises(SettingsError, match="clip_000000000020_keypoints") as caught:
        load_openpose(tmp_path, 25)
    assert "canvas_width" in caught.value.expected
    with pytest.raises(SettingsError) as caught:
        load_openpose(tmp_path, canvas=(480, 640))
    assert "frame rate" in caught.value.expected


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


def broken(**changes: Any) -> dict[str, Any]:
    (frame,) = plain(some_track(1, 1))
    frame["people"][0].update(changes)
    return frame


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


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    for name, text, message in (
        ("cut.json", '[{"people": ', "is not JSON"),
        ("deep.json", "[" * 100_000, "is not JSON"),
        ("kind.json", '{"a": 1}', "no pose that can be read"),
        ("empty.json", "", "is not JSON"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(SettingsError, match=message) as caught:
            load_openpose(tmp_path / name, 16)
        assert name in caught.value.problem
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not JSON"):
        load_openpose(tmp_path / "bytes.json", 16)
    with pytest.raises(SettingsError, match="does not exist"):
        load_openpose(tmp_path / "nowhere.json", 16)
    with pytest.raises(SettingsError, match="cannot be written"):
        save_openpose(some_track(), tmp_path)
    (tmp_path / "new").mkdir()
    with pytest.raises(SettingsError, match="holds no poses"):
        load_openpose(tmp_path / "new", 16)
    assert len(list(save_openpose(some_track(), tmp_path / "new").iterdir())) == 3


def test_folders_with_gaps_and_strangers(tmp_path: Path) -> None:
    folder = save_openpose(some_track(6), tmp_path / "dance")
    (folder / "dance_000000000003_keypoints.json").rename(tmp_path / "away.json")
    with pytest.raises(SettingsError, match="Frames are missing") as caught:
        load_openpose(folder)
    assert "number 3" in caught.value.expected
    (tmp_path / "away.json").rename(folder / "dance_000000000003_keypoints.json")
    (folder / "other_3.json").write_text("{}")
    with pytest.raises(SettingsError, match="no place"):
        load_openpose(folder)
    (folder / "other_3.json").rename(folder / "notes.json")
    with pytest.raises(SettingsError, match="no place"):
        load_openpose(folder)
    (folder / "notes.json").unlink()
    (folder / "dance_000000000006_keypoints.json").write_text(json.dumps(plain(some_track())))
    with pytest.raises(SettingsError, match="not one frame"):
        load_openpose(folder)
    (folder / "dance_000000000006_keypoints.json").write_text(json.dumps(broken(hand_left_keypoints_2d=5)))
    with pytest.raises(SettingsError, match="dance_000000000006_keypoints"):
        load_openpose(folder, 16)
    seen: list[tuple[int, int]] = []
    with pytest.raises(Interrupted, match="after 2 of 7"):
        load_openpose(folder, on_progress=lambda *at: seen.append(at), should_stop=lambda: len(seen) == 2)


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


# comfyui_controlnet_aux itself.


@pytest.fixture(scope="module")
def pack() -> Iterator[ModuleType]:
    """The pack's own ``dwpose`` module, out of a checkout that COMFY_AUX_ROOT names; its nets' code is left out."""
    root = os.environ.get("COMFY_AUX_ROOT")
    if not root:
        pytest.skip("NO COMFYUI_CONTROLNET_AUX: name a checkout of Fannovel16/comfyui_controlnet_aux in COMFY_AUX_ROOT")
    source = Path(root) / "src"
    if not (source / "custom_controlnet_aux" / "dwpose" / "__init__.py").is_file():
        pytest.fail(f"COMFY_AUX_ROOT names {root}, which holds no src/custom_controlnet_aux/dwpose")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KMP_DUPLICATE_LIB_OK", os.environ.get("KMP_DUPLICATE_LIB_OK", "TRUE"))  # it sets this itself
        patch.syspath_prepend(str(source))
        yield importlib.import_module("custom_controlnet_aux.dwpose")
        for name in [name for name in sys.modules if name.startswith("custom_controlnet_aux")]:
            del sys.modules[name]


def test_the_pack_decodes_draws_and_encodes_what_we_write(pack: ModuleType) -> None:
    track = some_track(3, 3)
    track.scores[1, 0, LEFT_HAND] = 0.1
    track.scores[2, 1, FACE] = 0
    for index, frame in enumerate(to_pose_keypoint(track)):
        poses, animals, height, width = pack.decode_json_as_poses(frame)
        assert (len(poses), animals, height, width) == (3, [], 240, 320)
        for who, pose in enumerate(poses):
            for part, points in (
                (BODY, pose.body.keypoints), (FACE, pose.face),
                (LEFT_HAND, pose.left_hand), (RIGHT_HAND, pose.right_hand),
            ):  # fmt: skip
                shown = track.scores[index, who, part] > 0.3
                assert [point is not None for point in (points or [None] * 200)[: len(shown)]] == shown.tolist()
                for point, place in zip(points or [], track.points[index, who, part], strict=False):
                    assert point is None or (point.x, point.y) == tuple(place.tolist())
        # Their own encoding of what they understood is what we wrote, but for the keys that they do not know.
        again = pack.encode_poses_as_dict(poses, height, width)
        ours = {**frame, "people": [{key: person[key] for key in again["people"][0]} for person in frame["people"]]}
        assert {key: ours[key] for key in again} == again
        assert same(track, from_pose_keypoint(to_pose_keypoint(track)))
        read = from_pose_keypoint([again], 16)
        shown = track.scores[index] > 0.3
        shown[:, FEET] = False
        assert np.array_equal(read.points[0][shown], track.points[index][shown])
        # They draw person by person, we layer by layer as DWPose does, and their faces have the eyes' joints too: what
        # is left must be the same.
        alone = replace(
            track, points=track.points[index : index + 1, :1], scores=track.scores[index : index + 1, :1], notes=("",)
        )
        own = draw_pose(alone, palette="openpose", hands=True, face=False, stick="fixed").frames[0]
        assert np.array_equal(own, pack.draw_poses(poses[:1], height, width, draw_face=False))


@pytest.fixture
def pack_nodes(pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The pack's nodes for keypoints. Of ComfyUI they need two functions, which are stood in for here."""
    host = ModuleType("folder_paths")
    host.get_output_directory = lambda: str(tmp_path)  # type: ignore[attr-defined]
    host.get_save_image_path = lambda prefix, folder, *_: (folder, prefix, 1, "", prefix)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "folder_paths", host)
    root = Path(os.environ["COMFY_AUX_ROOT"])
    for name, path in (("", ""), (".node_wrappers", "node_wrappers"), (".src", "src")):
        package = ModuleType(f"comfy_aux_for_tests{name}")
        package.__path__ = [str(root / path)]
        monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, "comfy_aux_for_tests.src.custom_controlnet_aux.dwpose", pack)
    return importlib.import_module("comfy_aux_for_tests.node_wrappers.pose_keypoint_postprocess")


def test_the_packs_nodes_take_what_we_write(pack_nodes: ModuleType, tmp_path: Path) -> None:
    track = some_track(2, 2)
    value = to_pose_keypoint(track)
    pack_nodes.SavePoseKpsAsJsonFile().save_pose_kps(value, "PoseKeypoint")
    assert same(track, load_openpose(tmp_path / "PoseKeypoint_00001.json"))
    (picture,) = pack_nodes.RenderPeopleKps().render(value, True, True, True)
    assert picture.shape == (1, 240, 320, 3)
    assert picture.max() == 1
    colors = {part: pack_nodes.LAPA_COLORS[part] for part in pack_nodes.FACIAL_PARTS}
    (faces,) = pack_nodes.FacialPartColoringFromPoseKps().colorize(value, "polygon", **colors)
    assert faces.shape == (2, 240, 320, 3)
    boxes = {f"{part}_width_height": "20, 20" for part in pack_nodes.UpperBodyTrackingFromPoseKps.PART_NAMES}
    tracked, _ = pack_nodes.UpperBodyTrackingFromPoseKps().convert(value, "", **boxes)
    assert set(tracked["Head"]) == {0, 1}
    assert same(track, from_pose_keypoint(value)), "that node sorts people in place; who is who does not depend on it"

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.pose.openpose_file import load_openpose, save_openpose
from s2v_core.pose.track import PoseTrack
from tests.pose.openpose_tracks import broken, plain, same, some_track, tracks


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

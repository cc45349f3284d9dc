"""DWPose's walk over a clip, in the toy world of toy_dancers.py: real onnxruntime, and a truth that is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnx", reason="NO ONNX WRITER: run: python -m pip install onnx")

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.onnxnet import OnnxNet
from s2v_core.pose.dwpose import DwposeReport, Nets, extract_dwpose
from s2v_core.pose.settings import DwposeSettings
from s2v_core.pose.track import PoseTrack
from tests.pose.dwpose_graphs import DETECTOR, POSE
from tests.pose.toy_dancers import paint, truth, write_toys

Walk = Callable[..., tuple[PoseTrack, DwposeReport]]
FRAMES = 49


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Nets:
    folder = tmp_path_factory.mktemp("toys")
    write_toys(folder)
    return Nets(OnnxNet(folder / DETECTOR, "cpu", threads=1), OnnxNet(folder / POSE, "cpu", threads=1))


def moving(start: tuple[float, float], end: tuple[float, float], size: tuple[float, float] = (40, 110)) -> np.ndarray:
    """Boxes [T, 4] of a dancer whose middle goes from ``start`` to ``end``, swaying on the way."""
    share = np.linspace(0, 1, FRAMES)[:, None]
    middle = (1 - share) * start + share * end + 6 * np.sin(share * 20) * (1, 0)
    return np.concatenate([middle - np.array(size) / 2, middle + np.array(size) / 2], axis=1)


def error(track: PoseTrack, boxes: np.ndarray, slot: int = 0) -> np.ndarray:
    """The largest distance in each frame [T] of a person's points from the truth; NaN where nobody was found."""
    away = np.full(len(track), np.nan)
    for frame in range(len(track)):
        if track.scores[frame, slot].any():
            away[frame] = np.abs(track.points[frame, slot] - truth(boxes[frame])).max()
    return away


def slot_of(track: PoseTrack, boxes: np.ndarray, frame: int) -> int:
    """The slot whose points lie in the box of this dancer in one frame."""
    distances = np.abs(track.points[frame] - truth(boxes[frame])).max(axis=(1, 2))
    return int(np.where(track.scores[frame].any(axis=1), distances, np.inf).argmin())


def test_one_dancer_is_followed_with_four_detections(nets: Nets) -> None:
    boxes = moving((60, 120), (260, 120))
    track, report = extract_dwpose(paint(boxes[:, None]), nets=nets)
    assert error(track, boxes).max() < 1
    assert report.detections == 4  # frames 0, 16, 32, 48
    assert report.looks <= FRAMES + 4
    assert track.points.shape == (FRAMES, 1, 134, 2)
    assert track.backend == "dwpose (onnxruntime " + track.backend.split()[2] + " cpu)"
    assert not any(track.notes)


def test_following_gives_what_detecting_everywhere_gives(nets: Nets) -> None:
    clip = paint(moving((60, 120), (260, 120))[:, None])
    followed, _ = extract_dwpose(clip, nets=nets)
    detected, report = extract_dwpose(clip, DwposeSettings(detect_every=1, batch=1), nets=nets)
    assert report.detections == FRAMES
    assert np.abs(followed.points - detected.points).max() < 1


def test_a_leap_aside_is_caught_by_detecting_again(nets: Nets) -> None:
    """Between two detections the dancer leaps aside and comes back: no interpolated crop shows it."""
    boxes = moving((50, 120), (70, 120))
    leap = 150 * np.sin(np.linspace(0, np.pi, 15))[:, None] * (1, 0, 1, 0)
    boxes[17:32] += leap
    track, report = extract_dwpose(paint(boxes[:, None]), nets=nets)
    assert error(track, boxes).max() < 1
    assert 4 < report.detections < FRAMES


def test_a_dancer_who_comes_and_goes(nets: Nets) -> None:
    boxes = moving((60, 120), (260, 120))
    boxes[:11] = np.nan
    boxes[37:] = np.nan
    track, report = extract_dwpose(paint(boxes[:, None]), nets=nets)
    found = track.found
    assert found[11:37].all()
    assert not found[:11].any()
    assert not found[37:].any()
    assert np.nanmax(error(track, boxes)) < 1
    assert track.notes[0] == track.notes[-1] == "no person found"
    assert report.detections < FRAMES


def test_nobody_at_all(nets: Nets) -> None:
    track, report = extract_dwpose(paint(np.full((FRAMES, 1, 4), np.nan)), nets=nets)
    assert not track.found.any()
    assert set(track.notes) == {"no person found"}
    assert report.looks == 0
    assert report.detections <= FRAMES // 4 + 2


def test_two_dancers_keep_their_slots_through_a_crossing(nets: Nets) -> None:
    one, two = moving((50, 120), (270, 120)), moving((270, 125), (50, 125), (50, 120))
    track, report = extract_dwpose(paint(np.stack([one, two], axis=1)), nets=nets)
    apart = np.abs(one[:, 0] - two[:, 0]) > 55  # nobody stands in front of the other
    for boxes in (one, two):
        slot = slot_of(track, boxes, 0)
        assert np.nanmax(error(track, boxes, slot)[apart]) < 1
        assert track.scores[apart, slot].any(axis=1).all()
    assert report.detections < FRAMES
    assert track.notes[0] == "2 people"


def test_where_the_detector_is_blind_the_pose_net_looks(nets: Nets) -> None:
    boxes = moving((100, 120), (200, 120))
    striped = np.zeros((FRAMES, 1), bool)
    striped[14:19] = True  # around the second frame that the detector is asked about
    track, _ = extract_dwpose(paint(boxes[:, None], striped=striped), nets=nets)
    assert error(track, boxes).max() < 1
    assert "found where the detector saw nobody" in track.notes[16]
    assert track.notes[5] == ""


def test_the_most_people(nets: Nets) -> None:
    people = np.stack([moving((x, 120), (x + 10, 120)) for x in (50, 160, 270)], axis=1)
    assert extract_dwpose(paint(people), nets=nets)[0].points.shape[1] == 3
    assert extract_dwpose(paint(people), DwposeSettings(max_people=2), nets=nets)[0].points.shape[1] == 2


@pytest.mark.parametrize("count", [1, 2, 3, 17, 18])
def test_short_clips(nets: Nets, count: int) -> None:
    boxes = moving((60, 120), (120, 120))[:count]
    track, _ = extract_dwpose(paint(boxes[:, None]), nets=nets)
    assert len(track) == count
    assert error(track, boxes).max() < 1


def test_batches_change_nothing(nets: Nets) -> None:
    clip = paint(moving((60, 120), (260, 120))[:, None])
    one, _ = extract_dwpose(clip, DwposeSettings(batch=1), nets=nets)
    many, _ = extract_dwpose(clip, DwposeSettings(batch=16), nets=nets)
    assert np.array_equal(one.points, many.points)


def test_progress_and_stop(nets: Nets) -> None:
    clip = paint(moving((60, 120), (260, 120))[:, None])
    seen: list[tuple[int, int]] = []
    extract_dwpose(clip, nets=nets, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (FRAMES, FRAMES)
    asked = iter([False] * 5)
    with pytest.raises(Interrupted, match="of 49 frames"):
        extract_dwpose(clip, nets=nets, should_stop=lambda: next(asked, True))


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="detect_every"):
        DwposeSettings(detect_every=0)
    with pytest.raises(SettingsError, match="provider"):
        DwposeSettings(provider="tensorrt")

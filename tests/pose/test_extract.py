from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core import models
from s2v_core.errors import Interrupted, MissingPackageError, ModelFileError, SettingsError
from s2v_core.pose import extract, mmpose
from s2v_core.pose.extract import choose_backend, extract_pose
from s2v_core.pose.settings import BACKENDS, DwposeSettings, ExtractSettings
from s2v_core.pose.track import PoseTrack
from s2v_core.video.clip import Clip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, so that nothing is there before."""
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pose"


@pytest.fixture
def no_dwpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without DWPose's files, wherever this machine may have them."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("AUX_ANNOTATOR_CKPTS_PATH", raising=False)


@pytest.fixture
def dwpose_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_dwpose: None) -> Iterator[Path]:
    """Toy nets in place of DWPose's files, noted as accepted versions: the real ones cannot be redistributed."""
    pytest.importorskip("onnx", reason="NO ONNX WRITER: run: python -m pip install onnx")
    from tests.pose.toy_dancers import write_toys

    folder = tmp_path / "models"
    write_toys(folder)
    for entry in models.DWPOSE:
        models.write_accepted(folder / entry.file)
    monkeypatch.setenv("S2V_MODELS", str(folder))
    yield folder


def toy_clip(frames: int = 6) -> Clip:
    from tests.pose.toy_dancers import paint

    return paint(np.tile(np.array([100, 60, 140, 170.0]), (frames, 1, 1)))


def test_the_report_says_who_did_it_and_how_fast(
    dancer_clip: Clip, dancer_track: PoseTrack, blazepose_models: Path, cache: Path, no_dwpose: None,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    head = dancer_clip.with_frames(dancer_clip.frames[:5])
    with caplog.at_level(logging.INFO, logger="s2v_core.pose.extract"):
        report = extract_pose(head, threads=2)
    assert np.array_equal(report.track.points, dancer_track.points[:5])
    assert report.found == 5
    assert report.seconds > 0
    assert report.frames_per_second == pytest.approx(5 / report.seconds)
    assert report.provider.startswith("LiteRT 2.")
    assert "CPU, 2 threads" in report.provider
    assert "yolox_l.onnx and dw-ll_ucoco_384.onnx of dwpose are not there" in report.choice
    assert "5 of 5 frames found" in str(report)
    assert str(report) in caplog.text
    assert extract_pose(head, "blazepose").choice == "blazepose, as asked"


def test_dwpose_is_taken_when_its_files_are_there(dwpose_files: Path, cache: Path) -> None:
    report = extract_pose(toy_clip())
    assert report.track.backend.startswith("dwpose (onnxruntime ")
    assert report.choice == "auto: dwpose, whose files are there"
    assert " cpu, 2 detections and 6 looks of the pose net" in report.provider
    (dwpose_files / "yolox_l.onnx").unlink()
    assert choose_backend("auto")[0] == "blazepose"
    assert "because yolox_l.onnx of dwpose is not there" in choose_backend("auto")[1]


def test_dwpose_without_its_files_is_an_error_and_never_another_backend(no_dwpose: None, cache: Path) -> None:
    with pytest.raises(ModelFileError, match=r"yolox_l.onnx .* is missing") as caught:
        extract_pose(toy_clip(), "dwpose")
    assert "s2v models get dwpose" in caught.value.remedy


def test_a_second_extraction_comes_out_of_the_cache(dwpose_files: Path, cache: Path) -> None:
    first = extract_pose(toy_clip())
    seen: list[tuple[int, int]] = []
    second = extract_pose(toy_clip(), on_progress=lambda done, total: seen.append((done, total)))
    assert (first.kept, second.kept) == (False, True)
    assert np.array_equal(first.track.points, second.track.points)
    assert second.track.notes == first.track.notes
    assert second.provider == first.provider
    assert "out of the cache" in str(second)
    assert seen == [(6, 6)]


def test_what_decides_the_points_decides_the_cache(dwpose_files: Path, cache: Path, monkeypatch: Any) -> None:
    clip = toy_clip()
    extract_pose(clip)
    other = clip.with_frames(np.where(clip.frames == clip.frames[0, 0, 0, 0], np.uint8(41), clip.frames))
    assert not extract_pose(other).kept
    assert not extract_pose(clip, ExtractSettings(dwpose=DwposeSettings(detect_every=1))).kept
    assert not extract_pose(clip, ExtractSettings(keep=False)).kept
    assert extract_pose(clip, ExtractSettings("dwpose")).kept
    note = dwpose_files / "dw-ll_ucoco_384.onnx.accepted"
    note.write_text("0" * 64)
    monkeypatch.setattr(models, "_verified", set())
    with pytest.raises(ModelFileError, match="damaged"):
        extract_pose(clip)


def test_a_damaged_entry_is_made_again(dwpose_files: Path, cache: Path) -> None:
    extract_pose(toy_clip())
    for path in cache.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    assert not extract_pose(toy_clip()).kept
    assert extract_pose(toy_clip()).kept


def test_a_cache_that_cannot_be_written_loses_nothing(dwpose_files: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "file"))
    assert extract_pose(toy_clip()).found == 6


def test_the_cache_keeps_the_entries_that_are_asked_for(dwpose_files: Path, cache: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(extract.cache, "_MOST", 2)
    for frames in (3, 4, 5):
        extract_pose(toy_clip(frames))
    assert len(list(cache.glob("*.npz"))) == len(list(cache.glob("*.json"))) == 2
    assert [extract_pose(toy_clip(frames)).kept for frames in (5, 4)] == [True, True]


def test_backends_that_cannot_be_used(dancer_clip: Clip) -> None:
    assert BACKENDS == ("auto", "dwpose", "blazepose", "controlnet-aux")
    with pytest.raises(SettingsError, match="backend"):
        extract_pose(dancer_clip, "openpose")


@pytest.mark.skipif(not mmpose.missing_packages(), reason="mmpose is installed")
def test_controlnet_aux_says_what_is_missing() -> None:
    with pytest.raises(MissingPackageError, match="mmpose's parts") as caught:
        extract_pose(toy_clip(), "controlnet-aux")
    assert "mmcv" in caught.value.got


def test_controlnet_aux_with_a_stand_in_for_its_detector(monkeypatch: Any, tmp_path: Path, cache: Path) -> None:
    """mmpose does not build here, so a class of the same form stands in: what is tested is our side of the call."""
    asked: list[np.ndarray] = []

    class StandIn:
        def __init__(self, det_ckpt: str, pose_ckpt: str, device: str) -> None:
            assert Path(det_ckpt).is_file()
            assert Path(pose_ckpt).is_file()

        def pose_estimation(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            asked.append(picture)
            score = 0.1 if len(asked) == 2 else 0.8  # the second frame: a guess on the whole picture
            return np.full((1, 134, 2), 50.0 + len(asked)), np.full((1, 134), score)

    module = types.ModuleType("controlnet_aux.dwpose")
    module.DWposeDetector = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "controlnet_aux.dwpose", module)
    monkeypatch.setattr(mmpose, "missing_packages", list)
    with pytest.raises(ModelFileError, match="of the backend controlnet-aux is missing"):
        extract_pose(toy_clip(), "controlnet-aux")
    for file in (mmpose.DETECTOR, mmpose.POSE):
        (tmp_path / file).write_bytes(b"")
    monkeypatch.setenv("S2V_MODELS", str(tmp_path))
    clip = toy_clip(3)
    track = extract_pose(clip, "controlnet-aux").track
    assert np.array_equal(asked[0], clip.frames[0][..., ::-1])  # it takes BGR
    assert list(track.found) == [True, False, True]
    assert track.notes == ("", "low score 0.10", "")
    assert track.backend == "controlnet-aux (mmpose, cpu)"


def test_a_stop_reaches_the_backend(dwpose_files: Path, cache: Path) -> None:
    with pytest.raises(Interrupted):
        extract_pose(toy_clip(), should_stop=lambda: True)
    assert not cache.exists()

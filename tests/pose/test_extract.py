from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.pose.extract import BACKENDS, extract_pose
from s2v_core.pose.track import PoseTrack
from s2v_core.video.clip import Clip


def test_the_report_says_who_did_it_and_how_fast(
    dancer_clip: Clip, dancer_track: PoseTrack, blazepose_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = dancer_clip.with_frames(dancer_clip.frames[:5])
    with caplog.at_level(logging.INFO, logger="s2v_core.pose.extract"):
        report = extract_pose(head, threads=2)
    assert np.array_equal(report.track.points, dancer_track.points[:5])
    assert report.found == 5
    assert report.seconds > 0
    assert report.frames_per_second == pytest.approx(5 / report.seconds)
    assert report.provider.startswith("LiteRT 2.")
    assert "CPU, 2 threads" in report.provider
    assert "blazepose" in report.choice
    assert "5 of 5 frames found" in str(report)
    assert str(report) in caplog.text
    assert extract_pose(head, "blazepose").choice == "blazepose, as asked"


def test_backends_that_cannot_be_used(dancer_clip: Clip) -> None:
    assert BACKENDS == ("auto", "blazepose", "dwpose")
    with pytest.raises(SettingsError, match="not available in this version") as caught:
        extract_pose(dancer_clip, "dwpose")
    assert "blazepose" in caught.value.remedy
    with pytest.raises(SettingsError, match="no pose backend 'openpose'"):
        extract_pose(dancer_clip, "openpose")


def test_a_stop_reaches_the_backend(dancer_clip: Clip, blazepose_models: Path) -> None:
    with pytest.raises(Interrupted):
        extract_pose(dancer_clip, should_stop=lambda: True)

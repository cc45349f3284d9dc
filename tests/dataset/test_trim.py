from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.dataset.trim import choose_start, most_motion, motion, nearest_bar
from s2v_core.errors import SettingsError
from s2v_core.video.clip import Clip
from s2v_core.video.read import VideoInfo, probe_clip
from s2v_core.video.write import write_clip
from tests.dataset.toy_videos import settings


def info(seconds: object) -> VideoInfo:
    return VideoInfo(96, 64, Fraction(24), None if seconds is None else Fraction(seconds), None, 0, "h264")  # type: ignore[arg-type]


PATH = Path("gBR_sBM_c01_d04_mBR0_ch01.mp4")


def test_the_middle_and_the_start():
    # 17 frames at 16 a second last 1 s to the last frame's time, and a sixteenth more.
    assert choose_start(PATH, info(5), settings(), None) == Fraction(int((5 - Fraction(17, 16)) * 500), 1000)
    assert choose_start(PATH, info(1), settings(), None) == 0
    assert choose_start(PATH, info(5), settings(trim="start", offset=1.3), None) == Fraction(13, 10)


@given(st.fractions(0, 60), st.sampled_from([80, 90, 100, 110, 120, 130, 99.5]))
def test_a_bar_is_whole_inside_and_nearest(room: Fraction, tempo: float):
    bar = 240 / Fraction(repr(float(tempo)))
    start = nearest_bar(room, tempo)
    bars = [number * bar for number in range(int(room // bar) + 1)]
    assert start in bars
    assert abs(start - room / 2) == min(abs(one - room / 2) for one in bars)
    assert start == min(one for one in bars if abs(one - room / 2) == abs(start - room / 2))


def test_a_bar_needs_a_tempo():
    # 12 s leave 10.9375 s of room: the bars of 3 s begin at 0, 3, 6 and 9, and 6 is nearest to the middle.
    assert choose_start(PATH, info(12), settings(trim="beat"), 80) == 6
    with pytest.raises(SettingsError, match="tempo of gBR_sBM_c01_d04_mBR0_ch01") as caught:
        choose_start(PATH, info(12), settings(trim="beat"), None)
    assert "column tempo" in caught.value.remedy


def test_the_most_motion_is_found_at_its_moment(tmp_path: Path):
    frames = np.full((80, 32, 48, 3), 90, np.uint8)
    for index in range(40, 60):  # 1.25 s of motion that begins at 2.5 s
        frames[index, 8:24, 2 * (index - 40) : 2 * (index - 40) + 8] = 250
    path = write_clip(Clip(frames, Fraction(16)), tmp_path / "a.mp4")
    changes = motion(path, Fraction(16))
    assert len(changes) == 79 and changes[:38].max() < 0.5 < changes[41:58].min()
    start = choose_start(path, probe_clip(path), settings(trim="motion"), None)
    assert Fraction(39, 16) <= start <= Fraction(44, 16)
    # The same at another rate than the video's own: each moment takes the first frame at or after it.
    assert len(motion(path, Fraction(8))) == 39
    assert choose_start(path, info(None), settings(), None) == Fraction(int((5 - Fraction(17, 16)) * 500), 1000)


@given(st.lists(st.sampled_from([0.0, 0.1, 1.0]), max_size=30), st.sampled_from([5, 9]))
def test_of_equal_pieces_the_first(changes: list[float], frames: int):
    found = most_motion(np.array(changes), frames)
    sums = [sum(changes[at : at + frames - 1]) for at in range(len(changes) - frames + 2)]
    best = [at for at, value in enumerate(sums) if value >= max(sums) - 1e-6]
    assert found == (best[0] if best else 0)

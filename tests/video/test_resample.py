"""A piece of a clip in memory, as ``read_clip`` takes it from a file."""

from fractions import Fraction

import numpy as np
import pytest

from s2v_core.errors import VideoError
from s2v_core.video.clip import Clip
from s2v_core.video.read import read_clip
from s2v_core.video.resample import take
from s2v_core.video.write import write_clip


@pytest.fixture(scope="module")
def numbered():
    """Forty grey frames at 24 a second; the level is four times the number."""
    levels = 4 * np.arange(40, dtype=np.uint8)
    return Clip(np.ascontiguousarray(np.broadcast_to(levels[:, None, None, None], (40, 32, 48, 3))), Fraction(24))


def numbers(clip):
    return (clip.frames[:, 0, 0, 0] // 4).tolist()


@pytest.mark.parametrize(("fps", "start", "short"), [(16, 0, "error"), (10, "0.3", "hold"), (50, "1.1", "loop")])
def test_the_same_frames_as_from_a_file(numbered, tmp_path, fps, start, short):
    write_clip(numbered, tmp_path / "a.mkv")
    how = {"fps": Fraction(fps), "frames": 21, "size": (32, 32), "fit": "letterbox", "start": Fraction(start)}
    from_file = read_clip(tmp_path / "a.mkv", **how, short=short)
    found = take(numbered, **how, short=short)
    assert found.fps == fps
    assert np.array_equal(found.frames, from_file.frames)


def test_a_short_clip(numbered):
    how = {"fps": Fraction(24), "frames": 5, "size": (48, 32), "start": Fraction(38, 24)}
    assert numbers(take(numbered, **how, short="hold")) == [38, 39, 39, 39, 39]
    assert numbers(take(numbered, **how, short="loop")) == [38, 39, 38, 39, 38]
    with pytest.raises(VideoError, match=r"too short: it lasts 1\.67 s") as error:
        take(numbered, **how)
    assert "2 frames" in str(error.value)
    with pytest.raises(VideoError, match="too short"):
        take(numbered, **{**how, "start": Fraction(2)}, short="hold")
    with pytest.raises(VideoError, match="no way 'x'"):
        take(numbered, **how, short="x")

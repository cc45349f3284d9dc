"""Sheets: what fits into them, and that every frame is where the page looks for it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s2v_core.errors import Interrupted
from s2v_core.sweep_report.clips import LEAST_TILE, MOST_PIXELS, MOST_SIDE, Sheet, pack, pack_still, plan_sheet
from s2v_core.video.read import read_clip


@given(
    frames=st.integers(1, 1001),
    size=st.tuples(st.integers(16, 2048), st.integers(16, 2048)),
    tile=st.integers(96, 640),
)
@example(833, (96, 833), 96)
def test_every_sheet_holds_its_clip_within_the_limits(frames, size, tile):
    sheet = plan_sheet(frames, size, tile)
    width, height = sheet.size
    assert width <= MOST_SIDE
    assert sheet.frames * sheet.width * sheet.height <= MOST_PIXELS
    assert sheet.width <= max(size[0] if size[0] <= 1.5 * tile else tile, LEAST_TILE)
    # The last frame that is kept is the clip's, and no frame past it would be.
    assert (sheet.frames - 1) * sheet.every < frames <= sheet.frames * sheet.every
    corners = {sheet.corner(number) for number in range(sheet.frames)}
    assert len(corners) == sheet.frames
    assert all(x + sheet.width <= width and y + sheet.height <= height for x, y in corners)


def test_usual_clips_keep_every_frame():
    assert plan_sheet(81, (832, 480), 200) == Sheet(7, 200, 115, 81)
    assert plan_sheet(17, (96, 96), 112) == Sheet(4, 96, 96, 17)
    assert plan_sheet(81, (140, 80), 112).width == 140, "a little larger is not resampled"
    assert plan_sheet(1001, (1280, 720), 320) == Sheet(24, 121, 68, 1001)
    assert plan_sheet(1001, (480, 832), 320) == Sheet(29, 96, 166, 501, 2)


def coloured(count, size=(64, 48)):
    """Frame t is grey with level 10 t."""
    return [np.full((size[1], size[0], 3), 10 * number, np.uint8) for number in range(count)]


def test_a_small_clip_is_all_in_its_sheet(tmp_path):
    import PIL.Image

    packed = pack(coloured(7), 7, Fraction(16), (64, 48), tmp_path / "cell", tile=200, quality=85)
    assert packed.video is None and packed.sheet.every == 1
    with PIL.Image.open(packed.picture) as picture:
        assert picture.format == "WEBP" and picture.size == packed.sheet.size
        pixels = np.asarray(picture.convert("RGB"))
    for number in range(7):
        x, y = packed.sheet.corner(number)
        assert abs(int(pixels[y + 24, x + 32, 0]) - 10 * number) <= 2


def test_a_larger_clip_gets_a_video_with_every_frame(tmp_path):
    frames = coloured(9, (320, 160))
    packed = pack(frames, 9, Fraction(16), (320, 160), tmp_path / "cell", tile=96, quality=85)
    assert (packed.sheet.width, packed.sheet.height) == (96, 48)
    assert packed.video == tmp_path / "cell.mp4"
    video = read_clip(packed.video, fps=Fraction(16), frames=None)
    assert video.frames.shape == (9, 160, 320, 3)
    assert [round(float(frame.mean()) / 10) for frame in video.frames] == list(range(9))
    small = pack(frames, 9, Fraction(16), (320, 160), tmp_path / "small", tile=96, quality=85, full=False)
    assert small.video is None and not (tmp_path / "small.mp4").exists()


def test_stopping_leaves_nothing(tmp_path):
    with pytest.raises(Interrupted):
        pack(coloured(4), 4, Fraction(16), (64, 48), tmp_path / "a", tile=96, quality=85, should_stop=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_a_still_is_lossless_and_not_too_large(tmp_path):
    import PIL.Image

    picture = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    with PIL.Image.open(pack_still(picture, tmp_path / "one")) as read:
        assert (np.asarray(read.convert("RGB")) == picture).all()
    with PIL.Image.open(pack_still(np.zeros((1664, 960, 3), np.uint8), tmp_path / "two")) as read:
        assert read.size == (480, 832)

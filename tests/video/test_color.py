"""No colour moves on the way in: matrices, ranges and resizing."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest

from s2v_core.video.fit import fit_clip
from s2v_core.video.read import read_clip

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 200, 60), (30, 40, 250), (128, 128, 128)
BT709, BT601, BT2020 = (0.2126, 0.0722), (0.299, 0.114), (0.2627, 0.0593)


def flat_yuv(color: tuple[int, int, int], matrix: tuple[float, float], full: bool, size: tuple[int, int], form: str):
    """A frame of one colour, made by the standard's own arithmetic (ITU-R BT.601, BT.709, BT.2020)."""
    kr, kb = matrix
    r, g, b = (value / 255 for value in color)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / 2 / (1 - kb), (r - y) / 2 / (1 - kr)
    values = (y * 255, cb * 255 + 128, cr * 255 + 128) if full else (y * 219 + 16, cb * 224 + 128, cr * 224 + 128)
    deep = form.endswith("10le")
    frame = av.VideoFrame(*size, form)
    for plane, value in zip(frame.planes, values, strict=True):
        number = min(max(round(value * (4 if deep else 1)), 0), 1023 if deep else 255)
        width = plane.line_size // (2 if deep else 1)
        plane.update(np.full((plane.height, width), number, np.uint16 if deep else np.uint8).tobytes())
    return frame


def encode_flat(path, kit, color, matrix, *, full=False, size=(64, 48), form="yuv420p", tags=None):
    def set_up(stream: Any) -> None:
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)

    def convert(_: Any) -> Any:
        frame = flat_yuv(color, matrix, full, size, form)
        for name in ("colorspace", "color_range"):
            if tags and name in tags:
                setattr(frame, name, tags[name])
        return frame

    picture = np.zeros((size[1], size[0], 3), np.uint8)
    options = {"preset": "ultrafast", "crf": "1"}
    return kit.encode(path, [picture] * 2, pixels=form, set_up=set_up, convert=convert, options=options, b_frames=0)


@pytest.mark.parametrize("color", [RED, GREEN, BLUE, GREY], ids=str)
@pytest.mark.parametrize(
    ("matrix", "size", "tags", "full", "form"),
    [
        (BT601, (64, 48), None, False, "yuv420p"),
        (BT601, (64, 718), None, False, "yuv420p"),
        (BT709, (64, 720), None, False, "yuv420p"),
        (BT709, (64, 48), {"colorspace": 1}, False, "yuv420p"),
        (BT601, (64, 720), {"colorspace": 6}, False, "yuv420p"),
        (BT2020, (64, 48), {"colorspace": 9}, False, "yuv420p10le"),
        (BT601, (64, 48), {"color_range": 2}, True, "yuv420p"),
        (BT709, (64, 48), {"colorspace": 1, "color_range": 2}, True, "yuv444p"),
        (BT601, (64, 48), None, True, "yuvj420p"),
        (BT709, (64, 720), None, False, "yuv422p10le"),
        (BT601, (64, 48), {"colorspace": 5, "color_range": 1}, False, "yuv444p"),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_a_flat_colour_comes_back(kit, tmp_path, color, matrix, size, tags, full, form):
    path = encode_flat(tmp_path / "flat.mp4", kit, color, matrix, full=full, size=size, form=form, tags=tags)
    frame = read_clip(path, frames=1).frames[0].astype(int)
    assert np.abs(frame - color).max() <= (0 if color == GREY else 2)


@pytest.mark.parametrize("size", [(64, 36), (33, 31), (100, 100), (1920, 1080)], ids=str)
@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_resizing_moves_no_grey(kit, tmp_path, size, fit):
    path = encode_flat(tmp_path / "grey.mp4", kit, GREY, BT709, size=(192, 108))
    frame = read_clip(path, frames=1, size=size, fit=fit).frames[0]
    allowed = {128} if fit == "crop" else {0, 128}
    assert set(np.unique(frame)) <= allowed


@pytest.mark.parametrize("level", range(0, 256, 15))
def test_every_grey_level_survives_lossless_video(kit, tmp_path, level):
    picture = np.full((48, 64, 3), level, np.uint8)
    path = kit.encode(tmp_path / "grey.mkv", [picture], codec="ffv1", pixels="gray", b_frames=0)
    assert (read_clip(path, frames=1).frames == level).all()


def test_odd_sizes(kit, tmp_path):
    picture = kit.numbered(1234, 193, 67)
    path = kit.encode(tmp_path / "odd.mkv", [picture], codec="ffv1", pixels="yuv444p", b_frames=0)
    frame = read_clip(path, frames=1).frames[0]
    assert frame.shape == (67, 193, 3)
    assert kit.numbers_of([frame]) == [1234]


def test_hdr_is_said_aloud(kit, tmp_path, caplog):
    path = encode_flat(tmp_path / "hdr.mp4", kit, GREY, BT2020, form="yuv420p10le", tags={"color_trc": 18})
    read_clip(path, frames=1)
    assert "HDR" in caplog.text


@pytest.mark.parametrize("fit", ["crop", "letterbox"])
@pytest.mark.parametrize("size", [(128, 48), (96, 64), (50, 40)])
def test_shrinking_while_converting_is_shrinking_afterwards(kit, tmp_path, size, fit):
    y, x = np.mgrid[0:96, 0:192]
    waves = [128 + 90 * np.sin(x / 9 + turn) * np.cos(y / 11 + turn) for turn in range(3)]
    path = kit.encode(tmp_path / "a.mp4", [np.stack(waves, -1).astype(np.uint8)] * 2)
    wanted = fit_clip(read_clip(path, frames=2), size, fit).frames.astype(int)
    found = read_clip(path, frames=2, size=size, fit=fit).frames
    assert found.shape == wanted.shape and np.array_equal(found == 0, wanted == 0)
    difference = found - wanted
    assert np.abs(difference).mean() < 0.6 and np.abs(difference).max() < 8
    assert np.abs(difference.mean(axis=(0, 1, 2))).max() < 0.15, "no colour is moved"

"""Clips made on the spot, with the frame's number burnt in as twelve black or white squares."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BITS = 12


def numbered(index: int, width: int = 192, height: int = 64) -> np.ndarray:
    """A moving picture whose upper half shows ``index`` in binary, the highest bit on the left."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x + 5 * index) % 256, (y * 2 + 3 * index) % 256, (x + y) % 256], -1).astype(np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[: height // 2, left:right] = 255 if index >> (BITS - 1 - bit) & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    value = 0
    for bit in range(BITS):
        middle = (2 * bit + 1) * width // (2 * BITS)
        patch = image[height // 8 : height // 3, middle - 2 : middle + 3].mean()
        assert patch < 70 or patch > 185, f"bit {bit} is unreadable: {patch}"
        value = value << 1 | int(patch > 128)
    return value


def numbers_of(frames: np.ndarray) -> list[int]:
    return [number_of(image) for image in frames]


def encode(
    path: Path,
    pictures: Sequence[np.ndarray] | int = 64,
    fps: Fraction | int = 16,
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    set_up: Callable[[Any], None] | None = None,
    convert: Callable[[Any], Any] | None = None,
) -> Path:
    """Encode pictures (or that many numbered ones) by PyAV alone, without the code under test."""
    import av

    images = [numbered(index) for index in range(pictures)] if isinstance(pictures, int) else pictures
    with av.open(str(path), "w", options=container or {}) as output:
        stream: Any = output.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = {"crf": "12", **(options or {})} if codec.startswith("libx26") else options or {}
        stream.codec_context.gop_size = gop
        if b_frames:
            stream.codec_context.max_b_frames = b_frames
        base = time_base or 1 / Fraction(fps)
        stream.codec_context.time_base = base
        if set_up:
            set_up(stream)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = convert(frame) if convert else frame
            frame.pts = index if pts is None else pts[index]
            frame.time_base = base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def turn(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Patch an MP4's track header as phones write it: (a, b, c, d) of the display matrix, each -1, 0 or 1."""
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def nearest(times: Sequence[Fraction], wanted: Sequence[Fraction]) -> list[int]:
    """The plain definition, against which the reader is held."""
    return [min(range(len(times)), key=lambda index: (abs(times[index] - moment), index)) for moment in wanted]


class Kit:
    numbered = staticmethod(numbered)
    numbers_of = staticmethod(numbers_of)
    encode = staticmethod(encode)
    turn = staticmethod(turn)
    nearest = staticmethod(nearest)


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def plain_clip(folder: Path) -> Path:
    """100 numbered frames at 16 a second with B-frames and a short GOP, index at the front."""
    return encode(folder / "plain.mp4", 100, container={"movflags": "+faststart"})


@pytest.fixture(scope="session")
def long_gop_clip(folder: Path) -> Path:
    """10 s at 59.94 frames a second, a keyframe only every 4 s, three B-frames."""
    return encode(folder / "long_gop.mp4", 600, Fraction(60000, 1001), gop=240, b_frames=3)

"""The right frames, whatever the rate, the container, the rotation and the start."""

from __future__ import annotations

import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from s2v_core.errors import Interrupted, VideoError
from s2v_core.files import sha256_file
from s2v_core.video.read import pick_frames, probe_clip, read_clip

NTSC = Fraction(60000, 1001)

times = st.lists(st.fractions(0, 20, max_denominator=1000), min_size=1, max_size=60, unique=True).map(sorted)
moments = st.lists(st.fractions(0, 25, max_denominator=1000), max_size=40).map(sorted)


@given(times, moments)
def test_picking_takes_the_nearest_and_of_two_the_earlier(kit, stamps, wanted):
    assert pick_frames(stamps, wanted) == kit.nearest(stamps, wanted)


@given(times, moments)
@settings(max_examples=50)
def test_picking_looks_one_frame_ahead_at_most(stamps, wanted):
    seen = []

    def stream():
        for stamp in stamps:
            seen.append(stamp)
            yield stamp

    pick_frames(stream(), wanted)
    assert sum(stamp >= max(wanted, default=0) for stamp in seen) <= 1 or len(seen) == 1


def test_81_frames_of_a_59_94_clip(kit, long_gop_clip):
    clip = read_clip(long_gop_clip, size=(192, 64))
    stamps = [k / NTSC for k in range(600)]
    assert kit.numbers_of(clip.frames) == kit.nearest(stamps, [Fraction(k, 16) for k in range(81)])
    assert clip.fps == 16
    assert clip.frames.shape == (81, 64, 192, 3)
    assert clip.source.sha256 == sha256_file(long_gop_clip)
    assert clip.source.path == str(long_gop_clip)


@pytest.mark.parametrize("start", [0, 0.5, 1.05, Fraction(37, 10), 3.7, 4.004, 4.0045, 4.5])
def test_a_start_gives_the_frames_that_reading_from_the_beginning_gives(kit, long_gop_clip, start):
    whole = read_clip(long_gop_clip, fps=NTSC, frames=None)
    assert kit.numbers_of(whole.frames) == list(range(600))
    clip = read_clip(long_gop_clip, frames=41, start=start)
    begin = Fraction(str(start))
    wanted = kit.nearest([k / NTSC for k in range(600)], [begin + Fraction(k, 16) for k in range(41)])
    assert kit.numbers_of(clip.frames) == wanted
    # Not only the same numbers: the same pixels, though decoding began at another keyframe.
    assert np.array_equal(clip.frames, whole.frames[wanted])
    assert clip.source.start == begin


def test_a_start_is_sought_and_not_decoded_up_to(long_gop_clip, monkeypatch):
    import s2v_core.video.decode as decode

    decoded = []
    timed = decode._timed

    def counted(*args):
        for frame in timed(*args):
            decoded.append(frame.time)
            yield frame

    monkeypatch.setattr(decode, "_timed", counted)
    read_clip(long_gop_clip, frames=2, start=9)
    assert 7.9 < decoded[0] <= 9
    assert len(decoded) < 90


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("open_gop.mp4", {"options": {"x264-params": "open-gop=1:keyint=30:bframes=3"}}),
        ("intra_refresh.mkv", {"options": {"x264-params": "intra-refresh=1:keyint=30"}}),
        ("hevc.mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=30:bframes=3"}}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}, "b_frames": 0}),
        ("stream.ts", {}),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"qscale": "2"}}),
        ("motion.avi", {"codec": "mjpeg", "pixels": "yuvj420p", "b_frames": 0, "options": {"qscale": "2"}}),
        ("lossless.mkv", {"codec": "ffv1", "pixels": "bgr0", "b_frames": 0}),
        ("ten_bit.mp4", {"pixels": "yuv420p10le"}),
        ("full_chroma.mp4", {"pixels": "yuv444p"}),
    ],
)
def test_every_codec_and_container_seeks_to_the_same_pixels(kit, tmp_path, name, keywords):
    path = kit.encode(tmp_path / name, 96, 16, **{"gop": 30, **keywords})
    whole = read_clip(path, frames=None)
    assert kit.numbers_of(whole.frames) == list(range(96))
    late = read_clip(path, frames=30, start=Fraction(37, 10))
    numbers = kit.numbers_of(late.frames)
    # 3.7 s lies between two frames; the times of Matroska are whole milliseconds.
    assert numbers == list(range(59, 89))
    assert np.array_equal(late.frames, whole.frames[numbers])


def test_variable_rate(kit, tmp_path):
    rng = random.Random(7)
    stamps = [0]
    while stamps[-1] < 6000:
        stamps.append(stamps[-1] + rng.choice([8, 17, 33, 50, 120, 400]))
    path = kit.encode(tmp_path / "variable.mp4", len(stamps), 60, pts=stamps, time_base=Fraction(1, 1000))
    seconds = [Fraction(stamp, 1000) for stamp in stamps]
    clip = read_clip(path)
    assert kit.numbers_of(clip.frames) == kit.nearest(seconds, [Fraction(k, 16) for k in range(81)])
    late = read_clip(path, frames=20, start=3.7)
    assert kit.numbers_of(late.frames) == kit.nearest(seconds, [Fraction(37, 10) + Fraction(k, 16) for k in range(20)])


@pytest.mark.parametrize("name", ["late.mkv", "late.ts", "late.mp4"])
def test_times_count_from_the_first_frame_whatever_its_timestamp(kit, tmp_path, name):
    path = kit.encode(tmp_path / name, 64, 16, pts=[1000 + k for k in range(64)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert name == "late.mp4" or stream.start_time * stream.time_base > 60
    assert kit.numbers_of(read_clip(path, frames=20).frames) == list(range(20))
    assert kit.numbers_of(read_clip(path, frames=20, start=2.5).frames) == list(range(40, 60))


TURNS = {
    "none": ((1, 0, 0, 1), 0, lambda image: image),
    "90": ((0, 1, -1, 0), 90, lambda image: np.rot90(image, -1)),
    "180": ((-1, 0, 0, -1), 180, lambda image: np.rot90(image, 2)),
    "270": ((0, -1, 1, 0), 270, lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), None, lambda image: image[:, ::-1]),
    "mirrored and 90": ((0, 1, 1, 0), None, lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", TURNS)
def test_rotation_and_mirroring_are_applied(kit, tmp_path, name):
    matrix, degrees, expected = TURNS[name]
    path = kit.encode(tmp_path / "turned.mp4", 8)
    unturned = read_clip(path, frames=8).frames
    shown = read_clip(kit.turn(path, matrix), frames=8)
    assert np.array_equal(shown.frames, [expected(image) for image in unturned])
    info = probe_clip(path)
    assert (info.height, info.width) == shown.frames.shape[1:3]
    assert degrees is None or info.rotation == degrees


def test_a_rotated_clip_is_fitted_after_the_rotation(kit, tmp_path):
    path = kit.turn(kit.encode(tmp_path / "phone.mp4", 8), (0, 1, -1, 0))
    clip = read_clip(path, frames=4, size=(32, 96))
    back = np.rot90(clip.frames, 1, axes=(1, 2))
    assert kit.numbers_of(back) == [0, 1, 2, 3]


def test_non_square_pixels_are_stretched(kit, tmp_path):
    def wide(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2)

    path = kit.encode(tmp_path / "wide.mp4", 4, set_up=wide)
    assert read_clip(path, frames=4).width == 384


@pytest.mark.parametrize(("short", "expected"), [("hold", 63), ("loop", 48)])
def test_a_short_clip_is_held_or_looped_when_asked(kit, tmp_path, short, expected):
    path = kit.encode(tmp_path / "short.mp4", 64)
    clip = read_clip(path, frames=17, start=3, short=short)
    assert kit.numbers_of(clip.frames) == [*range(48, 64), expected]


def test_to_the_end_takes_every_moment_that_is_shown(kit, plain_clip):
    assert kit.numbers_of(read_clip(plain_clip, frames=None, start=5).frames) == list(range(80, 100))
    assert kit.numbers_of(read_clip(plain_clip, fps=32, frames=None).frames)[-4:] == [98, 98, 99, 99]


def test_a_fraction_of_a_frame_rate_is_taken_as_written(plain_clip):
    assert read_clip(plain_clip, fps=7.992, frames=3).fps == Fraction(999, 125)
    assert read_clip(plain_clip, fps=np.float64(8), frames=np.int64(3)).fps == 8


def test_size_fits_each_frame(kit, plain_clip):
    clip = read_clip(plain_clip, frames=3, size=(96, 32))
    assert kit.numbers_of(clip.frames) == [0, 1, 2]
    boxed = read_clip(plain_clip, frames=1, size=(96, 96), fit="letterbox")
    assert not boxed.frames[0, :32].any()
    assert not boxed.frames[0, 64:].any()


def test_progress_and_stop(plain_clip):
    seen = []
    read_clip(plain_clip, frames=5, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 5) for k in range(1, 6)]
    with pytest.raises(Interrupted):
        read_clip(plain_clip, should_stop=lambda: True)


def test_probe(plain_clip, long_gop_clip):
    info = probe_clip(plain_clip)
    assert (info.width, info.height, info.fps, info.frames) == (192, 64, 16, 100)
    assert (info.duration, info.rotation, info.codec) == (Fraction(25, 4), 0, "h264")
    assert probe_clip(long_gop_clip).fps == NTSC


def animation(kit, path, durations, **keywords):
    pictures = [Image.fromarray(kit.numbered(index)) for index in range(len(durations))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **keywords)
    return path


@pytest.mark.parametrize("name", ["dance.gif", "dance.webp"])
def test_gif_and_webp_by_their_durations(kit, tmp_path, name):
    durations = [100, 40, 250, 60, 60, 500, 30, 200]
    path = animation(kit, tmp_path / name, durations)
    ends = [Fraction(sum(durations[: k + 1]), 1000) for k in range(len(durations))]

    def shown(moments):
        """The frame on the screen; a change within 5 ms counts as done, for times are whole milliseconds at best."""
        return [next(k for k, end in enumerate(ends) if moment + Fraction(5, 1000) < end) for moment in moments]

    clip = read_clip(path, frames=None)
    assert len(clip) == 20  # 1.24 s
    assert kit.numbers_of(clip.frames) == shown([Fraction(k, 16) for k in range(20)])
    late = read_clip(path, frames=5, start=0.5)
    assert kit.numbers_of(late.frames) == shown([Fraction(1, 2) + Fraction(k, 16) for k in range(5)])
    info = probe_clip(path)
    assert (info.duration, info.frames, info.width, info.height) == (Fraction(124, 100), 8, 192, 64)


def test_transparent_parts_become_white(tmp_path):
    picture = Image.new("RGBA", (32, 16), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 16, 16))
    picture.save(tmp_path / "half.webp", lossless=True)
    frame = read_clip(tmp_path / "half.webp", frames=1).frames[0]
    assert (frame[:, :16] == 255).all()
    assert (frame[:, 16:] == (255, 0, 0)).all()


def test_transparent_video_becomes_white(kit, tmp_path):
    def see_through(frame):
        pixels = frame.to_ndarray(format="rgba")
        pixels[:, :96, 3] = 0
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]), format="bgra")

    pictures = [np.full((64, 192, 3), 40, np.uint8)] * 2
    path = kit.encode(tmp_path / "a.mkv", pictures, codec="ffv1", pixels="bgra", b_frames=0, convert=see_through)
    frame = read_clip(path, frames=1).frames[0]
    assert (frame[:, :96] == 255).all()
    assert (frame[:, 96:] == 40).all()


MEASURE = """
import re, sys
from s2v_core.video.read import read_clip
clip = read_clip(sys.argv[1], size=(416, 240), start=10)
assert clip.frames.shape == (81, 240, 416, 3)
import cv2, av
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


# Not ru_maxrss: that starts at what the parent had when it forked, and other tests make the parent large.
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_holds_the_picked_frames_only(kit, tmp_path):
    pictures = [np.zeros((720, 1280, 3), np.uint8)] * 480
    path = kit.encode(tmp_path / "long.mp4", pictures, 24, options={"preset": "ultrafast"}, gop=480, b_frames=0)
    run = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    # 480 decoded frames alone take 1,327 MB as RGB and 663 MB as yuv420p; 121 of 5 s take 334 MB as RGB.
    assert int(run.stdout) < 330


def test_importing_loads_no_decoder():
    code = (
        "import sys, s2v_core.video.read, s2v_core.video.write; "
        "print(sorted({'av', 'cv2', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


BAD = [
    {"fps": 0},
    {"fps": -16},
    {"fps": float("nan")},
    {"fps": float("inf")},
    {"fps": 1001},
    {"fps": True},
    {"fps": "16"},
    {"frames": 0},
    {"frames": -1},
    {"frames": 2.0},
    {"frames": True},
    {"start": -1},
    {"start": float("nan")},
    {"start": None},
    {"size": (0, 32)},
    {"size": (32, -1)},
    {"size": (32.0, 32)},
    {"size": 32},
    {"fit": "stretch"},
    {"short": "repeat"},
]


@pytest.mark.parametrize("keywords", BAD, ids=str)
def test_values_out_of_range(plain_clip, keywords):
    with pytest.raises(VideoError) as caught:
        read_clip(plain_clip, **keywords)
    assert caught.value.expected
    assert repr(next(iter(keywords.values()))) in str(caught.value)

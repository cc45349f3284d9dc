"""Files that cannot be read: each says what is wrong and what to do about it."""

from __future__ import annotations

import os
import wave
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from s2v_core.errors import VideoError
from s2v_core.video.clip import Clip
from s2v_core.video.read import probe_clip, read_clip
from s2v_core.video.write import write_clip


def refused(path: Path, **keywords) -> VideoError:
    with pytest.raises(VideoError) as caught:
        read_clip(path, **keywords)
    assert path.name in caught.value.problem
    assert caught.value.remedy
    return caught.value


def cut(path: Path, source: Path, share: float) -> Path:
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def spoil(path: Path, source: Path, share: float, count: int = 300) -> Path:
    data = bytearray(source.read_bytes())
    place = int(len(data) * share)
    data[place : place + count] = b"\xa5" * count
    path.write_bytes(data)
    return path


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return path


def sound_with_cover(path: Path) -> Path:
    """A music file whose only "video" is its cover picture."""
    with av.open(str(path), "w") as output:
        audio = output.add_stream("libmp3lame", rate=44100)
        cover = output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux(cover.encode(picture))
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), format="s16", layout="mono")
        noise.sample_rate = 44100
        output.mux(audio.encode(noise))
        output.mux(audio.encode(None))
    return path


def test_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "none.mp4").problem
    assert "no folder" in refused(tmp_path / "nowhere" / "none.mp4").got


def test_folder(tmp_path):
    assert "is a folder" in refused(tmp_path).problem


def test_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "is empty" in refused(tmp_path / "empty.mp4").problem


def test_text_file_named_mp4(tmp_path):
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 50)
    assert "is not a video" in refused(tmp_path / "text.mp4").problem


def test_playlist_in_disguise_reaches_no_network(tmp_path):
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    refused(tmp_path / "list.mp4")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read(tmp_path, plain_clip):
    path = cut(tmp_path / "secret.mp4", plain_clip, 1)
    path.chmod(0)
    assert "cannot be opened" in refused(path).problem


def test_sound_without_picture(tmp_path):
    error = refused(sound(tmp_path / "music.wav"))
    assert "holds no video" in error.problem
    assert "audio" in error.got


def test_a_cover_picture_is_no_video(tmp_path):
    assert "holds no video" in refused(sound_with_cover(tmp_path / "music.mp3")).problem


def test_cut_off_with_the_index_at_the_end(kit, tmp_path):
    whole = kit.encode(tmp_path / "whole.mp4", 100)
    error = refused(cut(tmp_path / "cut.mp4", whole, 0.6))
    assert "index" in error.problem
    assert "moov" in error.problem


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_cut_off_with_the_index_at_the_front(kit, tmp_path, plain_clip, share):
    path = cut(tmp_path / "cut.mp4", plain_clip, share)
    error = refused(path, frames=None)
    assert "breaks off" in error.problem
    assert "6.25 s" in error.expected
    # What is whole can be read; what is not is refused, also when the frames could be held.
    assert kit.numbers_of(read_clip(path, frames=12).frames) == list(range(12))
    refused(path, frames=100, short="hold")
    refused(path, frames=1, start=6.2)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.webm"])
def test_cut_off_matroska_which_ends_without_a_word(kit, tmp_path, name):
    codec = {"codec": "libvpx-vp9", "b_frames": 0, "options": {"cpu-used": "8", "deadline": "realtime"}}
    whole = kit.encode(tmp_path / f"whole_{name}", 100, **(codec if name.endswith("webm") else {}))
    error = refused(cut(tmp_path / name, whole, 0.6), frames=None)
    assert "breaks off" in error.problem
    assert "6.25 s" in error.expected


@pytest.mark.parametrize("share", [0.35, 0.5, 0.65, 0.8])
def test_corrupted_bytes(kit, tmp_path, plain_clip, share):
    path = spoil(tmp_path / "spoilt.mp4", plain_clip, share)
    error = refused(path, frames=None)
    assert "is damaged at about" in error.problem
    second = Fraction(error.problem.split("about ")[1].split(" s")[0])
    assert abs(second - Fraction(share) * Fraction(25, 4)) < 1.5
    # Far enough before the damage, the frames are what they were.
    before = int((second - 1) * 16)
    assert np.array_equal(read_clip(path, frames=before).frames, read_clip(plain_clip, frames=before).frames)


@pytest.mark.parametrize("start", [0, 1.5])
@pytest.mark.parametrize("share", [0.03, 0.2, 0.4, 0.6, 0.8])
def test_a_single_wrong_byte_in_lossless_video_is_found(kit, tmp_path, share, start):
    """FFmpeg's FFV1 decoder returns a patched-up picture without any flag."""
    whole = write_clip(Clip(np.stack([kit.numbered(k) for k in range(48)]), Fraction(16)), tmp_path / "whole.mkv")
    data = bytearray(whole.read_bytes())
    data[int(len(data) * share)] ^= 0x10
    path = tmp_path / "spoilt.mkv"
    path.write_bytes(data)
    if share < start / 3:
        # Before the start: not looked at.
        assert np.array_equal(read_clip(path, frames=8, start=2).frames, read_clip(whole, frames=8, start=2).frames)
    else:
        assert "is damaged" in refused(path, frames=None, start=start).problem


@pytest.mark.parametrize("options", [{"level": "1"}, {"level": "3", "slicecrc": "0"}], ids=str)
def test_lossless_video_without_checksums_is_read(kit, tmp_path, options):
    path = kit.encode(tmp_path / "plain.mkv", 20, codec="ffv1", pixels="bgr0", b_frames=0, options=options)
    assert kit.numbers_of(read_clip(path, frames=20).frames) == list(range(20))


def test_a_hole_in_a_matroska_file_is_said_aloud(kit, tmp_path, caplog):
    whole = kit.encode(tmp_path / "whole.mkv", 100)
    path = tmp_path / "hole.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and not 2.2 < packet.dts * packet.time_base < 3.7:
                packet.stream = stream
                output.mux(packet)
    read_clip(path, frames=None)
    assert "no frames from" in caplog.text
    caplog.clear()
    read_clip(whole, frames=None)
    assert not caplog.text


@pytest.mark.parametrize("name", ["cut.gif", "cut.webp"])
def test_cut_off_animation(kit, tmp_path, name):
    pictures = [Image.fromarray(kit.numbered(index)) for index in range(12)]
    whole = tmp_path / f"whole_{name}"
    pictures[0].save(whole, save_all=True, append_images=pictures[1:], duration=100)
    for share in (0.02, 0.5, 0.9):
        error = refused(cut(tmp_path / name, whole, share), frames=None)
        assert "damaged or breaks off" in error.problem


def test_raw_stream_without_times(kit, tmp_path):
    assert "carry no times" in refused(kit.encode(tmp_path / "raw.h264", 20)).problem


def test_a_picture_size_that_changes(kit, tmp_path):
    """Two H.264 streams of different sizes, one after the other, as a stream recorder leaves them."""
    parts = [kit.encode(tmp_path / "one.ts", 16), tmp_path / "two.ts"]
    kit.encode(parts[1], [kit.numbered(index, 384, 128) for index in range(16)])
    path = tmp_path / "both.ts"
    with av.open(str(path), "w") as output:
        stream = None
        for later, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        packet.pts += later * 90000
                        packet.dts += later * 90000
                        output.mux(packet)
    assert "changes its picture size" in refused(path, frames=30).problem
    clip = read_clip(path, frames=30, size=(192, 64))
    assert kit.numbers_of(clip.frames) == [*range(16), *range(14)]


def test_too_short_says_what_would_fit(kit, tmp_path):
    path = kit.encode(tmp_path / "short.mp4", 64)
    error = refused(path)
    assert "lasts 4.00 s" in error.problem
    assert "at most 64 frames (61 where it must be 4n + 1)" in error.remedy
    assert len(read_clip(path, frames=64)) == 64
    error = refused(path, frames=41, start=2)
    assert error.got == "32 frames"
    latest = float(error.remedy.split("start at ")[1].split(" s")[0])
    assert latest == 1.499
    assert len(read_clip(path, frames=41, start=latest)) == 41
    refused(path, frames=41, start=latest + 0.001)


def test_a_start_beyond_the_end(kit, tmp_path):
    path = kit.encode(tmp_path / "short.mp4", 64)
    for frames, short in ((81, "error"), (81, "hold"), (None, "error")):
        error = refused(path, start=60, frames=frames, short=short)
        assert "beyond the end" in error.problem
    error = refused(path, start=4, frames=17)
    latest = float(error.remedy.split("Start at ")[1].split(" s")[0])
    assert len(read_clip(path, start=latest, frames=17)) == 17


def test_every_fault_has_its_own_text(kit, tmp_path, plain_clip):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 50)
    whole = kit.encode(tmp_path / "whole.mp4", 100)
    errors = [
        refused(tmp_path / "none.mp4"),
        refused(tmp_path),
        refused(tmp_path / "empty.mp4"),
        refused(tmp_path / "text.mp4"),
        refused(sound(tmp_path / "music.wav")),
        refused(cut(tmp_path / "moov_last.mp4", whole, 0.6)),
        refused(cut(tmp_path / "faststart.mp4", plain_clip, 0.6), frames=None),
        refused(spoil(tmp_path / "spoilt.mp4", plain_clip, 0.5), frames=None),
        refused(plain_clip, frames=200),
        refused(plain_clip, start=60),
    ]
    sentences = [error.problem.split("plain")[-1].split("/")[-1] for error in errors]
    assert all(one != other for one, other in combinations(sentences, 2))
    assert all(error.remedy != other.remedy for error, other in combinations(errors[:6], 2))


def test_probe_refuses_the_same_files(tmp_path):
    with pytest.raises(VideoError, match="does not exist"):
        probe_clip(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="holds no video"):
        probe_clip(sound(tmp_path / "music.wav"))

"""The sound of a piece of a video, to the sample."""

from fractions import Fraction

import av
import numpy as np
import pytest

from s2v_core.errors import Interrupted, VideoError
from s2v_core.video.clip import Clip
from s2v_core.video.sound import Sound, read_sound
from s2v_core.video.write import write_clip

RATE = 8000


def film(path, sound, *, layout="mono", late=0.0, fps=10, seconds=4):
    """Black frames, and ``sound`` [channels, samples] that begins ``late`` seconds after the first of them."""
    with av.open(str(path), "w") as target:
        picture = target.add_stream("mpeg4", rate=fps)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        track = target.add_stream("pcm_f32le" if path.suffix == ".mkv" else "aac", rate=RATE, layout=layout)
        for index in range(fps * seconds):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            target.mux(picture.encode(frame))
        target.mux(picture.encode(None))
        whole = np.ascontiguousarray(sound.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(whole, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, round(late * RATE), Fraction(1, RATE)
        target.mux(track.encode(frame))
        target.mux(track.encode(None))
    return path


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (1, 4 * RATE)).astype(np.float32)


def test_every_sample_of_a_piece_is_the_file_s(tmp_path, noise):
    path = film(tmp_path / "a.mkv", noise)
    whole = read_sound(path)
    assert whole.rate == RATE
    assert np.array_equal(whole.samples, noise)
    for start, seconds in ((Fraction(0), Fraction(1)), (Fraction(5, 2), Fraction(3, 4)), (Fraction(1, 3), Fraction(2))):
        piece = read_sound(path, start, seconds)
        first = round(start * RATE)
        assert np.array_equal(piece.samples, noise[:, first : first + round(seconds * RATE)])


def test_silence_where_there_is_none(tmp_path, noise):
    path = film(tmp_path / "late.mkv", noise[:, :RATE], late=0.5)
    found = read_sound(path, Fraction(0), Fraction(3)).samples
    assert found.shape == (1, 3 * RATE)
    assert not found[:, : RATE // 2].any()
    assert np.array_equal(found[:, RATE // 2 : 3 * RATE // 2], noise[:, :RATE])
    assert not found[:, 3 * RATE // 2 :].any()
    assert not read_sound(path, Fraction(3), Fraction(1)).samples.any()


def test_two_channels_stay_and_more_become_two(tmp_path, noise):
    pair = np.concatenate([noise, -noise])
    assert np.array_equal(read_sound(film(tmp_path / "pair.mkv", pair, layout="stereo")).samples, pair)
    six = np.concatenate([noise] * 6)
    found = read_sound(film(tmp_path / "six.mkv", six, layout="5.1"), Fraction(1), Fraction(1))
    assert found.samples.shape == (2, RATE)


def test_compressed_sound_stands_at_its_place(tmp_path):
    tone = np.zeros((1, 4 * RATE), np.float32)
    tone[:, 2 * RATE :] = 0.5 * np.sin(np.arange(2 * RATE) * 2 * np.pi * 440 / RATE)
    found = read_sound(film(tmp_path / "a.mp4", tone), Fraction(1), Fraction(2)).samples[0]
    begins = int((np.abs(found) > 0.1).argmax())
    assert abs(begins - RATE) < RATE // 50


def test_a_mute_file_an_animation_and_a_stop(tmp_path, noise):
    clip = Clip(np.zeros((4, 16, 16, 3), np.uint8), Fraction(8))
    assert read_sound(write_clip(clip, tmp_path / "mute.mkv") or tmp_path / "mute.mkv") is None
    write_clip(clip, tmp_path / "a.gif")
    assert read_sound(tmp_path / "a.gif") is None
    (tmp_path / "no.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(VideoError, match="not a video"):
        read_sound(tmp_path / "no.mp4")
    with pytest.raises(Interrupted):
        read_sound(film(tmp_path / "b.mkv", noise), should_stop=lambda: True)


def test_a_piece_of_a_sound_in_memory():
    sound = Sound(np.arange(10, dtype=np.float32)[None], 10)
    assert sound.piece(Fraction(1, 2), Fraction(1)).samples.tolist() == [[5, 6, 7, 8, 9, 0, 0, 0, 0, 0]]
    assert sound.piece(Fraction(2), Fraction(1, 10)).samples.tolist() == [[0]]

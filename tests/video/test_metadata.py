"""What files carry: read back by this project, and found by the rules of ComfyUI's browser."""

from __future__ import annotations

import json
import struct
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from s2v_core.errors import VideoError
from s2v_core.video.clip import Clip
from s2v_core.video.metadata import OWN, read_metadata
from s2v_core.video.read import read_clip
from s2v_core.video.write import write_clip, write_png

GRAPH = {"nodes": [{"id": 1, "title": "Größe {ダンス} \\ \" 'x'"}], "links": []}
CARRIED = {OWN: {"kind": "grid", "settings": {"steps": 8}}, "workflow": GRAPH, "prompt": {"1": {"inputs": {}}}}


@pytest.fixture(scope="module")
def clip():
    y, x = np.mgrid[:48, :64]
    return Clip(np.stack([np.stack([x * 3, y * 4, x + 20 * t], -1) for t in range(5)]).astype(np.uint8), Fraction(16))


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif", ".mkv"])
def test_videos_carry_what_was_given_and_the_same_pictures(clip, tmp_path, suffix):
    file, bare = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_clip(clip, file, metadata=CARRIED)
    write_clip(clip, bare)
    found = read_metadata(file)
    assert {key: found[key] for key in CARRIED} == CARRIED
    assert not set(CARRIED) & set(read_metadata(bare))
    frames = [read_clip(one, fps=16, frames=5).frames for one in (file, bare)]
    assert np.array_equal(*frames)
    again = tmp_path / f"again{suffix}"
    write_clip(clip, again, metadata=CARRIED)
    assert again.read_bytes() == file.read_bytes()


def test_gif_looks_like_the_clip(clip, tmp_path):
    write_clip(clip, tmp_path / "a.gif")
    back = read_clip(tmp_path / "a.gif", fps=16, frames=5)
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 12
    with pytest.raises(VideoError, match="without loss"):
        write_clip(clip, tmp_path / "b.gif", lossless=True)


def test_a_still_webp_and_a_png_carry_it_too(clip, tmp_path):
    still = clip.with_frames(clip.frames[:1].repeat(3, axis=0))
    write_clip(still, tmp_path / "a.webp", metadata=CARRIED)
    assert read_metadata(tmp_path / "a.webp") == CARRIED
    assert np.asarray(Image.open(tmp_path / "a.webp").convert("RGB")).shape == (48, 64, 3)
    write_png(clip.frames[0], tmp_path / "a.png", CARRIED)
    assert read_metadata(tmp_path / "a.png") == CARRIED
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), clip.frames[0])


def test_browser_rules_for_mp4(clip, tmp_path):
    """As its ``isobmff`` parser goes: moov, udta, meta, keys, ilst; the value from its first brace on."""
    write_clip(clip, tmp_path / "a.mp4", metadata=CARRIED)
    data = (tmp_path / "a.mp4").read_bytes()

    def box(start, end, name):
        at = start
        while at < end - 8:
            size = struct.unpack(">I", data[at : at + 4])[0]
            if size >= 8 and data[at + 4 : at + 8] == name:
                return at + 8, at + size
            at += size if size >= 8 else 1
        raise AssertionError(f"no box {name!r}")

    moov = box(0, len(data), b"moov")
    meta = box(*box(*moov, b"udta"), b"meta") if b"udta" in data[slice(*moov)] else box(*moov, b"meta")
    keys, values = box(meta[0] + 4, meta[1], b"keys"), box(meta[0] + 4, meta[1], b"ilst")
    names, at = [], keys[0] + 8
    while at < keys[1]:
        size = struct.unpack(">I", data[at : at + 4])[0]
        names.append(data[at + 8 : at + size].decode())
        at += size
    found, at = {}, values[0]
    while at < values[1]:
        size, index = struct.unpack(">II", data[at : at + 8])
        item = data[at + 8 : at + size]
        if b"{" in item:
            found[names[index - 1]] = json.loads(item[item.index(b"{") :])
        at += size
    assert found == CARRIED


def test_browser_rules_for_webp(clip, tmp_path):
    """As its ``getWebpMetadata`` goes: chunks without padding, an EXIF chunk, texts ``key:JSON`` in its first IFD."""
    write_clip(clip, tmp_path / "a.webp", metadata=CARRIED)
    data = (tmp_path / "a.webp").read_bytes()
    assert data[:4] == b"RIFF" and struct.unpack("<I", data[4:8])[0] == len(data) - 8
    at = 12
    while data[at : at + 4] != b"EXIF":
        at += 8 + struct.unpack("<I", data[at + 4 : at + 8])[0]
    body = data[at + 8 :]
    order = "<" if body[:2] == b"II" else ">"
    start = struct.unpack(order + "I", body[4:8])[0]
    found = {}
    for number in range(struct.unpack(order + "H", body[start : start + 2])[0]):
        entry = body[start + 2 + 12 * number :][:12]
        _, kind, count, offset = struct.unpack(order + "HHII", entry)
        if kind == 2:
            key, _, text = body[offset : offset + count - 1].decode().partition(":")
            found[key] = json.loads(text)
    assert found == CARRIED


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.webp", "a.gif", "a.mp4"])
def test_files_that_are_nothing(tmp_path, name):
    with pytest.raises(VideoError, match="no file"):
        read_metadata(tmp_path / name)
    heads = {"a.webp": b"RIFF\x10\0\0\0WEBPEXIF\x04\0\0\0abcd", "a.png": b"\x89PNG\r\n\x1a\nIHDR"}
    (tmp_path / name).write_bytes(heads.get(name, b"nothing of the kind"))
    with pytest.raises(VideoError, match="cannot be read"):
        read_metadata(tmp_path / name)

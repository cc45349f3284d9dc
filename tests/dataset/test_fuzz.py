"""200 videos of every odd and broken kind, all prepared: a right clip or an error, and never anything else."""

from __future__ import annotations

import random
import shutil
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.aist.catalog import scan_folder
from s2v_core.dataset.clip import UNEXPECTED
from s2v_core.dataset.manifest import read_report, read_rows
from s2v_core.dataset.prepare import Sources, prepare
from s2v_core.errors import VideoError
from s2v_core.files import sha256_file
from s2v_core.video.read import read_clip
from tests.dataset.toy_videos import contents, names, settings, write_keypoints
from tests.video.conftest import encode, turn

COUNT = 200
LEFT, RIGHT = (200, 40, 30), (30, 60, 190)
TOLERANCE = 24  # levels: chroma is stored at half size


def picture(width: int = 64, height: int = 48) -> np.ndarray:
    """Red on the left and blue on the right."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = LEFT, RIGHT
    return image


def hdr(stream: Any) -> None:
    stream.codec_context.color_trc = 18  # HLG
    stream.codec_context.color_primaries = stream.codec_context.colorspace = 9


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    return path


def clip(path: Path, count: int = 12, **more: Any) -> Path:
    size = more.pop("size", (64, 48))
    return encode(path, [picture(*size)] * count, **more)


def jittered(path: Path) -> Path:
    stamps = np.cumsum([0, *random.Random(1).choices([20, 40, 90, 200], k=19)])
    return clip(path, 20, pts=stamps.tolist(), time_base=Fraction(1, 1000))


# Kinds that must come out right, and those that must be refused.
GOOD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "plain": ("mp4", clip),
    "index first": ("mp4", lambda path: clip(path, container={"movflags": "+faststart"})),
    "variable rate": ("mkv", jittered),
    "59.94": ("mp4", lambda path: clip(path, 30, fps=Fraction(60000, 1001))),
    "upside down": ("mp4", lambda path: turn(encode(path, [picture()[:, ::-1]] * 12), (-1, 0, 0, -1))),
    "odd sizes": ("mp4", lambda path: clip(path, size=(67, 51), pixels="yuv444p")),
    "10 bit": ("mkv", lambda path: clip(path, pixels="yuv420p10le")),
    "alpha": ("mkv", lambda path: clip(path, codec="ffv1", pixels="bgra", b_frames=0)),
    "mpeg4": ("avi", lambda path: clip(path, codec="mpeg4", b_frames=0, options={"qscale": "2"})),
    "vp9": ("webm", lambda path: clip(path, codec="libvpx-vp9", b_frames=0, options={"deadline": "realtime"})),
}
BAD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "one frame": ("mp4", lambda path: clip(path, 1)),
    "three frames": ("mkv", lambda path: clip(path, 3)),
    "sound only": ("mp4", lambda path: Path(shutil.move(sound(path.with_suffix(".wav")), path))),
    "text": ("mov", lambda path: path.write_text("no video\n" * 99) and path),
    "zeros": ("mp4", lambda path: path.write_bytes(bytes(5000)) and path),
}
SPOILED = ("cut", "flip", "flips", "hole", "doubled", "head of another")


def spoil(data: bytes, how: str, chance: random.Random, other: bytes) -> bytes:
    at = chance.randrange(1, len(data))
    if how == "cut":
        return data[:at]
    if how == "hole":
        return data[: at // 2] + data[at:]
    if how == "doubled":
        return data + data[at:]
    if how == "head of another":
        return other[: at // 4] + data[at // 4 :]
    changed = bytearray(data)
    for _ in range(1 if how == "flip" else 40):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    made = {}
    for kind, (suffix, make) in {**GOOD, "hdr": ("mkv", hdr_clip), **BAD}.items():
        made[kind] = make(folder / f"{kind}.{suffix}")
    return made


def hdr_clip(path: Path) -> Path:
    return clip(path, codec="libx265", pixels="yuv420p10le", set_up=hdr, options={"x265-params": "log-level=none"})


def test_200_videos(kinds: dict[str, Path], tmp_path: Path):
    source, chance = tmp_path / "in", random.Random(3)
    (source / "keypoints2d").mkdir(parents=True)
    points = write_keypoints(tmp_path / "points.pkl", 300)
    is_kind: dict[str, str] = {}
    waiting = list(kinds) + [f"{how} {kind}" for kind in (*GOOD, "hdr") for how in SPOILED for _ in range(3)]
    assert len(waiting) >= COUNT
    for kind, name in zip(waiting[:COUNT], names(COUNT), strict=True):
        how = next((how for how in SPOILED if kind.startswith(f"{how} ")), "")
        path = kinds[kind.removeprefix(f"{how} ")]
        data = path.read_bytes()
        if how:
            data = spoil(data, how, chance, kinds[chance.choice(sorted(GOOD))].read_bytes())
        (source / f"{name}{path.suffix}").write_bytes(data)
        (source / "keypoints2d" / f"{name.sequence}.pkl").hardlink_to(points)
        is_kind[str(name)] = kind
    before = contents(source)
    out = tmp_path / "out"
    given = settings(size="32x32", frames=5, trim="start")
    result = prepare(scan_folder(source), out, given, sources=Sources(keypoints=source / "keypoints2d"), workers=2)
    rows = {row["id"]: row for row in read_rows(out)}
    failed = {problem["id"]: problem for problem in result.problems}
    empty = {refused["file"].split(".")[0] for refused in read_report(out)["refused"]}
    assert set(rows) | set(failed) | empty == set(is_kind) and not set(rows) & set(failed)
    kind_of = {kind: name for name, kind in is_kind.items()}
    for kind in GOOD:
        check_right(out, rows[kind_of[kind]])
    assert any("HDR" in note for note in rows[kind_of["hdr"]]["notes"])
    assert {kind_of[kind] for kind in BAD} <= set(failed)
    assert all(problem["problem"].endswith(".") for problem in failed.values())
    assert not [problem for problem in failed.values() if UNEXPECTED in problem["problem"]]
    for row in rows.values():
        assert row["frames"] == 5 and row["width"] == row["height"] == 32
        assert all(sha256_file(out / name) == facts["sha256"] for name, facts in row["files"].items())
    # Nothing lies about that belongs to no clip, and the sources are as they were.
    listed = {name for row in rows.values() for name in row["files"]}
    assert set(contents(out)) == listed | {".lock", "manifest.jsonl", "metadata.csv", "report.json"}
    assert contents(source) == before


def check_right(out: Path, row: dict[str, Any]) -> None:
    frames = read_clip(out / row["video"], frames=None).frames.astype(int)
    assert len(frames) == 5
    for part, colour in ((frames[:, :, 2:13], LEFT), (frames[:, :, 19:30], RIGHT)):
        assert np.abs(part.mean(axis=(0, 1, 2)) - colour).max() < TOLERANCE, (row["id"], part.mean(axis=(0, 1, 2)))


def test_every_kind_stands_for_itself(kinds: dict[str, Path]):
    """The files are of the kinds that they are called: else the test above would show less than it says."""
    from s2v_core.video.read import probe_clip

    assert probe_clip(kinds["upside down"]).rotation == 180
    assert probe_clip(kinds["odd sizes"]).width == 67 and probe_clip(kinds["hdr"]).codec == "hevc"


def test_a_title_in_an_old_encoding_is_no_fault(kinds: dict[str, Path], tmp_path: Path):
    def title(stream: Any) -> None:
        stream.container.metadata["title"] = "caf\u00e9"

    path = clip(tmp_path / "a.mkv", set_up=title)
    data = path.read_bytes()
    assert b"caf\xc3\xa9" in data
    path.write_bytes(data.replace(b"caf\xc3\xa9", b"caf\xe9 "))
    assert len(read_clip(path, frames=12)) == 12


def test_an_unknown_codec_is_told(kinds: dict[str, Path], tmp_path: Path):
    path = tmp_path / "a.mp4"
    path.write_bytes(kinds["plain"].read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(VideoError, match="of a kind that cannot be decoded"):
        read_clip(path)

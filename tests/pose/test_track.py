from __future__ import annotations

import json
import pickle
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.pose.track import PoseTrack, scale_track
from s2v_core.pose.track_file import load_track, save_track


def some_track(frames: int = 3, people: int = 2, seed: int = 0, notes: tuple[str, ...] | None = None) -> PoseTrack:
    random = np.random.default_rng(seed)
    points = random.uniform(-20, 400, (frames, people, 134, 2)).astype(np.float32)
    scores = random.uniform(0, 1, (frames, people, 134)).astype(np.float32)
    return PoseTrack(points, scores, (240, 320), Fraction(30000, 1001), "test", notes or ("",) * frames)


def same(one: PoseTrack, other: PoseTrack) -> bool:
    rest = ("canvas", "fps", "backend", "notes")
    return (
        np.array_equal(one.points, other.points)
        and np.array_equal(one.scores, other.scores)
        and all(getattr(one, name) == getattr(other, name) for name in rest)
    )


def test_found_is_any_point_of_anybody() -> None:
    track = some_track()
    track.scores[0] = 0
    track.scores[1, 0] = 0
    track.scores[1, 1, :-1] = 0
    assert track.found.tolist() == [False, True, True]


def test_a_track_follows_its_clip() -> None:
    track = some_track()
    cropped = scale_track(track, 2, -100, 5, (300, 400))
    assert cropped.points == pytest.approx(track.points * 2 + np.array([-100, 5]), abs=1e-3)
    assert cropped.points.dtype == np.float32
    assert cropped.canvas == (300, 400)
    assert cropped.scores is track.scores
    stretched = scale_track(track, (0.5, 2.0))
    assert stretched.canvas == (480, 160)
    assert stretched.points[..., 0] == pytest.approx(track.points[..., 0] / 2)
    back = scale_track(scale_track(track, 2, -100, 5), 0.5, 50, -2.5, track.canvas)
    assert back.points == pytest.approx(track.points, abs=1e-3)
    with pytest.raises(SettingsError, match="scaled"):
        scale_track(track, 0)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 5),
    people=st.integers(0, 3),
    seed=st.integers(0, 9),
    canvas=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    fps=st.fractions(min_value=Fraction(1, 100), max_value=240),
    text=st.text(max_size=20),
)
def test_a_file_gives_back_the_track(
    tmp_path_factory: pytest.TempPathFactory,
    frames: int,
    people: int,
    seed: int,
    canvas: tuple[int, int],
    fps: Fraction,
    text: str,
) -> None:
    made = some_track(frames, people, seed, (text,) * frames)
    track = PoseTrack(made.points, made.scores, canvas, fps, text, made.notes)
    path = save_track(track, tmp_path_factory.mktemp("track") / "pose")
    assert path.name == "pose.npz"
    assert [file.name for file in path.parent.iterdir()] == ["pose.npz"]
    assert same(load_track(path), track)


def test_a_name_with_dots_and_an_old_file(tmp_path: Path) -> None:
    first = save_track(some_track(seed=1), tmp_path / "sBM_c01.npz")
    save_track(some_track(seed=2), first)
    assert same(load_track(first), some_track(seed=2))


@settings(max_examples=250, deadline=None)
@given(data=st.data(), inside=st.booleans())
def test_no_bytes_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, inside: bool) -> None:
    """A file with bytes changed anywhere, or inside an array whose checksum fits, is read or refused."""
    path = save_track(some_track(2, 1), tmp_path_factory.mktemp("fuzz") / "pose")

    def changed(content: bytes, until: int) -> bytes:
        out = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, min(until, len(out) - 1)))
            new = data.draw(st.binary(max_size=3) | st.text("0123456789(),'<>fi{}: ", max_size=3).map(str.encode))
            out[at : at + data.draw(st.integers(0, 3))] = new
        return bytes(out)

    if inside:
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
        name = data.draw(st.sampled_from(sorted(members)))
        members[name] = changed(members[name], 200)
        with zipfile.ZipFile(path, "w") as new:
            for name, content in members.items():
                new.writestr(name, content)
    else:
        path.write_bytes(changed(path.read_bytes(), 10**6))
    try:
        assert load_track(path).points.shape[2:] == (134, 2)
    except SettingsError as error:
        assert error.got


def test_what_is_not_a_track(tmp_path: Path) -> None:
    good = save_track(some_track(), tmp_path / "good.npz")
    content = good.read_bytes()
    with np.load(good) as arrays:
        parts = dict(arrays)
    header = json.loads(parts["header"].tobytes())

    def written(name: str, **changed: object) -> Path:
        path = tmp_path / name
        np.savez(path, **{key: value for key, value in {**parts, **changed}.items() if value is not None})
        return path

    def with_header(name: str, **changed: object) -> Path:
        return written(name, header=np.frombuffer(json.dumps({**header, **changed}).encode(), np.uint8))

    text = tmp_path / "text.npz"
    text.write_text("no")
    empty = tmp_path / "empty.npz"
    empty.write_bytes(b"")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(content[: len(content) // 2])
    bad = tmp_path / "bad.npz"
    bad.write_bytes(content[:3000] + bytes(200) + content[3200:])
    evil = tmp_path / "evil.npz"
    evil.write_bytes(pickle.dumps({"points": 1}))
    array = tmp_path / "array.npz"
    with array.open("wb") as stream:
        np.save(stream, np.zeros(3))
    for path in (
        text, empty, cut, bad, evil, array,
        written("no points.npz", points=None),
        written("objects.npz", points=np.array([object()], dtype=object)),
        written("doubles.npz", points=parts["points"].astype(np.float64)),
        written("short.npz", scores=parts["scores"][:1]),
        written("list.npz", header=np.frombuffer(b"[1]", np.uint8)),
        with_header("kind.npz", format="other"),
        with_header("fps.npz", fps=[1, 0]),
        with_header("canvas.npz", canvas=[0, 5]),
        with_header("notes.npz", notes=["one"]),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match="not a pose track that can be read"):
            load_track(path)
    with pytest.raises(SettingsError, match="another version"):
        load_track(with_header("new.npz", version=2))
    with pytest.raises(SettingsError, match="does not exist"):
        load_track(tmp_path / "nowhere.npz")

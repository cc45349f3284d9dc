from __future__ import annotations

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.files import (
    atomic_folder,
    atomic_path,
    cache_dir,
    canonical_json,
    safe_join,
    sha256_file,
    sha256_json,
    write_text_atomic,
)

posix_only = pytest.mark.skipif(os.name == "nt", reason="permission bits and links are POSIX's")
same_folder = profile(suppress_health_check=[HealthCheck.function_scoped_fixture])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- hashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20_000_000])
def test_sha256_of_a_file_over_the_piece_size(tmp_path: Path, size: int):
    data = bytes(range(256)) * (size // 256 + 1)
    file = tmp_path / "data"
    file.write_bytes(data[:size])
    seen: list[int] = []
    assert sha256_file(file, seen.append) == hashlib.sha256(data[:size]).hexdigest() == sha256_file(str(file))
    assert seen == sorted(seen)
    assert seen[-1:] == ([size] if size else [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_change_the_hash(value: dict, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)
    assert sha256_json(dict(items)) == sha256_json(value)
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_is_compact_and_refuses_what_json_cannot_say():
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'
    for wrong in (math.nan, math.inf, [-math.inf]):
        with pytest.raises(ValueError, match="JSON"):
            canonical_json(wrong)
    assert sha256_json([1]) != sha256_json([1.0]) != sha256_json(["1.0"])


# --- atomic_path --------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path):
    target = tmp_path / "deep" / "er" / "clip.tar.mp4"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".mp4"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"half")
        assert not target.exists()
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert names_in(target.parent) == ["clip.tar.mp4"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_block_that_raises_leaves_everything_as_it_was(tmp_path: Path, error: type, old: bytes | None):
    target = tmp_path / "cell.json"
    if old is not None:
        target.write_bytes(old)
    before = names_in(tmp_path)
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert names_in(tmp_path) == before
    assert old is None or target.read_bytes() == old


def test_a_target_that_is_a_folder_is_left_alone(tmp_path: Path):
    target = tmp_path / "taken"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"), atomic_path(target) as temporary:
        temporary.write_text("x")
    assert names_in(tmp_path) == ["taken"]
    assert names_in(target) == ["inside"]


def test_a_block_may_delete_its_file_and_then_hears_of_it(tmp_path: Path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x.txt") as temporary:
        temporary.unlink()
    assert names_in(tmp_path) == []


@posix_only
@pytest.mark.parametrize(("mask", "wanted"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_and_folder_have_the_permissions_of_any_other(tmp_path: Path, mask: int, wanted: int):
    before = os.umask(mask)
    try:
        write_text_atomic(tmp_path / "new.txt", "x")
        with atomic_folder(tmp_path / "new") as temporary:
            (temporary / "file").write_text("x")
            (temporary / "file").chmod(0o600)
        with atomic_path(tmp_path / "other.txt") as temporary:
            temporary.unlink()
            temporary.write_text("x")
            temporary.chmod(0o600)
        (tmp_path / "plain").mkdir()
    finally:
        assert os.umask(before) == mask
    assert mode_of(tmp_path / "new.txt") == mode_of(tmp_path / "other.txt") == mode_of(tmp_path / "new/file") == wanted
    assert mode_of(tmp_path / "new") == mode_of(tmp_path / "plain") == 0o777 & ~mask


@posix_only
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int):
    target = tmp_path / "kept.txt"
    target.write_text("old")
    target.chmod(mode)
    with atomic_path(target) as temporary:
        # Nobody may read the new text who could not read the old one.
        assert mode_of(temporary) == 0o600
        temporary.write_text("new")
    assert (target.read_text(), mode_of(target)) == ("new", mode)


def test_writing_never_touches_the_umask_of_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The mask belongs to the whole process: a moment with none would open other threads' files to everyone."""
    asked: list[int] = []
    monkeypatch.setattr(os, "umask", lambda mask: asked.append(mask) or 0o022)
    write_text_atomic(tmp_path / "file", "x")
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "file").write_text("x")
    assert asked == []


def test_a_long_name_still_has_room_for_the_temporary_one(tmp_path: Path):
    name = "n" * 251 + ".txt"
    write_text_atomic(tmp_path / name, "x")
    with atomic_folder(tmp_path / ("f" * 255)):
        pass
    assert names_in(tmp_path) == ["f" * 255, name]


def test_text_is_utf8(tmp_path: Path):
    write_text_atomic(tmp_path / "x.txt", "é色\n")
    assert (tmp_path / "x.txt").read_bytes() == "é色\n".encode()


# --- atomic_folder ------------------------------------------------------------------------------------------------


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "cells" / "abc"
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "half").write_text("x")
        raise RuntimeError
    assert names_in(target.parent) == []
    with atomic_folder(target) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "whole").write_text("x")
        assert not target.exists()
    assert names_in(target.parent) == ["abc"]
    assert (target / "sub" / "whole").read_text() == "x"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")
def test_every_file_is_flushed_once_before_its_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flushed: list[tuple[str, bool]] = []

    def fsync(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        flushed.append((name, (tmp_path / "whole").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folder(tmp_path / "whole") as folder:
        write_text_atomic(folder / "a.txt", "a")
        write_text_atomic(folder / "deep" / "b.txt", "b")
        assert flushed == []
    names = [name for name, _ in flushed]
    assert sorted(names[:3]) == ["a.txt", "b.txt", "deep"] and names[4:] == [tmp_path.name]
    assert [there for _, there in flushed] == [False] * 4 + [True]
    write_text_atomic(tmp_path / "whole" / "c.txt", "c")
    assert [name.endswith(".txt") for name, _ in flushed[5:]] == [True, False]


def test_what_can_be_made_again_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    for lasting in (False, True):
        with atomic_path(tmp_path / "file", lasting=lasting) as temporary:
            temporary.write_text(str(lasting))
        assert (tmp_path / "file").read_text() == str(lasting)
        assert bool(flushed) is lasting
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_empty_folder_is_filled_and_a_full_one_is_kept(tmp_path: Path):
    target = tmp_path / "abc"
    target.mkdir()
    for text in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / "who").write_text(text)
    assert (target / "who").read_text() == "first"
    assert names_in(tmp_path) == ["abc"]


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path):
    (tmp_path / "abc").write_text("mine")
    with pytest.raises(OSError, match="abc"), atomic_folder(tmp_path / "abc") as temporary:
        (temporary / "who").write_text("x")
    assert (tmp_path / "abc").read_text() == "mine"
    assert names_in(tmp_path) == ["abc"]


def _race(folder: str, who: str, start, results) -> None:
    wins = []
    for number in range(40):
        start.wait(60)
        with atomic_folder(Path(folder) / f"cell-{number}") as temporary:
            for part in range(3):
                (temporary / str(part)).write_text(who)
        wins.append((Path(folder) / f"cell-{number}" / "0").read_text())
    results.put(wins)


def test_two_processes_race_and_every_folder_is_whole_and_of_one_of_them(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=_race, args=(str(tmp_path), who, start, results)) for who in "ab"]
    for racer in racers:
        racer.start()
    seen = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
        assert racer.exitcode == 0
    # Whoever came second saw the first one's result, and nothing of its own is left behind.
    assert seen[0] == seen[1]
    assert names_in(tmp_path) == sorted(f"cell-{number}" for number in range(40))
    for cell in tmp_path.iterdir():
        texts = {(cell / str(part)).read_text() for part in range(3)}
        assert len(texts) == 1


# --- places -------------------------------------------------------------------------------------------------------


def test_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("S2V_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()
    monkeypatch.delenv("S2V_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "skeleton2video"


@pytest.mark.parametrize(
    "parts", [("a.txt",), ("sub", "a.txt"), ("sub/../a.txt",), ("./sub//a.txt",), (), (".",), ("é",)]
)
def test_paths_inside_are_joined(tmp_path: Path, parts: tuple[str, ...]):
    assert safe_join(tmp_path, *parts) == tmp_path.joinpath(*parts).resolve()


@pytest.mark.parametrize(
    "parts",
    [("..",), ("../x",), ("sub", "../../x"), ("/etc/passwd",), ("sub", "/"), ("a", "..", "..", "b"), ("../{name}x",)],
)
def test_paths_that_leave_are_refused(tmp_path: Path, parts: tuple[str, ...]):
    root = tmp_path / "root"
    root.mkdir()
    parts = tuple(part.format(name=root.name) for part in parts)
    with pytest.raises(SettingsError, match="leaves its folder") as caught:
        safe_join(root, *parts)
    assert str(root) in caught.value.expected


@posix_only
def test_links_that_leave_are_refused_and_links_that_stay_are_followed(tmp_path: Path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "up").symlink_to("..")
    (root / "in").symlink_to("real")
    (root / "loop").symlink_to("loop")
    for part in ("out", "out/x", "up", "up/outside", "real/../out/x"):
        with pytest.raises(SettingsError):
            safe_join(root, part)
    assert safe_join(root, "in/x") == root / "real" / "x"
    (tmp_path / "door").symlink_to(root)
    assert safe_join(tmp_path / "door", "x") == root / "x"
    # Some Pythons resolve a link to itself to itself, others refuse.
    with contextlib.suppress(SettingsError):
        assert safe_join(root, "loop").parent == root


_parts = st.lists(
    st.one_of(
        st.sampled_from(
            ["..", ".", "/", "//", "a", "out", "out/..", "~", "a/../../b", "\x00", "\\", "C:\\x", "up/root/a"]
        ),
        st.text(max_size=8),
        st.text(alphabet=st.characters(), max_size=4),
    ),
    max_size=4,
)


@same_folder
@given(_parts)
@example(["\x00"])
@example(["a" * 5000])
@example(["\ud800"])
def test_no_path_ever_leaves_its_folder(tmp_path: Path, parts: list[str]):
    root = tmp_path / "root"
    if not root.exists():
        root.mkdir()
        if os.name != "nt":
            (root / "out").symlink_to(tmp_path)
            (root / "up").symlink_to("..")
    try:
        path = safe_join(root, *parts)
    except SettingsError as error:
        assert error.expected
        return
    assert os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)

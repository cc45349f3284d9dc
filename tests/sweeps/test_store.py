from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s2v_core.errors import StoreError
from s2v_core.files import sha256_file
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Cell
from s2v_core.sweeps.plan import cell_id
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.storefiles import seal
from s2v_core.video.clip import Clip
from s2v_core.wan.settings import SampleSettings


def cell(seed: int = 0) -> Cell:
    settings = SampleSettings(steps=1, width=32, height=16, frames=5, seed=seed)
    prompt = Prompt("a dancer — ダンス", "blurry")
    return Cell(cell_id(prompt, settings, {}, str), prompt, settings, (seed,), (f"seed {seed}",))


def clip(seed: int = 0, shape: tuple[int, ...] = (3, 16, 32, 3), fps: Fraction = Fraction(16)) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), fps)


def hidden(store: CellStore) -> list[str]:
    return [path.name for path in store.folder.iterdir() if path.name.startswith(".")]


@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20), st.just(3))),
    fps=st.fractions(Fraction(1, 2), 120, max_denominator=1001),
    seed=st.integers(0, 2**63 - 1),
    seconds=st.floats(0, 1e6),
)
def test_what_is_put_comes_back(tmp_path, frames, fps, seed, seconds):
    store = CellStore(tmp_path / "cells")
    one = cell(seed)
    if store.has(one.id):
        store.set_aside(one.id, "drawn before")
    store.put(one, Clip(frames, fps), {"seconds": seconds, "fingerprint": {"model": "x"}})
    other = CellStore(tmp_path / "cells")
    back = other.load(one.id)
    assert np.array_equal(back.frames, frames)
    assert back.fps == fps
    meta = other.meta(one.id)
    assert SampleSettings.from_dict(meta["settings"]) == one.settings
    assert meta["prompt"]["text"] == one.prompt.text
    assert (meta["labels"], meta["seconds"], meta["fingerprint"]) == ([f"seed {seed}"], seconds, {"model": "x"})
    assert meta["clip"]["sha256"] == sha256_file(store.path(one.id) / "clip.mkv") == back.source.sha256
    assert not hidden(store)


def test_ids_and_missing_cells(store):
    assert store.ids() == ()
    store.put(cell(1), clip())
    store.put(cell(2), clip())
    assert store.ids() == tuple(sorted((cell(1).id, cell(2).id)))
    assert store.has(cell(1).id)
    assert not store.has(cell(3).id)
    with pytest.raises(StoreError, match="There is no cell"):
        store.load(cell(3).id)
    for id in ("", "..", "ab", "A" * 64, "../" + "a" * 61):
        with pytest.raises(StoreError, match="not the id of a cell"):
            store.has(id)


def test_a_sound_cell_is_never_written_again(store):
    first = store.put(cell(), clip(1)) / "clip.mkv"
    before = first.read_bytes()
    store.put(cell(), clip(2))
    assert first.read_bytes() == before


def _flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "clip.mkv").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "clip.mkv").write_bytes(data)


DAMAGES = {
    "a changed byte": (_flip_a_byte, "clip.mkv has changed"),
    "a cut file": (lambda folder: os.truncate(folder / "clip.mkv", 100), "clip.mkv has changed"),
    "no clip": (lambda folder: (folder / "clip.mkv").unlink(), "clip.mkv cannot be read"),
    "no facts": (lambda folder: (folder / "cell.json").unlink(), "cell.json cannot be read"),
    "broken json": (lambda folder: (folder / "cell.json").write_text("{"), "cell.json has changed"),
    "not utf-8": (lambda folder: (folder / "cell.json").write_bytes(b"\xff"), "cell.json has changed"),
    "other json": (lambda folder: (folder / "cell.json").write_text("[1]"), "cell.json has changed"),
    "empty facts": (lambda folder: (folder / "cell.json").write_bytes(seal({"clip": {}})), "lacks the facts"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_said_and_put_aside(store, damage):
    spoil, said = DAMAGES[damage]
    id = cell().id
    spoil(store.put(cell(), clip()))
    for one in (store, CellStore(store.folder)):
        assert not one.has(id)
        assert said in one.problem(id)
        with pytest.raises(StoreError, match="damaged"):
            one.load(id)
    store.put(cell(), clip(5))
    assert np.array_equal(store.load(id).frames, clip(5).frames)
    aside = store.folder / "damaged" / f"{id}-1"
    assert said in (aside / "reason.txt").read_text()
    spoil(store.path(id))
    store.put(cell(), clip())
    assert (store.folder / "damaged" / f"{id}-2").is_dir()


def test_a_cell_under_another_name_is_damaged(store):
    store.put(cell(1), clip()).rename(store.path(cell(2).id))
    assert "of another cell" in store.problem(cell(2).id)


def test_a_folder_that_is_something_else(tmp_path):
    other = tmp_path / "photos"
    other.mkdir()
    (other / "me.jpg").write_bytes(b"")
    with pytest.raises(StoreError, match="is not a cell store") as caught:
        CellStore(other)
    assert "me.jpg" in str(caught.value)
    assert [path.name for path in other.iterdir()] == ["me.jpg"]
    with pytest.raises(StoreError, match="is not a cell store"):
        CellStore(other / "me.jpg")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": "skeleton2video cells", "version": 99}', "a newer version"),
        ('{"kind": "skeleton2video cells", "version": "x"}', "an unknown version"),
        ('{"kind": "shopping"}', "says something else"),
        ("nonsense", "says something else"),
        ("[]", "says something else"),
    ],
)
def test_a_store_of_another_kind_or_version(tmp_path, text, said):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(StoreError, match=said):
        CellStore(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be opened|is not a cell store"):
        CellStore(tmp_path / "file" / "cells")


def test_a_lock_keeps_others_out_and_nests(store):
    other = CellStore(store.folder)
    with store.lock(cell().id) as mine, store.lock(cell().id) as again, other.lock(cell().id) as theirs:
        assert (mine, again, theirs) == (True, True, False)
        with pytest.raises(StoreError, match="another process"):
            other.put(cell(), clip())
        with other.lock(cell(1).id) as free:
            assert free
    with other.lock(cell().id) as theirs:
        assert theirs


def test_leftovers_go_unless_their_cell_is_being_computed(store):
    gone, busy = (store.folder / f".{cell(seed).id[:40]}-abc123" for seed in (0, 1))
    for folder in (gone, busy):
        folder.mkdir()
        (folder / "clip.mkv").write_bytes(b"half")
    (store.folder / ".keep").mkdir()
    with store.lock(cell(1).id):
        CellStore(store.folder)
        assert sorted(hidden(store)) == sorted([busy.name, ".keep"])
    assert store.clean() == (busy,)
    assert hidden(store) == [".keep"]


def test_a_reason_that_was_being_written_goes_too(store):
    """What a process that was killed while it put a damaged cell aside leaves there."""
    store.put(cell(), clip())
    os.truncate(store.path(cell().id) / "clip.mkv", 50)
    place = store.set_aside(cell().id, "cut")
    half = place / ".reason.txt-0123456789abcdef.txt"
    with CellStore(store.folder).lock(cell().id):
        half.write_text("c")
        assert store.clean() == ()
    assert store.clean() == (half,)
    assert sorted(path.name for path in place.iterdir()) == ["cell.json", "clip.mkv", "reason.txt"]


LIMITED = """
import resource, signal, sys
import numpy as np
from fractions import Fraction
from s2v_core.errors import StoreError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Cell
from s2v_core.sweeps.store import CellStore
from s2v_core.video.clip import Clip
from s2v_core.wan.settings import SampleSettings
store = CellStore(sys.argv[1])
clip = Clip(np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8), Fraction(16))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.put(Cell("a" * 64, Prompt("x"), SampleSettings(), (0,), ("x",)), clip)
except StoreError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_leaves_no_half_cell(store):
    """A limit on the size of files makes every write past it fail, as a full disk does."""
    pytest.importorskip("resource")
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "cannot be written" in ran.stderr
    assert "finished are kept" in ran.stderr
    assert not hidden(store)
    assert store.ids() == ()


def test_facts_are_plain_json(store):
    store.put(cell(), clip())
    facts = json.loads((store.path(cell().id) / "cell.json").read_text(encoding="utf-8"))
    assert facts["clip"] | {"sha256": ""} == {
        "file": "clip.mkv",
        "sha256": "",
        "bytes": (store.path(cell().id) / "clip.mkv").stat().st_size,
        "frames": 3,
        "width": 32,
        "height": 16,
        "fps": "16",
    }
    assert facts["prompt"]["text"].endswith("ダンス")
    with pytest.raises((TypeError, ValueError)):
        store.put(cell(1), clip(), {"thing": object()})
    assert not store.has(cell(1).id)
    assert not hidden(store)

"""What a cell may hold beside its clip, older and newer stores, locks, and stores that cannot be written."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from s2v_core.errors import StoreError
from s2v_core.sweeps.run import run_sweep, stored_result
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.storefiles import seal, unseal, write_sealed
from s2v_core.sweeps.upkeep import status, verify
from tests.sweeps.disks import read_only
from tests.sweeps.test_store import cell, clip, hidden

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(facts=st.dictionaries(st.text().filter("sha256".__ne__), JSON, min_size=1), where=st.data())
def test_a_seal_notices_every_other_byte(facts, where):
    data = seal(facts)
    assert unseal(data, "x") == facts
    at = where.draw(st.integers(0, len(data) - 1))
    other = where.draw(st.integers(0, 255).filter(data[at].__ne__))
    for spoiled in (data[:at] + bytes([other]) + data[at + 1 :], data[:at], data[:at] + data[at + 1 :], data + b"\n"):
        with pytest.raises(ValueError, match="x has changed"):
            unseal(spoiled, "x")


def test_the_checksum_is_that_of_the_lines_before(store):
    file = store.put(cell(), clip()) / "cell.json"
    lines = file.read_bytes().splitlines(keepends=True)
    assert json.loads(file.read_bytes())["sha256"] == hashlib.sha256(b"".join(lines[:-2])).hexdigest()


# --- latents ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_latents_come_back_bit_for_bit(store, kind):
    torch = pytest.importorskip("torch")
    latents = torch.randn(1, 16, 2, 4, 3).to(getattr(torch, kind)).transpose(1, 2)
    store.put(cell(1), clip())
    assert store.latents(cell(1).id) is None
    plain = (store.path(cell(1).id) / "clip.mkv").read_bytes()
    # A cell that is there already gets the latents that it lacks, and keeps those that it has.
    for given_latents in (latents, latents + 1):
        store.put(cell(1), clip(), latents=given_latents)
        store.put(cell(2), clip(), latents=given_latents)
    for id in (cell(1).id, cell(2).id):
        back = CellStore(store.folder).latents(id)
        assert back.dtype == latents.dtype
        assert torch.equal(back, latents)
        assert store.meta(id)["latents"]["shape"] == [1, 2, 16, 4, 3]
    assert (store.path(cell(1).id) / "clip.mkv").read_bytes() == plain
    data = bytearray((store.path(cell(1).id) / "latents.safetensors").read_bytes())
    data[-1] ^= 1
    (store.path(cell(1).id) / "latents.safetensors").write_bytes(data)
    assert "latents.safetensors has changed" in store.problem(cell(1).id)
    (store.path(cell(2).id) / "latents.safetensors").unlink()
    assert "latents.safetensors cannot be read" in store.problem(cell(2).id)
    assert not hidden(store)


def test_latents_that_a_kill_left_unnamed_do_not_count(store):
    torch = pytest.importorskip("torch")
    file = store.put(cell(), clip()) / "latents.safetensors"
    file.write_bytes(b"half")
    assert store.latents(cell().id) is None
    assert store.has(cell().id)
    store.put(cell(), clip(), latents=torch.ones(2))
    assert torch.equal(store.latents(cell().id), torch.ones(2))


# --- scores -------------------------------------------------------------------------------------------------------


def test_scores_are_added_to_a_finished_cell(store):
    id = cell().id
    before = (store.put(cell(), clip()) / "cell.json").read_bytes()
    assert store.scores(id) == {}
    store.add_scores(id, {"flicker": {"version": "1", "value": 0.5}})
    store.add_scores(id, {"sharpness": {"version": "1", "value": 3}, "flicker": {"version": "2", "value": 0.6}})
    assert CellStore(store.folder).scores(id) == {
        "flicker": {"version": "2", "value": 0.6},
        "sharpness": {"version": "1", "value": 3},
    }
    assert (store.path(id) / "cell.json").read_bytes() == before
    with pytest.raises(StoreError, match="has no version"):
        store.add_scores(id, {"flicker": {"value": 0.5}})
    with pytest.raises(ValueError, match="JSON"):
        store.add_scores(id, {"flicker": {"version": "1", "value": float("nan")}})
    with pytest.raises(StoreError, match="There is no cell"):
        store.add_scores(cell(1).id, {})
    assert store.scores(id)["flicker"]["version"] == "2"


def test_damaged_scores_do_not_make_a_damaged_cell(store):
    id = cell().id
    store.put(cell(), clip())
    file = store.add_scores(id, {"flicker": {"version": "1", "value": 0.5}})
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.6"))
    assert store.has(id)
    assert "scores.json has changed" in store.scores_problem(id)
    with pytest.raises(StoreError, match=r"scores of cell .* are damaged"):
        store.scores(id)
    store.add_scores(id, {"flicker": {"version": "1", "value": 0.7}})
    assert store.scores(id)["flicker"]["value"] == 0.7
    assert b"0.6" in (store.folder / "damaged" / f"{id}-1" / "scores.json").read_bytes()


def test_scores_of_another_cell_do_not_count(store):
    for seed in (0, 1):
        store.put(cell(seed), clip(seed))
    file = store.add_scores(cell(0).id, {"flicker": {"version": "1", "value": 0.5}})
    shutil.copy(file, store.path(cell(1).id))
    assert "another cell" in store.scores_problem(cell(1).id)


def test_many_threads_score_one_cell(store):
    store.put(cell(), clip())
    adding = [
        threading.Thread(
            target=lambda n=n: CellStore(store.folder).add_scores(cell().id, {f"m{n}": {"version": "1", "value": n}})
        )
        for n in range(6)
    ]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert sorted(store.scores(cell().id)) == [f"m{n}" for n in range(6)]


# --- versions -----------------------------------------------------------------------------------------------------


def make_old(store: CellStore) -> None:
    """Turn a store into one of version 1, as it was written then."""
    (store.folder / "store.json").write_text('{"kind": "skeleton2video cells", "version": 1}\n')
    for id in store.ids():
        meta = json.loads((store.path(id) / "cell.json").read_text())
        del meta["sha256"], meta["clip"]["bytes"]
        (store.path(id) / "cell.json").write_text(json.dumps({**meta, "version": 1}, indent=2) + "\n")


def test_an_old_store_is_read_as_it_is_and_brought_up_to_date_when_it_can_be_written(store):
    for seed in range(3):
        store.put(cell(seed), clip(seed))
    new = {id: (store.path(id) / "cell.json").read_bytes() for id in store.ids()}
    make_old(store)
    (store.path(cell(2).id) / "cell.json").write_text("{")
    old = CellStore(store.folder, look=True)
    assert old.version == 1
    assert np.array_equal(old.load(cell(1).id).frames, clip(1).frames)
    assert [damage.id for damage in verify(old)] == [cell(2).id]
    assert json.loads((store.folder / "store.json").read_text())["version"] == 1
    migrated = CellStore(store.folder)
    assert migrated.version == 2
    assert {id: (store.path(id) / "cell.json").read_bytes() for id in new if id != cell(2).id} == {
        id: data for id, data in new.items() if id != cell(2).id
    }
    assert [damage.id for damage in verify(migrated)] == [cell(2).id]


def test_a_half_migrated_store_is_finished(store):
    for seed in range(2):
        store.put(cell(seed), clip(seed))
    new = (store.path(cell(0).id) / "cell.json").read_bytes()
    make_old(store)
    (store.path(cell(0).id) / "cell.json").write_bytes(new)
    assert verify(CellStore(store.folder, look=True)) == ()
    assert verify(CellStore(store.folder)) == ()
    assert verify(CellStore(store.folder, look=True)) == ()


def test_a_migration_that_a_full_disk_stops_is_finished_later(store):
    for seed in range(3):
        store.put(cell(seed), clip(seed))
    make_old(store)
    calls = []

    def refuses(*given):
        calls.append(given)
        if len(calls) == 2:
            raise OSError("No space left on device")
        return write_sealed(*given)

    with mock.patch("s2v_core.sweeps.storefiles.write_sealed", refuses):
        stopped = CellStore(store.folder)
    assert stopped.version == 1
    assert verify(stopped) == ()
    stopped.put(cell(3), clip(3))
    assert len(stopped.ids()) == 4
    assert CellStore(store.folder).version == 2
    assert verify(CellStore(store.folder)) == ()


def test_an_unsealed_cell_in_a_store_of_this_version_is_damaged(store):
    store.put(cell(), clip())
    make_old(store)
    (store.folder / "store.json").write_text('{"kind": "skeleton2video cells", "version": 2}\n')
    assert "has changed" in store.problem(cell().id)


def test_a_newer_store_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"kind": "skeleton2video cells", "version": 3}')
    for look in (True, False):
        with pytest.raises(StoreError, match="a newer version") as caught:
            CellStore(tmp_path, look=look)
        assert "Update Skeleton2Video" in str(caught.value)


# --- looking and reading only -------------------------------------------------------------------------------------


def test_a_look_makes_and_changes_nothing(tmp_path, store):
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(StoreError, match="is not a cell store"):
            CellStore(missing, look=True)
    assert not (tmp_path / "nothing").exists()
    (store.folder / f".{cell().id[:40]}-abc123").mkdir()
    CellStore(store.folder, look=True)
    assert hidden(store)
    CellStore(store.folder)
    assert not hidden(store)


def test_a_store_that_cannot_be_written_is_read(sweep, renderer, store):
    result = run_sweep(sweep, renderer, store)
    store.add_scores(store.ids()[0], {"flicker": {"version": "1", "value": 0.5}})
    (store.folder / f".{store.ids()[0][:40]}-abc123").mkdir()
    with read_only(store.folder):
        other = CellStore(store.folder)
        assert not other.writable
        assert status(other).cells == 6
        assert verify(other, read_frames=True) == ()
        again = run_sweep(sweep, renderer, other)
        assert (len(again.reused), again.computed) == (6, ())
        assert np.array_equal(again.clip(again.cells[0]).frames, result.clip(result.cells[0]).frames)
        assert stored_result(sweep, renderer, other).reused == again.reused
        for write in (
            lambda: other.put(cell(), clip()),
            lambda: other.add_scores(other.ids()[0], {"x": {"version": "1"}}),
            lambda: other.set_aside(other.ids()[0], "why"),
        ):
            with pytest.raises(StoreError, match=r"locked|written"):
                write()
        assert len(other.ids()) == 6


def test_an_old_store_that_cannot_be_written_is_read(store):
    store.put(cell(), clip())
    make_old(store)
    with read_only(store.folder):
        assert np.array_equal(CellStore(store.folder).load(cell().id).frames, clip().frames)


# --- locks --------------------------------------------------------------------------------------------------------


def test_who_holds_a_lock_is_known_until_it_dies(store):
    code = (
        "import sys, time; from s2v_core.sweeps.store import CellStore\n"
        f"with CellStore({str(store.folder)!r}).lock({cell().id!r}) as mine:\n"
        "    print(mine, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    try:
        assert holder.stdout.readline() == "True\n"
        who = store.in_flight()
        assert who.keys() == {cell().id}
        assert who[cell().id]["process"] == holder.pid
        assert who[cell().id]["sure"]
        with store.lock(cell().id) as mine:
            assert not mine
        # In a copy nobody is at work, whatever its lock files say.
        shutil.copytree(store.folder, store.folder.with_name("copy"))
        copy = CellStore(store.folder.with_name("copy"))
        assert copy.in_flight() == {}
        copy.put(cell(), clip())
    finally:
        holder.kill()
        holder.communicate()
    assert store.in_flight() == {}
    note = store.folder / "locks" / f"{cell().id}.json"
    assert note.exists()
    CellStore(store.folder)
    assert not note.exists()
    store.put(cell(1), clip())
    assert not list((store.folder / "locks").glob("*.json"))


def test_a_note_counts_only_where_locks_cannot_be_tried(store):
    with store.lock(cell().id):
        note = store.folder / "locks" / f"{cell().id}.json"
        text = note.read_text()
    note.write_text(text)
    assert store.in_flight() == {}
    with read_only(store.folder):
        who = CellStore(store.folder, look=True).in_flight()
        assert who[cell().id]["process"] == os.getpid()
        assert not who[cell().id]["sure"]
    note.write_text("[")
    with store.lock(cell().id):
        assert store.in_flight()[cell().id]["sure"]


def _put(folder: str, seeds: list[int]) -> None:
    store = CellStore(folder)
    for seed in seeds:
        store.put(cell(seed), clip(seed))


def test_locks_that_were_deleted_or_left_behind_do_no_harm(store):
    _put(str(store.folder), [0])
    shutil.rmtree(store.folder / "locks")
    store.put(cell(1), clip(1))
    # A lock file that a dead process left, of another user's making, or copied: it is only a name.
    (store.folder / "locks" / f"{cell(2).id}.lock").write_text("anything")
    spawned = multiprocessing.get_context("spawn").Process(target=_put, args=(str(store.folder), [2]))
    spawned.start()
    spawned.join(600)
    assert spawned.exitcode == 0
    assert len(store.ids()) == 3


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["cell.json", "clip.mkv", "scores.json", "latents.safetensors"]))
def test_half_written_files_in_a_cell_go(store, name):
    store.put(cell(), clip())
    suffix = name.split(".")[1]
    left = store.path(cell().id) / f".{name}-0123456789abcdef.{suffix}"
    left.write_bytes(b"half")
    with CellStore(store.folder).lock(cell().id):
        CellStore(store.folder).clean()
    CellStore(store.folder)
    assert not left.exists()
    assert store.has(cell().id)

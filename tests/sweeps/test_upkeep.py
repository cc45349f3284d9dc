"""Status, verify, prune and merge."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from s2v_core.cli import app
from s2v_core.errors import Interrupted, StoreError
from s2v_core.sweeps.axes import make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.storefiles import read_cell, write_sealed
from s2v_core.sweeps.upkeep import merge, prunable, prune, status, stored_ids, verify
from s2v_core.video.clip import Clip
from s2v_core.video.write import write_clip
from tests.sweeps.disks import read_only
from tests.sweeps.test_store import cell, clip, hidden
from tests.sweeps.test_store_kills import contents

SCORE = {"flicker": {"version": "1", "value": 0.5}}


@pytest.fixture
def filled(store):
    for seed in range(3):
        store.put(cell(seed), clip(seed), {"sweep": f"sweep {seed % 2}"})
    return store


def spoil(store: CellStore, seed: int, name: str = "clip.mkv") -> str:
    file = store.path(cell(seed).id) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    return cell(seed).id


def run(*words: object, code: int = 0) -> dict:
    ran = CliRunner().invoke(app, ["sweep", *map(str, words), "--json"])
    assert ran.exit_code == code, ran.output
    return json.loads(ran.stdout)


# --- status -------------------------------------------------------------------------------------------------------


def test_status_counts(filled):
    filled.add_scores(cell(0).id, SCORE)
    os.truncate(filled.path(cell(1).id) / "clip.mkv", 10)
    spoil(filled, 0, "scores.json")
    (filled.folder / "prefixes" / "ab").mkdir(parents=True)
    (filled.folder / "prefixes" / "ab" / "latents").write_bytes(bytes(1000))
    filled.set_aside(cell(2).id, "why not")
    with filled.lock(cell(7).id):
        found = status(CellStore(filled.folder, look=True))
        every = sum(path.stat().st_size for path in filled.folder.rglob("*") if path.is_file())
    assert (found.version, found.writable, found.cells, found.latents, found.scored) == (2, True, 2, 0, 1)
    assert {(damage.id, damage.file) for damage in found.damaged} == {(cell(1).id, ""), (cell(0).id, "scores.json")}
    assert found.set_aside == (f"{cell(2).id}-1",)
    assert found.in_flight[cell(7).id]["process"] == os.getpid()
    assert found.sweeps == {"sweep 0": 1}
    assert found.bytes["prefixes"] == 1000
    assert found.bytes["damaged"] > 1000
    assert sum(found.bytes.values()) == every


def test_which_cells_of_a_sweep_are_stored(sweep, renderer, store, pictures):
    assert [one.ids for one in stored_ids(sweep, store, str)] == [()] * 6
    part = replace(sweep, axes=(make_axis("guidance", [1, 2]), sweep.axes[1]))
    run_sweep(part, renderer, store)
    other = pictures.PictureRenderer(fingerprint={"model": "other"})
    run_sweep(replace(sweep, axes=(make_axis("guidance", [1]), sweep.axes[1])), other, store)
    found = stored_ids(sweep, store, str)
    assert [len(one.ids) for one in found] == [2, 2, 1, 1, 0, 0]
    missing = [one.cells[0].labels for one in found if one.missing]
    assert missing == [("guidance 3", "seed 0"), ("guidance 3", "seed 1")]
    assert {id for one in found for id in one.ids} == set(store.ids())


def test_cells_that_differ_in_pictures_only_are_counted(sweep, store, pictures):
    axes = (make_axis("reference", ["a.png", "b.png", "c.png"]), make_axis("seed", [0, 1]))
    wide = replace(sweep, axes=axes)
    looks = {f"{name}.png": pictures.PictureRenderer(fingerprint={"reference": name}) for name in "abc"}

    def pick(scene, settings):
        return looks[scene.reference[0]]

    some = replace(wide, axes=(make_axis("reference", ["a.png", "c.png"]), axes[1]))
    run_sweep(some, pick, store)
    found = stored_ids(wide, store, str)
    assert [(len(one.cells), len(one.ids), one.missing) for one in found] == [(3, 2, 1), (3, 2, 1)]
    run_sweep(wide, pick, store)
    assert sum(one.missing for one in stored_ids(wide, store, str)) == 0


# --- verify -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.mkv", "cell.json", "scores.json"])
def test_verify_finds_and_sets_aside(filled, name):
    filled.add_scores(cell(1).id, SCORE)
    id = spoil(filled, 1, name)
    seen = []
    found = verify(filled, on_progress=lambda *count: seen.append(count))
    assert [(damage.id, damage.moved_to) for damage in found] == [(id, "")]
    assert name in found[0].reason
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with CellStore(filled.folder).lock(id):
        assert verify(filled, set_aside=True) == ()
    moved = verify(filled, set_aside=True)
    assert moved == (dataclasses.replace(found[0], moved_to=str(filled.folder / "damaged" / f"{id}-1")),)
    assert (Path(moved[0].moved_to) / name).exists()
    assert verify(filled) == ()
    assert (id in filled.ids()) == (name == "scores.json")


def test_verify_sees_a_change_that_keeps_size_and_time(filled):
    assert verify(filled) == ()
    file = filled.path(cell(1).id) / "clip.mkv"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    id = spoil(filled, 1)
    os.utime(file, ns=times)
    assert [damage.id for damage in verify(filled)] == [id]


@pytest.mark.parametrize("what", ["not a video", "other length", "other size"])
def test_only_decoding_finds_a_clip_that_was_written_wrong(filled, what):
    """Its checksum is right: it was made of the wrong bytes."""
    folder = filled.path(cell(1).id)
    meta = read_cell(folder, cell(1).id, 2)
    if what == "not a video":
        (folder / "clip.mkv").write_bytes(b"x" * 500)
    else:
        shape = (2, 16, 32, 3) if what == "other length" else (3, 32, 16, 3)
        write_clip(Clip(np.zeros(shape, np.uint8), Fraction(16)), folder / "clip.mkv", lossless=True)
    import hashlib

    data = (folder / "clip.mkv").read_bytes()
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    write_sealed(folder / "cell.json", {**meta, "clip": {**meta["clip"], **facts}})
    assert verify(filled) == ()
    assert [damage.id for damage in verify(filled, read_frames=True, set_aside=True)] == [cell(1).id]
    assert len(filled.ids()) == 2


def test_verify_can_be_stopped(filled):
    calls = []
    with pytest.raises(Interrupted, match="after 2 of 3"):
        verify(filled, should_stop=lambda: calls.append(1) or len(calls) > 2)


# --- prune --------------------------------------------------------------------------------------------------------


def test_prune_removes_what_it_is_told_to_and_nothing_else(sweep, renderer, store):
    run_sweep(sweep, renderer, store)
    keep = replace(sweep, axes=(make_axis("guidance", [1, 9]), sweep.axes[1]))
    named = {id for one in stored_ids(keep, store, str) for id in one.ids}
    (store.folder / "prefixes").mkdir()
    (store.folder / "prefixes" / "x").write_bytes(bytes(10))
    aside = store.set_aside(store.ids()[0], "looked odd")
    broken = next(id for id in store.ids() if id not in named)
    (store.path(broken) / "cell.json").write_text("{}")
    before = sorted(store.folder.rglob("*"))

    found = prunable(store, damaged=True, prefixes=True, named_by=[keep], lora_sha256=str)
    assert sorted(store.folder.rglob("*")) == before
    kinds = {removal.path: (removal.what, removal.why) for removal in found}
    assert kinds.pop(aside) == ("damaged", "looked odd")
    assert kinds.pop(store.folder / "prefixes")[0] == "prefixes"
    assert kinds.pop(store.path(broken))[0] == "damaged"
    assert set(kinds) == {store.path(id) for id in store.ids() if id not in named and id != broken}
    assert all(what == "unnamed" and "three by two, guidance" in why for what, why in kinds.values())

    busy = next(iter(kinds))
    with CellStore(store.folder).lock(busy.name):
        gone = prune(store, found)
    assert {removal.path for removal in found} - {removal.path for removal in gone} == {
        busy,
        store.folder / "prefixes",
    }
    prune(store, found)
    assert set(store.ids()) == {id for id in named if store.path(id) != aside and id in store.ids()}
    assert not (store.folder / "prefixes").exists()
    assert not list((store.folder / "damaged").iterdir())
    assert not hidden(store)
    assert prunable(store, damaged=True, prefixes=True, named_by=[keep], lora_sha256=str) == ()


def test_a_removal_that_was_killed_is_finished_later(filled):
    filled.path(cell(0).id).rename(filled.folder / ".removed-0123456789abcdef")
    CellStore(filled.folder)
    assert not hidden(filled)
    assert len(filled.ids()) == 2


# --- merge --------------------------------------------------------------------------------------------------------


def test_merge_copies_what_is_missing(tmp_path, filled):
    into = CellStore(tmp_path / "into")
    into.put(cell(2), clip(2))
    into.put(cell(5), clip(5))
    filled.add_scores(cell(0).id, SCORE)
    filled.add_scores(cell(2).id, {**SCORE, "both": {"version": "1", "value": 1}})
    into.add_scores(cell(2).id, {"both": {"version": "1", "value": 2}})
    before = contents(filled.folder)
    merged = merge([filled], into)
    assert set(merged.copied) == {cell(0).id, cell(1).id}
    assert (merged.present, merged.left_out) == ((cell(2).id,), ())
    assert contents(filled.folder) == before
    assert len(into.ids()) == 4
    assert {id: contents(into.folder)[id] for id in merged.copied} == {id: before[id] for id in merged.copied}
    assert into.scores(cell(2).id) == {**SCORE, "both": {"version": "1", "value": 2}}
    assert verify(into, read_frames=True) == ()
    assert merge([filled], into).copied == ()


def test_merge_tells_what_it_leaves_out(tmp_path, filled):
    into = CellStore(tmp_path / "into")
    into.put(cell(0), clip(7))
    into.put(cell(1), clip(1))
    spoil(into, 1)
    spoil(filled, 2)
    other = CellStore(tmp_path / "other")
    other.put(cell(3), clip(3))
    kept = contents(into.folder)[cell(0).id]
    with CellStore(into.folder).lock(cell(3).id):
        merged = merge([filled, other], into)
    # The damaged cell in the goal was replaced by the sound one.
    assert merged.copied == (cell(1).id,)
    assert np.array_equal(into.load(cell(1).id).frames, clip(1).frames)
    why = {damage.id: damage.reason for damage in merged.left_out}
    assert why.keys() == {cell(0).id, cell(2).id, cell(3).id}
    assert "shows other frames" in why[cell(0).id]
    assert "clip.mkv has changed" in why[cell(2).id]
    assert "by another process" in why[cell(3).id]
    assert contents(into.folder)[cell(0).id] == kept
    assert merge([filled, other], into).copied == (cell(3).id,)


def test_equal_frames_from_another_encoder_are_equal(tmp_path, filled):
    into = CellStore(tmp_path / "into")
    merge([filled], into)
    folder = into.path(cell(0).id)
    meta = read_cell(folder, cell(0).id, 2)
    # An element that says nothing, at the end of the file: other bytes, the same frames.
    with (folder / "clip.mkv").open("ab") as stream:
        stream.write(b"\xec\x80")
    import hashlib

    data = (folder / "clip.mkv").read_bytes()
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    write_sealed(folder / "cell.json", {**meta, "clip": {**meta["clip"], **facts}})
    merged = merge([filled], into)
    assert (len(merged.present), merged.left_out) == (3, ())


def test_merge_with_latents(tmp_path):
    torch = pytest.importorskip("torch")
    source, into = CellStore(tmp_path / "from"), CellStore(tmp_path / "into")
    for seed in range(2):
        source.put(cell(seed), clip(seed), latents=torch.full((2, 3), float(seed)))
    into.put(cell(0), clip(0))
    merge([source], into)
    for seed in range(2):
        assert torch.equal(into.latents(cell(seed).id), torch.full((2, 3), float(seed)))
    assert verify(into) == ()


def test_merge_into_itself_or_a_store_that_cannot_be_written(tmp_path, filled):
    with pytest.raises(StoreError, match="into itself"):
        merge([filled], CellStore(filled.folder.parent / "." / filled.folder.name))
    into = CellStore(tmp_path / "into")
    with read_only(into.folder), pytest.raises(StoreError, match="Nothing can be locked"):
        merge([filled], CellStore(into.folder))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_merge_loses_nothing_and_is_finished_by_the_next(tmp_path, store):
    for seed in range(40):
        store.put(cell(seed), clip(seed))
    before = contents(store.folder)
    into = tmp_path / "into"
    words = [sys.executable, "-m", "s2v_core.cli", "sweep", "merge", str(store.folder), str(into)]
    killed = []
    for goal in (1, 12):
        running = subprocess.Popen(words, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
        while running.poll() is None and len(list(into.glob("[0-9a-f]*"))) < goal:
            time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        killed.append(len(list(into.glob("[0-9a-f]*"))))
        assert contents(into).items() <= before.items()
    assert 1 <= killed[0] < killed[1] < 40
    said = run("merge", store.folder, into)
    assert (said["copied"], said["there before"]) == (40 - killed[1], killed[1])
    assert contents(into) == contents(store.folder) == before
    assert not hidden(CellStore(into, look=True))


# --- commands -----------------------------------------------------------------------------------------------------

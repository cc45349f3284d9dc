"""Whatever is done to a store, what was finished stays, and the finished store is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.upkeep import verify
from tests.sweeps.disks import mounted
from tests.sweeps.sweep_process import METRIC, many_cells, work

LONG = "S2V_LONG_TESTS"
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
long = [pytest.mark.slow, pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes: set {LONG}=1")]


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with everything imported: what is killed is work, not an import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sweeps.sweep_process", "av", "s2v_core.video.write", "torch"])
    return context


@pytest.fixture(scope="module")
def calm(processes, tmp_path_factory):
    """What an undisturbed run leaves, by number of cells and whether latents are kept."""
    known = {}

    def contents_of(count: int, latents: bool = False):
        if (count, latents) not in known:
            folder = tmp_path_factory.mktemp("calm") / "cells"
            assert ended(start(processes, folder, count, latents)) == 0
            known[count, latents] = contents(folder)
            assert len(known[count, latents]) == count
        return known[count, latents]

    return contents_of


def start(processes, folder: Path, count: int, latents: bool = False, **limits):
    process = processes.Process(target=work, args=(str(folder), count, latents), kwargs=limits)
    process.start()
    return process


def ended(process) -> int:
    process.join(600)
    return process.exitcode


def contents(folder: Path) -> dict[str, dict[str, bytes | dict]]:
    """Every visible cell: its files byte for byte, but for times and memory in cell.json, which are never equal."""
    found: dict[str, dict[str, bytes | dict]] = {}
    for cell in folder.iterdir():
        if len(cell.name) == 64:
            found[cell.name] = {file.name: file.read_bytes() for file in cell.iterdir()}
            with contextlib.suppress(KeyError, ValueError):
                meta = json.loads(found[cell.name]["cell.json"])
                found[cell.name]["cell.json"] = {**meta, "created": "", "seconds": 0, "peak_memory": 0, "sha256": ""}
    return found


def hidden(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def flip(chance: random.Random, folder: Path) -> str | None:
    """Change one bit in a finished cell; returns which file. None when there is no cell, or it went meanwhile."""
    cells = sorted(path for path in folder.iterdir() if len(path.name) == 64)
    with contextlib.suppress(FileNotFoundError, IndexError):
        file = chance.choice(cells) / chance.choice(["clip.mkv", "cell.json"])
        with file.open("r+b") as stream:
            at = chance.randrange(file.stat().st_size)
            stream.seek(at)
            old = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([old ^ 1 << chance.randrange(8)]))
        return f"{file.parent.name}/{file.name}"
    return None


@pytest.mark.parametrize(
    ("kills", "count", "latents", "flips"),
    [
        (10, 18, False, False),
        pytest.param(200, 480, False, False, marks=long),
        pytest.param(200, 240, True, True, marks=long),
    ],
)
def test_killed_at_random_moments(processes, calm, tmp_path, kills, count, latents, flips):
    """Two processes on one store, one or both killed again and again; with ``flips``, bits change meanwhile too."""
    chance = random.Random(kills + flips)
    killed = torn = rounds = flipped = damaged = 0
    while killed < kills:
        rounds += 1
        folder = tmp_path / f"cells-{rounds}"
        CellStore(folder)
        running = [start(processes, folder, count, latents) for _ in range(2)]
        kept: dict[str, tuple[int, int]] = {}
        touched: set[str] = set()
        while any(process.is_alive() for process in running):
            time.sleep(chance.random() * 0.15)
            if flips and chance.random() < 0.3:
                place = flip(chance, folder)
                flipped += place is not None
                touched |= {place.split("/")[0]} if place else set()
            chosen = [which for which in chance.choice([(0,), (1,), (0, 1)]) if running[which].is_alive()]
            chosen = chosen[: kills - killed]
            for which in chosen:
                running[which].kill()
            for which in chosen:
                running[which].join()
                killed += running[which].exitcode == -signal.SIGKILL
            # Nobody lives now who could be writing what is hidden.
            torn += len(chosen) == 2 and bool(hidden(folder))
            for which in chosen:
                running[which] = start(processes, folder, count, latents)
            for which in range(2):
                # Whoever wants to score a cell that was damaged meanwhile ends with an error.
                if flips and killed < kills and running[which].exitcode == 1:
                    running[which] = start(processes, folder, count, latents)
            clips = [path / "clip.mkv" for path in folder.iterdir() if len(path.name) == 64]
            now = {clip.parent.name: (clip.stat().st_ino, clip.stat().st_mtime_ns) for clip in clips if clip.exists()}
            if not flips:
                # What was finished is there still, the same file: nothing was lost and nothing made twice.
                assert {id: now.get(id) for id in kept} == kept
                kept = now
        # A damaged cell makes its reader stop; without damage everybody gets to the end.
        assert flips or [process.exitcode for process in running] == [0, 0]
        wrong = {damage.id for damage in verify(CellStore(folder), read_frames=True)}
        # A flip in a time or in the memory of cell.json is damage too; ``contents`` does not look there.
        damage = {id for id, files in contents(folder).items() if differs(files, calm(count, latents)[id])}
        assert damage <= wrong <= damage | touched
        damaged += len(wrong)
        if flips:
            assert ended(start(processes, folder, count, latents)) == 0
        assert contents(folder) == calm(count, latents)
        assert not hidden(folder)
        assert verify(CellStore(folder), read_frames=True) == ()
    print(
        f"{killed} kills, {torn} of both in a write, {rounds} stores of {count} cells, "
        f"{flipped} bits flipped, {damaged} cells found damaged"
    )
    assert killed == kills


def differs(files: dict, others: dict) -> bool:
    """Whether a file that is checked differs. Scores come last, and only then may be missing."""
    return any(files[name] != data for name, data in others.items() if name != "scores.json" or name in files)


@pytest.mark.parametrize("flips", [25, pytest.param(1000, marks=long)])
def test_every_flipped_bit_is_found_and_its_cell_made_again(processes, calm, tmp_path, flips):
    chance, folder, done = random.Random(flips), tmp_path / "cells", 0
    assert ended(start(processes, folder, 6)) == 0
    store = CellStore(folder)
    while done < flips:
        where = [flip(chance, folder) for _ in range(chance.choice([1, 1, 2, 3]))]
        # Two flips of one bit are none.
        damaged = {id for id, files in contents(folder).items() if differs(files, calm(6)[id])}
        times = {id: files["cell.json"] for id, files in contents(folder).items() if id not in damaged}
        found = {damage.id for damage in verify(store)}
        assert damaged <= found <= {place.split("/")[0] for place in where if place}
        assert all(isinstance(meta, dict) for meta in times.values())
        assert ended(start(processes, folder, 6)) == 0
        assert contents(folder) == calm(6)
        assert verify(store) == ()
        done += len(where)


@pytest.mark.parametrize(("count", "sizes"), [(14, (80, 160)), pytest.param(60, range(80, 900, 55), marks=long)])
def test_a_disk_that_fills(processes, calm, tmp_path, count, sizes):
    """Two processes fill a disk; it grows, and they fill it again, until all is there."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={sizes[0]}k", "none") as disk:
        folder, before, full = disk / "cells", {}, 0
        for size in (*sizes, 100_000):
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
            codes = [ended(process) for process in [start(processes, folder, count) for _ in range(2)]]
            full += any(codes)
            now = contents(folder)
            assert before.keys() <= now.keys()
            assert all(files == now[id] or "scores.json" not in files for id, files in before.items())
            assert verify(CellStore(folder), read_frames=True) == ()
            assert not hidden(folder)
            before = now
        print(f"full {full} times in {len(sizes)}")
        assert full == len(sizes)
        assert codes == [0, 0]
        assert contents(folder) == calm(count)


@pytest.mark.parametrize("limit", [0, 60, 2000])
def test_files_that_may_not_grow(processes, calm, tmp_path, limit):
    """A limit on the size of files, below that of a clip, of cell.json, or of anything: as on a full disk."""
    folder = tmp_path / "cells"
    if limit:
        CellStore(folder)
    codes = [ended(start(processes, folder, 4, file_limit=limit)) for _ in range(2)]
    assert codes == [1, 1]
    assert contents(folder) == {}
    assert ended(start(processes, folder, 4)) == 0
    assert contents(folder) == calm(4)
    assert not hidden(folder)


def test_a_power_cut_loses_no_finished_cell(tmp_path, pictures):
    """What is in a disk's image right after a cell was put, without anything that the system has not written yet."""
    image, cut = tmp_path / "image", tmp_path / "cut"
    image.write_bytes(b"")
    os.truncate(image, 16 << 20)
    if subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, check=False).returncode:
        pytest.skip("no mkfs.ext4")
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        store = CellStore(disk / "cells")
        for number, cell in enumerate(plan(many_cells(4), {}, str), start=1):
            store.put(cell, pictures.picture(cell.prompt, cell.settings))
            store.add_scores(cell.id, {METRIC: {"version": "1", "value": 1.0}})
            cut.write_bytes(image.read_bytes())
            with mounted(tmp_path / "after", "-o", "loop", str(cut)) as after:
                found = CellStore(after / "cells")
                assert len(found.ids()) == number
                assert verify(found, read_frames=True) == ()
                assert METRIC in found.scores(cell.id)

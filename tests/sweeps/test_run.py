from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2v_core.errors import Interrupted, SettingsError, StoreError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Cell, Sweep, make_axis
from s2v_core.sweeps.events import Damaged, Failed, Finished, Planned, Started, Stepped, Waiting
from s2v_core.sweeps.plan import effective
from s2v_core.sweeps.run import run_sweep, stored_result
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.work import computation_order
from s2v_core.wan.settings import LoraUse

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def contents(folder: Path) -> dict[str, str]:
    """Every visible file of the cells with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "locks" not in path.parts
    }


def test_all_cells_are_rendered_once_and_then_never_again(sweep, renderer, store, pictures):
    first = run_sweep(sweep, renderer, store)
    assert len(first.cells) == len(first.computed) == len(renderer.rendered) == len(store.ids()) == 6
    assert (first.reused, first.failed) == ((), {})
    for cell in first.cells:
        assert np.array_equal(first.clip(cell).frames, pictures.picture(cell.prompt, cell.settings).frames)
    before = contents(store.folder)
    second = run_sweep(replace(sweep, name="other"), renderer, CellStore(store.folder))
    assert (second.computed, set(second.reused)) == ((), set(first.computed))
    assert len(renderer.rendered) == 6
    assert contents(store.folder) == before
    assert stored_result(sweep, renderer, store).reused == second.reused


def test_a_wider_sweep_renders_only_what_is_new(sweep, renderer, store):
    run_sweep(sweep, renderer, store)
    wider = replace(sweep, axes=(make_axis("guidance", [2, 3, 4]), sweep.axes[1]))
    result = run_sweep(wider, renderer, store)
    assert (len(result.computed), len(result.reused)) == (2, 4)


def test_another_model_or_picture_shares_nothing(sweep, renderer, store, pictures):
    run_sweep(sweep, renderer, store)
    other = pictures.PictureRenderer(fingerprint={"model": "other"})
    assert len(run_sweep(sweep, other, store).computed) == 6


def test_equal_cells_are_rendered_once(tiny, renderer, store, lora_file):
    settings = replace(tiny, loras=(LoraUse(str(lora_file)),))
    axes = (make_axis("lora", ["none", str(lora_file)]), make_axis("lora_strength", [0, 0.5]))
    result = run_sweep(Sweep(Prompt("a"), settings, axes), renderer, store)
    assert len(result.cells) == 4
    assert len(result.computed) == len(renderer.rendered) == 2
    # What is rendered at strength 0 is the base itself, by construction.
    assert sorted(len(settings.loras) for _, settings in renderer.rendered) == [0, 1]
    assert np.array_equal(result.clip(result.cells[0]).frames, result.clip(result.cells[2]).frames)


def test_what_is_kept_about_a_cell(sweep, renderer, store):
    result = run_sweep(sweep, renderer, store)
    meta = store.meta(result.cells[3].id)
    assert meta["labels"] == ["guidance 2", "seed 1"]
    assert meta["settings"]["guidance"] == 2
    assert meta["fingerprint"] == renderer.fingerprint
    assert meta["versions"]["numpy"] == np.__version__
    assert meta["seconds"] >= 0
    if sys.platform == "linux":
        assert meta["peak_memory"] > 10 << 20
    assert meta["sweep"] == "three by two"


def test_events_tell_the_whole_story(sweep, renderer, store):
    run_sweep(replace(sweep, axes=(make_axis("guidance", [2]), sweep.axes[1])), renderer, store)
    events = []
    run_sweep(sweep, renderer, store, on_event=events.append)
    assert events[0] == Planned(named=6, distinct=6, stored=2)
    by_cell = [[type(event) for event in events[1:] if event.number == number] for number in (1, 2, 3, 4)]
    assert by_cell == [[Started, Stepped, Stepped, Finished]] * 4
    assert [(event.number, event.total) for event in events if isinstance(event, Finished)] == [
        (1, 4), (2, 4), (3, 4), (4, 4),
    ]  # fmt: skip
    steps = [event.step for event in events if isinstance(event, Stepped)]
    assert [(step.index, step.total) for step in steps[:2]] == [(0, 2), (1, 2)]
    assert steps[0].preview().shape == (16, 32, 3)
    remaining = [event.remaining for event in events if isinstance(event, Finished)]
    assert remaining[-1] == 0
    assert all(one > 0 for one in remaining[:-1])


def test_the_estimate_counts_the_work(sweep, renderer, store):
    """Guidance 1 is half the work: after it the estimate for two cells at guidance 2 is four times its time."""
    seen = []
    axes = (make_axis("guidance", [1, 2, 3]),)
    run_sweep(replace(sweep, axes=axes), renderer, store, on_event=lambda event: seen.append(event))
    first = next(event for event in seen if isinstance(event, Finished))
    assert first.remaining == pytest.approx(4 * first.seconds)


def test_a_failing_cell_does_not_stop_the_others(sweep, renderer, store):
    def fails(prompt, settings):
        if settings.guidance == 2:
            raise (ValueError("odd number") if settings.seed else SettingsError("No.", remedy="Yes."))

    renderer.fails = fails
    events = []
    result = run_sweep(sweep, renderer, store, on_event=events.append)
    assert len(result.computed) == 4
    assert result.failed == {
        result.cells[2].id: "No.\n  what to do: Yes.",
        result.cells[3].id: "ValueError: odd number",
    }
    assert [event.reason for event in events if isinstance(event, Failed)] == list(result.failed.values())
    with pytest.raises(StoreError, match="guidance 2, seed 1 failed"):
        result.clip(result.cells[3])
    renderer.fails = None
    assert len(run_sweep(sweep, renderer, store).computed) == 2


def test_stop_on_error(sweep, renderer, store):
    def fails(prompt, settings):
        if settings.guidance == 2:
            raise ValueError("odd number")

    renderer.fails = fails
    with pytest.raises(ValueError, match="odd number"):
        run_sweep(sweep, renderer, store, stop_on_error=True)
    assert 0 < len(store.ids()) < 6


def test_a_missing_lora_is_an_error_before_anything_is_rendered(tiny, renderer, store, tmp_path):
    sweep = Sweep(Prompt("a"), tiny, (make_axis("lora", ["none", str(tmp_path / "no.safetensors")]),))
    with pytest.raises(FileNotFoundError):
        run_sweep(sweep, renderer, store)
    assert renderer.rendered == []


class Host(Exception):
    """What a host raises inside its own progress bar to stop everything."""


@pytest.mark.parametrize("kind", [Planned, Started, Stepped, Finished])
def test_what_the_listener_raises_is_no_failure_of_a_cell(sweep, renderer, store, kind):
    def listen(event):
        if isinstance(event, kind):
            raise Host

    with pytest.raises(Host):
        run_sweep(sweep, renderer, store, on_event=listen)
    # When the first is told of, a second one may be rendered already, and then it is kept too.
    assert len(store.ids()) in ((1, 2) if kind is Finished else (0,))


@pytest.mark.parametrize("finished", [0, 1, 4])
def test_an_interrupt_keeps_what_is_finished(sweep, renderer, store, finished):
    def stop():
        return len(store.ids()) >= finished

    with pytest.raises(Interrupted, match=r"\d of 6 cells were finished") as caught:
        run_sweep(sweep, renderer, store, should_stop=stop)
    kept = contents(store.folder)
    # What was rendered by then is written to its end, and counted.
    count = len(store.ids())
    assert count in ((finished, finished + 1) if finished else (0,))
    assert f"{count} of 6" in str(caught.value)
    assert not list(store.folder.glob(".*"))
    result = run_sweep(sweep, renderer, store)
    assert (len(result.reused), len(result.computed)) == (count, 6 - count)
    assert kept.items() <= contents(store.folder).items()


def test_a_damaged_cell_is_put_aside_and_rendered_again(sweep, renderer, store):
    first = run_sweep(sweep, renderer, store)
    id = first.cells[4].id
    os.truncate(store.path(id) / "clip.mkv", 50)
    events = []
    result = run_sweep(sweep, renderer, CellStore(store.folder), on_event=events.append)
    assert result.computed == (id,)
    damaged = next(event for event in events if isinstance(event, Damaged))
    assert damaged.id == id
    assert "sha256" in damaged.reason
    assert (Path(damaged.moved_to) / "clip.mkv").stat().st_size == 50
    assert store.has(id)


def test_the_order_changes_what_is_costly_seldom(tiny, renderer, lora_file):
    def cell(guidance, text, strength, seed):
        loras = (LoraUse("a", strength),)
        settings = replace(tiny, guidance=guidance, seed=seed, loras=loras)
        return Cell("", Prompt(text), settings, (), ())

    cells = [
        cell(guidance, text, strength, seed)
        for guidance in (1, 2)
        for seed in (0, 1)
        for strength in (0.5, 0, 1)
        for text in ("x", "y")
    ]
    ordered = computation_order(cells)
    assert Counter(map(id, ordered)) == Counter(map(id, cells))

    def changes(of):
        values = [of(one) for one in ordered]
        return sum(a != b for a, b in itertools.pairwise(values))

    assert changes(lambda one: bool(effective(one.settings).loras)) == 1
    assert changes(lambda one: (bool(effective(one.settings).loras), one.prompt.text)) == 3
    assert changes(lambda one: (one.prompt.text, one.settings.loras)) == 5


def start(store: CellStore, log: Path, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(HERE / "sweep_process.py"), str(store.folder), str(log), str(seconds)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def wait_for(condition, process, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["rendering", "writing"])
def test_killed_in_the_third_cell(store, tmp_path, moment):
    log = tmp_path / "log"
    log.touch()
    process = start(store, log, 0.1)

    def third():
        begun = len(log.read_text().splitlines())
        written = len(store.ids()) == 2
        return written and (begun == 3 if moment == "rendering" else begun > 2 and any(store.folder.glob(".*/*")))

    wait_for(third, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(store.ids()) == 2
    assert bool(list(store.folder.glob(".*"))) == (moment == "writing")
    kept = contents_of_cells(store)
    begun = len(log.read_text().splitlines())
    assert begun in ((3,) if moment == "rendering" else (3, 4))

    result = finish(start(store, log, 0))
    assert (len(result["reused"]), len(result["computed"])) == (2, 4)
    lines = Counter(log.read_text().splitlines())
    # Rendered twice is what was written or rendered at that moment, and nothing else.
    assert sorted(lines.values()) == [1] * (8 - begun) + [2] * (begun - 2)
    assert kept.items() <= contents_of_cells(store).items()
    assert not [path for path in store.folder.rglob("*") if path.name.startswith(".")]


def contents_of_cells(store: CellStore) -> dict[str, str]:
    return {name: digest for name, digest in contents(store.folder).items() if not name.startswith(".")}


def test_two_processes_share_one_store_and_compute_each_cell_once(store, tmp_path):
    log = tmp_path / "log"
    log.touch()
    processes = [start(store, log, 0.05) for _ in range(2)]
    results = [finish(process) for process in processes]
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 6
    assert len(store.ids()) == 6
    computed = [set(result["computed"]) for result in results]
    assert not computed[0] & computed[1]
    assert [len(result["computed"]) + len(result["reused"]) for result in results] == [6, 6]


def test_cells_that_another_process_computes_are_waited_for(sweep, renderer, store):
    one = replace(sweep, axes=(make_axis("guidance", [2]),))
    id = stored_result(one, renderer, store).cells[0].id
    events = []
    taken, release = threading.Event(), threading.Event()

    def hold():
        with CellStore(store.folder).lock(id):
            taken.set()
            release.wait(10)

    def listen(event):
        events.append(event)
        if isinstance(event, Waiting):
            release.set()

    other = threading.Thread(target=hold)
    other.start()
    taken.wait(10)
    result = run_sweep(one, renderer, store, on_event=listen)
    other.join()
    assert Waiting(1) in events
    assert result.computed == (id,)


def test_an_interrupt_while_waiting(sweep, renderer, store):
    one = replace(sweep, axes=(make_axis("guidance", [2]),))
    id = stored_result(one, renderer, store).cells[0].id
    calls = []
    with CellStore(store.folder).lock(id), pytest.raises(Interrupted, match="0 of 1"):
        run_sweep(one, renderer, store, should_stop=lambda: calls.append(1) or len(calls) > 3)

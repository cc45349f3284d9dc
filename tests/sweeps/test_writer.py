"""Cells are written beside the rendering of the next: what is told when, what is lost never, and how much waits."""

from __future__ import annotations

import errno
import gc
import threading
import time
import weakref
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.errors import Interrupted, SettingsError, StoreError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps import storefiles
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.events import Failed, Finished, Planned, Started, Stepped
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.writer import Writer
from tests.sweeps.conftest import TINY
from tests.sweeps.picture_renderer import PictureRenderer
from tests.sweeps.test_store import cell, clip


class SlowStore(CellStore):
    """Writing waits while ``gate`` is closed; ``puts``: by id when writing began and ended."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.gate.set()
        self.puts: list[tuple[str, str]] = []
        self.threads: set[int] = set()

    def put(self, cell, clip, meta=None, *, latents=None):
        self.puts.append((cell.id, "begin"))
        self.threads.add(threading.get_ident())
        assert self.gate.wait(30)
        path = super().put(cell, clip, meta, latents=latents)
        self.puts.append((cell.id, "end"))
        return path


@pytest.fixture
def slow(tmp_path):
    return SlowStore(tmp_path / "cells")


def taken(store, one) -> ExitStack:
    held = ExitStack()
    assert held.enter_context(store.lock(one.id))
    return held


def refuse(monkeypatch, at: int) -> None:
    """Writing the cell of this number, from 1, fails as on a full disk."""
    numbers = iter(range(1, 100))
    plain = storefiles.write_cell

    def write(*given):
        if next(numbers) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(*given)

    monkeypatch.setattr(storefiles, "write_cell", write)


def test_a_cell_is_written_while_the_next_is_rendered(sweep, renderer, slow):
    """The first one's writing ends only after the second one's last step."""
    slow.gate.clear()

    def listen(event):
        if isinstance(event, Stepped) and event.number == 2 and event.step.index == 1:
            assert not slow.ids()
            slow.gate.set()

    result = run_sweep(sweep, renderer, slow, on_event=listen)
    assert len(result.computed) == 6
    assert threading.get_ident() not in slow.threads


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_events_come_in_order_and_tell_only_what_is_on_the_disk(data, tmp_path_factory):
    """Whatever takes how long, and whichever cells fail."""
    bad = data.draw(st.sets(st.integers(0, 4)))
    pauses = st.sampled_from([0.0, 0.0, 0.003, 0.03])
    renderer = PictureRenderer(seconds_a_step=data.draw(pauses))
    pause = data.draw(pauses)

    class Store(CellStore):
        def put(self, *given, **named):
            time.sleep(pause)
            return super().put(*given, **named)

    def fails(prompt, settings):
        if settings.seed in bad:
            raise SettingsError("No.")

    renderer.fails = fails
    store = Store(tmp_path_factory.mktemp("order") / "cells")
    events = []

    def listen(event):
        events.append(event)
        if isinstance(event, Finished):
            with CellStore(store.folder, look=True).lock(event.cell.id) as free:
                assert free
            assert CellStore(store.folder, look=True).has(event.cell.id)

    sweep = Sweep(Prompt("a"), TINY, (make_axis("seed", range(5)),))
    result = run_sweep(sweep, renderer, store, on_event=listen)
    assert isinstance(events.pop(0), Planned)
    ends = [event for event in events if isinstance(event, Finished | Failed)]
    assert [event.number for event in ends] == [1, 2, 3, 4, 5]
    assert [isinstance(event, Failed) for event in ends] == [event.cell.settings.seed in bad for event in ends]
    assert set(result.failed) == {event.cell.id for event in ends if isinstance(event, Failed)}
    assert result.computed == tuple(event.cell.id for event in ends if isinstance(event, Finished))
    for number in range(1, 6):
        own = [event for event in events if event.number == number]
        assert isinstance(own[0], Started)
        assert isinstance(own[-1], Finished | Failed)
    for number in range(1, 4):
        # At most one cell waits: the second next begins when it is on the disk.
        assert events.index(ends[number - 1]) < next(
            at for at, event in enumerate(events) if isinstance(event, Started) and event.number == number + 2
        )
    if isinstance(ends[-1], Finished):
        assert ends[-1].remaining == 0


def test_at_most_one_cell_waits(slow, monkeypatch):
    slow.gate.clear()
    written, clips = [], []
    with Writer(slow) as writer:
        for seed in range(2):
            made = clip(seed=seed)
            clips.append(weakref.ref(made))
            if seed:
                threading.Timer(0.2, slow.gate.set).start()
            begin = time.monotonic()
            writer.put(taken(slow, cell(seed)), lambda seed=seed: written.append(seed), cell(seed), made, {})
            waited = time.monotonic() - begin
            del made
        assert waited > 0.15, "the second one is taken when the first is written"
        assert written == [0]
        writer.wait()
        gc.collect()
        assert [one() for one in clips] == [None, None], "nothing is kept of a written cell"
    assert written == [0, 1]
    assert slow.puts == [(cell(seed).id, what) for seed in (0, 1) for what in ("begin", "end")]


def test_a_lock_is_held_until_its_cell_is_written_and_no_longer(slow):
    slow.gate.clear()
    other = CellStore(slow.folder)
    with Writer(slow) as writer:
        writer.put(taken(slow, cell()), lambda: None, cell(), clip(), {})
        with other.lock(cell().id) as theirs, slow.lock(cell().id) as mine:
            assert (theirs, mine) == (False, False)
        assert set(other.in_flight()) == {cell().id}
        slow.gate.set()
        # Though nobody asks the writer for anything.
        with other.lock(cell().id, wait=30) as theirs:
            assert theirs
        assert slow.has(cell().id)
    assert other.in_flight() == {}


@pytest.mark.parametrize("at", [1, 2, 6])
def test_an_error_in_writing_ends_the_run_with_its_own_words(sweep, renderer, store, monkeypatch, at):
    refuse(monkeypatch, at)
    told = []
    with pytest.raises(StoreError) as caught:
        run_sweep(sweep, renderer, store, on_event=told.append)
    assert "No space left on device" in str(caught.value)
    assert "cannot be written to" in str(caught.value)
    assert len(store.ids()) == at - 1 == sum(isinstance(event, Finished) for event in told)
    assert not any(isinstance(event, Failed) for event in told)
    assert len(renderer.rendered) <= at + 1, "no cell is begun after the one that was rendered meanwhile"
    assert not list(store.folder.glob(".*"))
    assert store.in_flight() == {}


def test_an_error_in_writing_comes_with_the_next_step(sweep, renderer, store, monkeypatch):
    refuse(monkeypatch, 1)
    renderer.seconds_a_step = 0.2
    steps = []
    with pytest.raises(StoreError, match="No space left"):
        run_sweep(sweep, renderer, store, on_event=lambda event: steps.append(isinstance(event, Stepped)))
    assert len(renderer.rendered) == 2
    assert sum(steps) < 4, "the second cell was not rendered to its end"


ENDS = pytest.mark.parametrize("how", ["stop", "listener", "failure"])


def run_to_an_end(sweep, renderer, slow, how, told) -> None:
    """The run ends in its second cell, while the first one is still being written. ``told``: gets the events."""
    slow.gate.clear()

    def second():
        if len(renderer.rendered) == 2:
            threading.Timer(0.1, slow.gate.set).start()
            return True
        return False

    def fails(prompt, settings):
        if how == "failure" and second():
            raise ValueError("odd")

    def listen(event):
        told.append(event)
        if how == "listener" and isinstance(event, Stepped | Finished) and second():
            raise RuntimeError(f"host {len(told)}")

    renderer.fails = fails
    stop = second if how == "stop" else None
    run_sweep(sweep, renderer, slow, on_event=listen, should_stop=stop, stop_on_error=True)


@ENDS
def test_an_error_in_writing_is_not_hidden_by_another_end(sweep, renderer, slow, monkeypatch, how):
    refuse(monkeypatch, 1)
    with pytest.raises(StoreError, match="No space left"):
        run_to_an_end(sweep, renderer, slow, how, [])
    assert slow.ids() == ()
    assert slow.in_flight() == {}


@ENDS
def test_what_is_being_written_at_the_end_is_finished_and_counted(sweep, renderer, slow, how):
    told = []
    kind = {"stop": Interrupted, "listener": RuntimeError, "failure": ValueError}[how]
    with pytest.raises(kind) as caught:
        run_to_an_end(sweep, renderer, slow, how, told)
    assert len(CellStore(slow.folder).ids()) == 1
    assert slow.in_flight() == {}
    # Also whoever ended the run by raising hears of it; what it raises then is not what ended the run.
    ends = {"stop": [Started, Finished], "listener": [Stepped, Finished], "failure": [Finished, Failed]}
    assert [type(event) for event in told[-2:]] == ends[how]
    if how == "listener":
        assert str(caught.value) == f"host {len(told) - 1}"
    if how == "stop":
        assert "1 of 6" in str(caught.value)


def test_latents_are_kept_of_their_own_cell(sweep, store):
    import torch

    class Latents(PictureRenderer):
        gives_latents = True

        def render(self, prompt, settings, *, on_latents, **more):
            made = super().render(prompt, settings, **more)
            on_latents(torch.full((2,), float(settings.seed)))
            return made

    many = replace(sweep, axes=(make_axis("seed", range(5)),))
    result = run_sweep(many, Latents(), store, keep_latents=True)
    assert [store.latents(cell.id).tolist() for cell in result.cells] == [[seed, seed] for seed in range(5)]


def test_only_a_lock_that_is_held_can_be_taken_over(store):
    with pytest.raises(StoreError, match="Nobody holds"):
        store.take_over(cell().id)
    with store.lock(cell().id):
        seen = []

        def other():
            with store.lock(cell().id) as mine:
                seen.append(mine)
            store.take_over(cell().id)
            with store.lock(cell().id) as mine:
                seen.append(mine)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert seen == [False, True]
        with store.lock(cell().id) as mine:
            assert not mine
    with store.lock(cell().id) as mine:
        assert mine

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from s2v_core.errors import Interrupted
from s2v_core.sweeps.events import Finished, Stepped, Waiting
from s2v_core.sweeps.follow import Follower
from s2v_core.sweeps.run import run_sweep


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def told(sweep, renderer, store):
    """As if each cell were on the disk before the next one begins, which otherwise depends on the disk."""
    events = []
    run_sweep(replace(sweep, settings=replace(sweep.settings, steps=4)), renderer, store, on_event=events.append)
    cells = sorted((event for event in events if hasattr(event, "number")), key=lambda event: event.number)
    return events[:1] + cells


def test_counts_and_places(told):
    follower = Follower(Clock())
    seen = []
    for event in told:
        follower(event)
        seen.append((type(event).__name__, follower.stored, follower.number, follower.step, follower.steps))
    assert seen[0] == ("Planned", 0, 0, 0, 0)
    assert seen[1:7] == [
        ("Started", 0, 1, 0, 4),
        *(("Stepped", 0, 1, step, 4) for step in (1, 2, 3, 4)),
        ("Finished", 1, 1, 0, 0),
    ]
    assert seen[-1] == ("Finished", 6, 6, 0, 0)
    follower.end("done")
    said = follower.to_dict()
    assert json.loads(json.dumps(said)) == said
    assert (said["state"], said["cell"], said["left"], said["distinct"]) == ("done", "", None, 6)


def test_a_cell_that_is_on_the_disk_only_when_the_next_one_has_begun(told):
    follower = Follower(Clock())
    for event in (*told[:6], told[7], told[8], told[6]):
        follower(event)
    assert isinstance(told[6], Finished)
    assert (follower.stored, follower.number, follower.step, follower.steps) == (1, 2, 1, 4)
    assert follower.cell == told[7].cell.id


def test_what_is_left_before_anything_is_known(told):
    """After one of four steps in 3 s, the first of six cells takes 12 s and all of them 72 s."""
    clock = Clock()
    follower = Follower(clock)
    first = replace(told[0], seconds=None)
    follower(first)
    follower(told[1])
    assert follower.left is None
    clock.now += 3
    follower(told[2])
    assert follower.left == pytest.approx(9 + 5 * 12)


def test_what_is_left_after_a_cell(told):
    clock = Clock()
    follower = Follower(clock)
    for event in told[:6]:
        follower(event)
    finished = replace(told[6], remaining=50.0)
    assert isinstance(finished, Finished)
    follower(finished)
    clock.now += 8
    follower(told[7])
    assert follower.left == pytest.approx(42)
    # A cell that goes slower than it was thought counts by its own steps.
    clock.now += 60
    assert isinstance(told[8], Stepped)
    follower(told[8])
    assert follower.left == pytest.approx(180)


def test_what_was_measured_before_is_known_at_once(sweep, renderer, store):
    renderer.seconds_a_step = 0.002  # cells of no time say nothing of others
    run_sweep(replace(sweep, axes=sweep.axes[1:]), renderer, store)
    clock = Clock()
    follower = Follower(clock)
    events = []
    run_sweep(sweep, renderer, store, on_event=events.append)
    follower(events[0])
    assert events[0].seconds is not None and follower.left == pytest.approx(events[0].seconds)


def test_failures_waiting_and_ends(sweep, renderer, store):
    def fails(prompt, settings):
        if settings.guidance == 2:
            raise ValueError("odd")
        if (settings.guidance, settings.seed) == (3, 1):
            raise Interrupted

    renderer.fails = fails
    follower = Follower(Clock())
    with pytest.raises(Interrupted):
        run_sweep(sweep, renderer, store, on_event=follower)
    assert list(follower.failed.values()) == ["ValueError: odd"] * 2
    assert follower.stored == 3
    follower(Waiting(1))
    assert (follower.state, follower.left) == ("waiting", None)
    follower.end("stopped")
    assert follower.to_dict()["state"] == "stopped"

"""Where a run stands, told by its events: cells, steps, and about how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .events import Event, Failed, Finished, Planned, Started, Stepped, Waiting


@dataclass
class Follower:
    """Called with each event of a run. ``clock``: seconds, of any beginning.

    ``state``: "planning", "running", "waiting" (for cells of other processes), and after ``end`` what that was given.
    """

    clock: Callable[[], float] = time.monotonic
    state: str = "planning"
    distinct: int = 0
    stored: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    number: int = 0
    total: int = 0
    cell: str = ""
    labels: tuple[str, ...] = ()
    step: int = 0
    steps: int = 0
    # Seconds for all cells that were left at a moment, once something is known.
    _known: tuple[float, float] | None = field(default=None, repr=False)
    _begun: float = field(default=0.0, repr=False)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Planned):
            self.distinct, self.stored = event.distinct, event.stored
            self.total = event.distinct - event.stored
            self.state = "running"
            if event.seconds is not None:
                self._known = (event.seconds, self.clock())
        elif isinstance(event, Started):
            self.state = "running"
            self.number, self.total = event.number, event.total
            self.cell, self.labels = event.cell.id, event.cell.labels
            self.step, self.steps = 0, event.cell.settings.steps
            self._begun = self.clock()
        elif isinstance(event, Stepped):
            self.step, self.steps = event.step.index + 1, event.step.total
        elif isinstance(event, Finished):
            self.stored += 1
            self.failed.pop(event.cell.id, None)
            self._known = (event.remaining, self.clock())
            # The next one may have begun while this one was written.
            if event.cell.id == self.cell:
                self._leave()
        elif isinstance(event, Failed):
            self.failed[event.cell.id] = event.reason
            self._leave()
        elif isinstance(event, Waiting):
            self.state = "waiting"

    def end(self, state: str) -> None:
        """The run is over: "done", "stopped" or "failed"."""
        self.state = state
        self._leave()

    @property
    def left(self) -> float | None:
        """Seconds until the end, or None while nothing is known. An estimate."""
        if self.state != "running":
            return None
        now = self.clock()
        share = self.step / self.steps if self.cell and self.steps else 0.0
        # What this cell alone still takes, as its steps went so far.
        own = (now - self._begun) * (1 - share) / share if share else 0.0
        if self._known is not None:
            seconds, then = self._known
            return max(own, seconds - (now - then), 0.0)
        if not share:
            return None
        return own + (now - self._begun) / share * (self.total - self.number)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: all of it, and ``left``."""
        left = self.left
        return {
            "state": self.state,
            **{
                name: getattr(self, name) for name in ("distinct", "stored", "number", "total", "cell", "step", "steps")
            },
            "labels": list(self.labels),
            "failed": dict(self.failed),
            "left": None if left is None else round(left, 1),
        }

    def _leave(self) -> None:
        self.cell, self.labels, self.step, self.steps = "", (), 0, 0

"""A training on the screen: a table that lives, or now and then a line where there is no terminal."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from . import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_LINE_SECONDS = 15
_RECENT = 50  # steps that loss and speed are averaged over


class TrainTable:
    """Shows the events of ``train_lora``; a context manager around it."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._recent: deque[events.Trained] = deque(maxlen=_RECENT)
        self._scores: deque[events.Scored] = deque(maxlen=6)
        self._said = 0.0

    def __enter__(self) -> TrainTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def event(self, event: events.Event) -> None:
        """Take one event."""
        if isinstance(event, events.Counted):
            self._console.print(
                f"{event.parameters:,} parameters in {event.layers} layers are trained, of a model with "
                f"{event.model:,}; {event.clips} clips.",
                highlight=False,
            )
        elif isinstance(event, events.Encoding):
            self._now_and_then(f"{event.what} {event.done}/{event.total}", event.done == event.total)
        elif isinstance(event, events.Trained):
            self._recent.append(event)
            self._now_and_then(self._line(), event.step == event.steps)
        elif isinstance(event, events.Scored):
            self._scores.append(event)
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in event.scores.items())
            self._console.print(f"step {event.step:,}: {numbers}", highlight=False)

    def _line(self) -> str:
        last = self._recent[-1]
        loss = sum(one.loss for one in self._recent) / len(self._recent)
        return f"step {last.step:,}/{last.steps:,}  loss {loss:.4f}  rate {last.rate:.2e}  {self._left()}"

    def _left(self) -> str:
        last = self._recent[-1]
        seconds = sum(one.seconds for one in self._recent) / len(self._recent)
        minutes, rest = divmod(round(seconds * (last.steps - last.step)), 60)
        return f"{seconds:.2f} s a step, {minutes // 60}:{minutes % 60:02}:{rest:02} left"

    def _now_and_then(self, line: str, always: bool) -> None:
        if self._live:
            self._live.update(self._table() if self._recent else line)
        elif always or time.monotonic() - self._said > _LINE_SECONDS:
            self._console.print(line, highlight=False)
            self._said = time.monotonic()

    def _table(self) -> Any:
        from rich.console import Group

        last = self._recent[-1]
        loss = sum(one.loss for one in self._recent) / len(self._recent)
        now = {
            "step": f"{last.step:,} of {last.steps:,}",
            f"loss (mean of {_RECENT})": f"{loss:.4f}",
            "this step": f"{last.loss:.4f}",
            "gradient": f"{last.norm:.3f}",
            "rate": f"{last.rate:.1e}",
            "time": self._left(),
        }
        names = list(dict.fromkeys(name for one in self._scores for name in one.scores))
        scores = [
            [f"{one.step:,}", *(f"{one.scores[name]:.4g}" if name in one.scores else "" for name in names)]
            for one in self._scores
        ]
        tables = [_table(list(now), [list(now.values())])]
        return Group(*tables, *([_table(["scored at", *names], scores)] if scores else []))


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, header_style="bold", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table

"""A training in the terminal: one bar, and a table of the last rows of its log."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_ROWS = 12


class Live:
    """``row`` and ``progress`` are what ``train_nano`` calls. Without a terminal, each row is one line on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._rows: deque[dict[str, Any]] = deque(maxlen=_ROWS)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=None)
        self._what = ""
        self._live = RichLive(self._shown(), console=self._console, refresh_per_second=2)

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._live.stop()

    def row(self, row: Mapping[str, Any]) -> None:
        """One row of the log."""
        if self._rows and self._rows[-1]["part"] != row["part"]:
            self._rows.clear()
        self._rows.append(dict(row))
        if self._console.is_terminal:
            self._live.update(self._shown())
        else:
            self._console.print("  ".join(f"{key} {value}" for key, value in row.items()), soft_wrap=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """How far one part of the run is."""
        if what != self._what:  # the time left belongs to one part
            self._what = what
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, total=total)
        self._bar.update(self._task, completed=done, total=total)

    def _shown(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0))
        columns = list(dict.fromkeys(key for row in self._rows for key in row if key != "part"))
        for name in columns:
            table.add_column(name, justify="right")
        for row in self._rows:
            table.add_row(*("" if name not in row else f"{row[name]:g}" for name in columns))
        return Group(table, self._bar)

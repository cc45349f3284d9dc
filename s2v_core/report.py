"""What the command line shows: progress while it works, and results as text or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def print_json(value: dict[str, Any], stream: TextIO) -> None:
    """One JSON object and a line break."""
    stream.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    stream.flush()


def print_result(result: dict[str, Any], note: str = "") -> None:
    """A result as aligned lines for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    # When the output is no terminal, paths must not be broken at 80 columns.
    wide = console if console.is_terminal else Console(width=10_000)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in result.items():
        table.add_row(name, _text(value))
    wide.print(table)
    if note:
        console.print(f"\n{note}", style="dim")


def _text(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, list):
        if not value:
            return "-"
        return "\n".join(
            "  ".join(f"{escape(str(part))}" for part in entry.values() if part not in ("", []))
            if isinstance(entry, dict)
            else escape("  ".join(map(str, entry)) if isinstance(entry, list) else str(entry))
            for entry in value
        )
    if isinstance(value, dict):
        return "\n".join(f"{escape(str(key))}: {escape(str(entry))}" for key, entry in value.items()) or "-"
    return escape("-" if value in (None, "") else str(value))


class Show:
    """Progress bars on stderr: the pose's frames, the cells of a sweep and the steps of the cell in work."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Show:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text)

    def pose(self, done: int, total: int) -> None:
        """Frames whose pose is found."""
        self._set("pose", done, total)

    def scores(self, done: int, total: int) -> None:
        """Cells that are scored."""
        self._set("scored", done, total)

    def rows(self, done: int, total: int) -> None:
        """Rows of a manifest that are finished."""
        self._set("rows", done, total)

    def tokens(self, done: int, total: int) -> None:
        """Tokens of a caption or a rewrite, of those that it may have."""
        self._set("tokens", done, total)

    def clip(self, event: Any) -> None:
        """A ``dataset.prepare.Progress``."""
        if event.problem:
            self.say(f"failed: {event.problem}")
        self._set("clips", event.done, event.total)

    def bytes(self, file: str, done: int, total: int) -> None:
        """Bytes of a download, shown as MB."""
        self._set(f"{file} (MB)", done // 1_000_000, max(1, total // 1_000_000))

    def metrics(self, done: int, total: int) -> None:
        """Metrics of a clip that are measured."""
        self._set("metrics", done, total)

    def layers(self, done: int, total: int) -> None:
        """Layers of a LoRA."""
        self._set("layers", done, total)

    def step(self, step: Any) -> None:
        """A step of a single rendering."""
        self._set("steps", step.index + 1, step.total)

    def event(self, event: Any) -> None:
        """An event of ``run_sweep``."""
        from .sweeps import events

        if isinstance(event, events.Planned):
            self.say(f"{event.named} cells, {event.distinct} different, {event.stored} finished before")
            if event.distinct > event.stored:
                self._set("cells", 0, event.distinct - event.stored)
        elif isinstance(event, events.Stepped):
            self._set("steps", event.step.index + 1, event.step.total)
        elif isinstance(event, events.Finished):
            self._set("cells", event.number, event.total)
        elif isinstance(event, events.Failed):
            self.say(f"failed: {', '.join(event.cell.labels)}: {event.reason}")
            self._set("cells", event.number, event.total)
        elif isinstance(event, events.Damaged):
            self.say(f"A stored cell was damaged ({event.reason}); it is kept at {event.moved_to} and computed again.")
        elif isinstance(event, events.Waiting):
            self.say(f"Waiting for {event.cells} cells that another process computes.")

    def _set(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

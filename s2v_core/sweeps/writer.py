"""Puts finished cells into the store while the next one is rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..video.clip import Clip
from .axes import Cell
from .store import CellStore

if TYPE_CHECKING:
    import torch


# Threads of Python take turns. In this many seconds the next cell is with the nets, which leave the turn to others;
# begun at once, writing would hold it up by some ms.
_MOMENT = 0.02


class Writer:
    """Writes cells in a thread of its own, one after the other, so that at most one is in memory besides what is
    rendered.

    All methods are called from the thread that made it; there too, a cell's ``on_written`` is called once it is on the
    disk, in the order of ``put``. What ``CellStore.put`` raises comes out of the next call, or of the end of the block
    at the latest, and is then ``raised``. The block ends when everything is written, however it ends.
    """

    def __init__(self, store: CellStore) -> None:
        self.raised: BaseException | None = None
        self._store = store
        self._thread = ThreadPoolExecutor(1, "cell store")
        self._awaited = Event()
        self._writing: tuple[Future[None], Callable[[], None]] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except BaseException as other:
            # What a listener raises when it is told of the last cell does not stand in for what ended the run before.
            if error is None or other is self.raised:
                raise
        finally:
            self._thread.shutdown()

    def put(
        self,
        held: ExitStack,
        on_written: Callable[[], None],
        cell: Cell,
        clip: Clip,
        meta: Mapping[str, Any],
        latents: torch.Tensor | None = None,
    ) -> None:
        """Begin to write a cell, as ``CellStore.put`` does, when the one before is written.

        ``held``: has the block of the store's ``lock`` of this cell; it ends when the cell is on the disk or cannot be.
        """
        write = partial(self._store.put, cell, clip, meta, latents=latents)
        with held:
            before = self._written()
            self._awaited.clear()
            self._writing = self._thread.submit(self._work, held.pop_all(), cell.id, write), on_written
        # Only now: whatever the listener raises, this cell is kept too.
        if before:
            before()

    def poll(self) -> None:
        """Tell of a cell that has been written meanwhile."""
        if self._writing and self._writing[0].done():
            self.wait()

    def wait(self) -> None:
        """Wait for the cell that is being written, and tell of it."""
        if before := self._written():
            before()

    def _written(self) -> Callable[[], None] | None:
        """Wait for the cell that is being written; gives what is to be called for it."""
        if self._writing is None:
            return None
        future, on_written = self._writing
        self._awaited.set()
        try:
            future.result()
        except BaseException as error:
            if future.done():
                self.raised = error
            raise
        finally:
            # Interrupted while waiting, it is waited for again at the end of the block.
            if future.done():
                self._writing = None
        return on_written

    def _work(self, held: ExitStack, id: str, write: Callable[[], Any]) -> None:
        with held:
            self._store.take_over(id)
            self._awaited.wait(_MOMENT)
            write()

"""What running sweeps tell the browser, while they run and to a page that is opened later."""

from __future__ import annotations

import base64
import io as bytes_io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..s2v_core.errors import StoreError
from ..s2v_core.sweeps.shelf import CELLS, Shelf
from . import host, server
from .work import PREVIEW_PIXELS

EVENT = "skeleton2video.sweep"
"""The type of the messages on the host's websocket."""

# The key in a node's output by which a page learns which sweep it shows.
SHOWN = "skeleton2video_sweep"
_STEP_SECONDS = 0.1
_log = logging.getLogger(__name__)
_feeds: dict[str, Feed] = {}


@lru_cache(maxsize=1)
def shelf() -> Shelf:
    """The sweeps that may be shown: those in the pack's output folder, and those that a node of this session named."""
    return Shelf(host.output_root())


class Feed:
    """Called with the events of a run: keeps what a page needs to know, and tells all pages that are open."""

    def __init__(self, folder: Path) -> None:
        from ..s2v_core.sweeps.follow import Follower

        self.folder = folder
        self.key = shelf().put(folder)
        # By these the pages' own scripts know which node and which queued graph it is.
        self.node = str(getattr(server.running(), "last_node_id", "") or "")
        self.prompt_id = str(getattr(server.running(), "last_prompt_id", "") or "")
        self.follower = Follower()
        self.plan: tuple[Any, tuple[Any, ...]] | None = None
        self.preview = ""
        self.problem = ""
        self._told = 0.0

    def __call__(self, event: Any, picture: Any = None) -> None:
        """Take in an event, and tell it. ``picture``: uint8 [H, W, 3], the preview of a step."""
        from ..s2v_core.sweeps import events
        from ..s2v_core.sweeps.view import cell_state

        self.follower(event)
        if isinstance(event, events.Stepped):
            now = time.monotonic()
            if now - self._told < _STEP_SECONDS:
                return
            self._told = now
            self.preview = "" if picture is None else _data_url(picture)
            self._tell("step")
            return
        self.preview = ""
        if isinstance(event, events.Planned):
            self._plan(event)
            self._tell("planned")
        elif isinstance(event, (events.Finished, events.Failed)):
            state = cell_state(self.result().store, event.cell.id, self.follower.failed)
            self._tell("cell", id=event.cell.id, cell=state)
        else:
            self._tell("run")

    def end(self, state: str, problem: str = "") -> None:
        """The run is over."""
        self.preview, self.problem = "", problem
        self.follower.end(state)
        self._tell("end")

    def result(self) -> Any:
        """What is stored of the plan now. Raises ``StoreError`` before there is a plan."""
        from ..s2v_core.sweeps.run import SweepResult
        from ..s2v_core.sweeps.store import CellStore

        if self.plan is None:
            raise StoreError("The sweep is being planned.", remedy="Wait a moment.")
        store = CellStore(self.folder / CELLS, look=True)
        return SweepResult(*self.plan, (), (), self.follower.failed, store, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The run as pages are told of it."""
        return {**self.follower.to_dict(), "preview": self.preview, "problem": self.problem}

    def _plan(self, event: Any) -> None:
        from ..s2v_core.sweeps.planfile import PLAN, write_plan

        self.plan = (event.sweeps[0], event.cells[0])
        try:
            write_plan(self.folder / PLAN, *self.plan)
        except OSError as error:
            # On a read-only disk a finished sweep is shown all the same.
            _log.warning("The plan of %s is not kept: %s", self.folder, error)

    def _tell(self, what: str, **more: Any) -> None:
        said = {"sweep": self.key, "node": self.node, "prompt_id": self.prompt_id, "what": what}
        server.tell(EVENT, {**said, "run": self.to_dict(), **more})


@contextmanager
def feed(folder: Path) -> Iterator[Feed]:
    """Around the run of the sweep in ``folder``."""
    made = Feed(folder)
    _feeds[made.key] = made
    try:
        yield made
    except BaseException as error:
        stopped = isinstance(error, host.STOPS)
        made.end("stopped" if stopped else "failed", "" if stopped else str(error))
        raise
    made.end("done")


def feed_of(key: str) -> Feed | None:
    """The latest run of a sweep in this session, if there was one."""
    return _feeds.get(key)


def _data_url(picture: Any) -> str:
    from PIL import Image

    made = bytes_io.BytesIO()
    shown = Image.fromarray(picture)
    shown.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    shown.save(made, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(made.getvalue()).decode()}"

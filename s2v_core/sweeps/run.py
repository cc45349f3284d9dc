"""Compute the cells of a sweep that are not stored yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

from ..errors import Interrupted, S2VError, StoreError
from ..prompts.prompt import Prompt
from ..video.clip import Clip
from ..wan.settings import SampleSettings
from .axes import Cell, Sweep
from .events import Damaged, Event, Failed, Finished, Planned, Started, Stepped, Waiting
from .plan import effective, plan
from .store import CellStore

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_VERSIONS_OF = ("skeleton2video", "torch", "diffsynth", "numpy", "av")


class Renderer(Protocol):
    """What a sweep needs of the thing that renders; ``wan.render.Renderer`` is one."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What decides the pixels besides prompt and settings: hashes of models and pictures, device, versions."""
        ...

    def render(
        self,
        prompt: Prompt,
        settings: SampleSettings,
        *,
        on_step: Callable[[Any], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Clip:
        """One clip. ``on_step`` gets an object with ``index``, ``total`` and ``preview()`` after each step."""
        ...

    def lora_sha256(self, file: str) -> str:
        """The content hash of a LoRA file."""
        ...


@dataclass(frozen=True)
class SweepResult:
    """What a run gave.

    ``cells``: all of the grid in row-major order; cells with one id share one clip. ``computed`` and ``reused``: ids.
    ``failed``: id -> reason. An id in none of these three is not computed. ``seconds``: of this run.
    """

    sweep: Sweep
    cells: tuple[Cell, ...]
    computed: tuple[str, ...]
    reused: tuple[str, ...]
    failed: dict[str, str]
    store: CellStore
    seconds: float

    def clip(self, cell: Cell) -> Clip:
        """The finished clip of a cell. Raises ``StoreError`` when it failed or is missing."""
        if cell.id in self.failed:
            raise StoreError(f"The cell {', '.join(cell.labels)} failed.", got=self.failed[cell.id])
        return self.store.load(cell.id)


def run_sweep(
    sweep: Sweep,
    renderer: Renderer,
    store: CellStore,
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    stop_on_error: bool = False,
) -> SweepResult:
    """Render what is not stored yet and store it, cell by cell.

    Several processes may run one sweep on one store: each takes cells that no other has taken. Cells are computed in
    an order that changes LoRA files and conditioning seldom. A cell that fails is recorded in ``failed`` and the rest
    goes on, unless ``stop_on_error``. What ``on_event`` raises passes through.
    Raises ``Interrupted`` with a count (finished cells are kept), ``StoreError`` when the store cannot be written, and
    what planning raises (a missing LoRA file, for example) before anything is computed.
    """
    begin = time.monotonic()
    tell = _Teller(on_event)
    fingerprint = dict(renderer.fingerprint)
    cells = plan(sweep, fingerprint, renderer.lora_sha256)
    distinct: dict[str, Cell] = {}
    for cell in cells:
        distinct.setdefault(cell.id, cell)
    reused = [id for id in distinct if store.has(id)]
    todo = computation_order([cell for id, cell in distinct.items() if id not in reused])
    tell(Planned(len(cells), len(distinct), len(reused)))

    computed: list[str] = []
    failed: dict[str, str] = {}
    facts = {"fingerprint": fingerprint, "versions": _versions(), "sweep": sweep.name}
    clock = _Clock()
    number = 0
    queue = list(todo)
    waiting: list[Cell] = []
    waited_for = 0
    while queue:
        for cell in queue:
            _stop_if(should_stop, computed, len(todo))
            with store.lock(cell.id) as mine:
                if not mine:
                    waiting.append(cell)
                    continue
                if _settled(store, cell.id, tell):
                    reused.append(cell.id)
                    continue
                number += 1
                tell(Started(cell, number, len(todo)))
                started = time.monotonic()
                try:
                    clip = renderer.render(
                        cell.prompt,
                        effective(cell.settings),
                        on_step=_stepper(tell, cell, number, len(todo)),
                        should_stop=should_stop,
                    )
                except Interrupted as error:
                    raise _interrupted(computed, len(todo)) from error
                except Exception as error:
                    if error is tell.raised:
                        raise
                    reason = str(error) if isinstance(error, S2VError) else f"{type(error).__name__}: {error}"
                    _log.exception("The cell %s failed.", ", ".join(cell.labels))
                    failed[cell.id] = reason
                    tell(Failed(cell, number, len(todo), reason))
                    if stop_on_error:
                        raise
                    continue
                seconds = time.monotonic() - started
                store.put(cell, clip, {**facts, "seconds": round(seconds, 3)})
                computed.append(cell.id)
            left = [entry for entry in todo if entry.id not in {*computed, *reused, *failed}]
            tell(Finished(cell, number, len(todo), seconds, clock.remaining(cell, seconds, left)))
        if len(waiting) == len(queue):
            if len(waiting) != waited_for:
                waited_for = len(waiting)
                tell(Waiting(waited_for))
            _stop_if(should_stop, computed, len(todo))
            time.sleep(_POLL_SECONDS)
        queue, waiting = waiting, []
    return SweepResult(sweep, cells, tuple(computed), tuple(reused), failed, store, time.monotonic() - begin)


def stored_result(sweep: Sweep, renderer: Renderer, store: CellStore) -> SweepResult:
    """What is stored of a sweep now, without computing anything: for the grid of an interrupted sweep."""
    cells = plan(sweep, dict(renderer.fingerprint), renderer.lora_sha256)
    reused = tuple(id for id in dict.fromkeys(cell.id for cell in cells) if store.has(id))
    return SweepResult(sweep, cells, (), reused, {}, store, 0.0)


def computation_order(cells: Iterable[Cell]) -> list[Cell]:
    """The same cells, ordered so that what is costly to change changes seldom.

    First the LoRA files, then what the conditioning is made of, then LoRA strengths, then the noise. Within these,
    groups and cells keep the order in which they came.
    """
    cells = list(cells)
    ranks: list[dict[Hashable, int]] = [{}, {}, {}, {}]

    def key(cell: Cell) -> tuple[int, ...]:
        settings = effective(cell.settings)
        parts: tuple[Hashable, ...] = (
            tuple(use.file for use in settings.loras),
            (
                cell.prompt.text,
                cell.prompt.negative,
                *(settings.width, settings.height, settings.frames, settings.fit, settings.tiling),
            ),
            tuple(use.strength for use in settings.loras),
            settings.seed,
        )
        return tuple(rank.setdefault(part, len(rank)) for rank, part in zip(ranks, parts, strict=True))

    return sorted(cells, key=key)


class _Teller:
    """Passes events on, and remembers what the listener raised: that is never a failure of the cell."""

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self.raised: BaseException | None = None

    def __call__(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except BaseException as error:
            self.raised = error
            raise


class _Clock:
    """Estimates what is left from what was measured, by the work that a cell's settings ask for."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._work = 0.0

    def remaining(self, cell: Cell, seconds: float, left: Iterable[Cell]) -> float:
        self._seconds += seconds
        self._work += _work(cell)
        return self._seconds / self._work * sum(map(_work, left))


def _work(cell: Cell) -> float:
    settings = cell.settings
    passes = 1 if settings.guidance == 1 else 2
    return settings.steps * passes * settings.width * settings.height * settings.frames


def _stepper(tell: Callable[[Event], None], cell: Cell, number: int, total: int) -> Callable[[Any], None]:
    return lambda step: tell(Stepped(cell, number, total, step))


def _settled(store: CellStore, id: str, tell: Callable[[Event], None]) -> bool:
    """Whether the cell is stored and sound; a damaged one is moved aside."""
    if not store.path(id).exists():
        return False
    reason = store.problem(id)
    if reason is None:
        return True
    tell(Damaged(id, reason, str(store.set_aside(id, reason))))
    return False


def _stop_if(should_stop: Callable[[], bool] | None, computed: list[str], total: int) -> None:
    if should_stop is not None and should_stop():
        raise _interrupted(computed, total)


def _interrupted(computed: list[str], total: int) -> Interrupted:
    return Interrupted(f"Stopped: {len(computed)} of {total} cells were finished in this run, and they are kept.")


def _versions() -> dict[str, str]:
    return dict(_installed(_VERSIONS_OF))


def _installed(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue

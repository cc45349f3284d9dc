"""Compute the cells of a sweep that are not stored yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, S2VError, SettingsError, StoreError
from ..peak import Peak
from ..video.clip import Clip
from .axes import Cell, Sweep
from .estimate import estimate_seconds
from .events import Damaged, Event, Failed, Finished, Planned, Started, Stepped, Waiting
from .prefixes import FOLDER, Prefixes
from .store import CellStore
from .work import Renderer, Renderers, Work, plan_cells, plan_work
from .writer import Writer

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_VERSIONS_OF = ("skeleton2video", "torch", "diffsynth", "numpy", "av")


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
    renderer: Renderer | Renderers,
    store: CellStore,
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    stop_on_error: bool = False,
    keep_latents: bool = False,
) -> SweepResult:
    """``run_sweeps`` for one."""
    return run_sweeps(
        (sweep,),
        renderer,
        store,
        on_event=on_event,
        should_stop=should_stop,
        stop_on_error=stop_on_error,
        keep_latents=keep_latents,
    )[0]


def run_sweeps(
    sweeps: Sequence[Sweep],
    renderer: Renderer | Renderers,
    store: CellStore,
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    stop_on_error: bool = False,
    keep_latents: bool = False,
) -> tuple[SweepResult, ...]:
    """Render what is not stored yet and store it, cell by cell; equal cells of all sweeps once.

    ``renderer``: one for all cells, or a function that gives the one of a scene and settings. Steps that cells have in
    common are computed once too, where the renderer can (``shares_steps``); the clips are those of each cell alone, bit
    for bit.

    Several processes may run one sweep on one store: each takes cells that no other has taken. Cells are computed in
    an order that changes models, LoRA files and conditioning seldom. A cell that fails is recorded in ``failed`` and
    the rest goes on, unless ``stop_on_error``. What ``on_event`` raises passes through. ``keep_latents``: keep the
    latents of each cell that is computed beside its clip; cells that were finished before stay as they are.
    Raises ``Interrupted`` with a count (finished cells are kept), ``StoreError`` when the store cannot be written, and
    what planning raises (a missing LoRA file, for example) before anything is computed.
    """
    work = plan_work(sweeps, renderer, store.has, Prefixes(store.folder / FOLDER))
    return run_work(
        work,
        store,
        on_event=on_event,
        should_stop=should_stop,
        stop_on_error=stop_on_error,
        keep_latents=keep_latents,
    )


def run_work(
    work: Work,
    store: CellStore,
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    stop_on_error: bool = False,
    keep_latents: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> tuple[SweepResult, ...]:
    """``run_sweeps`` of work that is planned. ``facts``: more for the ``cell.json`` of the cells that are computed."""
    begin = time.monotonic()
    tell = _Teller(on_event)
    reused, todo = list(work.stored), work.todo
    if keep_latents:
        _check_latents(work)
    seconds = estimate_seconds(work, store.folder)
    tell(Planned(sum(map(len, work.cells)), len(work.distinct), len(reused), work.sweeps, work.cells, seconds))

    work.announce()
    computed: list[str] = []
    failed: dict[str, str] = {}
    clock = _Clock(work.sharing.forwards)
    number = 0
    queue = list(todo)
    waiting: list[Cell] = []
    waited_for = 0

    def finished(cell: Cell, number: int, seconds: float) -> None:
        computed.append(cell.id)
        work.release(cell.id)
        left = [entry for entry in todo if entry.id not in {*computed, *reused, *failed}]
        tell(Finished(cell, number, len(todo), seconds, clock.remaining(cell, seconds, left)))

    with Writer(store) as writer:

        def interrupted() -> Interrupted:
            writer.wait()
            return Interrupted(
                f"Stopped: {len(computed)} of {len(todo)} cells were finished in this run, and they are kept."
            )

        while queue:
            for cell in queue:
                writer.poll()
                if should_stop is not None and should_stop():
                    raise interrupted()
                with ExitStack() as held:
                    if not held.enter_context(store.lock(cell.id)):
                        waiting.append(cell)
                        continue
                    if _settled(store, cell.id, tell):
                        reused.append(cell.id)
                        work.release(cell.id)
                        continue
                    number += 1
                    tell(Started(cell, number, len(todo)))
                    on_step = _stepper(tell, writer, cell, number, len(todo))
                    try:
                        made = _render(work, cell, on_step, should_stop, keep_latents)
                    except Interrupted as error:
                        raise interrupted() from error
                    except Exception as error:
                        if error is tell.raised or error is writer.raised:
                            raise
                        writer.wait()
                        reason = str(error) if isinstance(error, S2VError) else f"{type(error).__name__}: {error}"
                        _log.exception("The cell %s failed.", ", ".join(cell.labels))
                        failed[cell.id] = reason
                        tell(Failed(cell, number, len(todo), reason))
                        if stop_on_error:
                            raise
                        continue
                    on_written = partial(finished, cell, number, made.seconds)
                    writer.put(held, on_written, cell, made.clip, {**made.known, **(facts or {})}, made.latents)
            if len(waiting) == len(queue):
                writer.wait()
                if len(waiting) != waited_for:
                    waited_for = len(waiting)
                    tell(Waiting(waited_for))
                if should_stop is not None and should_stop():
                    raise interrupted()
                time.sleep(_POLL_SECONDS)
            queue, waiting = waiting, []
    seconds = time.monotonic() - begin
    return tuple(
        SweepResult(sweep, cells, *_among(cells, computed, reused, failed), store, seconds)
        for sweep, cells in zip(work.sweeps, work.cells, strict=True)
    )


def stored_result(sweep: Sweep, renderer: Renderer | Renderers, store: CellStore) -> SweepResult:
    """What is stored of a sweep now, without computing anything: for the grid of an interrupted sweep."""
    cells = plan_cells(sweep, renderer)
    reused = tuple(id for id in dict.fromkeys(cell.id for cell in cells) if store.has(id))
    return SweepResult(sweep, cells, (), reused, {}, store, 0.0)


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
    """Estimates what is left from what was measured, by the work that is left to each cell."""

    def __init__(self, forwards: Mapping[str, int]) -> None:
        self._forwards = forwards
        self._seconds = 0.0
        self._work = 0.0

    def remaining(self, cell: Cell, seconds: float, left: Iterable[Cell]) -> float:
        self._seconds += seconds
        self._work += self._of(cell)
        return self._seconds / self._work * sum(map(self._of, left))

    def _of(self, cell: Cell) -> float:
        settings = cell.settings
        # Also a cell without a step of its own is decoded and written.
        return max(self._forwards[cell.id], 1) * settings.width * settings.height * settings.frames


@dataclass(frozen=True, eq=False)
class _Made:
    """A rendered cell. ``known``: for its ``cell.json``. ``latents``: on the CPU, if they are kept."""

    clip: Clip
    known: dict[str, Any]
    latents: torch.Tensor | None
    seconds: float


def _render(
    work: Work,
    cell: Cell,
    on_step: Callable[[Any], None],
    should_stop: Callable[[], bool] | None,
    keep_latents: bool,
) -> _Made:
    started = time.monotonic()
    renderer, lender = work.renderer(cell), work.lender(cell)
    lent: dict[str, Any] = {"shared": lender} if lender else {}
    latents: list[torch.Tensor] = []
    if keep_latents:
        lent["on_latents"] = latents.append
    known = _facts(work, cell)
    peak = Peak()
    clip = renderer.render(cell.prompt, cell.effective, on_step=on_step, should_stop=should_stop, **lent)
    seconds = time.monotonic() - started
    known["seconds"] = round(seconds, 3)
    known["forwards"] = lender.forwards if lender else work.sharing.trails[cell.id].forwards
    if report := getattr(renderer, "estimated", None):
        known["step cache"] = report.to_dict()
    if (most := peak.bytes()) is not None:
        known["peak_memory"] = most
    # Off the device now: there the next cell needs the room while this one is written.
    return _Made(clip, known, latents[-1].detach().cpu() if latents else None, seconds)


def _facts(work: Work, cell: Cell) -> dict[str, Any]:
    """What ``cell.json`` says of where a cell comes from."""
    renderer = work.renderer(cell)
    uses = cell.effective.loras
    loras = {"lora sha256": {use.file: renderer.lora_sha256(use.file) for use in uses}} if uses else {}
    return {
        "fingerprint": dict(renderer.fingerprint),
        **loras,
        "versions": _versions(),
        "sweep": work.sweep_of(cell).name,
    }


def _check_latents(work: Work) -> None:
    """Said before anything is computed, not after the first cell."""
    for cell in work.todo:
        if not getattr(work.renderer(cell), "gives_latents", False):
            raise SettingsError(
                "The latents of these cells cannot be kept.",
                expected="a renderer that gives them",
                got=type(work.renderer(cell)).__name__,
                remedy="Run without keep_latents.",
            )


def _stepper(
    tell: Callable[[Event], None], writer: Writer, cell: Cell, number: int, total: int
) -> Callable[[Any], None]:
    def on_step(step: Any) -> None:
        writer.poll()
        tell(Stepped(cell, number, total, step))

    return on_step


def _settled(store: CellStore, id: str, tell: Callable[[Event], None]) -> bool:
    """Whether the cell is stored and sound; a damaged one is moved aside."""
    if not store.path(id).exists():
        return False
    reason = store.problem(id)
    if reason is None:
        return True
    tell(Damaged(id, reason, str(store.set_aside(id, reason))))
    return False


def _among(
    cells: Iterable[Cell], computed: Iterable[str], reused: Iterable[str], failed: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """What of a run belongs to the cells of one sweep."""
    own = {cell.id for cell in cells}
    return (
        tuple(id for id in computed if id in own),
        tuple(id for id in reused if id in own),
        {id: reason for id, reason in failed.items() if id in own},
    )


@cache
def _versions() -> dict[str, str]:
    return dict(_installed(_VERSIONS_OF))


def _installed(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue

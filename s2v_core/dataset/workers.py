"""Work through many jobs in processes of their own: what one job does to its process does not stop the others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import Interrupted, S2VError

Job = TypeVar("Job")
Result = TypeVar("Result")

_HOPELESS = 3  # deaths without a single result
_ASK = 0.2  # seconds between two looks at ``should_stop``
_stop_event: Any = None


class Died(Generic[Job]):
    """In place of a result: the process of this job ended, twice, the second time with nothing beside it."""


def work_through(
    jobs: Iterable[Job],
    make: Callable[[Job, Callable[[], bool]], Result],
    workers: int,
    folder: Path,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[tuple[Job, Result | Died[Job]], None, None]:
    """(job, ``make(job, should_stop)``) in the order in which they are finished.

    ``make`` must be a function that a new process can import, jobs and results must be picklable. ``workers``: that
    many processes, or 0 for this one. Each process holds a lock in ``folder`` as long as it lives (see
    ``wait_for_orphans``), and ends when this one does, also when this one is killed. A process that dies takes down the
    pool: what was in work then is begun again, one by one; whoever dies again gets ``Died``. What ``make`` raises comes
    through. Raises ``Interrupted`` when ``should_stop()`` says so, after the processes have ended, and S2VError when
    three jobs died and nothing was ever finished.
    """
    if not workers:
        for job in jobs:
            if should_stop and should_stop():
                raise Interrupted
            yield job, make(job, should_stop or _never)
        return
    waiting, doubtful = deque(jobs), deque[Job]()
    deaths = results = 0
    while waiting or doubtful:
        alone = bool(doubtful)
        with _Pool(1 if alone else workers, folder) as pool:
            try:
                for done in _one_pool(pool, doubtful if alone else waiting, make, should_stop):
                    results += 1
                    yield done
            except _LostError as lost:
                if alone:
                    deaths += 1
                    if deaths >= _HOPELESS and not results:
                        raise _hopeless() from None
                    yield lost.jobs[0], Died()
                else:
                    doubtful.extend(lost.jobs)


def wait_for_orphans(folder: Path, seconds: float = 30.0) -> None:
    """Wait until no process of an earlier ``work_through`` works in ``folder``: they outlive their parent by a moment.

    Raises ``filelock.Timeout`` when one lives on.
    """
    from filelock import FileLock

    for lock in folder.glob("*.lock"):
        with FileLock(lock, timeout=seconds):
            pass


class _LostError(Exception):
    """The pool broke while these jobs were in work."""

    def __init__(self, jobs: list[Any]) -> None:
        super().__init__(len(jobs))
        self.jobs = jobs


def _hopeless() -> S2VError:
    return S2VError(
        "Every worker process ends at once.",
        expected="processes that can be started and import this project",
        got=f"{_HOPELESS} jobs whose processes died, and no result",
        remedy="A script of yours must begin its work below 'if __name__ == \"__main__\":'. Or take workers 0.",
    )


class _Pool:
    """Processes that can be told to stop."""

    def __init__(self, workers: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.workers = workers
        self.stop = context.Event()
        self.executor = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(str(folder), self.stop))

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.executor.shutdown(wait=True, cancel_futures=True)


def _one_pool(
    pool: _Pool, waiting: deque[Any], make: Callable[..., Any], should_stop: Callable[[], bool] | None
) -> Iterator[tuple[Any, Any]]:
    running: dict[Future[Any], Any] = {}
    try:
        while waiting or running:
            # One job a process: what is in work when this process is killed is all that has to be done again.
            while waiting and len(running) < pool.workers:
                running[pool.executor.submit(_run, make, waiting[0])] = waiting[0]
                waiting.popleft()
            done, _ = wait(running, timeout=_ASK, return_when=FIRST_COMPLETED)
            if should_stop and should_stop():
                raise Interrupted
            for future in done:
                result = future.result()
                yield running.pop(future), result
    except BrokenProcessPool:
        whole = [future for future in running if future.done() and not future.exception()]
        for future in whole:
            yield running.pop(future), future.result()
        raise _LostError(list(running.values())) from None


def _begin(folder: str, stop: Any) -> None:
    """In a new process."""
    global _stop_event
    from filelock import FileLock

    _stop_event = stop
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lock = FileLock(Path(folder) / f"{os.getpid()}.lock")
    lock.acquire()
    threading.Thread(target=_end_with_parent, args=(lock,), daemon=True).start()


def _end_with_parent(_: Any) -> None:
    """Holds the lock by its argument. A pool's process whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        with contextlib.suppress(OSError):
            parent.join()
        os._exit(1)


def _run(make: Callable[[Any, Callable[[], bool]], Any], job: Any) -> Any:
    return make(job, _stop_event.is_set)


def _never() -> bool:
    return False

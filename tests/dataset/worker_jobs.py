"""Work for processes of their own, for a test to break: each job is a word, and notes that it was begun."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from s2v_core.errors import Interrupted


def work(job: tuple[str, str], should_stop: Callable[[], bool]) -> str:
    word, notes = job
    with Path(notes).open("a") as stream:
        stream.write(f"{word} {os.getpid()}\n")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "wait":
        while not should_stop():
            time.sleep(0.02)
        raise Interrupted
    if word == "raise":
        raise ValueError(word)
    return word.upper()


if __name__ == "__main__":
    from s2v_core.dataset.workers import work_through

    folder = Path(sys.argv[1])
    list(work_through([("wait", str(folder / "notes"))] * 2, work, 2, folder))

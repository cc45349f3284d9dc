from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from s2v_core.dataset.workers import Died, wait_for_orphans, work_through
from s2v_core.errors import Interrupted
from tests.dataset.worker_jobs import work

ROOT = Path(__file__).parents[2]


def begun(notes: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in notes.read_text().splitlines())


def test_a_job_that_kills_its_process_stops_nobody(tmp_path: Path):
    notes = tmp_path / "notes"
    words = ["a", "b", "die", "c", "d"]
    found = dict(work_through([(word, str(notes)) for word in words], work, 2, tmp_path))
    assert {word: found[word, str(notes)] for word in "abcd"} == {word: word.upper() for word in "abcd"}
    assert isinstance(found["die", str(notes)], Died)
    counted = begun(notes)
    # Only what was in work beside it was begun again.
    assert counted["die"] == 2 and sum(counted[word] for word in "abcd") <= 5
    wait_for_orphans(tmp_path, 5)


def test_what_a_job_raises_comes_through(tmp_path: Path):
    with pytest.raises(ValueError, match="raise"):
        list(work_through([("raise", str(tmp_path / "notes"))], work, 1, tmp_path))


def test_in_this_process(tmp_path: Path):
    jobs = [(word, str(tmp_path / "notes")) for word in "abc"]
    assert [result for _, result in work_through(jobs, work, 0, tmp_path)] == ["A", "B", "C"]
    stops = iter([False, True])
    with pytest.raises(Interrupted):
        list(work_through(jobs, work, 0, tmp_path, lambda: next(stops)))
    assert begun(tmp_path / "notes") == {"a": 2, "b": 1, "c": 1}


def test_a_stop_reaches_a_job_in_work(tmp_path: Path):
    notes = tmp_path / "notes"
    with pytest.raises(Interrupted):
        list(work_through([("wait", str(notes))], work, 1, tmp_path, lambda: notes.exists()))
    assert begun(notes) == {"wait": 1}


def test_processes_end_when_their_parent_is_killed(tmp_path: Path):
    notes = tmp_path / "notes"
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.dataset.worker_jobs", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    while not notes.exists() or len(notes.read_text().splitlines()) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for_orphans(tmp_path)
    for line in notes.read_text().splitlines():
        with pytest.raises(ProcessLookupError):
            # A dead process may be listed until its new parent has asked for it.
            for _ in range(250):
                os.kill(int(line.split()[1]), 0)
                time.sleep(0.02)

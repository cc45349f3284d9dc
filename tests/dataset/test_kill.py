"""A run that is killed again and again leaves the same folder as one that nobody disturbed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s2v_core.aist.catalog import scan_folder
from s2v_core.dataset.manifest import read_rows
from s2v_core.dataset.prepare import Sources, prepare
from tests.dataset.toy_videos import contents, names, settings, write_videos

ROOT = Path(__file__).parents[2]
LONG = "S2V_LONG_TESTS"


def finished(out: Path) -> dict[str, list[tuple[int, int]]]:
    """The rows that a manifest holds, with inode and time of change of their files: a file made anew has others."""
    data = (out / "manifest.jsonl").read_bytes() if (out / "manifest.jsonl").exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    found = {}
    if whole:
        copy = out.parent / "rows"
        copy.mkdir(exist_ok=True)
        (copy / "manifest.jsonl").write_bytes(whole)
        for row in read_rows(copy):
            stats = [(out / name).stat() for name in sorted(row["files"])]
            found[row["id"]] = [(stat.st_ino, stat.st_mtime_ns) for stat in stats]
    return found


@pytest.mark.parametrize(
    ("clips", "kills"),
    [
        (10, 3),
        pytest.param(
            *(200, 20),
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes: set {LONG}=1"),
            ],
        ),
    ],
)
def test_killed_runs_end_in_the_same_folder(tmp_path: Path, clips: int, kills: int):
    videos = write_videos(tmp_path / "videos", names(clips), frames=30)
    calm = tmp_path / "calm" / "dataset"
    prepare(scan_folder(videos), calm, settings(), sources=Sources(keypoints=videos / "keypoints2d"))
    out, chance = tmp_path / "wild" / "dataset", random.Random(kills)
    given = [sys.executable, "-m", "tests.dataset.prepare_process", str(videos), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = 0
    kept: dict[str, list[tuple[int, int]]] = {}
    for number in range(kills):
        goal = round((number + chance.random()) * clips / kills)
        process = subprocess.Popen(given, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(finished(out)) < goal:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        now = finished(out)
        # What was finished before is there still, the same file: nothing was made twice.
        assert {key: now[key] for key in kept} == kept
        kept = now
        if number == 0:
            # A line that is torn, as a full disk or a power cut leaves it.
            with (out / "manifest.jsonl").open("ab") as stream:
                stream.write(b'{"id":"gBR_sBM')
    assert killed == kills, "every run was killed before it was done"
    done = subprocess.run(given, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    made, there, failed = map(int, done.stdout.split())
    assert (made, there, failed) == (clips - len(kept), len(kept), 0)
    last = finished(out)
    assert {key: last[key] for key in kept} == kept
    assert contents(out) == contents(calm)
    shutil.rmtree(tmp_path / "wild")

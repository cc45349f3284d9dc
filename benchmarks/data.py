"""The dataset: reading beside FFmpeg's command line, two cores beside one, and memory beside the source's length.

    python benchmarks/data.py [--json] [--rounds 5] [--clips 50] [--seconds 12] [--folder FOLDER]

A clip in 1080p at 59.94 frames a second, with the frame's number burnt in, is read as 81 frames at 16 a second in
1280 x 720 from second 3.5 on: by ``read_clip``, and by ``ffmpeg -ss 3.5 -i CLIP -vf fps=16,scale=1280:720``, in
alternating order. A frame error is a frame other than the one nearest to its moment.

Then clips of 8 s are prepared (832 x 480, 81 frames, the pose from AIST++ keypoints, so that no nets are needed) on one
core by one worker and on two cores by two. The memory is the peak of a process that prepares one clip.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.video import make, number_of, row  # noqa: E402
from s2v_core.aist.catalog import scan_folder  # noqa: E402
from s2v_core.dataset.prepare import Sources, prepare  # noqa: E402
from s2v_core.dataset.settings import PrepareSettings  # noqa: E402
from s2v_core.video.read import pick_frames, read_clip  # noqa: E402
from tests.dataset.toy_videos import names, write_keypoints  # noqa: E402

RATE = Fraction(60000, 1001)
START, SIZE, FRAMES = Fraction(7, 2), (1280, 720), 81
LONGER = 10  # times the source's length, for the memory
SETTINGS = PrepareSettings(pose="aistpp")


def ffmpeg() -> str:
    """FFmpeg's command line: the system's, or the one that the package imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            import imageio_ffmpeg
        except ImportError:
            sys.exit("Install ffmpeg, or: python -m pip install imageio-ffmpeg")
        found = imageio_ffmpeg.get_ffmpeg_exe()
    return str(found)


def times_of(seconds: float) -> list[Fraction]:
    """The moments of the frames in whole 1/60000 s, as ``make`` writes them."""
    return [Fraction(1001 * index, 60000) for index in range(round(seconds * RATE))]


def ours(path: Path) -> list[np.ndarray]:
    return list(read_clip(path, size=SIZE, frames=FRAMES, start=START).frames)


def by_ffmpeg(path: Path) -> list[np.ndarray]:
    command = [ffmpeg(), "-v", "error", "-ss", str(float(START)), "-i", str(path)]
    command += ["-vf", f"fps=16,scale={SIZE[0]}:{SIZE[1]}", "-frames:v", str(FRAMES)]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return list(np.frombuffer(data, np.uint8).reshape(-1, SIZE[1], SIZE[0], 3))


def measure_reading(folder: Path, seconds: float, rounds: int, report: Callable[[str], None]) -> list[dict[str, Any]]:
    path, times = folder / "numbers.mp4", times_of(seconds)
    make(path, times)
    right = pick_frames(times, [START + Fraction(k, 16) for k in range(FRAMES)])
    readers = {"ours": ours, "ffmpeg": by_ffmpeg}
    wrong = {
        name: sum(number_of(picture) != number for picture, number in zip(read(path), right, strict=True))
        for name, read in readers.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds):
        for name in sorted(readers, reverse=bool(turn % 2)):
            begin = time.perf_counter()
            readers[name](path)
            spent[name].append(time.perf_counter() - begin)
        report(f"reading: round {turn + 1} of {rounds}")
    mine, peer = (statistics.median(spent[name]) for name in readers)
    ratio = round(mine / peer, 2)
    return [
        row(f"wrong frames of {FRAMES}", wrong["ours"], "frames", "0", wrong["ffmpeg"], wrong["ours"] == 0),
        row("reading beside ffmpeg", ratio, "x", f"at most 1.1 ({mine:.2f} s)", round(peer, 2), ratio <= 1.1),
    ]


def write_sources(folder: Path, count: int) -> Path:
    """``count`` clips of 8 s under AIST names, with keypoints; they share one file's bytes."""
    folder.mkdir(parents=True)
    (folder / "keypoints2d").mkdir()
    first = folder.parent / "first.mp4"
    make(first, times_of(8))
    points = write_keypoints(folder / "points", 480)
    for name in names(count):
        os.link(first, folder / f"{name}.mp4")
        os.link(points, folder / "keypoints2d" / f"{name.sequence}.pkl")
    return folder


def measure_workers(folder: Path, clips: int, report: Callable[[str], None]) -> list[dict[str, Any]]:
    source = write_sources(folder / "sources", clips)
    spent = {}
    for cores in (1, 2):
        command = [
            sys.executable,
            str(Path(__file__)),
            "--prepare",
            str(source),
            str(folder / f"on {cores}"),
            str(cores),
        ]
        begin = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        spent[cores] = time.perf_counter() - begin
        report(f"preparing {clips} clips on {cores} cores: {spent[cores]:.1f} s")
    gain = round(spent[1] / spent[2], 2)
    enough = len(os.sched_getaffinity(0)) >= 2
    goal = f"at least 1.6 ({spent[2]:.1f} s)" if enough else "at least 1.6; this machine has one core"
    return [row(f"preparing {clips} clips, 2 cores by 1", gain, "x", goal, round(spent[1], 1), gain >= 1.6)]


def measure_memory(folder: Path, seconds: float, report: Callable[[str], None]) -> list[dict[str, Any]]:
    results = []
    peaks: dict[tuple[str, str], float] = {}
    name = names(1)[0]
    for length in ("short", "long"):
        source = folder / length
        (source / "keypoints2d").mkdir(parents=True)
        # Both have a cut after the first turn, where most moves, so that they are read from the same place.
        repeat(folder / "numbers.mp4", source / f"{name}.mp4", 2 if length == "short" else 2 * LONGER)
        write_keypoints(source / "keypoints2d" / f"{name.sequence}.pkl", round(seconds * 2 * LONGER * 60))
        for trim in ("middle", "motion"):
            out = folder / f"{length} {trim}"
            command = [sys.executable, str(Path(__file__)), "--peak", str(source), str(out), trim]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            peaks[length, trim] = float(done.stdout.split()[-1])
            report(f"memory of {length}, {trim}: {peaks[length, trim]:.0f} MB")
    for trim in ("middle", "motion"):
        ratio = round(peaks["long", trim] / peaks["short", trim], 3)
        title = f"memory at {LONGER} x the length, {trim}"
        goal = f"at most 1.05 ({peaks['long', trim]:.0f} MB)"
        results.append(row(title, ratio, "x", goal, round(peaks["short", trim]), ratio <= 1.05))
    return results


def repeat(path: Path, target: Path, times: int) -> None:
    """The same packets again and again, one after the other."""
    with av.open(str(target), "w") as output:
        shift, stream = 0, None
        for _ in range(times):
            with av.open(str(path)) as source:
                track = source.streams.video[0]
                stream = stream or output.add_stream_from_template(track)
                last = 0
                for packet in source.demux(track):
                    if packet.dts is None:
                        continue
                    last = max(last, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    output.mux(packet)
                shift += last


def prepare_on(source: Path, out: Path, cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    result = prepare(
        scan_folder(source), out, SETTINGS, sources=Sources(keypoints=source / "keypoints2d"), workers=cores
    )
    if result.problems:
        sys.exit(result.problems[0]["problem"])


def peak(source: Path, out: Path, trim: str) -> None:
    settings = PrepareSettings(pose="aistpp", trim=trim)
    result = prepare(scan_folder(source), out, settings, sources=Sources(keypoints=source / "keypoints2d"))
    if result.problems:
        sys.exit(result.problems[0]["problem"])
    # Not ru_maxrss: that starts at what the parent had when it forked.
    told = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert told
    print(int(told[1]) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--rounds", type=int, default=5, help="of reading; the order alternates, medians are reported")
    parser.add_argument("--clips", type=int, default=50, help="to prepare")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the clip that is read")
    parser.add_argument("--folder", type=Path, help="where to put the clips (default: a temporary folder)")
    parser.add_argument("--prepare", nargs=3, metavar=("SOURCE", "OUT", "CORES"), help=argparse.SUPPRESS)
    parser.add_argument("--peak", nargs=3, metavar=("SOURCE", "OUT", "TRIM"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.prepare:
        prepare_on(Path(given.prepare[0]), Path(given.prepare[1]), int(given.prepare[2]))
        return
    if given.peak:
        peak(Path(given.peak[0]), Path(given.peak[1]), given.peak[2])
        return

    def report(text: str) -> None:
        print(text, file=sys.stderr)

    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        results = measure_reading(folder, given.seconds, given.rounds, report)
        results += measure_memory(folder, given.seconds, report)
        if given.clips:
            results += measure_workers(folder, given.clips, report)
    if given.json:
        print(json.dumps({"results": results}))
        return
    print(f"{'':38} {'ours':>8} {'peer':>8}  {'unit':7} goal")
    for entry in results:
        holds = "holds" if entry["holds"] else "MISSED"
        print(f"{entry['name']:38} {entry['value']:>8} {entry['peer']:>8}  {entry['unit']:7} {entry['goal']}: {holds}")


if __name__ == "__main__":
    main()

"""Seconds and frame errors of ``read_clip`` beside OpenCV reading by frame index, on the same clips in one run.

    python benchmarks/video.py [--json] [--repeats 5] [--folder FOLDER]

Makes two 1080p clips of 8 s with the frame's number burnt in (59.94 frames a second, and a variable rate) and takes 81
frames at 16 a second in 1280 x 720 out of each. A frame error is a frame other than the one nearest to k/16 s. A third
clip holds flat colours in untagged 720p, which players show as BT.709; its error is the largest difference in levels.
OpenCV takes swscale's quick colour conversion (eight times as fast, up to 3 levels off), ours the exact one.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s2v_core.video.read import read_clip

BITS = 12
SIZE = (1280, 720)
WANTED = [Fraction(k, 16) for k in range(81)]


def picture(index: int, background: np.ndarray) -> np.ndarray:
    image = np.roll(background, 7 * index, axis=1)
    width = image.shape[1] // BITS
    for bit in range(BITS):
        image[:300, bit * width : (bit + 1) * width] = 255 if index >> (BITS - 1 - bit) & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    width = image.shape[1] / BITS
    row = image[image.shape[0] // 8]
    return sum(int(row[int((bit + 0.5) * width)].mean() > 128) << (BITS - 1 - bit) for bit in range(BITS))


def make(path: Path, times: list[Fraction]) -> None:
    """Encode numbered 1080p pictures at these times (whole 1/60000 s), H.264 with B-frames."""
    rough = np.random.default_rng(0).integers(0, 256, (27, 48, 3), dtype=np.uint8)
    background = cv2.resize(rough, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=60)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.options = {"preset": "veryfast", "bf": "3", "g": "250"}
        stream.codec_context.time_base = Fraction(1, 60000)
        for index, moment in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(index, background))
            frame.pts, frame.time_base = int(moment * 60000), Fraction(1, 60000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def ours(path: Path) -> list[np.ndarray]:
    return list(read_clip(path, size=SIZE).frames)


def opencv_by_index(path: Path) -> list[np.ndarray]:
    """What most loaders do: frame number = seconds times the mean rate."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    wanted = [round(float(moment) * rate) for moment in WANTED]
    frames: list[np.ndarray] = []
    index = 0
    while len(frames) < len(wanted) and capture.grab():
        while len(frames) < len(wanted) and wanted[len(frames)] == index:
            _, image = capture.retrieve()
            frames.append(cv2.cvtColor(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
        index += 1
    capture.release()
    return frames


COLORS = [(255, 0, 0), (0, 200, 60), (30, 40, 250), (128, 128, 128)]


def make_flat(path: Path) -> None:
    """81 frames in each of four colours, converted as BT.709 without a tag that says so."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "1"}
        for index in range(81):
            flat = np.full((SIZE[1], SIZE[0], 3), COLORS[index % len(COLORS)], np.uint8)
            frame = av.VideoFrame.from_ndarray(flat).reformat(
                format="yuv420p", src_colorspace=1, dst_colorspace=1, src_color_range=2, dst_color_range=1
            )
            frame.pts, frame.time_base, frame.colorspace = index, Fraction(1, 16), 2
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def color_error(frames: list[np.ndarray]) -> int:
    pairs = zip(frames[: len(COLORS)], COLORS, strict=True)
    return int(max(np.abs(image.astype(int) - color).max() for image, color in pairs))


def errors(frames: list[np.ndarray], times: list[Fraction]) -> int:
    right = [min(range(len(times)), key=lambda k: (abs(times[k] - moment), k)) for moment in WANTED]
    found = [number_of(image) for image in frames]
    return sum(one != other for one, other in zip(found, right, strict=False)) + abs(len(right) - len(found))


def clips() -> dict[str, list[Fraction]]:
    steady = [Fraction(k * 1001, 60000) for k in range(480)]
    rng = random.Random(1)
    variable = [Fraction(0)]
    while variable[-1] < 8:
        variable.append(variable[-1] + Fraction(rng.choice([1000, 1000, 1000, 2000, 4000]), 60000))
    return {"59.94 fps": steady, "variable rate": variable}


def measure(folder: Path, repeats: int, report: Callable[[str], None]) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for name, times in clips().items():
        path = folder / f"{name.split()[0]}.mp4"
        report(f"encoding {name}: {len(times)} frames")
        make(path, times)
        readers = {"ours": ours, "opencv": opencv_by_index}
        seconds: dict[str, list[float]] = {reader: [] for reader in readers}
        wrong = {reader: errors(read(path), times) for reader, read in readers.items()}  # also warms up
        for repeat in range(repeats):
            for reader in sorted(readers, reverse=bool(repeat % 2)):
                begin = time.perf_counter()
                readers[reader](path)
                seconds[reader].append(time.perf_counter() - begin)
            report(f"{name}: round {repeat + 1} of {repeats}")
        mine, peer = (statistics.median(seconds[reader]) for reader in readers)
        results += [
            row(f"{name}: frame errors of 81", wrong["ours"], "frames", "0", wrong["opencv"], wrong["ours"] == 0),
            row(f"{name}: seconds", round(mine, 3), "s", "no more than the peer", round(peer, 3), mine <= peer),
        ]
    make_flat(folder / "flat.mp4")
    mine, peer = (color_error(read(folder / "flat.mp4")) for read in (ours, opencv_by_index))
    results.append(row("untagged HD: colour error", mine, "levels", "at most 2", peer, mine <= 2))
    return results


def row(name: str, value: float, unit: str, goal: str, peer: float, holds: bool) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "peer": peer, "holds": holds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; the order alternates, medians are reported")
    parser.add_argument("--folder", type=Path, help="where to put the clips (default: a temporary folder)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = measure(folder, given.repeats, lambda text: print(text, file=sys.stderr))
    if given.json:
        print(json.dumps({"results": results}))
        return
    print(f"{'':36} {'ours':>8} {'OpenCV':>8}  {'unit':7} goal")
    for entry in results:
        holds = "holds" if entry["holds"] else "MISSED"
        print(f"{entry['name']:36} {entry['value']:>8} {entry['peer']:>8}  {entry['unit']:7} {entry['goal']}: {holds}")


if __name__ == "__main__":
    main()

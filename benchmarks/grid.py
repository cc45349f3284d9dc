"""Peak memory and time of a large grid: real encoded cells of cheap synthetic dancers, drawn frame by frame.

    python benchmarks/grid.py --cells 100 --frames 81 --size 832x480 --json

Cells are made first (once for each of a few different clips, then copied), and only drawing the grid is measured, in a
process of its own. "peak" is the resident memory of that process at its highest, libraries included.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Cell, Sweep, make_axis
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.storefiles import META, write_sealed
from s2v_core.video.clip import Clip
from s2v_core.wan.settings import SampleSettings

LIMIT_GB = 1.5


def sweep_of(cells: int, frames: int, size: tuple[int, int]) -> Sweep:
    """Rows of ten cells."""
    columns = min(10, cells)
    settings = SampleSettings(width=size[0], height=size[1], frames=frames)
    axes = (make_axis("seed", range(max(1, cells // columns))), make_axis("guidance", range(1, columns + 1)))
    return Sweep(Prompt("a dancer in a bright studio"), settings, axes, name="large grid")


def moving_picture(number: int, frames: int, size: tuple[int, int]) -> Clip:
    """A body of ellipses that sways before a shaded wall, with a little grain: about as hard to encode as a video."""
    width, height = size
    random = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    wall = random.integers(60, 180, 3) + (x / width * 50)[..., None]
    body = random.integers(40, 255, 3)
    grain = random.integers(-6, 7, (height, width, 1))
    pictures = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        centre = width * (0.5 + 0.2 * np.sin(2 * np.pi * t / 20 + number))
        inside = ((x - centre) / (width * 0.08)) ** 2 + ((y - height * 0.55) / (height * 0.35)) ** 2 < 1
        pictures[t] = (np.where(inside[..., None], body, wall) + np.roll(grain, 7 * t, 1)).clip(0, 255)
    return Clip(pictures, Fraction(16))


def fill(store: CellStore, cells: tuple[Cell, ...], frames: int, size: tuple[int, int], kinds: int) -> None:
    """Every cell in the store; the clips of the first ``kinds`` are copied into the others."""
    for number, cell in enumerate(cells[:kinds]):
        store.put(cell, moving_picture(number, frames, size))
    for number, cell in enumerate(cells[kinds:]):
        source = cells[number % kinds]
        shutil.copytree(store.path(source.id), store.path(cell.id))
        write_sealed(store.path(cell.id) / META, {**store.meta(source.id), "id": cell.id})


def draw(folder: str, cells: int, frames: int, size: tuple[int, int], out: str) -> dict[str, float]:
    """Draw the grid of a filled store in this process."""
    from s2v_core.sweeps.grid import write_grid
    from s2v_core.sweeps.run import SweepResult

    sweep = sweep_of(cells, frames, size)
    planned = plan(sweep, {"model": "benchmark"}, str)
    store = CellStore(folder)
    there = tuple(cell.id for cell in planned if store.has(cell.id))
    assert len(there) == len(planned), "the store lacks cells"
    result = SweepResult(sweep, planned, (), there, {}, store, 0.0)
    begin = time.monotonic()
    (file,) = write_grid(result, out)
    seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": round(seconds, 1), "peak GB": round(peak / 1e9, 3), "MB": round(file.stat().st_size / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--kinds", type=int, default=4, help="different clips")
    parser.add_argument("--suffix", default=".mp4", choices=(".mp4", ".webp", ".gif"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draw", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    if given.draw:
        out = str(Path(given.draw).parent / f"grid{given.suffix}")
        print(json.dumps(draw(given.draw, given.cells, given.frames, (width, height), out)))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = CellStore(Path(folder) / "cells")
        planned = plan(sweep_of(given.cells, given.frames, (width, height)), {"model": "benchmark"}, str)
        fill(store, planned, given.frames, (width, height), min(given.kinds, len(planned)))
        again = [sys.executable, __file__, "--draw", str(store.folder), "--suffix", given.suffix]
        again += ["--cells", str(given.cells), "--frames", str(given.frames), "--size", given.size]
        done = subprocess.run(again, check=True, capture_output=True, text=True)
    found = {"cells": len(planned), "frames": given.frames, "size": given.size, **json.loads(done.stdout)}
    found["within limit"] = found["peak GB"] <= LIMIT_GB
    print(json.dumps(found) if given.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

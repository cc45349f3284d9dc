"""How a sweep's page does with a hundred cells: time and size of writing it, and its frames a second in a browser.

    python benchmarks/report.py --cells 100 --frames 81 --size 832x480 --json

Needs Debian's chromium (or another one in S2V_CHROMIUM) and `pip install playwright`. The browser is headless and draws
without a GPU. "scrubbing" moves the page's own scrubber by one frame in each animation frame, with every cell that is
in the window; "busy" is the processor time of all the browser's processes for each of them, which other programs on the
machine disturb less than frames a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from grid import fill, sweep_of

from s2v_core.sweep_report.options import ReportOptions
from s2v_core.sweep_report.write import write_report
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.run import SweepResult
from s2v_core.sweeps.store import CellStore

WANTED_FPS = 30
STEPS = 200
SCRUB = """async (steps) => {
  const slider = document.getElementById("scrubber");
  const count = Number(slider.max) + 1;
  const gaps = [];
  const work = [];
  let last = null;
  await new Promise((done) => {
    let step = 0;
    const next = (now) => {
      if (last !== null) gaps.push(now - last);
      last = now;
      const begin = performance.now();
      slider.value = step % count;
      slider.dispatchEvent(new Event("input"));
      work.push(performance.now() - begin);
      step += 1;
      if (step < steps) requestAnimationFrame(next);
      else done();
    };
    requestAnimationFrame(next);
  });
  const at = (list, share) => list.sort((one, other) => one - other)[Math.floor(list.length * share)];
  const whole = gaps.reduce((sum, gap) => sum + gap, 0);
  return { fps: (1000 * gaps.length) / whole, gap95: at(gaps, 0.95), script: at(work, 0.5) };
}"""
SEEN = """() => [...document.querySelectorAll(".cell")].filter((cell) => {
  const box = cell.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}).length"""


def browser_seconds(parent: int) -> float:
    """Processor time of all Chromium processes below ``parent``, in seconds (Linux only)."""
    parents, times = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        number = int(stat.parent.name)
        parents[number] = int(fields[1])
        if "chrom" in text[: text.rindex(")")]:
            times[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def below(number: int) -> bool:
        while number in parents and number != parent:
            number = parents[number]
        return number == parent

    return sum(seconds for number, seconds in times.items() if below(number))


def look(page: Path, width: int, height: int) -> dict[str, Any]:
    """The page in a window of this size: how long until every cell in view is decoded, and scrubbing."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = os.environ.get("S2V_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not chromium:
        raise SystemExit("no Chromium: apt install chromium, or name one in S2V_CHROMIUM")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": width, "height": height})
        begin = time.monotonic()
        shown.goto(page.as_uri())
        shown.evaluate("document.getElementById('cells').scrollIntoView()")
        shown.wait_for_timeout(100)
        shown.locator("#cells[aria-busy=false]").wait_for(state="attached", timeout=300_000)
        ready = time.monotonic() - begin
        seen = shown.evaluate(SEEN)
        before = browser_seconds(os.getpid())
        found = shown.evaluate(SCRUB, STEPS)
        busy = browser_seconds(os.getpid()) - before
        browser.close()
    return {
        "cells in the window": seen,
        "ready after s": round(ready, 2),
        "frames a second": round(found["fps"], 1),
        "slowest 5% ms": round(found["gap95"], 1),
        "script ms a frame": round(found["script"], 2),
        "busy ms a frame": round(1000 * busy / STEPS, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--window", default="1440x1100")
    parser.add_argument("--beside", action="store_true", help="clips in a folder beside the page")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        sweep = sweep_of(given.cells, given.frames, (width, height))
        cells = plan(sweep, {"model": "synthetic"}, str)
        store = CellStore(Path(folder) / "cells")
        fill(store, cells, given.frames, (width, height), kinds=4)
        result = SweepResult(sweep, cells, (), tuple(cell.id for cell in cells), {}, store, 0.0)
        begin, spent = time.monotonic(), time.process_time()
        page = write_report(result, Path(folder) / "report.html", options=ReportOptions(beside=given.beside))
        beside = sum(file.stat().st_size for file in Path(folder).glob("report_clips/*"))
        found = {
            "cells": len(cells),
            "clip": f"{given.size}, {given.frames} frames",
            "written in s": round(time.monotonic() - begin, 1),
            "processor s": round(time.process_time() - spent, 1),
            "MB": round((page.stat().st_size + beside) / 1e6, 1),
            **look(page, *map(int, given.window.split("x"))),
        }
    found["enough"] = found["frames a second"] >= WANTED_FPS
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:22} {value}")


if __name__ == "__main__":
    main()

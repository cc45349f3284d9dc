"""Runs one small sweep with the cheap renderer in a process of its own: sweep_process.py STORE LOG SECONDS_A_STEP."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from picture_renderer import PictureRenderer

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.wan.settings import SampleSettings


def the_sweep() -> Sweep:
    settings = SampleSettings(steps=4, width=416, height=240, frames=41)
    axes = (make_axis("guidance", [1, 2, 3]), make_axis("seed", [0, 1]))
    return Sweep(Prompt("a dancer"), settings, axes, name="killed")


if __name__ == "__main__":
    folder, log, seconds = sys.argv[1:]
    renderer = PictureRenderer(seconds_a_step=float(seconds), log=Path(log))
    result = run_sweep(the_sweep(), renderer, CellStore(folder))
    print(json.dumps({"computed": result.computed, "reused": result.reused, "failed": result.failed}))

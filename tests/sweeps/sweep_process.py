"""Sweeps with the cheap renderer in processes of their own, to be killed.

As a program: sweep_process.py STORE LOG SECONDS_A_STEP runs one small sweep. ``work`` is for ``multiprocessing``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.wan.settings import SampleSettings
from tests.sweeps.picture_renderer import PictureRenderer

METRIC = "brightness"


def the_sweep() -> Sweep:
    settings = SampleSettings(steps=4, width=416, height=240, frames=41)
    axes = (make_axis("guidance", [1, 2, 3]), make_axis("seed", [0, 1]))
    return Sweep(Prompt("a dancer"), settings, axes, name="killed")


def many_cells(count: int) -> Sweep:
    """``count`` cells that take about as long to write as to render."""
    settings = SampleSettings(steps=2, width=96, height=64, frames=9)
    return Sweep(Prompt("a dancer"), settings, (make_axis("seed", range(count)),), name="many")


class LatentsToo(CellStore):
    """Keeps, with every clip, latents that its pixels decide."""

    def put(self, cell, clip, meta=None, *, latents=None):
        import torch

        return super().put(cell, clip, meta, latents=torch.from_numpy(clip.frames[:, ::8, ::8].copy()).bfloat16())


def work(folder: str, count: int, latents: bool = False, seconds: float = 0.002, file_limit: int | None = None) -> None:
    """Run ``many_cells`` and score each cell. ``file_limit``: no file may grow past so many bytes."""
    if file_limit is not None:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    store = (LatentsToo if latents else CellStore)(folder)
    result = run_sweep(many_cells(count), PictureRenderer(seconds_a_step=seconds), store)
    # Each process in an order of its own, so that they meet seldom.
    for id in random.sample(store.ids(), len(store.ids())):
        if METRIC not in store.scores(id):
            store.add_scores(id, {METRIC: {"version": "1", "value": float(store.load(id).frames.mean())}})
    assert not result.failed


if __name__ == "__main__":
    folder, log, seconds = sys.argv[1:]
    renderer = PictureRenderer(seconds_a_step=float(seconds), log=Path(log))
    result = run_sweep(the_sweep(), renderer, CellStore(folder))
    print(json.dumps({"computed": result.computed, "reused": result.reused, "failed": result.failed}))

"""The time of a plan, from cells that were measured at another size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.estimate import estimate, read_measured
from s2v_core.sweeps.prefixes import FOLDER, Prefixes
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.work import plan_work
from s2v_core.wan import flops
from s2v_core.wan.settings import SampleSettings
from tests.sweeps.picture_renderer import PictureRenderer
from tests.wan.net_sizes import REAL

SMALL = SampleSettings(steps=2, guidance=3.0, width=32, height=32, frames=5)
LARGE = replace(SMALL, width=96, height=64, frames=9)


@pytest.mark.parametrize("sizes", [None, REAL], ids=["pixels", "arithmetic"])
def test_another_size_takes_as_long_as_its_arithmetic_says(tmp_path, sizes):
    renderer = PictureRenderer()
    renderer.net_sizes = sizes
    store = CellStore(tmp_path)
    prompt = Prompt("A man dances.", "blurry")
    run_sweep(Sweep(prompt, SMALL, (make_axis("seed", [0, 1]),)), renderer, store)
    measured = list(read_measured(store.folder, [renderer.fingerprint]))
    assert [one.forwards for one in measured] == [4, 4]

    sweep = Sweep(prompt, LARGE, (make_axis("seed", [0, 1, 2]),))
    found = estimate(plan_work([sweep], renderer, store.has, Prefixes(store.folder / FOLDER)), store.folder)

    def amount(settings):
        width, height, frames = settings.width, settings.height, settings.frames
        if sizes is None:
            return 4 * width * height * frames
        tokens = ((frames - 1) // 4 + 2) * (height // 16) * (width // 16)
        return 4 * flops.forward(sizes, tokens) + flops.decode(sizes, frames, height, width)

    once = sum(one.seconds for one in measured) / 2
    assert found.seconds == pytest.approx(3 * once * amount(LARGE) / amount(SMALL))

"""A small sweep of painted cells with scores that are known by hand, and a browser to look at its page."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweep_report.write import write_report
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.wan.settings import SampleSettings

TINY = SampleSettings(steps=2, width=32, height=16, frames=5)
EVIL = """</script><script>document.title="owned"</script><img src=x onerror='document.title="owned"'>&amp;'"<!--"""
NO_FACE = "no face was found <b>anywhere</b>"


def _pictures() -> Any:
    place = Path(__file__).parents[1] / "sweeps" / "picture_renderer.py"
    spec = importlib.util.spec_from_file_location("report_tests_pictures", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pictures():
    """The module of the cheap test renderer."""
    return _pictures()


@pytest.fixture(scope="session")
def result(pictures, tmp_path_factory):
    """Guidance 1, 2, 3 by seed 0, 1: one cell failed, the others have scores; the prompt would like to be a script."""
    sweep = Sweep(
        Prompt(EVIL, "blurry"),
        TINY,
        (make_axis("guidance", [1, 2, 3]), make_axis("seed", [0, 1])),
        "three </title> by two",
    )

    def fails(prompt, settings):
        if (settings.guidance, settings.seed) == (3, 1):
            raise RuntimeError("out of <memory>")

    store = CellStore(tmp_path_factory.mktemp("report") / "cells")
    made = run_sweep(sweep, pictures.PictureRenderer(fails=fails), store)
    for cell in made.cells:
        if cell.id in made.failed:
            continue
        guidance, seed = cell.settings.guidance, cell.settings.seed
        store.add_scores(
            cell.id,
            {
                "toy_identity": {"version": "1", "value": guidance + seed / 10, "low": guidance, "high": guidance + 1},
                "toy_pose": {"version": "1", "value": 1.0 - guidance / 10, "how": "by hand"},
                "motion": {"version": "1", "value": 2.0 - guidance},
                "identity_face": {"version": "1", "value": None, "reason": NO_FACE},
            },
        )
    return made


@pytest.fixture(scope="session")
def inputs():
    """A control video with the shape of the cells, and a reference."""
    control = np.zeros((5, 16, 32, 3), np.uint8)
    control[:, :, :, 0] = 255
    return {"control video": control, "reference": np.full((1, 20, 20, 3), 90, np.uint8)}


@pytest.fixture(scope="session")
def browser():
    """Debian's or another Chromium; skips, loudly, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="BROWSER TESTS SKIPPED: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("S2V_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("BROWSER TESTS SKIPPED: no Chromium; install one (apt install chromium) or name it in S2V_CHROMIUM")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def write(result, inputs, tmp_path_factory):
    """Writes the page into a folder of its own."""

    def run(**how):
        return write_report(result, tmp_path_factory.mktemp("page") / "report.html", inputs=inputs, **how)

    return run

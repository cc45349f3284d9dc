"""Cells with step caching: what they share (nothing), what is planned for them, and what is kept of it."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

# Bits can only be compared where MKL does not round by the place in memory. It reads this before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from s2v_core.analysis.collect import _seconds_alone
from s2v_core.cli.sweep import _words
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.estimate import estimate
from s2v_core.sweeps.plan import cell_id
from s2v_core.sweeps.prefixes import Prefixes
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.trail import trail
from s2v_core.sweeps.work import plan_work
from s2v_core.wan import transformer
from s2v_core.wan.settings import LoraUse, SampleSettings

PROMPT = Prompt("A man is dancing on a stage, full body.", "blurry, static")
BASE = SampleSettings(steps=8, guidance=3.0, width=32, height=16, frames=5, seed=3)
FINGERPRINT = {"model": "m", "control": "c", "reference": "r"}


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    from fractions import Fraction

    from s2v_core.video.clip import Clip
    from s2v_core.wan.engine import load_engine
    from s2v_core.wan.render import Renderer
    from s2v_core.wan.tiny import build_tiny

    engine = load_engine(build_tiny(tmp_path_factory.mktemp("tiny") / "model"), device="cpu", dtype="float32")
    frames = np.random.default_rng(1).integers(0, 256, (5, 16, 32, 3)).astype(np.uint8)
    return Renderer(engine, Clip(frames, Fraction(16)), frames[0, :, ::-1].copy())


def named(settings, prompt=PROMPT):
    return cell_id(prompt, settings, FINGERPRINT, lambda file: file)


def keys(settings, prompt=PROMPT):
    return trail(prompt, settings, FINGERPRINT, lambda file: file)


def test_cells_of_a_sweep_are_the_lone_ones(wan, store, monkeypatch):
    from s2v_core.wan.tiny import build_tiny_lora

    lora = str(build_tiny_lora(wan.engine.files, store.folder.parent / "style.safetensors", size=2.0))
    settings = replace(BASE, loras=(LoraUse(lora),))
    axes = (make_axis("step_cache", [0, 0.4, 10]), make_axis("lora_from_step", [0, 4]), make_axis("guidance", [1, 3]))
    sweep = Sweep(PROMPT, settings, axes)
    planned = estimate(plan_work([sweep], wan, store.has, Prefixes(store.folder / "prefixes")))
    assert planned.step_cached == 8
    assert planned.forwards_alone == 6 * (8 + 16)
    # Only exact cells share: of both LoRA schedules the first predictions over the two guidance scales.
    assert planned.forwards_left == planned.forwards_alone - 2
    assert "at most: 8 cells leave some out (step_cache)" in _words(planned)["forwards"]

    forwards = []
    real = transformer.predict
    monkeypatch.setattr(transformer, "predict", lambda *args, **more: forwards.append(1) or real(*args, **more))
    result = run_sweep(sweep, wan, store)
    assert not result.failed
    metas = {cell.id: store.meta(cell.id) for cell in result.cells}
    assert sum(meta["forwards"] for meta in metas.values()) == len(forwards) < planned.forwards_left
    for cell in result.cells:
        lone = wan.render(cell.prompt, cell.settings)
        assert np.array_equal(result.clip(cell).frames, lone.frames), cell.labels
        meta = metas[cell.id]
        assert meta.get("step cache") == (wan.estimated.to_dict() if cell.settings.step_cache else None)
        if cell.settings.step_cache:
            said, whole = meta["step cache"], keys(cell.settings).forwards
            assert meta["forwards"] + said["forwards left out"] == said["forwards in full"] == whole
            assert _seconds_alone(cell.prompt, cell.settings, meta) == meta["seconds"]
    assert Prefixes(store.folder / "prefixes").size() == 0


def test_a_cell_with_step_caching_has_its_keys_for_itself():
    exact, cached = keys(BASE), keys(replace(BASE, step_cache=0.1))
    assert cached.forwards == exact.forwards, "counted in full"
    assert not set(cached.keys()) & set(exact.keys())
    others = (replace(BASE, step_cache=0.1, guidance=4.0), replace(BASE, step_cache=0.2))
    for other in others:
        assert not set(cached.keys()) & set(keys(other).keys())
    assert not set(cached.keys()) & set(keys(replace(BASE, step_cache=0.1), Prompt("A cat.", PROMPT.negative)).keys())


def test_off_or_idle_it_is_the_exact_cell():
    assert named(replace(BASE, step_cache=0.0)) == named(BASE)
    assert named(replace(BASE, step_cache=0.1)) != named(BASE)
    few = replace(BASE, steps=3)
    assert named(replace(few, step_cache=0.1)) == named(few), "there is no step to estimate"
    assert keys(replace(few, step_cache=0.1)) == keys(few)


def test_an_id_from_before_it_stays():
    """The id that these settings had before there was step caching."""
    assert named(BASE) == "54105e1e9d5258047756684d39e1072e6e8ffd57d1de64db7ed439572cc59c1a"

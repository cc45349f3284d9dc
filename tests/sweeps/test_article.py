"""The article's experiments, as the templates in ``workflows/sweeps`` write them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

# Bits can only be compared where MKL does not round by the place in memory. It reads this before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from s2v_core.sweeps.axes import make_axis
from s2v_core.sweeps.estimate import estimate
from s2v_core.sweeps.load import dump_sweep, load_sweep
from s2v_core.sweeps.prefixes import Prefixes
from s2v_core.sweeps.run import run_sweeps
from s2v_core.sweeps.work import plan_work
from s2v_core.wan import embedded, transformer

TEMPLATES = Path(__file__).parents[2] / "workflows" / "sweeps"
FOUR = ("guidance", "steps", "prompts", "lora_strength")
ALL = (*FOUR, "lora_from_step")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny model in the place of the nano model's files."""
    from s2v_core.wan.tiny import build_tiny, build_tiny_lora

    folder = tmp_path_factory.mktemp("nano") / "weights"
    lora = folder / "loras" / "aist-like-article.safetensors"
    build_tiny_lora(build_tiny(folder), lora, size=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "WEIGHTS", folder)
        yield folder


@pytest.fixture
def sweeps(weights):
    return {name: load_sweep(TEMPLATES / f"{name}.yaml").sweep() for name in ALL}


class Planner:
    """Enough of a renderer to plan with."""

    def __init__(self):
        self.fingerprint = {"transformer sha256": "t", "control": "c", "reference": "r", "device": "cpu"}
        self.shares_steps = True

    def lora_sha256(self, file):
        return Path(file).name


def planned(sweeps, tmp_path):
    work = plan_work(sweeps, Planner(), lambda id: False, Prefixes(tmp_path / "prefixes"))
    return work, estimate(work)


def test_every_template_is_tested_and_survives_the_way_round(weights, tmp_path):
    assert sorted(path.stem for path in TEMPLATES.glob("*.yaml")) == sorted(ALL)
    for name in ALL:
        file = load_sweep(TEMPLATES / f"{name}.yaml")
        assert file.out == TEMPLATES / "out"
        again = load_sweep(dump_sweep(file, tmp_path / f"{name}.yaml"))
        assert again.sweep() == file.sweep()
        assert file.sweep().settings.loras[0].file == str(weights / "loras" / "aist-like-article.safetensors")


def test_the_four_grids_cost_a_fifth_less(sweeps, tmp_path):
    work, found = planned([sweeps[name] for name in FOUR], tmp_path)
    assert [len(cells) for cells in work.cells] == [14, 10, 6, 5]
    assert (found.cells, found.distinct) == (35, 29)
    assert (found.forwards_alone, found.forwards_shared, found.forwards_left) == (3000, 2358, 2358)
    assert found.saved > 0.2
    assert found.text_encodes == (68, 4)
    assert found.picture_encodes == (35, 1)
    assert found.lora_loads == (5 + 7 + 3 + 4, 1)


def test_the_fifth_saves_by_its_prefixes(sweeps, tmp_path):
    _, found = planned([sweeps["lora_from_step"]], tmp_path)
    assert (found.cells, found.distinct) == (9, 9)
    # 50 steps once, and from each later step on to the end; twice for both prompts.
    assert found.forwards_alone == 9 * 100
    assert found.forwards_shared == 2 * (50 + sum(50 - step for step in range(5, 45, 5)))
    assert found.saved >= 0.3
    # Beside the other four its base steps cost nothing: they are those of a cell that is there anyway.
    _, together = planned(list(sweeps.values()), tmp_path)
    assert together.forwards_shared == 2358 + 2 * sum(50 - step for step in range(5, 50, 5))


def small(sweep, name):
    """The same experiment with a tenth of the steps and small pictures."""
    settings = replace(sweep.settings, steps=5, width=32, height=16, frames=5)
    changed = {
        "steps": make_axis("steps", [1, 2, 3, 4, 5]),
        "lora_from_step": make_axis("lora_from_step", [1, 2, 3, 4]),
    }
    return replace(sweep, settings=settings, axes=tuple(changed.get(axis.name, axis) for axis in sweep.axes))


def test_all_five_at_once_are_the_lone_runs_bit_for_bit(sweeps, store, monkeypatch):
    from fractions import Fraction

    from s2v_core.video.clip import Clip
    from s2v_core.wan.engine import load_engine
    from s2v_core.wan.render import Renderer

    engine = load_engine(embedded.nano_files(), device="cpu", dtype="float32")
    frames = np.random.default_rng(1).integers(0, 256, (5, 16, 32, 3)).astype(np.uint8)
    renderer = Renderer(engine, Clip(frames, Fraction(16)), frames[0])
    plan = [small(sweep, name) for name, sweep in sweeps.items()]
    expected = estimate(plan_work(plan, renderer, store.has, Prefixes(store.folder / "prefixes")))
    assert (expected.cells, expected.distinct) == (39, 33)
    counted = []
    real = transformer.predict
    monkeypatch.setattr(transformer, "predict", lambda *args: counted.append(args[3]) or real(*args))
    results = run_sweeps(plan, renderer, store)
    assert len(counted) == expected.forwards_shared
    assert expected.forwards_shared < 0.75 * expected.forwards_alone
    cells = {cell.id: cell for result in results for cell in result.cells}
    assert not any(result.failed for result in results)
    for cell in cells.values():
        lone = renderer.render(cell.prompt, cell.settings)
        assert np.array_equal(store.load(cell.id).frames, lone.frames), cell.labels


def test_the_documented_examples_are_read(weights, tmp_path):
    text = (TEMPLATES.parents[1] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    whole, zipped = (block.split("```")[0] for block in text.split("```yaml\n")[1:])
    (tmp_path / "sweep.yaml").write_text(whole, encoding="utf-8")
    axes = load_sweep(tmp_path / "sweep.yaml").sweep().axes
    assert [axis.values for axis in axes] == [(0, 4, 8, 12), (1, 3, 5)]
    (tmp_path / "sweep.yaml").write_text(f"prompt: a\n{zipped}", encoding="utf-8")
    axes = load_sweep(tmp_path / "sweep.yaml").sweep().axes
    assert [len(axis) for axis in axes] == [3, 4]
    assert axes[0].labels == ("draft", "usual", "careful")

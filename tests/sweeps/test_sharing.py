"""Cells that share steps are the cells alone, bit for bit, and cost exactly the forwards that were planned."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as at
from hypothesis import strategies as st

# Bits can only be compared where MKL does not round by the place in memory. It reads this before its first use.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

from s2v_core.errors import Interrupted
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Cell, Sweep, make_axis
from s2v_core.sweeps.events import Started
from s2v_core.sweeps.plan import cell_id, plan
from s2v_core.sweeps.prefixes import Prefixes
from s2v_core.sweeps.run import run_sweep, run_sweeps
from s2v_core.sweeps.sharing import Lender, peak_states, plan_sharing
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.trail import trail
from s2v_core.sweeps.work import computation_order, make_trails, plan_work
from s2v_core.wan import transformer
from s2v_core.wan.settings import LoraUse, SampleSettings

PROMPT = Prompt("A man is dancing on a stage, full body.", "blurry, static")
SMALL = SampleSettings(steps=4, guidance=3.0, width=32, height=16, frames=5, seed=3)
FINGERPRINT = {"model": "m", "control": "c", "reference": "r"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    from s2v_core.wan.engine import load_engine
    from s2v_core.wan.tiny import build_tiny

    return load_engine(build_tiny(tmp_path_factory.mktemp("tiny") / "model"), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def lora(engine, tmp_path_factory):
    from s2v_core.wan.tiny import build_tiny_lora

    return str(build_tiny_lora(engine.files, tmp_path_factory.mktemp("lora") / "style.safetensors", size=2.0))


@pytest.fixture(scope="module")
def wan(engine):
    """A real renderer with a pose video and a reference."""
    from fractions import Fraction

    from s2v_core.video.clip import Clip
    from s2v_core.wan.render import Renderer

    frames = np.random.default_rng(1).integers(0, 256, (5, 16, 32, 3)).astype(np.uint8)
    return Renderer(engine, Clip(frames, Fraction(16)), frames[0, :, ::-1].copy())


@pytest.fixture
def forwards(monkeypatch):
    """What the transformer is really asked for."""
    counted = []
    real = transformer.predict
    monkeypatch.setattr(transformer, "predict", lambda *args, **more: counted.append(args[3]) or real(*args, **more))
    return counted


def alone(renderer, cell):
    return renderer.render(cell.prompt, cell.settings).frames


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
def test_a_lora_from_a_step_on_branches_from_stored_latents(wan, lora, store, forwards, solver):
    settings = replace(SMALL, steps=6, solver=solver, loras=(LoraUse(lora),))
    axes = (make_axis("lora_from_step", [0, 2, 3, 5]), make_axis("guidance", [1, 3]))
    sweep = Sweep(PROMPT, settings, axes)
    work = plan_work([sweep], wan, store.has, Prefixes(store.folder / "prefixes"))
    planned = sum(work.sharing.forwards.values())
    naive = sum(work.sharing.trails[cell.id].forwards for cell in work.cells[0])
    result = run_sweep(sweep, wan, store)
    assert not result.failed
    assert len(forwards) == planned
    assert naive == 4 * (6 + 12)
    # With guidance 12 + 8 + 6 + 12, without 6 + 4 + 3 + 6; both begin with one positive prediction, twice.
    assert planned == 38 + 19 - 2
    assert sum(store.meta(cell.id)["forwards"] for cell in result.cells) == planned
    for cell in result.cells:
        assert np.array_equal(result.clip(cell).frames, alone(wan, cell)), cell.labels
    assert Prefixes(store.folder / "prefixes").size() == 0, "what nobody needs any more is removed"


def test_a_start_clip_and_windows_are_shared_too(engine, lora, store, forwards):
    from fractions import Fraction

    from s2v_core.video.clip import Clip
    from s2v_core.wan.render import Renderer

    frames = np.random.default_rng(4).integers(0, 256, (17, 16, 32, 3)).astype(np.uint8)
    wan = Renderer(engine, Clip(frames, Fraction(16)), start=Clip(frames[::-1].copy(), Fraction(16)))
    settings = replace(SMALL, steps=3, frames=17, window_frames=9, window_overlap=4, loras=(LoraUse(lora),))
    sweep = Sweep(PROMPT, settings, (make_axis("denoise", [0.5, 1.0]), make_axis("lora_from_step", [1, 2])))
    result = run_sweep(sweep, wan, store)
    # Two windows, two prompts: three steps and two more for each denoise, which begins somewhere else.
    assert len(forwards) == 2 * 2 * 2 * (3 + 2)
    assert sum(store.meta(cell.id)["forwards"] for cell in result.cells) == len(forwards)
    for cell in result.cells:
        assert np.array_equal(result.clip(cell).frames, alone(wan, cell)), cell.labels


def test_the_first_predictions_are_shared_over_steps_guidance_and_prompts(wan, store, forwards):
    settings = replace(SMALL, steps=2)
    other = Prompt("A cat.", PROMPT.negative)
    sweeps = [
        Sweep(PROMPT, settings, (make_axis("guidance", [1, 2, 3]),), name="guidance"),
        Sweep(PROMPT, settings, (make_axis("steps", [1, 2, 3]),), name="steps"),
        Sweep(PROMPT, settings, (make_axis("prompt", [PROMPT, other]),), name="prompts"),
        Sweep(PROMPT, settings, (make_axis("shift", [2, 5]),), name="shift"),
    ]
    results = run_sweeps(sweeps, wan, store)
    cells = {cell.id: cell for result in results for cell in result.cells}
    assert [len(result.cells) for result in results] == [3, 3, 2, 2]
    assert len(cells) == 7
    alone_cost = 2 + 4 + 4 + 2 + 6 + 4 + 4
    # The default prompt's first prediction serves six of the seven cells, the negative one six with guidance.
    assert len(forwards) == alone_cost - 5 - 5
    for result in results:
        assert not result.failed
        for cell in result.cells:
            assert np.array_equal(result.clip(cell).frames, alone(wan, cell)), cell.labels
    assert {store.meta(id)["sweep"] for id in cells} == {"guidance", "steps", "prompts", "shift"}


schedules = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 4),
        "guidance": st.sampled_from([1.0, 2.0, 4.0]),
        "solver": st.sampled_from(["euler", "unipc", "dpm++"]),
        "shift": st.sampled_from([2.0, 5.0]),
        "seed": st.integers(0, 1),
        "guidance_from": st.integers(0, 3),
        "guidance_to": st.sampled_from([1, 2, 200]),
        "guidance_schedule": st.sampled_from(["", "4x2, 2", "4, 2"]),
        "control_to": st.sampled_from([1, 2, 200]),
        "reference_from": st.sampled_from([0, 2]),
        "cfg_zero": st.booleans(),
        "zero_init_steps": st.sampled_from([0, 0, 1]),
        "guidance_rescale": st.sampled_from([0.0, 0.7]),
        "precision": st.sampled_from(["float32", "diffsynth"]),
        "lora": st.sampled_from([None, {}, {"from_step": 1}, {"from_step": 2, "strength": 0.5}, {"to_step": 2}]),
        "text": st.sampled_from(["a man", "a cat"]),
    }
)


def made(values, lora):
    values = dict(values)
    use, text = values.pop("lora"), values.pop("text")
    loras = () if use is None else (LoraUse(lora, **use),)
    # Only what can be rendered.
    if values["precision"] == "diffsynth":
        values["solver"] = "euler"
    if values["steps"] < 3:
        values["guidance_schedule"] = ""
    values["guidance_to"] = max(values["guidance_to"], values["guidance_from"])
    values["zero_init_steps"] = min(values["zero_init_steps"], values["steps"] - 1)
    return Prompt(text, PROMPT.negative), replace(SMALL, **values, loras=loras)


@at(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(base=schedules, changes=st.lists(schedules, min_size=2, max_size=3), data=st.data())
def test_whatever_is_shared_is_the_same_bits(wan, lora, tmp_path_factory, base, changes, data):
    """Cells that agree in most settings and differ in some: every one equals its lone rendering."""
    variants = [base]
    for change in changes:
        names = data.draw(st.lists(st.sampled_from(sorted(change)), min_size=1, max_size=3))
        variants.append({**base, **{name: change[name] for name in names}})
    cells = {}
    for values in variants:
        prompt, settings = made(values, lora)
        id = cell_id(prompt, settings, wan.fingerprint, wan.lora_sha256)
        cells[id] = Cell(id, prompt, settings, (0,), ("",))
    trails = make_trails(cells.values(), lambda scene, settings: wan)
    order = computation_order(cells.values(), trails)
    sharing = plan_sharing(order, trails)
    prefixes = Prefixes(tmp_path_factory.mktemp("prefixes"))
    for cell in order:
        lender = Lender(sharing, cell.id, prefixes)
        shared = wan.render(cell.prompt, cell.settings, shared=lender).frames
        assert np.array_equal(shared, alone(wan, cell))
        assert lender.forwards == sharing.forwards[cell.id]


def keys(settings, prompt=PROMPT, fingerprint=FINGERPRINT):
    return trail(prompt, settings, fingerprint, lambda file: file)


def test_trails_part_where_the_steps_do():
    base = replace(SMALL, steps=6, loras=(LoraUse("a"),))
    late = replace(base, loras=(LoraUse("a", from_step=4),))
    off = replace(base, loras=())
    assert keys(off).common(keys(late)) == 4
    assert keys(off).common(keys(base)) == 0
    assert keys(base).common(keys(replace(base, seed=4))) == -1
    assert keys(base).common(keys(base, fingerprint={**FINGERPRINT, "model": "other"})) == -1
    # The same schedule, written otherwise; and one that differs in its last step.
    assert keys(replace(off, guidance_schedule="3x6")).common(keys(off)) == 6
    assert keys(replace(off, guidance_schedule="3x5, 2")).common(keys(off)) == 5
    assert keys(replace(off, control_to=3)).common(keys(off)) == 3
    # What a multistep solver does depends on all levels from its first step on.
    multi = replace(off, solver="unipc")
    assert keys(multi).common(keys(replace(multi, steps=7))) == 0
    assert keys(multi).predictions[0] == keys(replace(multi, steps=7)).predictions[0]
    assert keys(off).predictions[0] != keys(multi).predictions[0], "UniPC begins one timestep below"
    # Long clips: each window is a forward of its own.
    long = replace(off, frames=33, window_frames=17, window_overlap=4)
    assert keys(long).forwards == 2 * 2 * 6
    assert keys(replace(off, guidance=1.0)).forwards == 6
    assert keys(replace(off, zero_init_steps=2)).forwards == 2 * 4


def test_equal_cells_have_equal_trails_and_only_they_end_alike():
    sweep = Sweep(
        PROMPT,
        replace(SMALL, loras=(LoraUse("a"),)),
        (make_axis("lora_from_step", [0, 1, 3, 4, 9]), make_axis("guidance_to", [0, 2, 9])),
    )
    cells = plan(sweep, FINGERPRINT, lambda file: file)
    ends = {(cell.id, keys(cell.settings).states[-1]) for cell in cells}
    assert len(ends) == len({id for id, _ in ends}) == len({end for _, end in ends})


def test_a_damaged_or_missing_prefix_is_computed_again(wan, lora, tmp_path, forwards, caplog):
    settings = replace(SMALL, steps=5, loras=(LoraUse(lora),))
    late = Sweep(PROMPT, settings, (make_axis("lora_from_step", [2, 4]),))
    wanted = {cell.id: alone(wan, cell) for cell in plan(late, wan.fingerprint, wan.lora_sha256)}
    folders = []

    def damage(event):
        if isinstance(event, Started) and event.number == 2:
            for file in sorted((store.folder / "prefixes").glob("*.safetensors")):
                folders.append(file)
                changes[0](file)

    def flip(file):
        raw = bytearray(file.read_bytes())
        raw[-5] ^= 16
        file.write_bytes(raw)

    changes = [flip, lambda file: file.write_bytes(b"no"), lambda file: file.unlink()]
    while changes:
        store = CellStore(tmp_path / str(len(folders)))
        forwards.clear()
        result = run_sweep(late, wan, store, on_event=damage)
        assert len(forwards) == 20, "both cells whole"
        for cell in result.cells:
            assert np.array_equal(result.clip(cell).frames, wanted[cell.id])
        changes.pop(0)
    assert len(folders) == 3, "one state a run"
    assert caplog.text.count("damaged") == 2


def test_a_stopped_run_goes_on_from_its_prefixes(wan, lora, store, forwards):
    settings = replace(SMALL, steps=5, loras=(LoraUse(lora),))
    late = Sweep(PROMPT, settings, (make_axis("lora_from_step", [2, 4]),))
    begun = []

    def stop():
        """Before the first step of the second cell, when the first one is on the disk."""
        while len(begun) == 2 and not store.ids():
            time.sleep(0.001)
        return len(begun) == 2

    def listen(event):
        if isinstance(event, Started):
            begun.append(event)

    with pytest.raises(Interrupted, match="1 of 2"):
        run_sweep(late, wan, store, on_event=listen, should_stop=stop)
    first = len(forwards)
    assert first == 10
    result = run_sweep(late, wan, CellStore(store.folder))
    assert len(forwards) - first == 6, "the other cell begins where the first one left its latents"
    for cell in result.cells:
        assert np.array_equal(result.clip(cell).frames, alone(wan, cell))


def test_the_folder_stays_below_its_limit_and_says_when_it_is_full(tmp_path, caplog):
    import torch

    small = {"velocity": torch.zeros(256)}
    prefixes = Prefixes(tmp_path / "p", limit=4000)
    names = [f"{number:064x}" for number in range(4)]
    for age, name in enumerate(names):
        assert prefixes.write(name, small)
        os.utime(tmp_path / "p" / f"{name}.safetensors", (1e9 + age, 1e9 + age))
    assert prefixes.size() <= 4000
    assert prefixes.has(names[3])
    assert not prefixes.has(names[0])
    assert prefixes.read(names[0]) is None
    assert torch.equal(prefixes.read(names[3])["velocity"], small["velocity"])
    blocked = Prefixes(tmp_path / "file" / "p")
    (tmp_path / "file").write_text("in the way")
    assert not blocked.write(names[0], small)
    assert not blocked.write(names[1], small)
    assert caplog.text.count("computed alone") == 1


def test_the_peak_counts_what_lies_there_together():
    base = replace(SMALL, steps=8, loras=(LoraUse("a"),))
    sweep = Sweep(PROMPT, base, (make_axis("lora_from_step", [7, 5, 3]),))
    cells = plan(sweep, FINGERPRINT, lambda file: file)
    trails = {cell.id: keys(cell.settings) for cell in cells}
    sharing = plan_sharing(cells, trails)
    # Both branches keep a state; their next predictions are of another LoRA.
    assert sum(map(len, sharing.takes.values())) == len(sharing.kept) == peak_states(cells, sharing) == 2
    assert sorted(sharing.forwards.values()) == [6, 10, 16]
    assert [sharing.starts[cell.id] for cell in cells] == [0, 5, 3]

"""Reference strength and control strength act apart, and each in its steps."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.grid import write_contact_sheet
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.run import run_sweep
from s2v_core.sweeps.store import CellStore
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import sample
from s2v_core.wan.transformer import scaled
from s2v_core.wan.vace import condition


@pytest.fixture(scope="module")
def run(engine, prompt, settings, control, reference):
    conditioning = condition(engine, prompt, settings, control=control, reference=reference)
    base = replace(settings, precision="float32", steps=2, guidance=1.0)
    return lambda **changes: sample(engine, conditioning, replace(base, **changes))


def cosine(one, two):
    return float((one * two).sum() / (one.norm() * two.norm()))


def test_each_acts_where_the_other_is_0(run):
    def spread(name, other):
        return float((run(**{name: 0.0, other: 0.0}) - run(**{name: 1.0, other: 0.0})).abs().mean())

    assert spread("reference_strength", "control_strength") > 1e-3
    assert spread("control_strength", "reference_strength") > 1e-3


def test_they_push_in_directions_of_their_own(run):
    """The derivatives by the two strengths are not along one line, at several points of the plane."""
    step = 1e-2
    for control, reference in product((0.0, 1.0), (0.0, 1.0)):

        def moved(name, value, control=control, reference=reference):
            return run(**{"control_strength": control, "reference_strength": reference, name: value})

        by_control = moved("control_strength", control + step) - moved("control_strength", control)
        by_reference = moved("reference_strength", reference + step) - moved("reference_strength", reference)
        assert min(by_control.norm(), by_reference.norm()) > 0
        assert abs(cosine(by_control, by_reference)) < 0.9, (control, reference)


def test_equal_strengths_are_one_scale_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        hint = torch.randn((1, 40, 48), generator=generator).to(dtype)
        for strength in (0.1, 0.4, 1.0, 1.7, 3.95):
            for front in (0, 12, 40):
                assert torch.equal(scaled(hint, front, strength, strength), hint * strength)
        apart = scaled(hint, 12, 0.4, 1.7)
        assert torch.equal(apart[:, :12], hint[:, :12] * 1.7) and torch.equal(apart[:, 12:], hint[:, 12:] * 0.4)


def test_windows_of_steps(run):
    both = run()
    off = {"control_strength": 0.0, "reference_strength": 0.0}
    assert torch.equal(run(control_to=2, reference_to=200), both)
    assert torch.equal(run(control_to=0, reference_to=0), run(**off))
    assert torch.equal(run(control_from=2, reference_strength=0.0), run(**off))
    made = [both, run(control_to=1), run(control_from=1), run(reference_to=1), run(reference_from=1), run(**off)]
    for at, one in enumerate(made):
        assert not any(torch.allclose(one, other, atol=1e-4) for other in made[at + 1 :])


def test_reference_strength_needs_a_reference(engine, prompt, settings, control):
    conditioning = condition(engine, prompt, settings, control=control)
    plain = sample(engine, conditioning, settings)
    assert torch.equal(sample(engine, conditioning, replace(settings, reference_strength=0.2)), plain)


def test_where_nothing_steers_the_vace_blocks_do_not_run(engine, prompt, settings, control, reference):
    seen = []
    block = engine.parts["vace"].vace_blocks[0].self_attn
    hook = block.register_forward_pre_hook(lambda *_: seen.append(1))
    try:
        conditioning = condition(engine, prompt, settings, control=control, reference=reference)
        sample(engine, conditioning, replace(settings, steps=3, guidance=1.0, control_to=1, reference_to=2))
    finally:
        hook.remove()
    assert len(seen) == 2


def test_a_sweep_over_both(engine, prompt, settings, control, reference, tmp_path):
    """A grid of 3 x 3 cells: every cell has a picture of its own, and rows and columns are two directions."""
    base = replace(settings, precision="float32", steps=2, guidance=1.0)
    axes = (make_axis("reference_strength", [0, 0.5, 1]), make_axis("control_strength", [0, 0.5, 1]))
    sweep = Sweep(prompt, base, axes)
    result = run_sweep(sweep, Renderer(engine, control, reference), CellStore(tmp_path / "cells"))
    assert len(result.computed) == 9 and not result.failed
    assert result.cells[1].labels == ("reference 0", "control 0.5")
    frames = {cell.index: result.clip(cell).frames.astype(float) for cell in result.cells}
    for one, two in product(frames, frames):
        assert one == two or np.abs(frames[one] - frames[two]).mean() > 0.05
    down = frames[2, 0] - frames[0, 0]
    across = frames[0, 2] - frames[0, 0]
    assert abs((down * across).sum() / np.sqrt((down**2).sum() * (across**2).sum())) < 0.9
    write_contact_sheet(result, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_without_a_reference_its_strength_is_one_cell(engine, prompt, settings, control):
    axes = (make_axis("reference_strength", [0, 1]), make_axis("control_strength", [0.5, 1]))
    cells = plan(Sweep(prompt, settings, axes), Renderer(engine, control).fingerprint, str)
    assert len({cell.id for cell in cells}) == 2

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2v_core.errors import StoreError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis, make_part, zip_axes
from s2v_core.sweeps.plan import plan
from s2v_core.sweeps.planfile import PLAN, planned_result, read_plan, write_plan
from s2v_core.sweeps.run import run_sweep
from s2v_core.wan.settings import LoraUse, SampleSettings

AXES = (
    zip_axes([make_part("steps", [4, 8]), make_part("shift", [3, 5])]),
    make_axis("prompt", ["a dancer", Prompt("ein Tänzer", "unscharf", variant="german")]),
    make_axis("lora_strength", [0, 0.5, 1]),
    make_axis("seed", [0, 2**53 + 1]),
)
SWEEP = Sweep(Prompt("a base", "blurry"), SampleSettings(loras=(LoraUse("a.safetensors"),)), AXES, "four")
CELLS = plan(SWEEP, {"model": "m"}, str)


def test_a_plan_comes_back(tmp_path):
    write_plan(tmp_path / PLAN, SWEEP, CELLS)
    sweep, cells = read_plan(tmp_path / PLAN)
    assert cells == tuple(replace(cell, prompt=replace(cell.prompt, facts=(), origins=())) for cell in CELLS)
    assert (sweep.name, sweep.prompt, sweep.settings) == (SWEEP.name, SWEEP.prompt, SWEEP.settings)
    for read, axis in zip(sweep.axes, SWEEP.axes, strict=True):
        assert (read.name, read.title, read.labels) == (axis.name, axis.title, axis.labels)
        assert [(part.name, part.labels) for part in read.parts] == [(part.name, part.labels) for part in axis.parts]
    write_plan(tmp_path / "again.json", sweep, cells)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / PLAN).read_bytes()


def test_cells_say_only_what_they_have_of_their_own(tmp_path):
    write_plan(tmp_path / PLAN, SWEEP, CELLS)
    said = json.loads((tmp_path / PLAN).read_text())
    assert set(said["cells"][0]["settings"]) == {"steps", "shift", "loras"}
    assert len(said["prompts"]) == 3
    assert (tmp_path / PLAN).stat().st_size < 12_000


def test_what_is_stored_of_a_plan(sweep, renderer, store):
    folder = store.folder.parent
    with pytest.raises(StoreError, match="There is no plan"):
        planned_result(folder)
    result = run_sweep(sweep, renderer, store)
    write_plan(folder / PLAN, sweep, result.cells)
    gone = result.cells[1].id
    store.discard(store.path(gone))
    (store.path(result.cells[2].id) / "clip.mkv").write_bytes(b"cut")
    found = planned_result(folder)
    assert found.cells == result.cells
    assert found.reused == tuple(cell.id for cell in result.cells if cell.index not in [(0, 1), (1, 0)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_plan_is_an_error_of_ours(tmp_path, data):
    """Whatever stands in the file in place of any of its values."""
    write_plan(tmp_path / PLAN, SWEEP, CELLS[:3])
    said = json.loads((tmp_path / PLAN).read_text())
    at, key = said, None
    for _ in range(data.draw(st.integers(1, 4))):
        if not isinstance(at, (dict, list)) or not at:
            break
        holder, key = at, data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        at = at[key]
    holder[key] = data.draw(st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.none()))
    (tmp_path / PLAN).write_text(json.dumps(said))
    try:
        read_plan(tmp_path / PLAN)
    except StoreError as error:
        assert str(tmp_path) in error.problem


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', "{}", '{"kind": "other", "version": 1}', "\udcff"])
def test_other_files_are_no_plans(tmp_path, text):
    (tmp_path / PLAN).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError):
        read_plan(tmp_path / PLAN)

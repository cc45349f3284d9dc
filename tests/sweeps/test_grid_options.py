from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from s2v_core.cli import app
from s2v_core.errors import SettingsError, StoreError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.grid import grid_clip, write_contact_sheet
from s2v_core.sweeps.gridoptions import Arrangement, GridOptions, arrange
from s2v_core.sweeps.gridpage import GridPage
from s2v_core.sweeps.layout import Header, Page, lay_out
from s2v_core.sweeps.paint import BEST
from s2v_core.sweeps.pick import PickOptions, cell_metadata, pick_cell, settings_text
from s2v_core.sweeps.run import SweepResult, run_sweep
from s2v_core.sweeps.scores import best_cells, metrics_of, say_score
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.stored import result_of_store, result_of_sweep
from s2v_core.video import text
from s2v_core.video.metadata import OWN, read_metadata

TILE = (64, 32)


@pytest.fixture(scope="module")
def result(pictures, tiny, tmp_path_factory) -> SweepResult:
    """Three guidances by two seeds by two shifts."""
    axes = (make_axis("guidance", [1, 2, 3]), make_axis("seed", [0, 1]), make_axis("shift", [3, 5]))
    sweep = Sweep(Prompt("a dancer", "blurry"), tiny, axes, name="three axes")
    store = CellStore(tmp_path_factory.mktemp("results") / "cells")
    return run_sweep(sweep, pictures.PictureRenderer(), store)


def words(layout) -> str:
    return " | ".join(" ".join(block.lines) for block in layout.blocks).replace("\N{NO-BREAK SPACE}", " ")


def numbers(result, **values):
    """Scores by metric, in the order of the cells."""
    ids = [cell.id for cell in result.cells]
    return {id: {metric: line[at] for metric, line in values.items()} for at, id in enumerate(ids)}


@pytest.mark.parametrize(
    ("counts", "layout", "rows", "columns", "pages"),
    [
        ([3], "auto", (), (0,), ()),
        ([3, 2], "auto", (0,), (1,), ()),
        ([3, 2, 2], "auto", (0,), (2, 1), ()),
        ([3, 2, 2], "pages", (0,), (1,), (2,)),
        ([3, 2, 2, 2], "auto", (3, 0), (2, 1), ()),
        ([3, 7, 2], "auto", (2, 0), (1,), ()),
        ([7, 7, 2], "auto", (0,), (1,), (2,)),
        ([7, 7, 2], "nested", (0,), (2, 1), ()),
        ([2, 2, 2, 2, 2], "nested", (3, 0), (2, 1), (4,)),
    ],
)
def test_which_axis_runs_where(tiny, counts, layout, rows, columns, pages):
    names = ("guidance", "seed", "shift", "steps", "control_strength")
    axes = [make_axis(name, range(1, count + 1)) for name, count in zip(names, counts, strict=False)]
    assert arrange(Sweep(Prompt("a"), tiny, tuple(axes)), layout) == Arrangement(rows, columns, pages)


def test_nested_cells_stand_below_their_headers(result, pictures):
    drawn = GridPage(result, TILE, 0)
    where, frame = drawn.layout, next(drawn.frames())
    assert (len(where.corners), len(where.corners[0])) == (3, 4)
    for cell in result.cells:
        guidance, seed, shift = cell.index
        x, y = where.corners[guidance][shift * 2 + seed]
        shown = pictures.picture(cell.prompt, cell.settings).frames[0].repeat(2, 0).repeat(2, 1)
        assert np.array_equal(frame[y : y + 32, x : x + 64], shown)
    xs = [x for x, _ in where.corners[0]]
    assert xs[2] - xs[1] > xs[1] - xs[0], "groups stand apart"
    assert [rule[0] for rule in where.rules] == [xs[0], xs[2]]
    assert "shift" in words(where)


def test_inputs_stand_above_and_move_in_step(result):
    control = np.zeros((3, 16, 32, 3), np.uint8)
    control[0], control[1], control[2] = 50, 100, 150
    reference = np.full((1, 16, 32, 3), 200, np.uint8)
    inputs = {"control video": control, "reference": reference}
    drawn = GridPage(result, TILE, 0, inputs=inputs)
    (x, y), (x2, y2) = drawn.layout.inputs
    assert y + TILE[1] < min(line[0][1] for line in drawn.layout.corners)
    for frame, level in zip(drawn.frames(), (50, 100, 150, 150, 150), strict=True):
        assert (frame[y : y + 32, x : x + 64] == level).all()
        assert (frame[y2 : y2 + 32, x2 : x2 + 64] == 200).all()
    assert "control… | reference" in words(drawn.layout)
    sheet = GridPage(result, TILE, 0, ("first", "last"), inputs=inputs).sheet()
    assert (sheet == 150).all(axis=2).sum() >= 64 * 32


def test_scores_below_cells_and_the_best_marked(result):
    pck = [0.5, 0.91, 0.3, *[0.1] * 9]
    scores = numbers(result, pck=pck, flicker=[3.0, 2.0, 1.0, *[9.0] * 9])
    drawn = GridPage(result, (96, 48), 0, scores=scores, options=GridOptions(best="pck", lower="flicker"))
    frame = next(drawn.frames())
    assert drawn.layout.strip > 2 * 11
    marked = []
    for cell in result.cells:
        guidance, seed, shift = cell.index
        x, y = drawn.layout.corners[guidance][shift * 2 + seed]
        if (frame[y - 2, x : x + 96] == BEST).all():
            marked.append(cell.id)
    assert marked == [result.cells[1].id]
    plain = GridPage(result, (96, 48), 0, scores={})
    assert plain.layout.strip == 0
    with pytest.raises(SettingsError, match="No cell has a score"):
        GridPage(result, TILE, 0, scores=scores, options=GridOptions(best="pkc"))


def test_scores_as_text():
    assert [say_score(value, 0.9) for value in (0.9134, 0.0281, None)] == ["0.913", "0.028", "–"]
    assert [say_score(value) for value in (12.34, 1480.4, 0.0, -3.0)] == ["12.3", "1480", "0", "-3.00"]
    scores = {"a": {"m": 1.0, "n": float("nan")}, "b": {"m": {"value": 2}}, "c": {"m": None}}
    assert metrics_of(scores, "abc") == ("m",)
    assert best_cells(scores, "abc", "m") == ("b",)
    assert best_cells(scores, "abc", "m", lower=True) == ("a",)
    with pytest.raises(SettingsError, match="No cell has a score"):
        best_cells(scores, "abc", "n")


def test_scale_and_limit_are_said(result):
    small = GridPage(result, None, 0, options=GridOptions(scale=2))
    assert small.layout.tile == (64, 32)
    assert "shown at 200%" in words(small.layout)
    limited = GridPage(result, None, 0, options=GridOptions(scale=16, limit=800))
    assert max(limited.layout.size) <= 800
    assert "made smaller to keep the page within 800 pixels a side" in words(limited.layout)
    with pytest.raises(SettingsError, match="layout"):
        GridOptions(layout="spiral")


def test_sixty_characters_in_three_scripts_are_shown_whole():
    said = [
        "A dancer with wavy black hair in a bright studio, full body.",
        "Танцор с волнистыми чёрными волосами в светлой студии, рост.",
        "明るいスタジオで踊る波打つ黒髪と丸眼鏡の男性ダンサー全身が見える白い壁と灰色の床やわらかい光と正面の固定カメラから撮影した映像",
    ]
    said[2] = said[2][:60]
    assert {len(label) for label in said} == {60}
    assert not text.missing_characters("".join(said))
    page = Page("t", "", (), Header("prompt", tuple(said)), Header("prompt", tuple(said)))
    where = lay_out(page, (192, 192))
    shown = ["".join(block.lines).replace(" ", "") for block in where.blocks]
    for label in said:
        assert shown.count(label.replace(" ", "")) == 2


def test_picking_cells(result):
    pick = lambda **how: pick_cell(result, PickOptions(**how))  # noqa: E731
    assert pick(number=5) is result.cells[4]
    chosen = pick(by="label", label="seed 1, guidance 2, shift 5")
    assert chosen.labels == ("guidance 2", "seed 1", "shift 5")
    assert pick(by="label", label="guidance 3").labels[0] == "guidance 3"
    with pytest.raises(SettingsError, match="Did you mean guidance 3") as told:
        pick(by="label", label="guidnce 3")
    assert "guidnce" in str(told.value)
    for how in ({"number": 13}, {"by": "label"}, {"by": "best", "metric": "pck"}):
        with pytest.raises(SettingsError):
            pick(**how)
    scores = numbers(result, pck=[*range(11), 3])
    best = pick_cell(result, PickOptions(by="best", metric="pck"), scores)
    assert best is result.cells[10]
    assert pick_cell(result, PickOptions(by="best", metric="pck", lowest=True), scores) is result.cells[0]
    assert "guidance: 3" in settings_text(best)
    assert cell_metadata(result, best)[OWN]["id"] == best.id


def test_a_grid_out_of_a_store_is_the_same_grid(result):
    again = result_of_store(result.store)
    assert [axis.title for axis in again.sweep.axes] == ["guidance", "seed", "shift"]
    by_id = {cell.id: cell.index for cell in again.cells}
    assert by_id == {cell.id: cell.index for cell in result.cells}
    first, second = (grid_clip(one, tile=TILE, frames=1).frames[0] for one in (result, again))
    top = GridPage(result, TILE, 0).layout.corners[0][0][1]
    assert np.array_equal(first[top:], second[top:])
    known, several = result_of_sweep(result.sweep, result.store, str)
    assert several == 0
    assert [cell.id for cell in known.cells] == [cell.id for cell in result.cells]
    with pytest.raises(StoreError, match="which sweep"):
        result_of_store(result.store, "another")


def test_grids_on_the_command_line(result, tmp_path):
    out = tmp_path / "grid.png"
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps(numbers(result, pck=[0.1 * n for n in range(12)])))
    call = ["sweep", "grid", str(result.store.folder.parent), "--out", str(out), "--scores", str(scores)]
    said = CliRunner().invoke(app, [*call, "--best", "pck", "--layout", "pages", "--page", "2", "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["files"] == [str(out)]
    own = read_metadata(out)[OWN]
    assert (own["sweep"], len(own["cells"])) == ("three axes", 12)
    shown = CliRunner().invoke(app, ["sweep", "show", str(out), "--json"])
    assert json.loads(shown.stdout)["axes"][0] == {"name": "guidance", "labels": list(result.sweep.axes[0].labels)}
    wrong = CliRunner().invoke(app, [*call[:4], str(tmp_path / "grid.avi"), "--json"])
    assert wrong.exit_code == 1
    assert "cannot be written as" in json.loads(wrong.stdout)["error"]["problem"]


def test_files_carry_the_graph_beside_the_settings(result, tmp_path):
    graph = {"workflow": {"nodes": []}, "prompt": {"1": {}}}
    renamed = replace(result, sweep=replace(result.sweep, name="Größe"))
    (file,) = write_contact_sheet(renamed, tmp_path / "a.png", tile=TILE, metadata=graph)
    found = read_metadata(file)
    assert (found["workflow"], found["prompt"], found[OWN]["sweep"]) == (*graph.values(), "Größe")

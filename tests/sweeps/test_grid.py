from __future__ import annotations

import subprocess
import sys
import unicodedata
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from s2v_core.errors import Interrupted, SettingsError
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps import layout
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.grid import (
    GridOptions,
    contact_sheet,
    grid_clip,
    pages,
    write_contact_sheet,
    write_grid,
)
from s2v_core.sweeps.gridpage import fit_tile
from s2v_core.sweeps.layout import FAILED_GROUND, Header, Page, lay_out, tile_size
from s2v_core.sweeps.run import SweepResult, run_sweep, stored_result
from s2v_core.video import text
from s2v_core.video.clip import Clip
from s2v_core.video.read import read_clip

TILE = (64, 32)


@pytest.fixture
def result(sweep, renderer, store) -> SweepResult:
    return run_sweep(sweep, renderer, store)


def laid_out(result: SweepResult, tile=TILE, **more) -> layout.Layout:
    from s2v_core.sweeps.gridpage import GridPage

    return GridPage(result, tile, more.get("page", 0), options=more.get("options")).layout


def tile_at(frame, where: layout.Layout, row: int, column: int):
    x, y = where.corners[row][column]
    return frame[y : y + where.tile[1], x : x + where.tile[0]]


def test_frame_t_of_the_grid_shows_frame_t_of_every_cell(result, pictures):
    clip = grid_clip(result, tile=TILE)
    where = laid_out(result)
    assert (len(clip), clip.fps) == (5, Fraction(16))
    assert (clip.width, clip.height) == where.size
    for cell in result.cells:
        shown = pictures.picture(cell.prompt, cell.settings).frames
        for t in range(5):
            doubled = shown[t].repeat(2, axis=0).repeat(2, axis=1)
            assert np.array_equal(tile_at(clip.frames[t], where, *cell.index), doubled)


def test_only_the_tiles_move(result):
    frames = grid_clip(result, tile=TILE).frames
    where = laid_out(result)
    still = np.ones(frames.shape[1:3], bool)
    for line in where.corners:
        for x, y in line:
            still[y : y + TILE[1], x : x + TILE[0]] = False
    assert (frames[:, still] == frames[0, still]).all()


def test_shorter_cells_hold_their_last_frame_and_it_is_said(sweep, renderer, store):
    render = renderer.render

    def shorter(prompt, settings, **more):
        clip = render(prompt, settings, **more)
        return clip.with_frames(clip.frames[:2]) if settings.seed else clip

    renderer.render = shorter
    result = run_sweep(sweep, renderer, store)
    clip, where = grid_clip(result, tile=TILE), laid_out(result)
    assert len(clip) == 5
    for t in (2, 3, 4):
        assert np.array_equal(tile_at(clip.frames[t], where, 0, 1), tile_at(clip.frames[1], where, 0, 1))
        assert not np.array_equal(tile_at(clip.frames[t], where, 0, 0), tile_at(clip.frames[1], where, 0, 0))
    assert "hold their last frame" in said(where)


def said(where: layout.Layout) -> str:
    return " | ".join(" ".join(block.lines) for block in where.blocks).replace("\N{NO-BREAK SPACE}", " ")


def test_headers_name_axes_and_values_and_the_rest_is_in_the_head(result):
    words = said(laid_out(result, tile=(300, 150)))
    for part in ("three by two", "guidance", "seed", "32 × 16", "5 frames at 16 a second", "steps 2", "“a dancer”"):
        assert part in words
    for gone in ("guidance 5", "seed 0"):
        assert gone not in words
    bold = [block.lines for block in laid_out(result).blocks]
    for value in ("1", "2", "3", "0"):
        assert (value,) in bold


def test_failed_and_missing_cells_are_drawn_as_such(sweep, renderer, store):
    def fails(prompt, settings):
        if settings.guidance == 2:
            raise ValueError("the reason")

    renderer.fails = fails
    result = run_sweep(sweep, renderer, store)
    frame, where = grid_clip(result, tile=(200, 100)).frames[0], laid_out(result, tile=(200, 100))
    failed = tile_at(frame, where, 1, 0)
    assert tuple(failed[-3, -3]) == FAILED_GROUND
    assert (failed != FAILED_GROUND).any(axis=2).sum() > 500, "heading and reason are written"
    assert "2 of 6 cells have no video" in said(where)
    missing = stored_result(sweep, renderer, store)
    frame = grid_clip(missing, tile=(200, 100)).frames[0]
    assert tuple(tile_at(frame, laid_out(missing, tile=(200, 100)), 1, 0)[-3, -3]) == text.TILE
    assert contact_sheet(result, tile=TILE).ndim == 3


def test_a_grid_of_nothing(sweep, renderer, store):
    clip = grid_clip(stored_result(sweep, renderer, store))
    assert len(clip) == 1


def test_further_axes_are_pages(tiny, renderer, store, pictures, tmp_path):
    axes = tuple(make_axis(*axis) for axis in (("guidance", [1, 2]), ("seed", [0, 1, 2]), ("shift", [3, 5])))
    result = run_sweep(Sweep(Prompt("a"), tiny, axes), renderer, store)
    paged = GridOptions(layout="pages")
    assert (pages(result.sweep), pages(result.sweep, "pages")) == (1, 2)
    where = laid_out(result, page=1, options=paged)
    assert "shift 5 (page 2 of 2)" in said(where)
    frame = grid_clip(result, tile=TILE, page=1, options=paged).frames[3]
    for cell in result.cells:
        if cell.index[2] == 1:
            shown = pictures.picture(cell.prompt, cell.settings).frames[3].repeat(2, 0).repeat(2, 1)
            assert np.array_equal(tile_at(frame, where, *cell.index[:2]), shown)
    with pytest.raises(SettingsError, match="no page 2"):
        grid_clip(result, page=2, options=paged)
    files = write_contact_sheet(result, tmp_path / "sheet.png", tile=TILE, options=paged)
    assert [file.name for file in files] == ["sheet-1.png", "sheet-2.png"]
    assert [file.name for file in write_grid(result, tmp_path / "g.mp4", tile=TILE, page=1, options=paged)] == ["g.mp4"]


def test_one_axis_is_one_row(tiny, renderer, store):
    result = run_sweep(Sweep(Prompt("a"), tiny, (make_axis("seed", [0, 1, 2]),)), renderer, store)
    where = laid_out(result)
    assert len(where.corners) == 1
    assert len(where.corners[0]) == 3


@pytest.mark.parametrize("suffix", [".mp4", ".webp"])
def test_written_grids_read_back(result, tmp_path, suffix):
    seen = []
    (path,) = write_grid(result, tmp_path / f"grid{suffix}", tile=TILE, on_progress=lambda *at: seen.append(at))
    drawn = grid_clip(result, tile=TILE)
    back = read_clip(path, fps=16, frames=5)
    assert (back.width, back.height) == (drawn.width, drawn.height)
    assert back.width % 2 == back.height % 2 == 0
    assert np.abs(back.frames.astype(int) - drawn.frames).mean() < 6
    assert seen == [(n, 5) for n in range(1, 6)]


def test_writing_can_be_stopped_and_leaves_nothing(result, tmp_path):
    with pytest.raises(Interrupted):
        write_grid(result, tmp_path / "grid.mp4", tile=TILE, should_stop=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


def test_contact_sheet_shows_the_chosen_frames(result, pictures, tmp_path):
    cell = result.cells[2]
    shown = pictures.picture(cell.prompt, cell.settings).frames
    sheet = contact_sheet(result, frames=("first", "middle", "last", 99), tile=(32, 16))
    one = contact_sheet(result, frames=3, tile=(32, 16))

    def has(picture, part):
        return any(
            np.array_equal(picture[y : y + 16, x : x + 32], part)
            for y, x in np.argwhere((picture[:-15, :-31] == part[0, 0]).all(axis=2))
        )

    for t in (0, 2, 4):
        assert has(sheet, shown[t])
    assert not has(sheet, shown[3])
    assert has(one, shown[3])
    (path,) = write_contact_sheet(result, tmp_path / "sheet.png", frames=3, tile=(32, 16))
    assert np.array_equal(np.asarray(Image.open(path)), one)


@pytest.mark.parametrize("frames", [(), ("fist",), (-1,), (True,)])
def test_frames_that_make_no_sense(result, frames):
    with pytest.raises(SettingsError, match="cannot be shown"):
        contact_sheet(result, frames=frames)


def test_other_refusals(result, tmp_path):
    with pytest.raises(SettingsError, match="8 pixels"):
        grid_clip(result, tile=(4, 4))
    with pytest.raises(SettingsError, match="would be"):
        grid_clip(result, tile=(9000, 100))
    with pytest.raises(SettingsError, match="is a PNG"):
        write_contact_sheet(result, tmp_path / "sheet.jpg")


@pytest.mark.parametrize(
    ("clip", "rows", "columns", "tile"),
    [
        ((64, 64), 1, 1, (192, 192)),
        ((64, 64), 9, 30, (192, 192)),
        ((32, 16), 1, 1, (160, 80)),
        ((159, 100), 1, 1, (318, 200)),
        ((832, 480), 1, 2, (832, 480)),
        ((832, 480), 1, 40, (160, 92)),
        ((480, 832), 20, 1, (160, 277)),
    ],
)
def test_tile_sizes(clip, rows, columns, tile):
    assert tile_size(clip, rows, columns) == tile


def test_a_real_sized_page_is_a_readable_size():
    tile = tile_size((832, 480), 7, 5)
    page = Page("name", "", ("settings",), Header("guidance", tuple("1234567")), Header("LoRA", tuple("12345")))
    width, height = lay_out(page, tile).size
    assert 1500 < width <= 2560
    assert 1000 < height <= 1600


def test_pictures_keep_their_shape_in_a_tile():
    frame = np.full((10, 40, 3), 200, np.uint8)
    fitted = fit_tile(frame, (90, 90))
    rows = np.flatnonzero((fitted == 200).all(axis=2).any(axis=1))
    columns = np.flatnonzero((fitted == 200).all(axis=2).any(axis=0))
    assert (len(rows), len(columns)) == (20, 80)
    assert tuple(fitted[0, 0]) == text.GROUND
    assert abs((rows[0] + rows[-1]) / 2 - 44.5) < 1
    almost = fit_tile(np.full((480, 832, 3), 200, np.uint8), (330, 191))
    assert (almost == 200).all(), "no dark line where only rounding differs"
    wide = fit_tile(np.full((480, 832, 3), 200, np.uint8), (160, 160))
    assert (wide == 200).all(axis=2).any(axis=1).sum() == round(480 * 160 / 832)
    assert tuple(wide[0, 0]) == text.GROUND


labels = st.lists(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=90), min_size=1, max_size=4
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(labels, labels, st.text(max_size=200), st.integers(32, 400), st.integers(16, 300), st.booleans())
def test_text_never_leaves_the_page_nor_runs_into_a_tile(rows, columns, words, width, height, single):
    page = Page(
        words, "", (words, words), Header("" if single else "guidance", tuple(rows)), Header("LoRA", tuple(columns))
    )
    where = lay_out(page, (width, height))
    assert where.size[0] % 2 == where.size[1] % 2 == 0
    tiles = [(x, y, x + width, y + height) for line in where.corners for x, y in line]
    for x, y, right, bottom in tiles:
        assert 0 < x < right < where.size[0]
        assert 0 < y < bottom < where.size[1]
    for block in where.blocks:
        if not any(line.strip() for line in block.lines):
            continue
        right = block.x + max(text.width_of(line, block.font) for line in block.lines)
        bottom = block.y + len(block.lines) * text.line_height(block.font)
        # A single glyph may be wider than a very narrow column.
        if max(map(len, block.lines)) > 2:
            assert 0 < block.x < right <= where.size[0]
        assert 0 < block.y < bottom <= where.size[1]
        for tile in tiles:
            apart = right <= tile[0] or block.x >= tile[2] or bottom <= tile[1] or block.y >= tile[3]
            assert apart, (block.lines, tile)


@given(st.text(max_size=300), st.integers(20, 400), st.integers(1, 5))
def test_wrapping_keeps_words_and_widths(words, width, lines):
    font = text.get_font(16)
    wrapped = text.wrap(words, font, width, lines)
    assert len(wrapped) <= lines
    assert all(text.width_of(line, font) <= width for line in wrapped if len(line) > 2)
    if not wrapped or not wrapped[-1].endswith(text.ELLIPSIS):
        shapeless = ("Cc", "Cs", "Zl", "Zp")
        kept = "".join(letter for letter in words if unicodedata.category(letter) not in shapeless and letter != " ")
        assert "".join(wrapped).replace(" ", "") == kept


def test_no_line_of_a_broken_word_begins_with_a_closing_mark():
    font, letters = text.get_font(16), "黒い髪、白いシャツ、明るい。全身が見える」鮮明"
    starts = set()
    for width in range(60, 300):
        wrapped = text.wrap(letters, font, width, 9)
        assert "".join(wrapped) == letters
        starts |= {line[0] for line in wrapped}
    assert len(starts) > 8 and not starts & set("、。」")
    assert text.wrap("、" * 9, font, text.width_of("、" * 3, font), 9) == ["、" * 3] * 3


def test_a_long_label_ends_in_an_ellipsis():
    assert len(text.wrap("x" * 300_000, text.get_font(16), 200, 3)) == 3
    wrapped = text.wrap("a dancer in a bright studio, full body, " * 9, text.get_font(16), 200, 3)
    assert len(wrapped) == 3
    assert wrapped[-1].endswith(text.ELLIPSIS)


def test_characters_that_the_fonts_lack_are_named(tiny, renderer, store, monkeypatch):
    assert text.missing_characters("Größe Ω й — ダンス 舞蹈 춤 नृत्य") == "नतय"
    axes = (make_axis("prompt", ["नृत्य", "dance"]), make_axis("seed", [0]))
    result = run_sweep(Sweep(Prompt("a"), tiny, axes), renderer, store)
    assert "3 characters of the labels are not in the font" in said(laid_out(result))
    axes = (make_axis("prompt", ["ダンス", "dance"]), make_axis("seed", [0]))
    result = run_sweep(Sweep(Prompt("a"), tiny, axes), renderer, store)
    assert "not in the font" not in said(laid_out(result))


def without(monkeypatch, *packages):
    """Takes packages of fonts away; gives what brings them back."""
    found = text.find_spec
    caches = (text.font_folder, text.get_font, text.cjk_file, text.get_cjk_font, text._has)

    def clear():
        for cached in caches:
            cached.cache_clear()

    clear()
    monkeypatch.setattr(text, "find_spec", lambda name: None if name in packages else found(name))
    return lambda: (monkeypatch.undo(), clear())


def test_without_the_large_font_it_is_said_which_package_brings_it(monkeypatch, tiny, renderer, store):
    back = without(monkeypatch, "noto_cjk_sans_jp_regular")
    try:
        axes = (make_axis("prompt", ["ダンス", "dance"]), make_axis("seed", [0]))
        result = run_sweep(Sweep(Prompt("a"), tiny, axes), renderer, store)
        words = said(laid_out(result))
        assert "3 characters of the labels are not in the font" in words
        assert "noto-cjk-sans-jp-regular" in words
    finally:
        back()


def test_without_any_package_the_built_in_font_serves(monkeypatch, result):
    back = without(monkeypatch, "matplotlib", "noto_cjk_sans_jp_regular")
    try:
        assert grid_clip(result, tile=TILE).frames.std() > 5
        assert text.missing_characters("a guidance 7.5 ダ") == "ダ"
    finally:
        back()


def test_rates_that_differ_are_said(sweep, renderer, store):
    render = renderer.render
    renderer.render = lambda prompt, settings, **more: Clip(
        render(prompt, settings, **more).frames, Fraction(8 + 8 * settings.seed)
    )
    result = run_sweep(sweep, renderer, store)
    assert "several frame rates" in said(laid_out(result))


def test_drawing_imports_no_matplotlib_and_the_light_files_no_pictures():
    code = (
        "import sys; import s2v_core.sweeps.axes, s2v_core.sweeps.parse, s2v_core.sweeps.plan; "
        "assert not {'numpy', 'PIL', 'pydantic', 'av'} & set(sys.modules); "
        "from s2v_core.video.text import get_font, missing_characters; get_font(12); missing_characters('x'); "
        "import s2v_core.sweeps.grid, s2v_core.sweeps.run, s2v_core.sweeps.load; "
        "assert not {'torch', 'av', 'cv2', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=60)


def test_names_do_not_matter_to_a_second_name(result):
    """The title is the sweep's name; nothing else of the picture changes with it."""
    other = replace(result, sweep=replace(result.sweep, name="renamed"))
    first, second = (grid_clip(one, tile=TILE).frames[0] for one in (result, other))
    where = laid_out(result)
    top = where.corners[0][0][1]
    assert np.array_equal(first[top:], second[top:])
    assert not np.array_equal(first[:top], second[:top])

"""Contact sheets of a prepared dataset: first frame, pose and the pose over two later frames of every clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from ..files import atomic_path
from ..video.text import DIM, GROUND, TEXT, TILE, get_font, line_height, wrap
from .manifest import chips_of

if TYPE_CHECKING:
    from .look import Item

COLUMNS = 2
_STRIP = 960  # pixels wide
_MARGIN, _GAP, _PAD = 32, 24, 10
_BAD, _NOTE = (255, 120, 120), (240, 190, 90)
_MOST_PROBLEMS = 12


def write_sheets(
    items: Sequence[Item], report: dict[str, Any], strips: Path, folder: Path, most: int
) -> tuple[Path, ...]:
    """Write ``sheet-1.jpg``, ``sheet-2.jpg``... of at most ``most`` clips each, in the order of ``items``.

    ``strips``: the folder with a picture ``ID.jpg`` for each clip. The first sheet begins with what failed.
    """
    pages = [items[at : at + most] for at in range(0, len(items), most)] or [[]]
    written = []
    for number, page in enumerate(pages, 1):
        failed = report.get("problems", []) if number == 1 else []
        title = f"{len(items)} clips" + (f", sheet {number} of {len(pages)}" if len(pages) > 1 else "")
        path = folder / f"sheet-{number}.jpg"
        with atomic_path(path) as temporary:
            _sheet(title, page, failed, strips).save(temporary, format="JPEG", quality=88)
        written.append(path)
    return tuple(written)


def _sheet(title: str, items: Sequence[Item], failed: list[dict[str, str]], strips: Path) -> Image.Image:
    big, plain, small = get_font(30, True), get_font(19), get_font(16)
    width = 2 * _MARGIN + COLUMNS * _STRIP + (COLUMNS - 1) * _GAP
    cells = [_cell(item, strips) for item in items]
    rows = [cells[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)]
    shown, more = failed[:_MOST_PROBLEMS], len(failed) - _MOST_PROBLEMS
    lines = [
        problem["problem"] if problem["file"] in problem["problem"] else f"{problem['file']}: {problem['problem']}"
        for problem in shown
    ]
    lines += [f"... and {more} more: see the page" for _ in range(more > 0)]
    head = _MARGIN + line_height(big) + 8 + len(lines) * line_height(plain) + (16 if lines else 8)
    height = head + sum(max(cell.height for cell in row) + _GAP for row in rows) + _MARGIN
    sheet = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(sheet)
    told = f"{title}, {len(failed)} failed" if failed else title
    pen.text((_MARGIN, _MARGIN), told, TEXT, big)
    y = _MARGIN + line_height(big) + 8
    for line in lines:
        pen.text((_MARGIN, y), wrap(line, plain, width - 2 * _MARGIN, 1)[0], _BAD, plain)
        y += line_height(plain)
    legend = "first frame  ·  its pose  ·  pose over the middle frame  ·  over the last frame"
    pen.text((width - _MARGIN, _MARGIN + 12), legend, DIM, small, anchor="ra")
    y = head
    for row in rows:
        for column, cell in enumerate(row):
            sheet.paste(cell, (_MARGIN + column * (_STRIP + _GAP), y))
        y += max(cell.height for cell in row) + _GAP
    return sheet


def _cell(item: Item, strips: Path) -> Image.Image:
    """One clip: its strip, its name, and what is to be said of it."""
    bold, small = get_font(19, True), get_font(16)
    known = " · ".join(chips_of(item.row))
    said = [(fault, _BAD) for fault in item.faults] + [(note, _NOTE) for note in item.row.get("notes", ())]
    lines = [(line, colour) for text, colour in said[:3] for line in wrap(text, small, _STRIP - 2 * _PAD, 2)]
    if known:
        lines.insert(0, (wrap(known, small, _STRIP - 2 * _PAD, 1)[0], DIM))
    if len(said) > 3:
        lines.append((f"... and {len(said) - 3} more", DIM))
    path = strips / f"{Path(item.row['id']).name}.jpg"
    strip = _opened(path)
    high = round(strip.height * _STRIP / strip.width) if strip else 60
    height = high + _PAD + line_height(bold) + len(lines) * line_height(small) + _PAD
    cell = Image.new("RGB", (_STRIP, height), TILE)
    pen = ImageDraw.Draw(cell)
    if strip:
        cell.paste(strip.resize((_STRIP, high), Image.Resampling.LANCZOS), (0, 0))
    else:
        pen.text((_PAD, 18), "no pictures", DIM, bold)
    y = high + _PAD
    pen.text((_PAD, y), wrap(item.row["id"], bold, _STRIP - 200, 1)[0], TEXT, bold)
    pen.text((_STRIP - _PAD, y), item.row["split"], DIM, bold, anchor="ra")
    y += line_height(bold)
    for line, colour in lines:
        pen.text((_PAD, y), line, colour, small)
        y += line_height(small)
    return cell


def _opened(path: Path) -> Image.Image | None:
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return picture.convert("RGB")

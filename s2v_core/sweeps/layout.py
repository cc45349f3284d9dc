"""Where everything of a grid page stands, and the still part of the page: title, headers, empty tiles, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..errors import SettingsError
from ..video.text import DIM, GROUND, TEXT, TILE, Font, get_font, line_height, missing_characters, width_of, wrap

FAILED_GROUND, FAILED_EDGE, FAILED_TEXT = (46, 29, 33), (120, 58, 66), (255, 150, 150)

SMALLEST_TILE = 160
# A page is drawn within these sides where the smallest tile allows it; no codec takes more than the limit.
PAGE_WIDTH, PAGE_HEIGHT, PAGE_LIMIT = 2560, 1600, 16382
_LEAST_WIDTH = 480


@dataclass(frozen=True)
class Header:
    """One axis along the page: its title and a text for each row or column. An empty title takes no room."""

    title: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What a page says: ``title``, ``subtitle`` (which page), ``lines`` below, the headers, ``notes`` at the foot."""

    title: str
    subtitle: str
    lines: tuple[str, ...]
    rows: Header
    columns: Header
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """Lines of text with their top left corner."""

    x: int
    y: int
    lines: tuple[str, ...]
    font: Font
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels. ``size``: (width, height) of the page, both even. ``tile``: (width, height).

    ``corners[row][column]``: top left (x, y) of each tile.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    corners: tuple[tuple[tuple[int, int], ...], ...]
    blocks: tuple[Block, ...]
    text_size: int


def tile_size(clip: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    """The size of a tile for clips of (width, height): as large as a page of readable size allows.

    Clips narrower than 160 pixels grow by a whole factor; larger ones shrink, but not below 160 pixels of width.
    """
    width, height = clip
    if width < SMALLEST_TILE:
        factor = -(-SMALLEST_TILE // width)
        return width * factor, height * factor
    scale = min(1.0, PAGE_WIDTH * 0.88 / (columns * width), PAGE_HEIGHT * 0.82 / (rows * height))
    scale = max(scale, SMALLEST_TILE / width)
    return round(width * scale), max(1, round(height * scale))


def lay_out(page: Page, tile: tuple[int, int], strips: bool = False) -> Layout:
    """Measure all text and place everything; ``strips`` asks for wider gutters.

    Raises ``SettingsError`` when the page is larger than a codec takes.
    """
    columns, rows = len(page.columns.labels), len(page.rows.labels)
    area = columns * tile[0]
    size = int(min(30, max(15, area / 75)))
    margin, gutter = round(size * 1.4), max(6, round(size * (1.0 if strips else 0.45)))
    plain, bold, small = get_font(size), get_font(size, True), get_font(round(size * 0.85))

    left = margin
    row_blocks: list[list[str]] = [[] for _ in range(rows)]
    if page.rows.title:
        widest = max(round(size * 6), min(round(size * 14), area // 3))
        fitting = max(1, tile[1] // line_height(bold))
        row_blocks = [wrap(label, bold, widest, min(6, fitting)) for label in page.rows.labels]
        axis = wrap(page.rows.title, small, widest, 2)
        used = [width_of(line, bold) for lines in row_blocks for line in lines]
        left += max([*used, *(width_of(line, small) for line in axis)]) + round(size * 1.1)

    width = left + area + gutter * (columns - 1) + margin
    width = max(width, _LEAST_WIDTH)
    room = width - 2 * margin
    blocks: list[Block] = []
    y = margin

    def put(x: int, text: str, font: Font, colour: tuple[int, int, int], room: int, lines: int) -> None:
        nonlocal y
        wrapped = wrap(text, font, room, lines)
        blocks.append(Block(x, y, tuple(wrapped), font, colour))
        y += len(wrapped) * line_height(font)

    put(margin, page.title, get_font(round(size * 1.5), True), TEXT, room, 2)
    y += round(size * 0.25)
    if page.subtitle:
        put(margin, page.subtitle, plain, TEXT, room, 2)
        y += round(size * 0.25)
    for line in page.lines:
        put(margin, line, small, DIM, room, 3)
    y += round(size * 1.1)

    column_lines = [wrap(label, bold, tile[0], 4) for label in page.columns.labels]
    axis_line = line_height(small) if page.columns.title else 0
    head = axis_line + max(map(len, column_lines)) * line_height(bold)
    if page.columns.title:
        blocks.append(Block(left, y, tuple(wrap(page.columns.title, small, room, 1)), small, DIM))
    if page.rows.title:
        lines = wrap(page.rows.title, small, left - margin, 2)
        blocks.append(Block(margin, y + head - len(lines) * line_height(small), tuple(lines), small, DIM))
    y += head
    for column, lines in enumerate(column_lines):
        x = left + column * (tile[0] + gutter)
        blocks.append(Block(x, y - len(lines) * line_height(bold), tuple(lines), bold, TEXT))
    y += max(4, round(size * 0.3))

    corners = tuple(
        tuple((left + column * (tile[0] + gutter), y + row * (tile[1] + gutter)) for column in range(columns))
        for row in range(rows)
    )
    for row, lines in enumerate(row_blocks):
        middle = corners[row][0][1] + (tile[1] - len(lines) * line_height(bold)) // 2
        blocks.append(Block(margin, max(corners[row][0][1], middle), tuple(lines), bold, TEXT))
    y += rows * tile[1] + (rows - 1) * gutter + round(size * 0.8)
    notes = (*page.notes, *_font_note(page))
    for note in notes:
        put(margin, note, small, DIM, room, 3)
    height = y + margin - round(size * 0.8 if not notes else size * 0.2)
    if max(width, height) > PAGE_LIMIT:
        raise SettingsError(
            f"This grid would be {width} x {height} pixels.",
            expected=f"at most {PAGE_LIMIT} pixels a side",
            remedy="Choose a smaller tile, or fewer values on an axis.",
        )
    return Layout((width + width % 2, height + height % 2), tile, corners, tuple(blocks), size)


def draw_page(layout: Layout, empty: dict[tuple[int, int], tuple[str, str]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The page without its pictures, uint8 [H, W, 3].

    ``empty``: (row, column) -> (heading, reason) of tiles that have no picture; a heading of "failed" is red.
    """
    image = Image.new("RGB", layout.size, GROUND)
    draw = ImageDraw.Draw(image)
    for block in layout.blocks:
        _write(draw, block)
    width, height = layout.tile
    for row, line in enumerate(layout.corners):
        for column, (x, y) in enumerate(line):
            box = (x, y, x + width - 1, y + height - 1)
            if (row, column) not in empty:
                draw.rectangle(box, TILE)
                continue
            heading, reason = empty[row, column]
            failed = heading == "failed"
            draw.rectangle(box, FAILED_GROUND if failed else TILE, FAILED_EDGE if failed else None)
            for block in _reason(layout, x, y, heading, reason, FAILED_TEXT if failed else DIM):
                _write(draw, block)
    return np.asarray(image).copy()


def _reason(layout: Layout, x: int, y: int, heading: str, reason: str, colour: tuple[int, int, int]) -> Sequence[Block]:
    size = min(layout.text_size, 18)
    pad = max(6, size // 2)
    bold, small = get_font(size, True), get_font(max(12, round(size * 0.8)))
    top = y + pad
    first = Block(x + pad, top, tuple(wrap(heading, bold, layout.tile[0] - 2 * pad, 1)), bold, colour)
    fitting = (layout.tile[1] - 2 * pad - line_height(bold)) // line_height(small)
    if fitting < 1 or not reason:
        return (first,)
    lines = wrap(reason, small, layout.tile[0] - 2 * pad, fitting)
    return first, Block(x + pad, top + line_height(bold), tuple(lines), small, TEXT)


def _write(draw: ImageDraw.ImageDraw, block: Block) -> None:
    for number, line in enumerate(block.lines):
        draw.text((block.x, block.y + number * line_height(block.font)), line, font=block.font, fill=block.colour)


def _font_note(page: Page) -> tuple[str, ...]:
    said = (
        page.title,
        page.subtitle,
        *page.lines,
        page.rows.title,
        *page.rows.labels,
        page.columns.title,
        *page.columns.labels,
    )
    missing = missing_characters("".join(said))
    if not missing:
        return ()
    return (f"{len(missing)} characters of the labels are not in the font and show as boxes.",)

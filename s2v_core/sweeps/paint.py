"""The still part of a grid page: texts, rules, tiles without a picture, score strips, the mark of the best cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..video.text import DIM, GROUND, TEXT, TILE, draw_text, get_font, line_height, width_of, wrap
from .layout import FAILED_EDGE, FAILED_GROUND, FAILED_TEXT, RULE, Block, Layout, score_font

BEST = (126, 217, 164)
_STAR = "★"
Place = tuple[int, int]


@dataclass(frozen=True)
class ScoreLine:
    """One score below a cell. ``best``: no cell has a better one; ``chosen``: and it decides which cell is marked."""

    metric: str
    value: str
    best: bool = False
    chosen: bool = False


def draw_page(
    layout: Layout, empty: Mapping[Place, tuple[str, str]], scores: Mapping[Place, Sequence[ScoreLine]] | None = None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The page without its pictures, uint8 [H, W, 3].

    ``empty``: (row, column) -> (heading, reason) of tiles that have no picture; a heading of "failed" is red.
    ``scores``: (row, column) -> the lines below its tile; a cell with a chosen line is framed.
    """
    image = Image.new("RGB", layout.size, GROUND)
    draw = ImageDraw.Draw(image)
    for rule in layout.rules:
        draw.rectangle(rule, RULE)
    for block in layout.blocks:
        _write(draw, block)
    width, height = layout.tile
    for x, y in layout.inputs:
        draw.rectangle((x, y, x + width - 1, y + height - 1), TILE)
    for row, line in enumerate(layout.corners):
        for column, (x, y) in enumerate(line):
            if layout.strip:
                _strip(draw, layout, x, y + height, (scores or {}).get((row, column), ()))
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


def _strip(draw: ImageDraw.ImageDraw, layout: Layout, x: int, y: int, lines: Sequence[ScoreLine]) -> None:
    width, height = layout.tile
    font = score_font(layout.text_size)
    pad = max(4, layout.text_size // 3)
    if any(line.chosen for line in lines):
        # Outside of the picture: nothing of it is covered.
        draw.rectangle((x - 3, y - height - 3, x + width + 2, y + layout.strip + 2), BEST)
    draw.rectangle((x, y, x + width - 1, y + layout.strip - 1), TILE)
    y += layout.text_size // 4
    for line in lines:
        value = f"{_STAR} {line.value}" if line.chosen else line.value
        colour = BEST if line.best else TEXT
        right = x + width - pad - width_of(value, font)
        draw_text(draw, (right, y), value, font, colour)
        if names := wrap(line.metric, font, max(1, right - x - 2 * pad), 1):
            draw_text(draw, (x + pad, y), names[0], font, DIM)
        y += line_height(font)


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
        draw_text(draw, (block.x, block.y + number * line_height(block.font)), line, block.font, block.colour)

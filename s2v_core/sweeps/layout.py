"""Where everything of a grid page stands: title, inputs, headers in one or two levels, cells, score strips, notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from ..errors import SettingsError
from ..video.text import (
    CJK_PACKAGE,
    DIM,
    TEXT,
    Font,
    cjk_file,
    get_font,
    line_height,
    missing_characters,
    width_of,
    wrap,
)

FAILED_GROUND, FAILED_EDGE, FAILED_TEXT = (46, 29, 33), (120, 58, 66), (255, 150, 150)
RULE = (70, 75, 88)

SMALLEST_TILE = 160
# A page is drawn within these sides where the smallest tile allows it; no codec takes more than the limit.
PAGE_WIDTH, PAGE_HEIGHT, PAGE_LIMIT = 2560, 1600, 16382
_LEAST_WIDTH = 480


@dataclass(frozen=True)
class Header:
    """One side of the page: its title and a text for each row or column. An empty title takes no room.

    ``groups``: an outer axis, with all of ``labels`` again below each of its own; ``group_title`` is its title.
    """

    title: str
    labels: tuple[str, ...]
    group_title: str = ""
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels) * max(1, len(self.groups))

    @property
    def texts(self) -> tuple[str, ...]:
        """All that it says."""
        return (self.title, self.group_title, *self.labels, *self.groups)


@dataclass(frozen=True)
class Page:
    """What a page says: ``title``, ``subtitle`` (which page), ``lines`` below, the headers, ``notes`` at the foot.

    ``inputs``: names of the pictures above the grid. ``score_lines``: lines of scores below each cell.
    """

    title: str
    subtitle: str
    lines: tuple[str, ...]
    rows: Header
    columns: Header
    notes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    score_lines: int = 0


@dataclass(frozen=True)
class Block:
    """Lines of text with their top left corner."""

    x: int
    y: int
    lines: tuple[str, ...]
    font: Font
    colour: tuple[int, int, int]


Corner = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels. ``size``: (width, height) of the page, both even. ``tile``: (width, height).

    ``corners[row][column]``: top left (x, y) of each tile; ``inputs``: of each picture above the grid. ``strip``:
    height of the scores that touch a tile from below. ``rules``: thin lines (x, y, right, bottom).
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    corners: tuple[tuple[Corner, ...], ...]
    blocks: tuple[Block, ...]
    text_size: int
    inputs: tuple[Corner, ...] = ()
    strip: int = 0
    rules: tuple[tuple[int, int, int, int], ...] = ()


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


def score_font(text_size: int) -> Font:
    """The font of the scores below a cell."""
    return get_font(max(11, min(18, round(text_size * 0.8))))


@dataclass
class _Pen:
    """Collects what is placed, and how far down the page it goes."""

    room: int
    x: int
    y: int
    blocks: list[Block] = field(default_factory=list)
    rules: list[tuple[int, int, int, int]] = field(default_factory=list)

    def put(self, text: str, font: Font, colour: tuple[int, int, int], lines: int) -> None:
        wrapped = wrap(text, font, self.room, lines)
        self.at(self.x, self.y, wrapped, font, colour)
        self.y += len(wrapped) * line_height(font)

    def at(self, x: int, y: int, lines: list[str], font: Font, colour: tuple[int, int, int]) -> None:
        self.blocks.append(Block(x, y, tuple(lines), font, colour))


@dataclass(frozen=True)
class _Type:
    """The sizes that follow from the size of the text."""

    size: int
    gutter: int

    @property
    def plain(self) -> Font:
        return get_font(self.size)

    @property
    def bold(self) -> Font:
        return get_font(self.size, True)

    @property
    def small(self) -> Font:
        return get_font(round(self.size * 0.85))


def lay_out(page: Page, tile: tuple[int, int], strips: bool = False) -> Layout:
    """Measure all text and place everything; ``strips`` asks for wider gutters.

    Raises ``SettingsError`` when the page is larger than a codec takes.
    """
    area = len(page.columns) * tile[0]
    size = int(min(30, max(15, area / 75)))
    style = _Type(size, max(6, round(size * (1.0 if strips or page.score_lines else 0.45))))
    margin, gutter, small = round(size * 1.4), style.gutter, style.small
    group_gap = round(size * 1.3)
    strip = page.score_lines * line_height(score_font(size)) + size // 2 if page.score_lines else 0

    left, row_texts = _row_headers(page.rows, style, tile[1], area, margin)
    offsets = _offsets(page.columns, tile[0] + gutter, group_gap)
    right = left + offsets[-1] + tile[0]
    if page.inputs:
        right = max(right, left + len(page.inputs) * tile[0] + (len(page.inputs) - 1) * gutter)
    width = max(right + margin, _LEAST_WIDTH)
    pen = _Pen(width - 2 * margin, margin, margin)

    pen.put(page.title, get_font(round(size * 1.5), True), TEXT, 2)
    pen.y += round(size * 0.25)
    if page.subtitle:
        pen.put(page.subtitle, style.plain, TEXT, 2)
        pen.y += round(size * 0.25)
    for line in page.lines:
        pen.put(line, small, DIM, 3)
    pen.y += round(size * 1.1)
    inputs = _inputs(page, pen, style, tile, left)
    _column_headers(page, pen, style, tile[0], [left + offset for offset in offsets])
    if page.rows.title:
        lines = wrap(page.rows.title, small, row_texts[0], 2)
        x = left - row_texts[0] - round(size * 1.1)
        pen.at(x, pen.y - round(size * 0.3) - len(lines) * line_height(small), lines, small, DIM)

    downs = _offsets(page.rows, tile[1] + strip + gutter, group_gap)
    corners = tuple(tuple((left + over, pen.y + down) for over in offsets) for down in downs)
    _row_blocks(page.rows, pen, style, tile[1], strip, [line[0] for line in corners], row_texts, margin)
    pen.y += downs[-1] + tile[1] + strip + round(size * 0.8)
    notes = (*page.notes, *_font_note(page))
    for note in notes:
        pen.put(note, small, DIM, 3)
    height = pen.y + margin - round(size * 0.8 if not notes else size * 0.2)
    if max(width, height) > PAGE_LIMIT:
        raise SettingsError(
            f"This grid would be {width} x {height} pixels.",
            expected=f"at most {PAGE_LIMIT} pixels a side",
            remedy="Choose a smaller tile, or fewer values on an axis.",
        )
    whole = (width + width % 2, height + height % 2)
    return Layout(whole, tile, corners, tuple(pen.blocks), size, inputs, strip, tuple(pen.rules))


def _offsets(header: Header, pitch: int, group_gap: int) -> list[int]:
    return [number * pitch + number // len(header.labels) * group_gap for number in range(len(header))]


def _row_headers(
    rows: Header, style: _Type, tile_height: int, area: int, margin: int
) -> tuple[int, tuple[int, list[list[str]], int, list[list[str]]]]:
    """Where the cells begin, and (width, lines of each label) of the rows and of their groups."""
    size, bold, small = style.size, style.bold, style.small
    widest = max(round(size * 6), min(round(size * 14), area // 3))
    fitting = max(1, tile_height // line_height(bold))

    def column(title: str, labels: tuple[str, ...]) -> tuple[int, list[list[str]]]:
        if not title:
            return 0, [[] for _ in labels]
        blocks = [wrap(label, bold, widest, min(6, fitting)) for label in labels]
        used = [width_of(line, bold) for lines in blocks for line in lines]
        return max([*used, *(width_of(line, small) for line in wrap(title, small, widest, 2))]), blocks

    width, blocks = column(rows.title, rows.labels)
    group_width, groups = column(rows.group_title, rows.groups)
    gaps = [round(size * 1.1) for one in (width, group_width) if one]
    return margin + width + group_width + sum(gaps), (width, blocks, group_width, groups)


def _row_blocks(
    rows: Header,
    pen: _Pen,
    style: _Type,
    tile_height: int,
    strip: int,
    corners: list[Corner],
    texts: tuple[int, list[list[str]], int, list[list[str]]],
    margin: int,
) -> None:
    width, blocks, group_width, groups = texts
    gap, bold = round(style.size * 1.1), style.bold
    for row, (left, top) in enumerate(corners):
        lines = blocks[row % len(rows.labels)]
        middle = top + (tile_height - len(lines) * line_height(bold)) // 2
        pen.at(left - gap - width, max(top, middle), lines, bold, TEXT)
    for number, lines in enumerate(groups):
        first = corners[number * len(rows.labels)][1]
        last = corners[(number + 1) * len(rows.labels) - 1][1] + tile_height + strip
        pen.at(margin, first, lines, bold, TEXT)
        x = margin + group_width + gap // 2
        pen.rules.append((x, first, x + 1, last))
    if groups:
        above = wrap(rows.group_title, style.small, group_width, 2)
        pen.at(margin, corners[0][1] - round(style.size * 0.3) - len(above) * line_height(style.small), above,
               style.small, DIM)  # fmt: skip


def _inputs(page: Page, pen: _Pen, style: _Type, tile: tuple[int, int], left: int) -> tuple[Corner, ...]:
    if not page.inputs:
        return ()
    corners = []
    for number, name in enumerate(page.inputs):
        x = left + number * (tile[0] + style.gutter)
        pen.at(x, pen.y, wrap(name, style.small, tile[0], 1), style.small, DIM)
        corners.append((x, pen.y + line_height(style.small) + max(3, style.size // 5)))
    pen.y = corners[0][1] + tile[1] + round(style.size * 1.6)
    return tuple(corners)


def _column_headers(page: Page, pen: _Pen, style: _Type, tile_width: int, lefts: list[int]) -> None:
    """The texts above the columns; each stands directly on its column, so short ones are lower."""
    columns, bold, small = page.columns, style.bold, style.small
    count = len(columns.labels)
    if columns.groups:
        pen.at(lefts[0], pen.y, wrap(columns.group_title, small, pen.room, 1), small, DIM)
        pen.y += line_height(small)
        spans = [(lefts[at * count], lefts[(at + 1) * count - 1] + tile_width) for at in range(len(columns.groups))]
        texts = [wrap(text, bold, end - x, 3) for text, (x, end) in zip(columns.groups, spans, strict=True)]
        height = max(map(len, texts)) * line_height(bold)
        for lines, (x, end) in zip(texts, spans, strict=True):
            pen.at(x, pen.y + height - len(lines) * line_height(bold), lines, bold, TEXT)
            pen.rules.append((x, pen.y + height + 2, end, pen.y + height + 3))
        pen.y += height + round(style.size * 0.6)
    labels = [wrap(label, bold, tile_width, 6) for label in columns.labels]
    title = line_height(small) if columns.title else 0
    row_title = 2 * line_height(small) if page.rows.title or page.rows.groups else 0
    head = max(title + max(map(len, labels)) * line_height(bold), row_title)
    if columns.title:
        for x in lefts[::count]:
            pen.at(x, pen.y, wrap(columns.title, small, pen.room if count == len(lefts) else tile_width, 1), small, DIM)
    pen.y += head
    for lines, x in zip(itertools.cycle(labels), lefts, strict=False):
        pen.at(x, pen.y - len(lines) * line_height(bold), lines, bold, TEXT)
    pen.y += max(4, round(style.size * 0.3))


def _font_note(page: Page) -> tuple[str, ...]:
    said = (page.title, page.subtitle, *page.lines, *page.rows.texts, *page.columns.texts, *page.inputs)
    missing = missing_characters("".join(said))
    if not missing:
        return ()
    remedy = "" if cjk_file() else f" The Python package {CJK_PACKAGE} brings Chinese, Japanese and Korean."
    count = f"{len(missing)} characters" if len(missing) > 1 else "1 character"
    return (f"{count} of the labels are not in the font and show as boxes.{remedy}",)

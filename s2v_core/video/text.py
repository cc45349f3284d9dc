"""Text on pictures: a real font, measured and wrapped, never clipped, and the colours of pages that hold it.

DejaVu Sans (of matplotlib) has Latin, Greek, Cyrillic, Arabic, Hebrew and more; letters that it lacks come from Noto
Sans CJK (of noto-cjk-sans-jp-regular): Chinese, Japanese, Korean. ``missing_characters`` names what neither has.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from unicodedata import category

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
ELLIPSIS = "…"
# A calm dark ground: the pictures are the brightest thing on the page.
GROUND = (21, 23, 28)
TILE = (32, 35, 42)
TEXT = (226, 229, 235)
DIM = (146, 153, 167)
CJK_PACKAGE = "noto-cjk-sans-jp-regular"
# What never begins a line (JIS X 4051; Unicode's line breaking classes CL, EX, IS, CP and NS).
_NEVER_FIRST = "、。，．,.!?;:！？；：…‥」』）)］]】〕〉》}・ー々〜"
# Control characters, half surrogates, line and paragraph separators.
_SHAPELESS = ("Cc", "Cs", "Zl", "Zp")


@lru_cache(maxsize=1)
def font_folder() -> Path | None:
    """Where matplotlib keeps DejaVu Sans, found without importing matplotlib; None when it is not installed."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return folder if (folder / "DejaVuSans.ttf").is_file() else None


@lru_cache(maxsize=64)
def get_font(size: int, bold: bool = False) -> Font:
    """DejaVu Sans at ``size`` pixels, or Pillow's own font where matplotlib is missing."""
    folder = font_folder()
    if folder is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


@lru_cache(maxsize=1)
def cjk_file() -> Path | None:
    """Noto Sans CJK of its package; None when it is not installed."""
    spec = find_spec(CJK_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("NotoSansCJKjp-Regular.otf")
    return file if file.is_file() else None


@lru_cache(maxsize=64)
def get_cjk_font(size: int) -> ImageFont.FreeTypeFont | None:
    """Noto Sans CJK at ``size`` pixels; None where its package is missing."""
    file = cjk_file()
    return None if file is None else ImageFont.truetype(str(file), size)


def missing_characters(text: str) -> str:
    """The characters of ``text`` that no font can draw, each once: those that look like one that no font has."""
    letters = dict.fromkeys(letter for letter in text if letter.isprintable() and not letter.isspace())
    return "".join(letter for letter in letters if not (_has(letter, False) or _has(letter, True)))


def width_of(text: str, font: Font) -> int:
    """Width in pixels, rounded up."""
    return int(-(-sum(used.getlength(part) for part, used in _runs(text, font)) // 1))


def draw_text(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, font: Font, colour: tuple[int, int, int]
) -> None:
    """One line of text with its top left ``corner``, each letter in the font that has it, on one base line."""
    x, y = float(corner[0]), corner[1]
    runs = list(_runs(text, font))
    if len(runs) == 1 and runs[0][1] is font:
        draw.text(corner, text, font=font, fill=colour)
        return
    ascent = font.getmetrics()[0] if isinstance(font, ImageFont.FreeTypeFont) else line_height(font)
    for part, used in runs:
        draw.text((x, y + ascent), part, font=used, fill=colour, anchor="ls")
        x += used.getlength(part)


def _runs(text: str, font: Font) -> Iterator[tuple[str, Font]]:
    """Parts of a text with the font of each."""
    other = None if text.isascii() or not isinstance(font, ImageFont.FreeTypeFont) else get_cjk_font(int(font.size))
    if other is None:
        yield text, font
        return
    start, cjk = 0, False
    for at, letter in enumerate(text):
        # Spaces and marks stay with what they follow.
        if letter.isspace() or category(letter)[0] == "M" or category(letter) == "Cf":
            continue
        wanted = not _has(letter, False) and _has(letter, True)
        if wanted != cjk:
            if at > start:
                yield text[start:at], other if cjk else font
            start, cjk = at, wanted
    yield text[start:], other if cjk else font


def _width_of_start(word: str, font: Font, letters: int) -> int:
    return width_of(word[:letters], font)


def line_height(font: Font) -> int:
    """Pixels from one line to the next."""
    if isinstance(font, ImageFont.FreeTypeFont):
        ascent, descent = font.getmetrics()
        return ascent + descent + 2
    return int(font.getbbox("Ag")[3]) + 4


def wrap(text: str, font: Font, width: int, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines, none wider than ``width`` pixels.

    Control characters count as spaces. Breaks between words (not at non-breaking spaces), inside a word only where
    the word alone is too wide, and there not before a mark that closes. What does not fit ends in an ellipsis.
    """
    wrapped: list[str] = []
    # Not str.split(): a non-breaking space must stay whole. Control characters have no shape and upset the shaper.
    plain = "".join(" " if category(letter) in _SHAPELESS else letter for letter in text)
    for word in filter(None, plain.split(" ")):
        joined = f"{wrapped[-1]} {word}" if wrapped else word
        if wrapped and width_of(joined, font) <= width:
            wrapped[-1] = joined
            continue
        while width_of(word, font) > width and len(word) > 1:
            fits = max(1, bisect_right(range(1, len(word)), width, key=partial(_width_of_start, word, font)))
            # Two steps back at most: a line of nothing but marks is broken anywhere.
            fits = next((at for at in range(fits, max(0, fits - 3), -1) if word[at] not in _NEVER_FIRST), fits)
            wrapped.append(word[:fits])
            word = word[fits:]
            if len(wrapped) > lines:
                break
        wrapped.append(word)
        if len(wrapped) > lines:
            break
    if len(wrapped) <= lines:
        return wrapped
    last = wrapped[lines - 1]
    while last and width_of(last + ELLIPSIS, font) > width:
        last = last[:-1]
    return [*wrapped[: lines - 1], last.rstrip(" ,.;:") + ELLIPSIS]


@lru_cache(maxsize=8192)
def _has(letter: str, cjk: bool) -> bool:
    """Whether the font has a shape for this letter: one that is not the box for letters that no font has."""
    if letter.isascii() and not cjk:
        return True
    font = get_cjk_font(24) if cjk else get_font(24)
    return font is not None and _picture(letter, font) != _picture("\uffff", font)


def _picture(letter: str, font: Font) -> bytes:
    mask = font.getmask(letter)
    return bytes(mask) + bytes(str(mask.size), "ascii")

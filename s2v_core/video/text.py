"""Text on pictures: a real font, measured and wrapped, never clipped, and the colours of pages that hold it."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from unicodedata import category

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
ELLIPSIS = "…"
# A calm dark ground: the pictures are the brightest thing on the page.
GROUND = (21, 23, 28)
TILE = (32, 35, 42)
TEXT = (226, 229, 235)
DIM = (146, 153, 167)
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


def missing_characters(text: str) -> str:
    """The characters of ``text`` that the font cannot draw, each once: those that look like one that no font has."""
    box = _picture("\uffff")
    letters = dict.fromkeys(letter for letter in text if letter.isprintable() and not letter.isspace())
    return "".join(letter for letter in letters if _picture(letter) == box)


def width_of(text: str, font: Font) -> int:
    """Width in pixels, rounded up."""
    return int(-(-font.getlength(text) // 1))


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
    the word alone is too wide. What does not fit ends in an ellipsis.
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


@lru_cache(maxsize=4096)
def _picture(letter: str) -> bytes:
    mask = get_font(24).getmask(letter)
    return bytes(mask) + bytes(str(mask.size), "ascii")

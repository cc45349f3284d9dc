"""The colours of the toy world: one table, each colour with its English name. Light to import."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SettingsError

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Colour:
    """A colour as a prompt calls it, and as it is painted: sRGB, 0 to 255."""

    name: str
    rgb: Rgb


CLOTHES = (
    Colour("red", (205, 45, 45)),
    Colour("orange", (238, 130, 30)),
    Colour("yellow", (240, 212, 50)),
    Colour("green", (45, 145, 65)),
    Colour("turquoise", (60, 195, 190)),
    Colour("blue", (45, 85, 205)),
    Colour("purple", (125, 55, 180)),
    Colour("pink", (240, 125, 175)),
    Colour("white", (240, 240, 238)),
    Colour("black", (28, 28, 32)),
    Colour("brown", (120, 74, 44)),
    Colour("grey", (132, 133, 136)),
)
# Every part of the picture and the colours that it can have. Walls are softer than clothes, so that a red shirt is
# seen in front of a red wall.
PARTS: dict[str, tuple[Colour, ...]] = {
    "skin": (
        Colour("pale", (247, 214, 188)),
        Colour("tan", (222, 172, 128)),
        Colour("brown", (168, 114, 76)),
        Colour("dark", (98, 64, 46)),
    ),
    "hair": (
        Colour("black", (26, 22, 24)),
        Colour("brown", (96, 58, 30)),
        Colour("blond", (226, 190, 104)),
        Colour("ginger", (186, 84, 30)),
        Colour("grey", (168, 168, 174)),
    ),
    "shirt": CLOTHES,
    "trousers": CLOTHES,
    "shoes": (
        Colour("white", (244, 244, 244)),
        Colour("black", (24, 24, 26)),
        Colour("red", (205, 45, 45)),
        Colour("blue", (45, 85, 205)),
    ),
    "wall": (
        Colour("white", (230, 230, 232)),
        Colour("grey", (150, 152, 157)),
        Colour("black", (46, 46, 54)),
        Colour("blue", (120, 165, 222)),
        Colour("green", (128, 186, 136)),
        Colour("red", (176, 78, 78)),
        Colour("purple", (142, 104, 176)),
        Colour("pink", (236, 182, 204)),
        Colour("yellow", (238, 216, 140)),
        Colour("orange", (234, 164, 98)),
    ),
    "floor": (
        Colour("grey", (176, 176, 180)),
        Colour("brown", (150, 108, 72)),
        Colour("black", (56, 56, 62)),
        Colour("white", (214, 214, 214)),
        Colour("green", (88, 142, 94)),
        Colour("blue", (78, 110, 166)),
    ),
}


def names(part: str) -> tuple[str, ...]:
    """The names of the colours that a part can have. Raises SettingsError for a part that does not exist."""
    return tuple(colour.name for colour in _part(part))


def rgb(part: str, name: str) -> Rgb:
    """The colour of this name for this part. Raises SettingsError when there is none."""
    for colour in _part(part):
        if colour.name == name:
            return colour.rgb
    raise SettingsError(f"The {part} cannot be {name!r}.", expected=f"one of {', '.join(names(part))}", got=repr(name))


def nearest(part: str, colour: tuple[float, float, float]) -> str:
    """The name of the part's colour that is nearest to ``colour`` (sRGB, 0 to 255), by distance in RGB."""
    return min(
        _part(part), key=lambda known: sum((one - other) ** 2 for one, other in zip(known.rgb, colour, strict=True))
    ).name


def _part(part: str) -> tuple[Colour, ...]:
    if part not in PARTS:
        raise SettingsError(
            f"The toy world has no part {part!r}.", expected=f"one of {', '.join(PARTS)}", got=repr(part)
        )
    return PARTS[part]

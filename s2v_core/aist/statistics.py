"""What a catalog holds, counted: as a table and as a picture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..files import atomic_path
from .catalog import Entry
from .names import CAMERAS, GENRES, SITUATIONS

NOT_GIVEN = "not given"
_MANY = 12

Counts = dict[str, dict[str, int]]


def count_facts(entries: Iterable[Entry], splits: Mapping[str, str] | None = None) -> Counts:
    """How many clips have each value: by genre, situation, camera, dancer, music, choreography, tempo and set.

    A clip with several dancers counts for each of them. The values are sorted, those of AIST in its own order, and
    what is not given comes last. ``splits``: the set of each clip by its id.
    """
    found: dict[str, Counter[str]] = {}
    for entry in entries:
        told: dict[str, Iterable[str]] = {
            "genre": [entry.genre],
            "situation": [entry.situation],
            "camera": [entry.camera],
            "dancer": entry.dancers or [""],
            "music": [entry.music],
            "choreography": [entry.choreography],
            "tempo": [f"{entry.tempo:g} BPM" if entry.tempo else ""],
        }
        if splits is not None:
            told["set"] = [splits.get(entry.id, "")]
        for kind, values in told.items():
            found.setdefault(kind, Counter()).update(value or NOT_GIVEN for value in values)
    return {kind: {value: counted[value] for value in sorted(counted, key=_order)} for kind, counted in found.items()}


def genre_by_situation(entries: Iterable[Entry]) -> Counts:
    """How many clips each genre has in each situation."""
    found: dict[str, Counter[str]] = {}
    for entry in entries:
        found.setdefault(entry.genre or NOT_GIVEN, Counter())[entry.situation or NOT_GIVEN] += 1
    return {genre: dict(found[genre]) for genre in sorted(found, key=_order)}


def draw_statistics(entries: Iterable[Entry], path: str | os.PathLike[str], *, title: str = "") -> Path:
    """A picture (.png, .svg or .pdf) of the counts: genres with their situations, cameras, tempi, dancers."""
    from matplotlib.figure import Figure

    clips = list(entries)
    counts, genres = count_facts(clips), genre_by_situation(clips)
    figure = Figure(figsize=(13, 8), layout="constrained")
    figure.suptitle(title or f"{len(clips):,} clips of {len({clip.sequence for clip in clips}):,} dances", fontsize=15)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    situations = sorted({situation for row in genres.values() for situation in row}, key=_order)
    _stacked(first, genres, situations)
    for axes, kind in ((second, "camera"), (third, "tempo"), (fourth, "dancer")):
        _bars(axes, kind, counts.get(kind, {}))
    target = Path(path)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=120, format=target.suffix.removeprefix(".") or "png")
    return target


def _stacked(axes: Any, genres: Counts, situations: list[str]) -> None:
    names = list(genres)
    base = [0] * len(names)
    for number, situation in enumerate(situations):
        sizes = [genres[name].get(situation, 0) for name in names]
        label = f"{SITUATIONS[situation]} ({situation})" if situation in SITUATIONS else situation
        axes.barh(names, sizes, left=base, color=f"C{number}", label=label)
        base = [before + size for before, size in zip(base, sizes, strict=True)]
    axes.set_yticks(
        range(len(names)), [_short(f"{GENRES[name]} ({name})" if name in GENRES else name) for name in names]
    )
    axes.invert_yaxis()
    axes.set_title("genre and situation")
    # Below the axes: inside it would lie on a bar.
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4)
    totals = [sum(genres[name].values()) for name in names]
    _number(axes, axes.barh(names, [0] * len(names), left=totals), totals)
    axes.margins(x=0.08)
    _plain(axes)


def _bars(axes: Any, kind: str, counted: dict[str, int]) -> None:
    bars = axes.bar([_short(value) for value in counted], list(counted.values()), color="C0")
    many = len(counted) > _MANY
    # Many names stand side by side only when they are turned.
    axes.tick_params(axis="x", labelrotation=90 if many else 0, labelsize=8)
    if not many:
        _number(axes, bars, list(counted.values()))
        axes.margins(y=0.08)
    axes.set_title(kind)
    _plain(axes)


def _number(axes: Any, bars: Any, sizes: list[int]) -> None:
    axes.bar_label(bars, [f"{size:,}" for size in sizes], padding=3, fontsize=8, color="#555555")


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _short(text: str) -> str:
    return text if len(text) <= 28 else f"{text[:27]}…"


def _order(value: str) -> tuple[int, float, str]:
    known = [*GENRES, *SITUATIONS, *CAMERAS]
    if value == NOT_GIVEN:
        return 3, 0, value
    if value in known:
        return 0, known.index(value), value
    number = value.split(" ")[0]
    return (1, float(number), value) if number.replace(".", "", 1).isdigit() else (2, 0, value)

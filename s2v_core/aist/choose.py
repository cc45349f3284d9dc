"""Choose clips of a catalog: by their facts, and by camera. The same seed gives the same choice on any machine."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..options import number, settle, text
from .catalog import SUFFIXES, Catalog, Entry
from .names import CAMERAS, GENRES, SITUATIONS, ClipName, find_name

ALL, RANDOM = "all", "random"
LAST_SEED = 2**53 - 1

# What a person may write for a code: how it begins, and words that stand for it.
_PREFIX = {"genre": "g", "situation": "s", "dancer": "d", "music": "m", "choreography": "ch"}
_WORDS = {"genre": GENRES, "situation": SITUATIONS}
_FIELDS = ("genre", "situation", "dancer", "music", "choreography")


def _listed(kind: str, value: Any) -> str:
    """A list of codes in one form: "break, PO" is "gBR,gPO"."""
    if not isinstance(value, str):
        raise SettingsError(f"The filter {kind} must be text.", expected="codes with commas between", got=repr(value))
    return ",".join(dict.fromkeys(_code(kind, part.strip()) for part in value.split(",") if part.strip()))


def _code(kind: str, value: str) -> str:
    low, prefix = value.lower(), _PREFIX[kind]
    for code, word in _WORDS.get(kind, {}).items():
        if low in (word.lower(), code.lower(), code[1:].lower()):
            return code
    digits = low.removeprefix(prefix)
    if kind in ("dancer", "choreography") and digits.isascii() and digits.isdigit():
        return f"{prefix}{int(digits):02d}"
    bare = low.removeprefix(prefix) if len(low) == 4 else low
    if kind == "music" and len(bare) == 3 and f"g{bare[:2].upper()}" in GENRES and bare[2].isdigit():
        return f"m{bare.upper()}"
    return value


def _cameras(value: Any) -> str:
    said = value.strip().lower() if isinstance(value, str) else ""
    if said in (ALL, RANDOM):
        return said
    known = [f"c{int(part.removeprefix('c')):02d}" for part in map(str.strip, said.split(",")) if _is_camera(part)]
    if not said or len(known) != len(said.split(",")):
        raise SettingsError(
            f"The cameras cannot be {value!r}.",
            expected=f"{ALL}, {RANDOM}, or some of {CAMERAS[0]} to {CAMERAS[-1]} with commas between",
            got=repr(value),
        )
    return ",".join(dict.fromkeys(known))


def _is_camera(part: str) -> bool:
    digits = part.removeprefix("c")
    return digits.isascii() and digits.isdigit() and 1 <= int(digits) <= len(CAMERAS)


@dataclass(frozen=True)
class Selection:
    """Which clips to take. Raises SettingsError for what cannot be a choice."""

    genre: str = text(
        "", "Only these genres, as codes or words: gBR, PO, waack. Empty: all.", partial(_listed, "genre")
    )
    situation: str = text(
        "",
        "Only these situations, as codes or words: sBM, sFM, basic dance. Empty: all.",
        partial(_listed, "situation"),
    )
    dancer: str = text("", "Only clips in which one of these dances: d04, d05. Empty: all.", partial(_listed, "dancer"))
    music: str = text("", "Only these pieces of music: mBR0, mPO3. Empty: all.", partial(_listed, "music"))
    choreography: str = text("", "Only these choreographies: ch01, ch02. Empty: all.", partial(_listed, "choreography"))
    camera: str = text(
        ALL,
        "all; some of c01 to c10 (c01,c02); or random: one camera for each dance, every camera as often as the others.",
        _cameras,
    )
    seed: int = number(0, "Decides the random cameras: the same seed, the same choice.", 0, LAST_SEED, 1)
    limit: int = number(0, "At most so many clips, drawn by the seed; 0 for all.", 0, 1_000_000, 1)

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class Chosen:
    """The chosen clips as a catalog, and how many each of the choices left out: {"genre": 120}."""

    catalog: Catalog
    left_out: dict[str, int]


def select(catalog: Catalog, selection: Selection) -> Chosen:
    """The clips that a selection takes, in the catalog's order.

    A clip without a camera in its facts is taken under any choice of cameras. Raises ``SettingsError`` for a value that
    neither AIST's tables nor the catalog know, and when nothing is left.
    """
    entries: list[Entry] = list(catalog.entries)
    left_out: dict[str, int] = {}

    def keep(what: str, kept: list[Entry]) -> list[Entry]:
        if len(kept) < len(entries):
            left_out[what] = len(entries) - len(kept)
        return kept

    for kind in _FIELDS:
        if wanted := getattr(selection, kind):
            values = {value.lower() for value in wanted.split(",")}
            _check(kind, wanted.split(","), catalog.entries)
            entries = keep(kind, [entry for entry in entries if values & {v.lower() for v in _values(entry, kind)}])
    entries = keep("camera", choose_cameras(entries, selection.camera, selection.seed))
    if selection.limit:
        order = sorted(entries, key=lambda entry: draw(selection.seed, "limit", entry.id))[: selection.limit]
        chosen = {entry.id for entry in order}
        entries = keep("limit", [entry for entry in entries if entry.id in chosen])
    if not entries:
        told = ", ".join(f"{count} by {what}" for what, count in left_out.items())
        raise SettingsError(
            "No clip is left.",
            expected="a choice that leaves at least one clip",
            got=f"{len(catalog)} clips; left out: {told or 'none'}",
            remedy="Look at the catalog's statistics (s2v aist catalog FOLDER) and choose what is there.",
        )
    return Chosen(replace(catalog, entries=tuple(entries)), left_out)


def choose_cameras(entries: Iterable[Entry], cameras: str = RANDOM, seed: int = 0) -> list[Entry]:
    """The views to take, in the order given: "all", some ("c01,c02"), or "random", one view a sequence.

    Random views are balanced: the sequences, in an order that the seed decides, take the camera that was taken least
    so far of those that they have; of several, the seed decides. Nothing but the ids of the clips and the seed matters.
    """
    found, how = list(entries), _cameras(cameras)
    if how == ALL:
        return found
    if how != RANDOM:
        return [entry for entry in found if not entry.camera or entry.camera in how.split(",")]
    views: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in found:
        views[entry.sequence][entry.camera] = entry
    taken: Counter[str] = Counter()
    chosen = set()
    # Sequences with fewer views go first: they have the least to choose from.
    for sequence in sorted(views, key=lambda sequence: (len(views[sequence]), draw(seed, "sequence", sequence))):
        there = views[sequence]
        camera = min(there, key=lambda camera: (taken[camera], draw(seed, "camera", sequence, camera)))
        taken[camera] += 1
        chosen.add(there[camera].id)
    return [entry for entry in found if entry.id in chosen]


def choose_view(path: Path, camera: str, seed: int = 0) -> Path:
    """The file beside ``path`` that shows the same dance from ``camera`` ("c01"...), or from a "random" one of those
    that are there: the seed and the dance decide. Raises ``SettingsError`` when there is no such file, or no AIST name.
    """
    name = ClipName.parse(path)
    views: dict[str, Path] = {name.camera: path}
    for file in sorted(path.parent.iterdir()):
        other = find_name(file) if file.suffix.lower() in SUFFIXES else None
        if other is not None and other.sequence == name.sequence:
            views.setdefault(other.camera, file)
    if camera == RANDOM:
        camera = min(views, key=lambda view: draw(seed, "view", name.sequence, view))
    if camera not in views:
        raise SettingsError(
            f"There is no view of {name.sequence} from {camera}.",
            expected=f"one of {', '.join(sorted(views))}, whose files are in {path.parent}",
            got=camera,
            remedy="Put the file there, or choose another camera.",
        )
    return views[camera]


def pick(entries: Sequence[Entry], index: int, count: int = 1, seed: int = 0) -> list[Entry]:
    """``count`` clips from the place ``index`` on; with a negative index, ``count`` different ones that the seed draws.

    Raises ``SettingsError`` for more clips than there are.
    """
    if count < 1 or max(0, index) + count > len(entries):
        raise SettingsError(
            "There are not so many clips.",
            expected=f"places 0 to {len(entries) - 1}",
            got=f"{count} from {index} on" if index >= 0 else f"{count} drawn",
            remedy="Choose a lower place or fewer clips, or widen the filters.",
        )
    if index >= 0:
        return list(entries[index : index + count])
    return sorted(entries, key=lambda entry: draw(seed, "pick", entry.id))[:count]


def draw(*parts: Any) -> int:
    """A number from 0 to 2**256 - 1 that the parts decide and nothing else: a lot that is the same on any machine."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest(), "big")


def _values(entry: Entry, kind: str) -> tuple[str, ...]:
    if kind == "dancer":
        return entry.dancers
    value: str = getattr(entry, kind)
    return (value,) if value else ()


def _check(kind: str, wanted: list[str], entries: tuple[Entry, ...]) -> None:
    there = {value for entry in entries for value in _values(entry, kind)}
    known = {value.lower() for value in (*there, *_WORDS.get(kind, {}))}
    if unknown := [value for value in wanted if value.lower() not in known]:
        shown = sorted(there)
        raise SettingsError(
            f"No clip has the {kind} {', '.join(unknown)}.",
            expected=f"some of {', '.join(shown[:40])}{', ...' if len(shown) > 40 else ''}" if shown else "nothing",
            got=", ".join(unknown),
        )

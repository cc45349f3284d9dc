"""Where in the model a LoRA acts, and how strongly: the strength map.

A map is a list of entries, each a place and a factor: ``self_attn=0.5, blocks 20-29=0.2``. A layer's strength is the
LoRA's strength times the factors of all entries that name it; what no entry names keeps the full strength. So the
order of the entries means nothing, and a factor of 0 leaves a place out exactly. The places are

- ``dit`` and ``vace``: the transformer, and the VACE blocks that steer it;
- ``self_attn``, ``cross_attn`` and ``ffn``: these parts of every block; ``other``: the rest of a block (its norms,
  modulation and projections); ``outside``: what comes before and after the blocks (embeddings and head);
- ``blocks 20-29``, ``blocks 5``, ``blocks 20-``: blocks of the transformer, counted from 0, both ends included, an open
  end up to the last; ``vace_blocks 0-4``: the same for the VACE blocks.

``only self_attn ffn``, ``only vace`` or ``only blocks 0-9 20-29`` leaves out everything else of that kind: it stands
for factors of 0. In JSON and YAML a map is an object: ``{"self_attn": 0.5, "only": "blocks 20-29"}``.
"""

from __future__ import annotations

import itertools
import numbers
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError
from .scales import say_number

NETS = ("dit", "vace")
PARTS = ("self_attn", "cross_attn", "ffn", "other", "outside")
RANGES = {"blocks": "dit", "vace_blocks": "vace"}
FACTOR_LIMIT = 4.0

_NAMES = (*NETS, *PARTS)
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d*))?")
_ENTRY = re.compile(r"(?P<place>[^=:]*?)\s*(?:[=:]\s*(?P<factor>\S+))?\s*")
_SPELLINGS = {"block": "blocks", "vace_block": "vace_blocks", "self_attention": "self_attn"}
_SPELLINGS |= {"cross_attention": "cross_attn"}
_FORM = 'entries such as "self_attn=0.5, blocks 20-29=0.2" or "only cross_attn"'
_REMEDY = f"The places are {', '.join(_NAMES)}, {' and '.join(f'{name} 0-9' for name in RANGES)}."


@dataclass(frozen=True)
class Place:
    """Where a layer stands. ``net``: of ``NETS``; ``part``: of ``PARTS``; ``block``: None outside the blocks."""

    net: str
    part: str
    block: int | None = None


@dataclass(frozen=True)
class BlockFactor:
    """A factor for blocks ``first`` to ``last`` (both included; None is the end). ``kind``: a key of ``RANGES``."""

    kind: str
    first: int
    last: int | None
    factor: float

    def holds(self, block: int) -> bool:
        """Whether this block lies in the range."""
        return self.first <= block and (self.last is None or block <= self.last)

    def __str__(self) -> str:
        return f"{self.kind} {_say_span(self.first, self.last)}"


@dataclass(frozen=True)
class StrengthMap:
    """Factors by place, in their one true form: equal maps are equal objects and have the same text and JSON.

    ``factors``: (name, factor) of nets and parts, without those of 1, in the order of ``NETS`` and ``PARTS``.
    ``blocks``: ranges in order, disjoint, joined where they touch with the same factor, without those of 1.
    """

    factors: tuple[tuple[str, float], ...] = ()
    blocks: tuple[BlockFactor, ...] = ()

    def factor(self, place: Place) -> float:
        """The product of the factors of all entries that name this place."""
        product = 1.0
        for name, value in self.factors:
            if name in (place.net, place.part):
                product *= value
        for entry in self.blocks:
            if place.block is not None and RANGES[entry.kind] == place.net and entry.holds(place.block):
                product *= entry.factor
        return product

    def is_silent(self) -> bool:
        """Whether every place has the factor 0, in a model of any size."""
        edges = {0, *(entry.first for entry in self.blocks)}
        edges |= {entry.last + 1 for entry in self.blocks if entry.last is not None}
        inside = itertools.product(NETS, [part for part in PARTS if part != "outside"], sorted(edges))
        places = [*(Place(*one) for one in inside), *(Place(net, "outside") for net in NETS)]
        return not any(self.factor(place) for place in places)

    def to_dict(self) -> dict[str, float]:
        """The map as a JSON object; ``parse_map`` is its inverse."""
        return {**dict(self.factors), **{str(entry): entry.factor for entry in self.blocks}}

    def __str__(self) -> str:
        """The shortest text that people would write: with ``only`` where most of a kind is left out."""
        values, said = dict(self.factors), []
        off = {name for name, factor in self.factors if factor == 0}
        for kind, most in ((NETS, 1), (PARTS, 3)):
            if most <= len(off.intersection(kind)) < len(kind):
                said.append(f"only {' '.join(name for name in kind if name not in off)}")
                values = {name: factor for name, factor in values.items() if name not in off.intersection(kind)}
        blocks = self.blocks
        if kept := self._kept_blocks():
            said.append(f"only {kept}")
            values.pop("outside", None)
            blocks = tuple(entry for entry in blocks if entry.factor)
        pairs = [*values.items(), *((str(entry), entry.factor) for entry in blocks)]
        return ", ".join([*said, *(f"{place}={say_number(factor)}" for place, factor in pairs)])

    def _kept_blocks(self) -> str:
        """The blocks that are not left out, as ``only`` names them; "" where it would not say the same."""
        zeros = [entry for entry in self.blocks if entry.factor == 0]
        if ("outside", 0.0) not in self.factors or not any(entry.last is None for entry in zeros):
            return ""
        spans = ((kind, _gaps([(entry.first, entry.last) for entry in zeros if entry.kind == kind])) for kind in RANGES)
        return " ".join(
            f"{kind} {' '.join(_say_span(first, last) for first, last in kept)}"
            for kind, gaps in spans
            if (kept := list(gaps))
        )


def parse_map(value: Any) -> StrengthMap:
    """A strength map out of its text or its JSON object; an empty one and "all" change nothing.

    Raises ``SettingsError`` for an unknown place, a factor that is no number from -4 to 4, or a place named twice.
    """
    if isinstance(value, StrengthMap):
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "all")):
        return StrengthMap()
    if isinstance(value, str):
        entries = [_split(text) for text in re.split(r"[,;\n]", value) if text.strip()]
    elif isinstance(value, Mapping):
        entries = list(_items(value))
    else:
        raise _refusal(value, got=repr(value))
    factors: dict[str, float] = {}
    ranges: list[BlockFactor] = []
    for place, given in entries:
        words = place.split()
        if words[:1] == ["only"]:
            if given is not None:
                raise _refusal(place, got=f"the factor {given!r}", remedy="Write factors as entries of their own.")
            named, blocks = _complement(place, words[1:])
        else:
            named, blocks = _place(place, words, _number(place, given))
        for name, factor in named.items():
            # Two "only" entries may leave out the same place; two factors for one place contradict each other.
            if name in factors and factors[name] != factor:
                raise _twice(name)
            factors[name] = factor
        ranges += blocks
    return StrengthMap(
        tuple((name, factors[name]) for name in _NAMES if factors.get(name, 1.0) != 1.0),
        tuple(itertools.chain.from_iterable(_joined(kind, ranges) for kind in RANGES)),
    )


def _split(text: str) -> tuple[str, Any]:
    found = _ENTRY.fullmatch(text.strip())
    if not found:
        raise _refusal(text, got=text.strip())
    factor: Any = found["factor"]
    with suppress(TypeError, ValueError):
        factor = float(factor)
    return _spelled(found["place"]), factor


def _items(value: Mapping[Any, Any]) -> Iterable[tuple[str, Any]]:
    for place, factor in value.items():
        if not isinstance(place, str):
            raise _refusal(place, got=repr(place))
        place = _spelled(place)
        if place != "only":
            yield place, factor
            continue
        names = [factor] if isinstance(factor, str) else factor
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise _refusal(place, got=f"only: {factor!r}", remedy='Write "only": "self_attn ffn", or a list of names.')
        yield f"only {_spelled(' '.join(names))}", None


def _spelled(place: str) -> str:
    """The place in small letters, with underscores, single spaces, and the short names."""
    words = re.sub(r"(?<=[a-z])-(?=[a-z])", "_", place.strip().lower()).split()
    return " ".join(_SPELLINGS.get(word, word) for word in words)


def _number(place: str, given: Any) -> float:
    kind: Any = numbers.Real  # NumPy's numbers are such too
    # Written so that NaN fails too.
    if not isinstance(given, kind) or isinstance(given, bool) or not -FACTOR_LIMIT <= given <= FACTOR_LIMIT:
        raise SettingsError(
            f"The factor of {place!r} cannot be {'missing' if given is None else repr(given)}.",
            expected=f"a number from -{say_number(FACTOR_LIMIT)} to {say_number(FACTOR_LIMIT)}",
            got="no number" if given is None else repr(given),
            remedy=f'Write "{place}=0.5", or "only {place}" to leave out everything else.',
        )
    return float(given) + 0.0  # -0.0 becomes 0.0


def _place(place: str, words: list[str], factor: float) -> tuple[dict[str, float], list[BlockFactor]]:
    if len(words) == 1 and words[0] in _NAMES:
        return {words[0]: factor}, []
    if len(words) >= 2 and words[0] in RANGES:
        return {}, [BlockFactor(words[0], *_span(place, " ".join(words[1:])), factor)]
    raise _refusal(place, got=place or "an entry without a place")


def _complement(place: str, words: list[str]) -> tuple[dict[str, float], list[BlockFactor]]:
    """Zeros for everything of the same kind that ``only`` does not name."""
    for kind in (NETS, PARTS):
        if words and set(words) <= set(kind):
            return {name: 0.0 for name in kind if name not in words}, []
    if not words or words[0] not in RANGES:
        raise _refusal(place, got=f"{place!r}", remedy=f'"only" takes places of one kind. {_REMEDY}')
    kept: dict[str, list[tuple[int, int | None]]] = {name: [] for name in RANGES}
    kind_name = ""
    for word in words:
        if word in RANGES:
            kind_name = word
        else:
            kept[kind_name].append(_span(place, word))
    if empty := [name for name in words if name in RANGES and not kept[name]]:
        raise _refusal(place, got=f"{empty[0]} without numbers", remedy=f'Write "only {empty[0]} 0-9".')
    zeros = [BlockFactor(name, *gap, 0.0) for name in RANGES for gap in _gaps(kept[name])]
    return {"outside": 0.0}, zeros


def _span(place: str, text: str) -> tuple[int, int | None]:
    found = _RANGE.fullmatch(text)
    if not found:
        raise _refusal(place, got=place)
    first = int(found[1])
    last = first if found[2] is None else int(found[2]) if found[2] else None
    if last is not None and last < first:
        raise _refusal(place, got=place, remedy=f"Write the smaller number first: {last}-{first}.")
    return first, last


def _say_span(first: int, last: int | None) -> str:
    return str(first) if last == first else f"{first}-{'' if last is None else last}"


def _gaps(spans: list[tuple[int, int | None]]) -> Iterable[tuple[int, int | None]]:
    """What lies between and around the spans, from 0 to the open end."""
    start = 0
    for first, last in sorted(spans, key=lambda span: span[0]):
        if first > start:
            yield start, first - 1
        if last is None:
            return
        start = max(start, last + 1)
    yield start, None


def _joined(kind: str, ranges: list[BlockFactor]) -> Iterable[BlockFactor]:
    """The ranges of one kind in order, touching ones of the same factor as one; an overlap is an error unless equal."""
    current: BlockFactor | None = None
    for entry in sorted((one for one in ranges if one.kind == kind), key=lambda one: one.first):
        if current is None:
            current = entry
            continue
        overlap = current.last is None or entry.first <= current.last
        if overlap and entry.factor != current.factor:
            raise _twice(f"{kind} {entry.first}")
        if overlap or (entry.first == current.last + 1 and entry.factor == current.factor):  # type: ignore[operator]
            last = None if current.last is None or entry.last is None else max(current.last, entry.last)
            current = BlockFactor(kind, current.first, last, current.factor)
            continue
        if current.factor != 1.0:
            yield current
        current = entry
    if current is not None and current.factor != 1.0:
        yield current


def _twice(place: str) -> SettingsError:
    return SettingsError(
        f"The strength map gives {place} two factors.",
        expected="one factor for each place",
        got=f"{place} twice",
        remedy="Remove one of them, or make the block ranges not overlap.",
    )


def _refusal(place: Any, *, got: str, remedy: str = _REMEDY) -> SettingsError:
    return SettingsError(f"The strength map cannot hold {place!r}.", expected=_FORM, got=got, remedy=remedy)

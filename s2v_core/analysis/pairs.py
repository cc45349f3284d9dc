"""Cells that differ in one thing only, brought together: what a claim about that thing compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from .collect import NO_LORA
from .table import Row, Value

Key = tuple[tuple[str, Value], ...]
_STRENGTH = "lora_strength"
# What may change with the thing that is compared: each prompt may bring its own negative.
_GOES_WITH = {"prompt": ("negative",)}


@dataclass(frozen=True)
class Series:
    """Cells that are alike in all but one thing and the seed. ``key``: what they are alike in.

    ``seeds``: seed -> place -> value, the mean of the cells there; all seeds have the same places.
    """

    key: Key
    seeds: Mapping[int, Mapping[Value, float]]


@dataclass(frozen=True)
class Paired:
    """All series that have the same places for the same seeds. ``places``: sorted; ``seeds``: sorted.

    ``cells``: ids of those in them. ``left_out``: how many series were not whole. ``reason``: why a score is
    missing, the first.
    """

    series: tuple[Series, ...]
    places: tuple[Value, ...]
    seeds: tuple[int, ...]
    cells: frozenset[str]
    left_out: int
    reason: str

    def per_seed(self, effect: Callable[[Mapping[Value, float]], float]) -> list[float]:
        """The effect of each seed: its mean over the series."""
        return [sum(effect(one.seeds[seed]) for one in self.series) / len(self.series) for seed in self.seeds]


def pair(rows: Iterable[Row], axis: str, metric: str, *, only: Collection[Value] | None = None) -> Paired:
    """The series along an axis.

    ``only``: these places alone. Where series have different places, those with the most are taken: a sweep over this
    axis, not cells that other sweeps happen to have. A LoRA at strength 0 is the base model, with which every LoRA's
    series begins. Series or seeds with a missing score are left out whole, so that the same is compared everywhere.
    """
    found: dict[Key, dict[int, dict[Value, list[float]]]] = {}
    cells: dict[tuple[Key, int], set[str]] = {}
    broken: set[tuple[Key, int]] = set()
    there: dict[tuple[Key, int], set[Value]] = {}
    reason = ""
    for key, row in keyed(rows, (axis,), _GOES_WITH.get(axis, ())):
        place = row.at[axis]
        if only is not None and place not in only:
            continue
        there.setdefault((key, row.seed), set()).add(place)
        value = row.score(metric)
        if value is None:
            reason = reason or row.reason(metric)
            broken.add((key, row.seed))
            continue
        found.setdefault(key, {}).setdefault(row.seed, {}).setdefault(place, []).append(value)
        cells.setdefault((key, row.seed), set()).add(row.cell)
    means = {
        key: {
            seed: {place: sum(values) / len(values) for place, values in places.items()}
            for seed, places in seeds.items()
            if (key, seed) not in broken
        }
        for key, seeds in found.items()
    }
    counts = Counter(frozenset(places) for seeds in means.values() for places in seeds.values() if len(places) > 1)
    if not any(len(places) > 1 for places in there.values()):
        reason = ""  # what is missing would make no series either
    if not counts:
        return Paired((), (), (), frozenset(), len({key for key, _ in broken}), reason)
    places = max(counts, key=lambda one: (len(one), counts[one], sorted(map(str, one))))
    whole = {
        key: frozenset(seed for seed, at in seeds.items() if frozenset(at) == places) for key, seeds in means.items()
    }
    seeds = max(whole.values(), key=lambda one: (len(one), sorted(one)))
    kept = sorted((key for key in whole if whole[key] >= seeds), key=str)
    series = tuple(Series(key, {seed: means[key][seed] for seed in sorted(seeds)}) for key in kept)
    used = set().union(*(cells[key, seed] for key in kept for seed in seeds))
    left_out = len({key for key, _ in broken} - set(kept))
    return Paired(series, ordered(places), tuple(sorted(seeds)), frozenset(used), left_out, reason)


def keyed(rows: Iterable[Row], axes: Collection[str], loose: Collection[str] = ()) -> list[tuple[Key, Row]]:
    """Each row that has a place on all ``axes``, with what it must have in common with others to be compared.

    That is everything but the axes, the seed, and what is ``loose``.
    """
    varied = (*axes, *loose)
    known = [row for row in rows if all(name in row.at for name in axes)]
    if _STRENGTH not in varied:
        return [(_key(row, varied), row) for row in known]
    # The base model has no LoRA and none of its settings: it belongs to each LoRA that there is beside it.
    found: list[tuple[Key, Row]] = []
    loras: dict[Key, dict[Key, None]] = {}
    for row in known:
        if row.at.get("lora", "") != NO_LORA:
            loras.setdefault(_plain(_key(row, varied)), {}).setdefault(_key(row, varied))
    for row in known:
        key = _key(row, varied)
        mine = loras.get(_plain(key), {}) if row.at.get("lora", "") == NO_LORA else {key: None}
        found += [(one, row) for one in mine or {key: None}]
    return found


def ordered(places: Iterable[Value]) -> tuple[Value, ...]:
    """Numbers by size, then texts by the alphabet."""
    return tuple(sorted(places, key=lambda one: (isinstance(one, str), one if isinstance(one, str) else float(one))))


def _key(row: Row, varied: Collection[str]) -> Key:
    return tuple(sorted((name, value) for name, value in row.at.items() if name not in varied))


def _plain(key: Key) -> Key:
    return tuple(entry for entry in key if not entry[0].startswith("lora"))

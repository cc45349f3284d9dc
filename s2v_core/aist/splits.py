"""Training, validation and test sets that share neither music nor choreography, as AIST++'s own cross-modal split.

Music and choreographies are dealt out to the three sets, each genre by itself. A clip whose music and choreography
belong to the same set is in it. All others would leak from one set into another, and are "unused".
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from ..options import choice, number, settle
from .catalog import Entry, Refused, read_list
from .choose import LAST_SEED, draw

TRAIN, VAL, TEST, UNUSED = "train", "val", "test", "unused"
SPLITS = (TRAIN, VAL, TEST)
BY = {
    "music and choreography": ("music", "choreography"),
    "choreography": ("choreography",),
    "music": ("music",),
    "dancer": ("dancer",),
}

Key = tuple[str, str]  # kind, value


@dataclass(frozen=True)
class SplitSettings:
    """How clips are split. Raises SettingsError for shares that leave nothing to train on."""

    split_by: str = choice(
        "music and choreography",
        "What no two sets may share. With both, clips that would belong to two sets are left out.",
        *BY,
    )
    val_share: float = number(0.1, "Share of the music, choreographies or dancers for validation.", 0.0, 0.9, 0.05)
    test_share: float = number(0.1, "Share of them for testing.", 0.0, 0.9, 0.05)
    split_seed: int = number(0, "Decides which: the same seed, the same sets.", 0, LAST_SEED, 1)

    def __post_init__(self) -> None:
        settle(self)
        if self.val_share + self.test_share > 0.9:
            raise SettingsError(
                "The shares leave nothing to train on.",
                expected="val_share and test_share together at most 0.9",
                got=f"{self.val_share} and {self.test_share}",
            )


def split_entries(entries: Iterable[Entry], settings: SplitSettings | None = None) -> dict[str, str]:
    """The set of each clip by its id: "train", "val", "test" or "unused".

    A fact that a clip lacks is one of its own: showcases, cyphers and battles count as their own choreography, and a
    clip without a dancer, music or choreography shares it with no other sequence.
    """
    settings = settings or SplitSettings()
    found = list(entries)
    kinds = BY[settings.split_by]
    genres: dict[Key, str] = {}
    for entry in found:
        for key in keys(entry, kinds):
            genres[key] = min(genres.get(key, entry.genre), entry.genre)
    # All keys of a genre are dealt out together, so that every genre is in every set where it can be.
    decks: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in sorted(genres):
        decks[key[0], genres[key]].append(key)
    home = {key: split for deck in decks.values() for key, split in _deal(deck, settings).items()}
    return {entry.id: _common({home[key] for key in keys(entry, kinds)}) for entry in found}


def read_split_lists(lists: Mapping[str, str | os.PathLike[str]]) -> tuple[dict[str, str], tuple[Refused, ...]]:
    """The set of each sequence (``Entry.sequence``) out of list files, one a set, and the lines that are no names.

    They are AIST++'s ``splits/crossmodal_train.txt`` and the like. A list for "unused" is its ``ignore_list.txt``: it
    goes before the others. Raises ``SettingsError`` for another set, and for a sequence in two of train, val and test.
    """
    found: dict[str, str] = {}
    refused: list[Refused] = []
    for split, path in sorted(lists.items(), key=lambda item: item[0] == UNUSED):
        if split not in (*SPLITS, UNUSED):
            raise SettingsError(
                f"There is no set {split!r}.", expected=f"one of {', '.join((*SPLITS, UNUSED))}", got=split
            )
        listed = read_list(path)
        refused += [Refused(f"{Path(path).name}, {line.file}", line.reason) for line in listed.refused]
        for sequence in {entry.sequence for entry in listed.entries}:
            if split != UNUSED and sequence in found:
                raise SettingsError(
                    f"{sequence} is in two lists.",
                    expected="one set for each sequence",
                    got=f"{found[sequence]}, {split}",
                )
            found[sequence] = split
    return found, tuple(refused)


def split_by_lists(entries: Iterable[Entry], sets: Mapping[str, str]) -> dict[str, str]:
    """The set of each clip by its id, where ``read_split_lists`` puts its sequence; "unused" for all others."""
    return {entry.id: sets.get(entry.sequence, UNUSED) for entry in entries}


def leaks(entries: Iterable[Entry], sets: Mapping[str, str]) -> dict[str, list[str]]:
    """What is in more than one of train, val and test: its kind to the values, for a person to judge a given split."""
    where: dict[Key, set[str]] = defaultdict(set)
    for entry in entries:
        if (split := sets.get(entry.id, UNUSED)) != UNUSED:
            for key in keys(entry, ("music", "choreography", "dancer")):
                where[key].add(split)
    found: dict[str, list[str]] = defaultdict(list)
    for (kind, value), splits in sorted(where.items()):
        if len(splits) > 1:
            found[kind].append(value)
    return dict(found)


def count_splits(sets: Mapping[str, str]) -> dict[str, int]:
    """Clips in each set, in order."""
    counted = Counter(sets.values())
    return {split: counted[split] for split in (*SPLITS, UNUSED)}


def keys(entry: Entry, kinds: Iterable[str]) -> set[Key]:
    """What a clip may share with others: (kind, value). AIST's choreographies belong to a genre and a situation."""
    own = f"of {entry.sequence}"
    found: set[Key] = set()
    for kind in kinds:
        if kind == "dancer":
            found |= {(kind, dancer) for dancer in entry.dancers or (own,)}
        elif kind == "music":
            found.add((kind, entry.music or own))
        else:
            place = [entry.genre, entry.situation] if entry.name else []
            found.add((kind, " ".join([*place, entry.choreography]) if entry.choreography else own))
    return found


def _deal(deck: list[Key], settings: SplitSettings) -> dict[Key, str]:
    """One genre's keys in the order of their lots: first test, then val, the rest train, which always gets one."""
    order = sorted(deck, key=lambda key: draw(settings.split_seed, "split", *key))
    sizes = {}
    room = len(order) - 1
    for split, share in ((TEST, settings.test_share), (VAL, settings.val_share)):
        wanted = max(1, round(share * len(order))) if share else 0
        sizes[split] = min(wanted, room)
        room -= sizes[split]
    names = [TEST] * sizes[TEST] + [VAL] * sizes[VAL]
    return {key: names[place] if place < len(names) else TRAIN for place, key in enumerate(order)}


def _common(splits: set[str]) -> str:
    return splits.pop() if len(splits) == 1 else UNUSED

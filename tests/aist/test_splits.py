from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2v_core.aist.catalog import Entry, make_entry
from s2v_core.aist.names import GENRE_DANCERS
from s2v_core.aist.splits import (
    BY,
    SplitSettings,
    count_splits,
    leaks,
    read_split_lists,
    split_by_lists,
    split_entries,
)
from s2v_core.errors import SettingsError


def clips() -> list[Entry]:
    names = [
        f"{genre}_{situation}_c{camera:02d}_{dancer}_m{genre[1:]}{piece}_ch{number:02d}"
        for genre, dancers in list(GENRE_DANCERS.items())[:4]
        for situation, last in (("sBM", 10), ("sFM", 7))
        for dancer in dancers[:2]
        for piece in range(6)
        for number in range(1, last + 1)
        for camera in (1, 2)
    ]
    others = [Entry("tok1.mp4", music="song"), Entry("tok2.mp4", music="song"), Entry("tok3.mp4")]
    return [make_entry(name) for name in [*names, "sSH_c01_v0", "sSH_c02_v0", "gBR_sCY_c01_v1"]] + others


ENTRIES = clips()


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(sorted(BY)),
    st.sampled_from([0.0, 0.1, 0.3, 0.45]),
    st.sampled_from([0.0, 0.1, 0.45]),
    st.integers(0),
)
def test_no_two_sets_share_what_they_must_not(by: str, val: float, test: float, seed: int):
    sets = split_entries(ENTRIES, SplitSettings(by, val, test, seed % 2**53))
    assert set(sets) == {entry.id for entry in ENTRIES}
    where: dict[tuple, set[str]] = {}
    for entry in ENTRIES:
        if sets[entry.id] == "unused":
            continue
        shared = {
            "music": [entry.music],
            "choreography": [(entry.genre, entry.situation, entry.choreography) if entry.choreography else ""],
            "dancer": list(entry.dancers),
        }
        for kind in by.split(" and "):
            for value in filter(None, shared[kind]):
                where.setdefault((kind, value), set()).add(sets[entry.id])
        where.setdefault(("sequence", entry.sequence), set()).add(sets[entry.id])
    assert {key for key, found in where.items() if len(found) > 1} == set()
    counted = count_splits(sets)
    assert counted["train"] and bool(counted["val"]) == bool(val) and bool(counted["test"]) == bool(test)


def test_every_genre_is_in_every_set():
    sets = split_entries(ENTRIES)
    there = {(entry.genre, sets[entry.id]) for entry in ENTRIES if entry.situation == "sBM"}
    assert there == {
        (genre, split) for genre in list(GENRE_DANCERS)[:4] for split in ("train", "val", "test", "unused")
    }
    counted = Counter(sets.values())
    assert counted["train"] > 0.4 * len(ENTRIES)
    assert leaks(ENTRIES, sets).keys() <= {"dancer"}
    assert not leaks(ENTRIES, split_entries(ENTRIES, SplitSettings("dancer"))).get("dancer")


def test_one_seed_one_split():
    assert split_entries(ENTRIES) == split_entries(ENTRIES[::-1])
    assert split_entries(ENTRIES) != split_entries(ENTRIES, SplitSettings(split_seed=1))


@pytest.mark.parametrize(
    "given_", [{"split_by": "moon"}, {"val_share": -1}, {"val_share": 0.5, "test_share": 0.5}, {"split_seed": 0.5}]
)
def test_settings_that_cannot_be(given_: dict):
    with pytest.raises(SettingsError):
        SplitSettings(**given_)


def test_aistpps_own_lists(tmp_path: Path):
    (tmp_path / "train.txt").write_text("gBR_sBM_cAll_d04_mBR0_ch01\ngBR_sBM_cAll_d04_mBR1_ch01\nodd\n")
    (tmp_path / "test.txt").write_text("gBR_sBM_cAll_d05_mBR0_ch02\n")
    (tmp_path / "ignore.txt").write_text("gBR_sBM_cAll_d04_mBR1_ch01\n")
    lists = {name: tmp_path / f"{name}.txt" for name in ("train", "test")}
    sets, refused = read_split_lists({"unused": tmp_path / "ignore.txt", **lists})
    assert sets == {
        "gBR_sBM_cAll_d04_mBR0_ch01": "train",
        "gBR_sBM_cAll_d04_mBR1_ch01": "unused",
        "gBR_sBM_cAll_d05_mBR0_ch02": "test",
    }
    assert [line.file for line in refused] == ["train.txt, line 3: odd"]
    split = split_by_lists(ENTRIES, sets)
    assert split["gBR_sBM_c02_d04_mBR0_ch01"] == "train" and split["gBR_sBM_c01_d04_mBR1_ch01"] == "unused"
    assert split["sSH_c01_v0"] == "unused"
    assert leaks(ENTRIES, split) == {"music": ["mBR0"]}
    with pytest.raises(SettingsError, match="is in two lists"):
        read_split_lists({"train": tmp_path / "train.txt", "val": tmp_path / "train.txt"})
    with pytest.raises(SettingsError, match="There is no set"):
        read_split_lists({"dev": tmp_path / "train.txt"})

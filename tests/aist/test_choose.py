from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from s2v_core.aist.catalog import Catalog, Entry, make_entry
from s2v_core.aist.choose import Selection, choose_cameras, select
from s2v_core.aist.names import CAMERAS, GENRE_DANCERS
from s2v_core.errors import SettingsError

ROOT = Path(__file__).parents[2]


def database(cameras: int = 9) -> Catalog:
    """The basic dances of all genres, as AIST has them: 1,200 sequences."""
    names = [
        f"{genre}_sBM_c{camera:02d}_{dancer}_m{genre[1:]}{piece}_ch{number:02d}"
        for genre, dancers in GENRE_DANCERS.items()
        for dancer in dancers
        for piece in range(4)
        for number in range(1, 11)
        for camera in range(1, cameras + 1)
    ]
    return Catalog(tuple(make_entry(name) for name in sorted(names)))


@pytest.fixture(scope="module")
def whole() -> Catalog:
    return database()


DANCE = "gBR_sBM_cAll_d04_mBR0_ch01"


def camera_of(sequence: str, entries: list[Entry]) -> str:
    return next(entry.camera for entry in entries if entry.sequence == sequence)


def ids(catalog: Catalog) -> set[str]:
    return {entry.id for entry in catalog.entries}


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        ({"genre": "gBR"}, 1080),
        ({"genre": "break, PO"}, 2160),
        ({"genre": "waack", "dancer": "25,d26"}, 720),
        ({"situation": "basic dance"}, 10800),
        ({"music": "br0,mPO3"}, 540),
        ({"choreography": "1, ch02", "genre": "House"}, 216),
        ({"camera": "c01"}, 1200),
        ({"camera": "1, c9"}, 2400),
        ({"camera": "random"}, 1200),
        ({"camera": "random", "limit": 7}, 7),
        ({}, 10800),
    ],
)
def test_filters(whole: Catalog, choice: dict, count: int):
    chosen = select(whole, Selection(**choice))
    assert len(chosen.catalog) == count
    assert sum(chosen.left_out.values()) == len(whole) - count
    assert [entry.id for entry in chosen.catalog.entries] == sorted(ids(chosen.catalog))


def test_written_in_one_form():
    said = Selection(genre=" Break,br,PO ", dancer="4,d05,d04", music="BR0", choreography="1", camera="C1,2")
    assert (said.genre, said.dancer, said.music, said.choreography) == ("gBR,gPO", "d04,d05", "mBR0", "ch01")
    assert said.camera == "c01,c02"


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ({"genre": "gXX"}, "No clip has the genre gXX"),
        ({"dancer": "d04", "genre": "gPO"}, "No clip is left"),
        ({"choreography": "ch77"}, "No clip has the choreography"),
        ({"camera": "c10"}, "No clip is left"),
    ],
)
def test_a_choice_of_what_is_not_there(whole: Catalog, choice: dict, problem: str):
    with pytest.raises(SettingsError, match=problem):
        select(whole, Selection(**choice))


@pytest.mark.parametrize("camera", ["c11", "", "front", "c01,,c02", "random,c01", "c1²", 3])
def test_a_camera_that_is_none(camera: object):
    with pytest.raises(SettingsError, match="cameras cannot be"):
        Selection(camera=camera)  # type: ignore[arg-type]


def test_words_of_a_table_can_be_chosen():
    clips = Catalog((Entry("a.mp4", genre="Shuffle"), Entry("b.mp4", genre="tap"), Entry("c.mp4")))
    assert [e.file for e in select(clips, Selection(genre="shuffle", camera="c01")).catalog.entries] == ["a.mp4"]


def test_random_cameras_are_balanced_and_fair(whole: Catalog):
    p_values, often = [], Counter()
    for seed in range(20):
        chosen = choose_cameras(whole.entries, "random", seed)
        assert len(chosen) == len({entry.sequence for entry in chosen}) == 1200
        counted = Counter(entry.camera for entry in chosen)
        assert max(counted.values()) - min(counted.values()) <= 1
        # No genre sees a camera more often than chance would have it.
        for genre in GENRE_DANCERS:
            of_genre = Counter(entry.camera for entry in chosen if entry.genre == genre)
            p_values.append(chisquare([of_genre[camera] for camera in CAMERAS[:9]]).pvalue)
        often[camera_of(DANCE, chosen)] += 1
    assert min(p_values) > 0.05 / len(p_values), "Bonferroni at 5%"
    assert len(often) >= 7, "a dance is seen from all sides over the seeds"


def test_one_dance_meets_every_camera_equally_often_over_the_seeds(whole: Catalog):
    entries = [entry for entry in whole.entries if entry.genre == "gBR" and entry.choreography == "ch01"]
    counted: Counter[str] = Counter()
    for seed in range(450):
        counted[camera_of(DANCE, choose_cameras(entries, "random", seed))] += 1
    assert chisquare([counted[camera] for camera in CAMERAS[:9]]).pvalue > 0.01


@settings(deadline=None, max_examples=10)
@given(st.randoms(), st.integers(0, 2**53 - 1))
def test_order_and_paths_of_the_files_do_not_matter(chance, seed: int):
    entries = [entry for entry in database(3).entries if entry.genre == "gBR" and entry.choreography == "ch01"]
    first = {entry.id for entry in choose_cameras(entries, "random", seed)}
    moved = [replace(entry, file=f"elsewhere/{entry.file}") for entry in entries]
    chance.shuffle(moved)
    assert {entry.id for entry in choose_cameras(moved, "random", seed)} == first


def test_the_same_seed_is_the_same_choice_in_another_process():
    code = (
        "from tests.aist.test_choose import database; from s2v_core.aist.choose import choose_cameras; "
        "from s2v_core.files import sha256_json; "
        "print(sha256_json([e.id for e in choose_cameras(database(4).entries, 'random', 3)]))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hashing, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hashing in ("1", "2")
    }
    assert said == {"2073f4851dd5cbd372e57ec4c4d37a5f747ebde0a4bffd2988625f38926aae91"}, (
        "the choice of a seed must never change: people's datasets are made of it"
    )


def test_views_that_are_missing_keep_the_balance():
    entries = [entry for entry in database(9).entries if entry.choreography in ("ch01", "ch02")]
    # Every second dance was seen by two cameras only.
    few = {"ch01": ("c01", "c02")}
    there = [entry for entry in entries if entry.camera in few.get(entry.choreography, CAMERAS)]
    counted = Counter(entry.camera for entry in choose_cameras(there, "random", 5))
    assert counted["c01"] == counted["c02"] == 60
    assert all(counted[camera] in (17, 18) for camera in CAMERAS[2:9])

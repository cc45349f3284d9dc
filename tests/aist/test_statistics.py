from __future__ import annotations

from pathlib import Path

from PIL import Image

from s2v_core.aist.catalog import Entry, make_entry
from s2v_core.aist.statistics import count_facts, draw_statistics, genre_by_situation

NAMES = ("gPO_sBM_c10_d10_mPO0_ch01", "gBR_sBM_c02_d04_mBR0_ch01", "gBR_sFM_c01_d04_mBR3_ch11")
ENTRIES = [*map(make_entry, NAMES), Entry("a.mp4", genre="tap", dancers=("ann", "d04"))]


def test_counts_are_sorted_as_aist_lists_them():
    counts = count_facts(ENTRIES, {ENTRIES[0].id: "train"})
    assert list(counts["genre"].items()) == [("gBR", 2), ("gPO", 1), ("tap", 1)]
    assert list(counts["camera"]) == ["c01", "c02", "c10", "not given"]
    assert counts["dancer"] == {"ann": 1, "d04": 3, "d10": 1}
    assert list(counts["tempo"]) == ["80 BPM", "110 BPM", "not given"]
    assert counts["set"] == {"train": 1, "not given": 3}
    assert genre_by_situation(ENTRIES) == {"gBR": {"sBM": 1, "sFM": 1}, "gPO": {"sBM": 1}, "tap": {"not given": 1}}
    assert count_facts([]) == {}


def test_the_picture_is_written_whole(tmp_path: Path):
    path = draw_statistics(ENTRIES, tmp_path / "new" / "statistics.png")
    with Image.open(path) as picture:
        assert picture.size == (1560, 960)
    assert [file.name for file in path.parent.iterdir()] == ["statistics.png"]

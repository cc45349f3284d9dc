from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.aist.catalog import FIXED_CAMERAS, make_entry, read_list, scan_folder
from s2v_core.aist.facts_table import ClipFacts, load_facts
from s2v_core.aist.names import CAMERAS, GENRES, SITUATIONS, ClipName
from s2v_core.errors import SettingsError

BASIC = "gBR_sBM_c01_d04_mBR0_ch01"


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_of_aist_clips(tmp_path: Path):
    fill(
        tmp_path, f"b/{BASIC}.mp4", "gpo_sfm_c10_d10_mpo3_ch05.MKV", "sSH_c02_v0.mp4", "notes.txt", f"{BASIC}.mp4.part"
    )
    catalog = scan_folder(tmp_path)
    assert [entry.id for entry in catalog.entries] == [BASIC, "gPO_sFM_c10_d10_mPO3_ch05", "sSH_c02_v0"]
    assert not catalog.refused
    first, second, third = catalog.entries
    assert catalog.path(first) == tmp_path / "b" / f"{BASIC}.mp4"
    assert (first.genre, first.situation, first.camera, first.dancers) == ("gBR", "sBM", "c01", ("d04",))
    assert (first.music, first.choreography, first.tempo) == ("mBR0", "ch01", 80)
    assert first.sequence == "gBR_sBM_cAll_d04_mBR0_ch01"
    assert second.tempo == 110 and third.tempo == 80
    assert "ISMIR 2019" in first.attribution and "no redistribution" in first.attribution
    facts = first.facts()
    assert facts["genre name"] == "Break" and facts["camera name"] == "front camera" and facts["dancers"] == ["d04"]
    assert "caption" not in facts and "file" not in facts


def test_nothing_is_dropped_without_a_reason(tmp_path: Path):
    fill(
        tmp_path,
        f"a/{BASIC}.mp4",
        f"b/{BASIC.lower()}.mp4",
        "holiday.mp4",
        ".hidden.mp4",
        "gBR_sBM_c11_d04_mBR0_ch01.mp4",
    )
    (tmp_path / "gBR_sBM_c02_d04_mBR0_ch01.mp4").touch()
    catalog = scan_folder(tmp_path, {"gone.mp4": ClipFacts(genre="x")})
    assert [entry.file for entry in catalog.entries] == [f"a/{BASIC}.mp4"]
    reasons = {entry.file: entry.reason for entry in catalog.refused}
    assert "same clip as a/" in reasons[f"b/{BASIC.lower()}.mp4"]
    assert "no valid genre" in reasons["holiday.mp4"]
    assert "hidden" in reasons[".hidden.mp4"]
    assert (
        "no valid camera" in reasons["gBR_sBM_c11_d04_mBR0_ch01.mp4"]
        and "c01 to c10" in reasons["gBR_sBM_c11_d04_mBR0_ch01.mp4"]
    )
    assert "empty" in reasons["gBR_sBM_c02_d04_mBR0_ch01.mp4"]
    assert "not in the folder" in reasons["gone.mp4"]
    assert len(reasons) == 6


def test_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(SettingsError, match="There is no folder"):
        scan_folder(tmp_path / "no")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as caught:
        scan_folder(tmp_path / "file")
    assert caught.value.got == "a file"


def test_other_clips_with_a_table(tmp_path: Path):
    fill(tmp_path, "tik/dance 1.mp4", "tik/dance-1.mp4", "other.mp4", "renamed.mp4", BASIC + ".mp4")
    table = tmp_path / "facts.csv"
    table.write_text(
        "\ufefffile,genre,dancers,music,tempo,caption,name\n"
        "tik/dance 1.mp4,shuffle,ann + bob,song,128,A woman dances.,\n"
        ".\\tik\\dance-1.mp4,,,,,,\n"
        "renamed.mp4,,,,,,gHO_sBM_c03_d19_mHO5_ch02\n"
        f"{BASIC}.mp4,,,,99.5,,\n",
        encoding="utf-8",
    )
    catalog = scan_folder(tmp_path, load_facts(table))
    found = {entry.file: entry for entry in catalog.entries}
    assert set(found) == {"tik/dance 1.mp4", "tik/dance-1.mp4", "renamed.mp4", f"{BASIC}.mp4"}
    assert [refused.file for refused in catalog.refused] == ["other.mp4"]
    first = found["tik/dance 1.mp4"]
    assert (first.genre, first.dancers, first.tempo, first.name) == ("shuffle", ("ann", "bob"), 128, None)
    assert first.caption == "A woman dances." and first.attribution == "" and first.sequence == first.id
    assert first.id.startswith("tik-dance-1-") and first.id != found["tik/dance-1.mp4"].id
    assert str(found["renamed.mp4"].name) == "gHO_sBM_c03_d19_mHO5_ch02" and found["renamed.mp4"].tempo == 135
    assert found[f"{BASIC}.mp4"].tempo == 99.5, "a table goes before the name"
    assert {e.file for e in scan_folder(tmp_path, any_name=True).entries} == {*found, "other.mp4"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("genre\nx\n", "other columns"),
        ("file,hat\na,b\n", "other columns"),
        ("file,genre,genre\na,b,c\n", "other columns"),
        ("", "other columns"),
        ("file,genre\na.mp4\n", "line 2 has another number"),
        ("file,genre\na.mp4,b,c\n", "line 2 has another number"),
        ("file\na.mp4\n./a.mp4\n", "line 3: the file is named twice"),
        ("file,genre\n,b\n", "line 2: no file is named"),
        ("file,tempo\na,fast\n", "line 2: 'fast' is no tempo"),
        ("file,tempo\na,nan\n", "line 2"),
        ("file,name\na,b\n", "line 2: The clip name 'b'"),
        ('file\n"a\n', "cannot be read"),
    ],
)
def test_a_wrong_table_is_named_by_its_line(tmp_path: Path, text: str, said: str):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        load_facts(tmp_path / "t.csv")


def test_official_lists(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text(
        f"# a comment\n\nhttps://host.example/v1.0.0/video/10M/{BASIC}.mp4\r\n"
        f'{BASIC}\ngBR_sBM_cAll_d05_mBR1_ch02\nnonsense\n"sSH_c01_v0",\n'
    )
    catalog = read_list(path)
    assert len(catalog) == 1 + 9 + 1
    assert {entry.camera for entry in catalog.entries if entry.dancers == ("d05",)} == set(FIXED_CAMERAS)
    assert catalog.entries[0].file.startswith("https://")
    assert [refused.file for refused in catalog.refused] == ["line 6: nonsense"]
    with pytest.raises(SettingsError, match="has no files"):
        catalog.path(catalog.entries[0])
    with pytest.raises(SettingsError, match="cannot be read"):
        read_list(tmp_path / "no.txt")


def fuzzed_names(count: int) -> list[str]:
    """AIST names with parts dropped, doubled, swapped, spelled otherwise, or with any characters in them."""
    chance = random.Random(7)
    anything = string.ascii_letters + string.digits + "_-. éß中\u202e\u0660١/\\%#?:*\"'"
    names = []
    for _ in range(count):
        genre = chance.choice(sorted(GENRES))
        parts = [genre, chance.choice(sorted(SITUATIONS)), chance.choice(CAMERAS), f"d{chance.randrange(40):02d}"]
        parts += [f"m{genre[1:]}{chance.randrange(8)}", f"ch{chance.randrange(25):02d}"]
        for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
            place = chance.randrange(len(parts))
            how = chance.randrange(6)
            if how == 0 and len(parts) > 1:
                parts.pop(place)
            elif how == 1:
                parts.insert(place, chance.choice(parts))
            elif how == 2:
                parts[place] = parts[place].swapcase()
            elif how == 3:
                parts[place] = "".join(chance.choice(anything) for _ in range(chance.randrange(12)))
            elif how == 4:
                chance.shuffle(parts)
            else:
                at = chance.randrange(len(parts[place]) + 1)
                parts[place] = parts[place][:at] + chance.choice(anything) + parts[place][at:]
        names.append("_".join(parts) + chance.choice(("", ".mp4", ".MP4", ".mp4.mp4")))
    return names


def test_ten_thousand_fuzzed_names_are_read_or_refused_with_a_reason(tmp_path: Path):
    names = fuzzed_names(10_000)
    read = refused = 0
    for text in names:
        try:
            entry = make_entry(text)
        except SettingsError as error:
            refused += 1
            assert error.expected and error.got and error.remedy
            continue
        read += 1
        assert ClipName.parse(entry.id) == entry.name and "/" not in entry.id
    assert read + refused == 10_000 and min(read, refused) > 2000
    path = tmp_path / "list.txt"
    path.write_text("\n".join(name.replace("#", "+") for name in names), encoding="utf-8")
    listed = read_list(path)
    assert len(listed) > 1000 and len(listed.refused) > 1000


@given(st.text(min_size=1, max_size=80))
def test_any_file_gets_a_plain_id(file: str):
    entry = make_entry(file, any_name=True)
    assert entry.id and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in entry.id)
    assert len(entry.id) <= 80 and make_entry(file, any_name=True).id == entry.id

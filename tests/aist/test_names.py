from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s2v_core.aist.names import (
    CAMERAS,
    GENRE_DANCERS,
    GENRES,
    SHORT_SITUATIONS,
    SHOWCASE_MUSIC,
    SITUATIONS,
    ClipName,
    find_name,
)
from s2v_core.errors import SettingsError

BASIC = "gBR_sBM_c01_d04_mBR0_ch01"


@st.composite
def long_names(draw: st.DrawFn) -> str:
    genre = draw(st.sampled_from(sorted(GENRES)))
    dancers = GENRE_DANCERS[genre]
    situation = draw(st.sampled_from(["sBM", "sFM", "sMM", "sMC", "sGR"]))
    cast = dancers if situation == "sGR" else (draw(st.sampled_from(dancers)),)
    camera = draw(st.sampled_from([*CAMERAS, "cAll"]))
    music = f"m{genre[1:]}{draw(st.integers(0, 5))}"
    choreography = f"ch{draw(st.integers(1, 21 if situation == 'sFM' else 10)):02d}"
    return "_".join([genre, situation, camera, *cast, music, choreography])


@st.composite
def short_names(draw: st.DrawFn) -> str:
    parts = [draw(st.sampled_from(["", *sorted(GENRES)])), draw(st.sampled_from(SHORT_SITUATIONS))]
    parts += [draw(st.sampled_from([*CAMERAS, "cAll"]))]
    parts += draw(st.sampled_from([[], ["d21", "d31"]]))
    parts += [f"v{draw(st.integers(0, 12))}"]
    return "_".join(part for part in parts if part)


def test_every_part_of_a_name():
    name = ClipName.parse(BASIC)
    assert name == ClipName("gBR", "sBM", "c01", ("d04",), "mBR0", "ch01", "")
    assert (name.genre_name, name.situation_name, name.camera_name) == ("Break", "basic dance", "front camera")
    assert (name.tempo_bpm, name.is_group, name.warnings) == (80, False, ())


@given(st.one_of(long_names(), short_names()))
def test_every_valid_name_round_trips_without_a_warning(text: str):
    name = ClipName.parse(text)
    assert str(name) == text
    assert ClipName.parse(str(name)) == name
    assert name.warnings == ()
    assert ClipName.parse(text.lower()) == ClipName.parse(text.upper()) == name
    assert ClipName.parse(name.sequence) == name.with_camera("cAll")


@given(st.one_of(long_names(), short_names()), st.sampled_from([".mp4", ".MKV", "", ".wav", ".tar.gz", ".mp4.part"]))
def test_a_name_is_found_in_every_kind_of_address(text: str, suffix: str):
    name = ClipName.parse(text)
    for place in (
        text + suffix,
        f"clips/{text}{suffix}",
        f"C:\\My clips.d\\{text}{suffix}",
        f"https://aist.example/v1.0.0/video/10M/{text}{suffix}?a=b/c#d",
        f"  {text}{suffix}\n",
        PurePosixPath("/data.d") / f"{text}{suffix}",
        PureWindowsPath("D:/x") / f"{text}{suffix}",
    ):
        assert ClipName.parse(place) == name
        assert find_name(place) == name


_codes = st.sampled_from(
    [
        "g",
        "s",
        "c",
        "d",
        "m",
        "ch",
        "v",
        "gBR",
        "sBM",
        "sSH",
        "c01",
        "cAll",
        "d04",
        "d05",
        "mBR0",
        "mHO9",
        "ch01",
        "v0",
        "v00",
        "é",
        "²",
        "ſ",
        "K",
        ".",
        "/",
        "\\",
        "?",
        "://",
    ]
)


@given(st.one_of(st.text(), st.lists(_codes, max_size=9).map("_".join), long_names().map(lambda text: text[:-3])))
@example("gBR_ſBM_c01_d04_mBR0_ch01")
@example("gBR_sBM_c٠١_d04_mBR0_ch01")
@example("://")
@example("_")
@example("\x00" * 300)
def test_garbage_raises_nothing_but_settings_errors(text: str):
    try:
        name = ClipName.parse(text)
    except SettingsError as error:
        assert error.expected
        assert error.got
        assert "gBR_sBM_c01_d04_mBR0_ch01" in error.remedy
        assert find_name(text) is None
    else:
        assert ClipName.parse(str(name)) == name
        assert str(name).isascii()


@pytest.mark.parametrize(
    ("text", "part", "got"),
    [
        ("", "genre", "nothing"),
        ("BR_sBM_c01_d04_mBR0_ch01", "genre", "'BR'"),
        ("gBR", "situation", "nothing"),
        ("gBR_sB_c01_d04_mBR0_ch01", "situation", "'sB'"),
        ("gBR_sBM_c11_d04_mBR0_ch01", "camera", "'c11'"),
        ("gBR_sBM_c00_d04_mBR0_ch01", "camera", "'c00'"),
        ("gBR_sBM_c1_d04_mBR0_ch01", "camera", "'c1'"),
        ("gBR_sBM_c01_d4_mBR0_ch01", "dancer", "'d4'"),
        ("gBR_sBM_c01_mBR0_ch01", "dancer", "'mBR0'"),
        ("gBR_sGR_c01_d04_d5_mBR0_ch01", "dancer", "'d5'"),
        ("gBR_sBM_c01_d04_mBR_ch01", "music", "'mBR'"),
        ("gBR_sBM_c01_d04", "music", "nothing"),
        ("gBR_sBM_c01_d04_mBR0", "choreography", "nothing"),
        ("gBR_sBM_c01_d04_mBR0_ch1", "choreography", "'ch1'"),
        ("gBR_sBM_c01_d04_mBR0_ch01_2", "'2' too much", "'2'"),
        ("gBR_sBM_c01_v0", "dancer", "'v0', which only a showcase, cypher or battle has"),
        ("sBM_c01_d04_mBR0_ch01", "genre", "nothing"),
        ("sSH_c01", "version", "nothing"),
        ("sSH_c01_v", "version", "'v'"),
        ("sSH_c01_v0_d04", "'d04' too much", "'d04'"),
    ],
)
def test_a_malformed_name_says_which_part_is_wrong(text: str, part: str, got: str):
    with pytest.raises(SettingsError) as caught:
        ClipName.parse(text)
    assert part in caught.value.problem
    assert caught.value.got == got


def test_something_that_is_no_text_is_a_settings_error():
    for wrong in (None, 3, b"gBR_sBM_c01_d04_mBR0_ch01", ["x"]):
        with pytest.raises(SettingsError):
            ClipName.parse(wrong)  # type: ignore[arg-type]
        assert find_name(wrong) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        ("BR", "sBM", "c01", ("d04",), "mBR0", "ch01"),
        ("gbr", "sBM", "c01", ("d04",), "mBR0", "ch01"),
        ("gBR", "sBM", "c01", ["d04"], "mBR0", "ch01"),
        ("gBR", "sBM", "c01", ("d04_d05",), "mBR0", "ch01"),
        ("gBR", "sBM", "c01", ("d04", ""), "mBR0", "ch01"),
        ("gBR", "sBM", "c01", ("d04",), "mBR0", ""),
        ("gBR", "sBM", "c01", ("d04",), "mBR0", "ch01", "v0"),
        ("gBR", "sBM", "c01", ("d04",), None, "ch01"),
        ("gBR", "sBM", 1, ("d04",), "mBR0", "ch01"),
        ("", "", "", ()),
    ],
)
def test_fields_that_make_no_name_are_refused(fields: tuple):
    with pytest.raises(SettingsError):
        ClipName(*fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gBR_sBA_c01_d04_mBR3_ch04", ["situation sBA"]),
        ("gXX_sBM_c01_d04_mXX3_ch04", ["genre gXX"]),
        ("gBR_sBM_c01_d07_mBR3_ch04", ["d07 does not dance Break (d04 to d06 do)"]),
        ("gBR_sBM_c01_d99_mBR3_ch04", ["no dancer d99"]),
        ("gBR_sBM_c01_d04_mPO3_ch04", ["mPO3 belongs to another genre"]),
        ("gBR_sBM_c01_d04_mBR7_ch04", ["no piece mBR7"]),
        ("gBR_sBM_c01_d04_mBR0_ch11", ["no ch11 in sBM"]),
        ("gBR_sFM_c01_d04_mBR0_ch22", ["no ch22 in sFM"]),
        ("gBR_sBM_c01_d04_mBR0_ch00", ["no ch00"]),
        ("gBR_sGR_c01_d04_d05_mBR0_ch01", ["three dancers, and 2"]),
        ("gBR_sBM_c01_d04_d05_mBR0_ch01", ["one dancer, and 2"]),
        ("gBR_sGR_c01_d04_d04_d05_mBR0_ch01", ["named twice"]),
        ("gBR_sSH_c01_d04_mBR0_ch01", ["by a variation"]),
        ("gBR_sBA_c01_d03_mBR3_ch04", ["situation sBA", "d03 does not dance Break"]),
    ],
)
def test_odd_names_are_read_with_a_warning(text: str, words: list[str], caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="s2v_core"):
        name = ClipName.parse(text)
    assert str(name) == text
    assert len(name.warnings) == len(words)
    for warning, word in zip(name.warnings, words, strict=True):
        assert word in warning
        assert warning in caplog.text


def test_unknown_codes_have_no_words_and_no_tempo():
    name = ClipName.parse("gXX_sBA_c01_d04_mXX3_ch04")
    assert (name.genre_name, name.situation_name, name.tempo_bpm) == ("", "", None)
    assert ClipName.parse("gBR_sBM_c01_d04_mBR6_ch04").tempo_bpm is None


def test_tempo_of_all_sixty_pieces():
    for genre in GENRES:
        found = [ClipName.parse(f"{genre}_sBM_c01_d04_m{genre[1:]}{piece}_ch01").tempo_bpm for piece in range(6)]
        assert found == ([110, 115, 120, 125, 130, 135] if genre == "gHO" else [80, 90, 100, 110, 120, 130])


def test_tempo_is_the_musics_not_the_genres():
    assert ClipName.parse("gBR_sBM_c01_d04_mHO0_ch01").tempo_bpm == 110


def test_only_a_showcase_has_one_tempo_among_the_short_names():
    assert [ClipName.parse(f"sSH_c01_{version}").tempo_bpm for version in SHOWCASE_MUSIC] == [80, 100, 120]
    assert ClipName.parse("sSH_c01_v9").tempo_bpm is None
    assert ClipName.parse("sCY_c01_v3").tempo_bpm is None
    assert ClipName.parse("sBT_c01_v5").tempo_bpm is None
    assert ClipName.parse("sCY_c01_v0").tempo_bpm is None


def test_cameras_claim_no_direction_but_the_front():
    names = [ClipName.parse(BASIC).with_camera(number).camera_name for number in range(1, 11)]
    assert names == ["front camera", *(f"fixed camera {number}" for number in range(2, 10)), "moving camera"]
    assert ClipName.parse(BASIC).with_camera("cAll").camera_name == "all cameras"
    for word in ("rear", "back", "left", "right", "side"):
        assert word not in " ".join(names)


def test_with_camera_keeps_the_dance_and_checks_the_camera():
    name = ClipName.parse(BASIC)
    assert str(name.with_camera(10)) == "gBR_sBM_c10_d04_mBR0_ch01"
    assert name.with_camera("c01") == name
    assert name.sequence == "gBR_sBM_cAll_d04_mBR0_ch01"
    for wrong in (0, 11, "c11", "1", ""):
        with pytest.raises(SettingsError):
            name.with_camera(wrong)


def test_groups():
    assert ClipName.parse("gLO_sGR_c01_d13_d14_d15_mLO0_ch01").is_group
    assert all(ClipName.parse(f"{situation}_c01_v1").is_group for situation in SHORT_SITUATIONS)
    assert not ClipName.parse("gBR_sMM_c10_d04_mBR0_ch01").is_group


def test_tables_fit_each_other():
    assert len(GENRES) == len(GENRE_DANCERS) == 10
    assert sorted(dancer for cast in GENRE_DANCERS.values() for dancer in cast) == [f"d{n:02d}" for n in range(1, 31)]
    assert {"sBM", "sFM", "sGR", "sMM", "sMC", "sSH", "sCY", "sBT"} == set(SITUATIONS)
    assert len(set(GENRES.values())) == 10


def test_find_name_passes_over_other_files_and_tells_of_near_misses(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="s2v_core"):
        assert find_name(Path("holiday.mp4")) is None
        assert find_name("") is None
        assert caplog.text == ""
        assert find_name("gBR_sBM_c01_d4_mBR0_ch01.mp4") is None
        assert "no valid dancer" in caplog.text

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.aist.names import GENRES, SITUATIONS, ClipName
from s2v_core.errors import SettingsError
from s2v_core.prompts.facts import (
    CHOREOGRAPHIES,
    DANCES,
    MOVES,
    Fact,
    SubjectCard,
    card_facts,
    card_fields,
    load_card,
    make_card,
    name_facts,
)
from s2v_core.prompts.guard import check_rewrite
from s2v_core.prompts.template import build_prompt


def test_the_facts_of_a_name():
    facts = name_facts(ClipName.parse("gHO_sFM_c01_d20_mHO3_ch21"))
    assert [(fact.kind, fact.text) for fact in facts if fact.required] == [
        ("genre", "house dance"),
        ("choreography", "advanced choreography"),
        ("tempo", "fast tempo"),
        ("beats", "125 beats per minute"),
        ("camera", "fixed camera"),
        ("direction", "from the front"),
    ]
    assert {fact.origin for fact in facts if fact.required} == {"file name"}
    moves = [fact for fact in facts if fact.told and not fact.required]
    assert [fact.text for fact in moves] == list(MOVES["gHO"]) and {fact.origin for fact in moves} == {"genre"}
    assert name_facts(None) == ()
    (said, *shown) = name_facts(ClipName.parse("sCY_cAll_v0"))
    assert said == Fact("choreography", "freestyle improvisation", "file name")
    assert [(fact.kind, fact.text, fact.told) for fact in shown] == [
        ("situation", "cypher", False),
        ("dancers", "several dancers", False),
    ]


@pytest.mark.parametrize(
    ("name", "situation", "dancers"),
    [
        ("gHO_sFM_c01_d20_mHO3_ch21", "advanced dance", "one dancer"),
        ("gLO_sGR_c01_d13_d14_d15_mLO0_ch01", "group dance", "3 dancers"),
        ("gJB_sMM_c10_d07_mJB1_ch01", "moving camera", "one dancer"),
        ("gKR_sBT_c01_v1", "battle", "several dancers"),
        ("gHO_sBA_c01_d20_mHO3_ch01", "", "one dancer"),
    ],
)
def test_situation_and_dancers_are_known_but_no_prompt_says_them(name: str, situation: str, dancers: str):
    facts = name_facts(ClipName.parse(name))
    known = {fact.kind: fact.text for fact in facts if not fact.told}
    assert (known.get("situation", ""), known["dancers"]) == (situation, dancers)
    text = build_prompt(ClipName.parse(name)).text
    assert check_rewrite(text, facts).passed
    assert not check_rewrite(text.replace("The dancer", dancers.capitalize()), facts).passed


def test_every_genre_has_its_own_moves():
    assert set(MOVES) == set(DANCES) == set(GENRES)
    assert len(set(MOVES.values())) == len(GENRES) and all(len(moves) == 3 for moves in MOVES.values())
    assert set(SITUATIONS) - set(CHOREOGRAPHIES) == {"sMM", "sMC"}


def test_a_card_from_a_file(tmp_path: Path):
    file = tmp_path / "card.yaml"
    file.write_text("who: a woman\nhair: '  short\n  red hair. '\nshoes:\n", encoding="utf-8")
    card = load_card(file)
    assert card == SubjectCard(who="a woman", hair="short red hair")
    assert card_facts(card) == (Fact("who", "a woman", "user"), Fact("hair", "short red hair", "user"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour: red", "unknown field"),
        ("hairs: red", "Did you mean hair"),
        ("- red", "no fields"),
        ("", "no fields"),
        ("hair: 3", "must be text"),
        ("hair: [a, b]", "must be text"),
        ("a: b: c", "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_card_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str):
    file = tmp_path / "card.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_card(file)
    assert said in str(caught.value)


def test_a_missing_card(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_card(tmp_path / "none.yaml")


@given(st.dictionaries(st.sampled_from(card_fields()), st.text()))
def test_any_text_becomes_one_line_or_nothing(values: dict[str, str]):
    card = make_card(values)
    assert make_card({field: getattr(card, field) for field in card_fields()}) == card
    for fact in card_facts(card):
        assert fact.text == " ".join(fact.text.split()) != ""


@pytest.mark.parametrize(
    ("card", "subject"),
    [
        (SubjectCard(), ""),
        (SubjectCard(place="a hall"), ""),
        (SubjectCard(shoes="boots"), "someone, wearing boots"),
        (SubjectCard(who="a man", hair="red hair", face="freckles"), "a man with red hair and freckles"),
        (SubjectCard(who="a man with a hat", hair="red hair"), "a man with a hat and red hair"),
        (SubjectCard(hair="red hair", face="a beard and freckles"), "someone with red hair, and a beard and freckles"),
    ],
)
def test_the_subject_as_a_phrase(card: SubjectCard, subject: str):
    assert card.subject("someone") == subject

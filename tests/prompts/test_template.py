from __future__ import annotations

import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.aist.names import CAMERAS, GENRE_DANCERS, GENRES, SITUATIONS, ClipName
from s2v_core.errors import SettingsError
from s2v_core.prompts.facts import SubjectCard, card_facts, name_facts
from s2v_core.prompts.guard import Verdict, check_rewrite
from s2v_core.prompts.template import (
    CHOREOGRAPHIES,
    DANCES,
    DEFAULT_NEGATIVE,
    DEFAULT_SUBJECT,
    VARIANTS,
    WAN_NEGATIVE,
    build_prompt,
    build_variants,
    tempo_word,
)

MAN = (
    "A man with medium brown skin, wavy black hair and thin metal-framed rounded glasses, wearing a black crew-neck "
    "t-shirt, slim dark washed jeans and light beige sneakers"
)

FULL_CARD = SubjectCard(
    who="a man with medium brown skin",
    hair="wavy black hair",
    face="thin metal-framed rounded glasses",
    clothes="a black crew-neck t-shirt, slim dark washed jeans",
    shoes="light beige sneakers",
    place="a small dance studio with a wooden floor",
    light="soft window light",
)
cards = st.builds(
    SubjectCard,
    who=st.sampled_from(["", "a woman", "a tall young man", FULL_CARD.who]),
    hair=st.sampled_from(["", "short red hair", FULL_CARD.hair]),
    face=st.sampled_from(["", "a gray beard and freckles", FULL_CARD.face]),
    clothes=st.sampled_from(["", "a blue dress", "a white shirt and green trousers", FULL_CARD.clothes]),
    shoes=st.sampled_from(["", "bare feet", FULL_CARD.shoes]),
    place=st.sampled_from(["", "a wide street", FULL_CARD.place]),
    light=st.sampled_from(["", "evening sun", FULL_CARD.light]),
)


def named(text: str) -> ClipName:
    return ClipName.parse(text)


@st.composite
def clip_names(draw: st.DrawFn) -> ClipName:
    genre = draw(st.sampled_from(sorted(GENRES)))
    situation = draw(st.sampled_from(["sBM", "sFM", "sMM", "sGR", "sBA"]))
    camera = draw(st.sampled_from([*CAMERAS, "cAll"]))
    cast = GENRE_DANCERS[genre] if situation == "sGR" else GENRE_DANCERS[genre][:1]
    return ClipName(genre, situation, camera, cast, f"m{genre[1:]}{draw(st.integers(0, 6))}", "ch01")


short_clip_names = st.sampled_from(["sSH_c01_v0", "sCY_c10_v3", "gKR_sBT_c04_v5"]).map(named)
any_name = st.one_of(st.none(), clip_names(), short_clip_names)
variants = st.sampled_from(sorted(VARIANTS))


def test_golden_the_full_form():
    prompt = build_prompt(named("gBR_sBM_c01_d04_mBR0_ch01"), MAN, setting="a small dance studio with a wooden floor")
    assert prompt.text == (
        "The video shows a man with medium brown skin, wavy black hair and thin metal-framed rounded glasses, wearing "
        "a black crew-neck t-shirt, slim dark washed jeans and light beige sneakers. "
        "The style is realistic live-action footage with natural colors. "
        "The place is a small dance studio with a wooden floor. "
        "It is one continuous shot without cuts, sharp and detailed. "
        "The dancer performs break dance with basic choreography. "
        "The movement follows music at a slow tempo of 80 beats per minute. "
        "Arms, hands and legs keep their natural shape while they move. "
        "A fixed camera films the dance from the front."
    )
    assert prompt.negative == DEFAULT_NEGATIVE
    assert prompt.variant == "detailed"
    assert prompt.facts == (
        "break dance",
        "basic choreography",
        "slow tempo",
        "80 beats per minute",
        "fixed camera",
        "from the front",
    )
    assert [origin for _, origin in prompt.origins] == [
        "user",
        "template",
        "user",
        "template",
        "file name",
        "file name",
        "template",
        "file name",
    ]


def test_golden_a_moving_camera_in_the_identity_variant():
    name = named("gHO_sFM_c10_d20_mHO3_ch21")
    prompt = build_prompt(name, "The woman in red.", style="", variant="identity", negative="blur")
    assert prompt.text == (
        "The woman in red. "
        "The background stays consistent. "
        "It is one continuous shot without cuts. "
        "The dancer performs house dance with advanced choreography. "
        "The movement follows music at a fast tempo of 125 beats per minute. "
        "The same person is seen in every frame: face, hair, skin tone, body shape and clothes never change. "
        "A moving camera films the dance."
    )
    assert (prompt.negative, prompt.variant) == ("blur", "identity")


def test_golden_a_clip_without_facts():
    prompt = build_prompt(None)
    assert prompt.text == (
        "The video shows a dancer. "
        "The style is realistic live-action footage with natural colors. "
        "The background stays consistent. "
        "It is one continuous shot without cuts, sharp and detailed. "
        "The dancer performs a dance with clear, fluent movement. "
        "Arms, hands and legs keep their natural shape while they move."
    )
    assert prompt.facts == ()
    assert {origin for _, origin in prompt.origins} == {"template"}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("text", ["gBR_sBM_c01_d04_mBR0_ch01", "gLH_sFM_c05_d16_mLH4_ch03"])
def test_the_full_form_has_the_advised_length(text: str, variant: str):
    assert 80 <= len(build_prompt(named(text), MAN, variant=variant).text.split()) <= 100


@given(any_name, variants)
def test_the_same_input_gives_the_same_prompt_and_all_facts_are_said(name: ClipName | None, variant: str):
    prompt = build_prompt(name, MAN, variant=variant)
    assert prompt == build_prompt(name, MAN, variant=variant)
    assert " ".join(sentence for sentence, _ in prompt.origins) == prompt.text
    from_file = " ".join(sentence for sentence, origin in prompt.origins if origin == "file name")
    assert bool(prompt.facts) == bool(from_file)
    for fact in prompt.facts:
        assert fact in from_file
    assert prompt.text.isascii()
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence, _ in prompt.origins)


@given(any_name, variants)
def test_no_word_of_another_genre_and_nothing_that_the_name_does_not_give(name: ClipName | None, variant: str):
    text = build_prompt(name, variant=variant).text
    own = name.genre if name else ""
    for genre, dance in DANCES.items():
        assert (dance in text) == (genre == own)
        plain = rf"\b{re.escape(GENRES[genre])}\b"
        if genre != own and GENRES[genre] not in ("Break", "Pop", "Lock", "House"):
            assert not re.search(plain, text, re.IGNORECASE)
    tempo = name.tempo_bpm if name else None
    assert re.findall(r"\d+", text) == ([str(tempo)] if tempo else [])
    camera = name.camera if name else "cAll"
    assert ("from the front" in text) == (camera == "c01")
    assert ("moving camera" in text) == (camera == "c10")
    assert ("fixed camera" in text) == (camera not in ("c10", "cAll"))
    for word in ("rear", "behind", "side view", "left", "right", "back view", "group", "battle", "cypher", "dancers"):
        assert not re.search(rf"\b{word}\b", text)


def test_each_situation_says_what_it_may():
    said = {}
    for situation in SITUATIONS:
        text = f"{situation}_c01_v0" if situation in ("sSH", "sCY", "sBT") else f"gPO_{situation}_c01_d10_mPO0_ch01"
        prompt = build_prompt(named(text))
        said[situation] = [phrase for phrase in CHOREOGRAPHIES.values() if phrase in prompt.facts]
        assert all(phrase in prompt.text for phrase in said[situation])
    assert {situation: phrases for situation, phrases in said.items() if phrases} == {
        "sBM": ["basic choreography"],
        "sFM": ["advanced choreography"],
        "sGR": ["a set routine"],
        "sSH": ["a rehearsed show routine"],
        "sCY": ["freestyle improvisation"],
        "sBT": ["confident freestyle improvisation"],
    }


def test_variants_refuse_what_their_emphasis_is_about():
    negatives = [prompt.negative for prompt in build_variants(None)]
    assert len(set(negatives)) == len(VARIANTS) and negatives[0] == DEFAULT_NEGATIVE
    assert all(negative.startswith(DEFAULT_NEGATIVE) for negative in negatives)
    assert {prompt.negative for prompt in build_variants(None, negative="blur")} == {"blur"}


@given(clip_names() | short_clip_names, cards)
def test_every_name_gives_prompts_of_40_to_115_words_that_differ_by_variant(name: ClipName, card: SubjectCard):
    prompts = build_variants(name, card=card)
    assert len({prompt.text for prompt in prompts}) == len(VARIANTS)
    assert len({prompt.facts for prompt in prompts}) == 1
    for prompt in prompts:
        assert 40 <= len(prompt.text.split()) <= 115, prompt.text
        assert not re.search(r"  | [,.]|[,.]{2}|\b(\w+) \1\b|\ba [aeio]", prompt.text), prompt.text
        for fact in card_facts(card):
            assert prompt.text.count(fact.text) == 1, "every variant says each field once"
        user = " ".join(sentence for sentence, origin in prompt.origins if origin == "user")
        assert all(fact.text in user for fact in card_facts(card))


def every_name() -> list[ClipName]:
    """Each combination of what AIST's names say that a prompt could say, and c02 to stand for c03 to c09."""
    cameras = ("c01", "c02", "c10", "cAll")
    long = [
        ClipName(
            genre,
            situation,
            camera,
            GENRE_DANCERS[genre] if situation == "sGR" else GENRE_DANCERS[genre][:1],
            f"m{genre[1:]}{piece}",
            "ch01",
        )
        for genre, situation, camera, piece in itertools.product(
            GENRES, ("sBM", "sFM", "sGR", "sMM", "sMC"), cameras, range(6)
        )
    ]
    short = [
        ClipName(genre, situation, camera, version=version)
        for genre, situation, camera, version in itertools.product(
            ("", *GENRES), ("sSH", "sCY", "sBT"), cameras, ("v0", "v1", "v2", "v3")
        )
    ]
    return long + short


# The template's sentences with their facts taken out, read one by one.
SENTENCES = {
    "The video shows a dancer.",
    "The style is realistic live-action footage with natural colors.",
    "The background stays consistent.",
    "The dancer performs {genre} with {choreography}.",
    "The dancer performs {genre}.",
    "The dancer performs a dance with {choreography}.",
    "Typical moves are {moves}, {moves} and {moves}.",
    "The movement follows music at a {tempo} of {beats}.",
    "A {camera} films the dance {direction}.",
    "A {camera} films the dance.",
    *(variant.shot for variant in VARIANTS.values()),
    *(variant.motion for variant in VARIANTS.values()),
}


def test_every_name_of_aist_gives_its_own_grammatical_and_clean_prompt():
    seen: dict[str, tuple[object, ...]] = {}
    sentences = set()
    names = every_name()
    for name in names:
        facts = name_facts(name)
        said = tuple(fact.text for fact in facts if fact.told)
        for prompt in build_variants(name):
            # Names that differ in what no picture shows (dancer, choreography number) share a prompt, others do not.
            if prompt.text in seen:
                assert seen[prompt.text] == (prompt.variant, said)
                continue
            seen[prompt.text] = (prompt.variant, said)
            assert 40 <= len(prompt.text.split()) <= 110, prompt.text
            assert check_rewrite(prompt.text, facts) == Verdict(), prompt.text
            for sentence, _ in prompt.origins:
                for fact in sorted(facts, key=lambda fact: -len(fact.text)):
                    sentence = re.sub(rf"\b{re.escape(fact.text)}\b", f"{{{fact.kind}}}", sentence)
                sentences.add(sentence)
    assert sentences == SENTENCES
    told = {tuple(fact.text for fact in name_facts(name) if fact.told) for name in names}
    assert len(seen) == len(told) * len(VARIANTS) > 5000


def test_fixed_cameras_without_a_known_place_share_a_prompt():
    texts = {build_prompt(named(f"gPO_sBM_{camera}_d10_mPO0_ch01")).text for camera in CAMERAS}
    assert len(texts) == 3, "from the front, fixed, moving"


def test_golden_a_full_card():
    prompt = build_prompt(named("gHO_sCY_c10_v3"), card=FULL_CARD, variant="motion")
    assert prompt.text == (
        "The video shows a man with medium brown skin, wavy black hair and thin metal-framed rounded glasses, wearing "
        "a black crew-neck t-shirt, slim dark washed jeans and light beige sneakers. "
        "The style is realistic live-action footage with natural colors. "
        "The place is a small dance studio with a wooden floor, in soft window light. "
        "It is one continuous shot without cuts. "
        "The dancer performs house dance with freestyle improvisation. "
        "Typical moves are jacking, shuffles and skating steps. "
        "Every movement is complete, fluent and on the beat. "
        "A moving camera films the dance."
    )
    assert [origin for _, origin in prompt.origins] == (
        ["user", "template", "user", "template", "file name", "genre", "template", "file name"]
    )


def test_the_card_goes_before_subject_and_setting_and_a_caption_comes_last():
    card = SubjectCard(hair="red hair")
    assert build_prompt(None, "a man", card=card).origins[0][0] == "The video shows a man with red hair."
    said = build_prompt(None, card=SubjectCard(place="a hall"), setting="a street", caption="A boy stands.")
    assert "The place is a hall." in said.text and said.origins[0] == ("A boy stands.", "caption")
    assert build_prompt(None, "a man", caption="A boy stands.").origins[0] == ("The video shows a man.", "user")
    lit = build_prompt(None, card=SubjectCard(light="neon light"), variant="lighting").text
    assert "The light is neon light." in lit and "soft" not in lit


def test_variants_differ_and_all_state_the_same_facts():
    prompts = [build_prompt(named("gKR_sBM_c01_d28_mKR5_ch02"), MAN, variant=variant) for variant in VARIANTS]
    assert len({prompt.text for prompt in prompts}) == len(VARIANTS) == 5
    assert len({prompt.facts for prompt in prompts}) == 1


@given(st.integers(60, 200))
def test_tempo_words_rise(bpm: int):
    order = ["slow", "medium", "fast"]
    assert order.index(tempo_word(bpm)) <= order.index(tempo_word(bpm + 1))
    assert (tempo_word(80), tempo_word(110), tempo_word(135)) == ("slow", "medium", "fast")


@pytest.mark.parametrize("subject", ["", "  \n\t", "...", " , ", "-"])
def test_an_empty_subject_is_an_error(subject: str):
    with pytest.raises(SettingsError, match="no subject") as caught:
        build_prompt(None, subject)
    assert DEFAULT_SUBJECT in caught.value.remedy


def test_wrong_types_and_unknown_variants_are_errors():
    for wrong in ("cinematic", "", None, ["detailed"]):
        with pytest.raises(SettingsError, match="variant"):
            build_prompt(None, variant=wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="subject must be text"):
        build_prompt(None, None)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="negative must be text"):
        build_prompt(None, negative=3)  # type: ignore[arg-type]


@given(st.text(), st.text(), st.text(), any_name)
def test_what_the_user_writes_arrives_on_one_line(subject: str, setting: str, style: str, name: ClipName | None):
    try:
        prompt = build_prompt(name, subject, setting=setting, style=style)
    except SettingsError:
        assert not re.search(r"\w", subject)
        return
    assert prompt.text == " ".join(prompt.text.split())
    assert prompt.origins[0][1] == ("template" if " ".join(subject.split()) == DEFAULT_SUBJECT else "user")
    for fact in prompt.facts:
        assert fact in prompt.text


@pytest.mark.parametrize(
    ("subject", "sentence"),
    [
        ("A woman", "The video shows a woman."),
        ("An old man,", "The video shows an old man."),
        ("Anna in blue", "The video shows Anna in blue."),
        ("a {} of {subject}", "The video shows a {} of {subject}."),
        ("Anna dances. She smiles!", "Anna dances. She smiles!"),
        ("a man\n  in   red ", "The video shows a man in red."),
        ("A", "The video shows a."),
    ],
)
def test_a_phrase_becomes_a_sentence_and_a_sentence_stays(subject: str, sentence: str):
    assert build_prompt(None, subject).origins[0][0] == sentence


def test_negative_prompts():
    assert build_prompt(None, negative="").negative == ""
    assert build_prompt(None, negative=" a,\n b ").negative == "a, b"
    for word in ("hands", "flicker", "blur", "extra arms", "static"):
        assert word in DEFAULT_NEGATIVE
    # The published string, so that no edit goes unseen.
    digest = "ce96e0324e4b54ce4b6e867f669ca520952e1a34cc116543516b1897f0d3c47e"
    assert hashlib.sha256(WAN_NEGATIVE.encode()).hexdigest() == digest


def test_every_genre_has_words_for_its_dance():
    assert set(DANCES) == set(GENRES)
    assert set(CHOREOGRAPHIES) <= set(SITUATIONS)

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.wan.lora_scope import NETS, PARTS, RANGES, Place, StrengthMap, parse_map

PLACES = [
    *(Place(*one) for one in itertools.product(NETS, ("self_attn", "cross_attn", "ffn", "other"), range(45))),
    *(Place(net, "outside") for net in NETS),
]
factors = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(-4, 4).map(lambda value: value + 0.0))


@st.composite
def entries(draw):
    """Entries that do not contradict each other: each name once, ranges side by side."""
    found = {name: draw(factors) for name in draw(st.lists(st.sampled_from([*NETS, *PARTS]), unique=True))}
    for kind in RANGES:
        edges = sorted(draw(st.sets(st.integers(0, 40), max_size=6)))
        for first, behind in itertools.pairwise(edges):
            if draw(st.booleans()):
                text = f"{first}-{behind - 1}" if behind - first > 1 else str(first)
                found[f"{kind} {text}"] = draw(factors)
        if edges and draw(st.booleans()):
            found[f"{kind} {edges[-1]}-"] = draw(factors)
    return list(found.items())


def said(items):
    return ", ".join(f"{place}={factor!r}" for place, factor in items)


@given(entries(), st.randoms())
def test_text_object_and_order_give_the_same_map(items, random):
    made = parse_map(said(items))
    shuffled = random.sample(items, len(items))
    for other in (
        said(shuffled),
        dict(shuffled),
        said(shuffled).replace(", ", "\n").upper(),
        str(made),
        made.to_dict(),
    ):
        assert parse_map(other) == made
    assert str(parse_map(str(made))) == str(made)
    assert parse_map(json.loads(json.dumps(made.to_dict()))) == made
    assert 1.0 not in made.to_dict().values()


@given(entries())
def test_a_layer_gets_the_product_of_what_names_it(items):
    made = parse_map(said(items))
    for place in PLACES:
        wanted = 1.0
        for name, factor in items:
            kind, _, span = name.partition(" ")
            if span:
                first, dash, last = span.partition("-")
                last = last or ("1000" if dash else first)
                inside = place.block is not None and int(first) <= place.block <= int(last)
                named = RANGES[kind] == place.net and inside
            else:
                named = name in (place.net, place.part)
            wanted *= factor if named else 1.0
        assert made.factor(place) == pytest.approx(wanted, rel=1e-12, abs=0)
    assert made.is_silent() == (not any(made.factor(place) for place in PLACES))


@given(st.text(alphabet="onlydit vacebks_f0123456789-=:.,;\n", max_size=40))
def test_any_text_is_a_map_or_a_settings_error(text):
    try:
        made = parse_map(text)
    except SettingsError as error:
        assert error.expected
        assert error.remedy
        return
    assert parse_map(str(made)) == made


@given(st.from_type(object))
def test_any_value_is_a_map_or_a_settings_error(value):
    for given_value in (value, {"self_attn": value}, {"only": value}, [value]):
        try:
            made = parse_map(given_value)
        except SettingsError:
            continue
        assert parse_map(made.to_dict()) == made


def only(text):
    made = parse_map(text)
    values = {place: made.factor(place) for place in PLACES}
    assert set(values.values()) <= {0.0, 1.0}
    return {place for place, factor in values.items() if factor}


def test_only_leaves_out_everything_else_of_its_kind():
    assert only("only vace") == {place for place in PLACES if place.net == "vace"}
    assert only("only self_attn ffn") == {place for place in PLACES if place.part in ("self_attn", "ffn")}
    assert only({"only": ["self_attn", "ffn"]}) == only("only self-attn ffn")
    assert only("only blocks 0-9 20-29") == {
        place for place in PLACES if place.net == "dit" and place.block in (*range(10), *range(20, 30))
    }
    assert only("only blocks 40- vace_blocks 3") == {
        place
        for place in PLACES
        if (place.net == "dit" and place.block is not None and place.block >= 40)
        or (place.net == "vace" and place.block == 3)
    }
    assert only("only vace, only ffn, only vace_blocks 0-4") == {
        place for place in PLACES if place.net == "vace" and place.part == "ffn" and place.block < 5
    }


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("", ""),
        ({}, ""),
        (None, ""),
        ("self_attn=1", ""),
        ("blocks 20-29 = .2; Self-Attention: 0.50", "self_attn=0.5, blocks 20-29=0.2"),
        ("blocks 5-9=0.5, blocks 0-4=0.5", "blocks 0-9=0.5"),
        ("blocks 0-9=0.5, blocks 5-14=0.5", "blocks 0-14=0.5"),
        ("block 3 = 2", "blocks 3=2"),
        ("blocks 3-3=2", "blocks 3=2"),
        (" All ", ""),
        ("cross_attn=0, other=0, ffn=0", "only self_attn outside"),
        ("self_attn=0, ffn=0, other=0, outside=0, cross_attn=0.5", "only cross_attn, cross_attn=0.5"),
        ("cross_attn=0, ffn=0", "cross_attn=0, ffn=0"),
        ("dit=0", "only vace"),
        ("only blocks 20-29 0-9", "only blocks 0-9 20-29"),
        ("only blocks 0-9, blocks 3=0.5, ffn=0", "only blocks 0-9, ffn=0, blocks 3=0.5"),
        ("only vace_blocks 3-, only ffn", "only ffn, only vace_blocks 3-"),
        ("blocks 10-=0", "blocks 10-=0"),
        ("blocks 10-=0, outside=0", "only blocks 0-9 vace_blocks 0-"),
        ("blocks 10-=0, outside=0, vace=0", "only dit, only blocks 0-9 vace_blocks 0-"),
        ("ffn=-0.0", "ffn=0"),
        (StrengthMap((("ffn", 0.5),)), "ffn=0.5"),
    ],
)
def test_the_one_true_text(written, text):
    assert str(parse_map(written)) == text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("self_attn", "cannot be missing"),
        ("attention=1", "cannot hold 'attention'"),
        ("self_attn=much", "cannot be 'much'"),
        ("self_attn=4.01", "from -4 to 4"),
        ("self_attn=nan", "cannot be nan"),
        ({"self_attn": "0.5"}, "cannot be '0.5'"),
        ({"self_attn": True}, "cannot be True"),
        ({3: 1.0}, "cannot hold 3"),
        ({"only": 3}, "only: 3"),
        ("blocks=0.5", "cannot hold 'blocks'"),
        ("blocks 9-3=1", "smaller number first: 3-9"),
        ("blocks -3=1", "cannot hold"),
        ("blocks a-b=1", "cannot hold"),
        ("only", "places of one kind"),
        ("only blocks", "without numbers"),
        ("only self_attn vace", "places of one kind"),
        ("only ffn=2", "entries of their own"),
        ("only ffn, self_attn=0.5", "gives self_attn two factors"),
        ("blocks 0-9=0.5, blocks 9-12=0.2", "gives blocks 9 two factors"),
        ("blocks 0-9=1, blocks 9-12=0.2", "gives blocks 9 two factors"),
        ("self_attn=0.5, self_attn=0.6", "gives self_attn two factors"),
        (5, "cannot hold 5"),
        ("=0.5", "without a place"),
    ],
)
def test_what_cannot_be_a_map_is_refused_with_a_remedy(wrong, words):
    with pytest.raises(SettingsError) as caught:
        parse_map(wrong)
    assert words in str(caught.value)
    assert caught.value.remedy

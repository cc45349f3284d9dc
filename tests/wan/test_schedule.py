"""What is said of single steps: guidance, strengths, and settings that mean the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.wan.scales import parse_scales, say_scales
from s2v_core.wan.schedule import counted, guidance_scales, needs_negative, plainest, strengths
from s2v_core.wan.settings import ADVANCED, SampleSettings

FOUR = SampleSettings(steps=4, guidance=5.0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ()),
        ("6", (6,)),
        ("6, 6,4", (6, 6, 4)),
        ("6x3, 2.5", (6, 6, 6, 2.5)),
        (" 6 x 2 ; 1\n", (6, 6, 1)),
        ("6×2,3*2", (6, 6, 3, 3)),
        ("1e-1", (0.1,)),
        ([6, 2.5], (6, 2.5)),
        ((), ()),
    ],
)
def test_a_list_of_scales(text, wanted):
    assert parse_scales(text, 0, 30) == wanted


@pytest.mark.parametrize(
    "wrong",
    ["six", "6x", "x6", "6x0", "6x201", "6x999999999999", "31", "-1", "nan", "1..2", ".", "6 6", None, 6, [True], ["6"],
     [31], [float("nan")], [1] * 201, "1x150, 2x51", {"a": 1}],
)  # fmt: skip
def test_what_is_no_list_of_scales(wrong):
    with pytest.raises(SettingsError, match="guidance scales"):
        parse_scales(wrong, 0, 30)


@given(st.lists(st.floats(0, 30), max_size=20))
def test_the_text_of_a_list_says_the_same(scales):
    text = say_scales(scales)
    again = parse_scales(text, 0, 30)
    assert say_scales(again) == text
    held = [*again, *again[-1:] * (len(scales) - len(again))] if scales else []
    assert held == [scale + 0.0 for scale in scales]


@given(st.text(max_size=12))
def test_any_text_is_a_list_or_an_error(text):
    try:
        scales = parse_scales(text, 0, 30)
    except SettingsError:
        return
    assert all(0 <= scale <= 30 for scale in scales)


def test_guidance_of_each_step():
    assert guidance_scales(FOUR) == (5, 5, 5, 5)
    assert guidance_scales(replace(FOUR, guidance_from=1, guidance_to=3)) == (1, 5, 5, 1)
    assert guidance_scales(replace(FOUR, guidance_schedule="6x2, 3")) == (6, 6, 3, 3)
    assert guidance_scales(replace(FOUR, guidance_schedule="6, 4", guidance_to=2)) == (6, 4, 1, 1)
    assert guidance_scales(replace(FOUR, zero_init_steps=1)) == (1, 5, 5, 5)
    assert not needs_negative(replace(FOUR, guidance_to=0))
    assert not needs_negative(replace(FOUR, guidance_schedule="1"))
    assert needs_negative(replace(FOUR, guidance=1.0, guidance_schedule="1x3, 2"))
    assert needs_negative(replace(FOUR, guidance=0.0))


def test_strengths_of_each_step():
    some = replace(FOUR, control_strength=0.8, control_to=2, reference_strength=0.5, reference_from=3)
    assert strengths(some) == ((0.8, 0), (0.8, 0), (0, 0), (0, 0.5))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"guidance_from": 3, "guidance_to": 2}, "wrong way round"),
        ({"control_from": 3, "control_to": 2}, "wrong way round"),
        ({"reference_from": 3, "reference_to": 2}, "wrong way round"),
        ({"zero_init_steps": 4}, "nothing is left"),
        ({"guidance_schedule": "1, 2, 3, 4, 5"}, "longer than the rendering"),
        ({"guidance_schedule": "forty"}, "guidance scales"),
        ({"window_frames": 82}, "4n + 1"),
        ({"window_frames": 13, "window_overlap": 16}, "Use 12"),
        ({"window_overlap": 6}, "Use 4"),
        ({"denoise": 0.0}, "from 0.01 to 1.0"),
        ({"guidance_rescale": 1.1}, "from 0.0 to 1.0"),
        ({"mask_edge": "sharp"}, "soft, hard"),
        ({"cfg_zero": 1}, "true or false"),
        ({"precision": "diffsynth", "step_cache": 0.1}, "precision float32, or step_cache 0"),
        ({"step_cache": -0.1}, "from 0.0 to 10.0"),
    ],
)
def test_what_cannot_be_set(changes, said):
    with pytest.raises(SettingsError) as caught:
        replace(FOUR, **changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"guidance_schedule": "5"}, {}),
        ({"guidance_schedule": "5x4"}, {}),
        ({"guidance_to": 4}, {}),
        ({"guidance_to": 4, "guidance": 3.0}, {"guidance_schedule": "3"}),
        ({"guidance_to": 2}, {"guidance_schedule": "5, 5, 1"}),
        ({"guidance_from": 1, "guidance_schedule": "9, 5, 4"}, {"guidance_schedule": "1, 5, 4"}),
        ({"guidance_to": 0}, {"guidance": 1.0}),
        ({"guidance": 1.0, "cfg_zero": True, "guidance_rescale": 0.7}, {"guidance": 1.0}),
        ({"control_to": 4}, {}),
        ({"control_to": 0}, {"control_strength": 0.0}),
        ({"control_from": 4}, {"control_strength": 0.0}),
        ({"control_strength": 0.0, "control_from": 2}, {"control_strength": 0.0}),
        ({"reference_to": 0}, {"reference_strength": 0.0, "reference_from": 1}),
        ({"control_from": 2, "control_to": 4}, {"control_from": 2, "control_to": 100}),
        ({"window_frames": 81, "window_overlap": 8}, {}),
        ({"window_frames": 85}, {}),
        # The first two steps that predict and the last are never estimated.
        ({"steps": 3, "step_cache": 0.5}, {"steps": 3}),
        ({"zero_init_steps": 1, "step_cache": 0.5}, {"zero_init_steps": 1}),
    ],
)
def test_settings_that_mean_the_same_are_one(one, other):
    assert plainest(replace(FOUR, **one)) == plainest(replace(FOUR, **other))


def test_settings_that_differ_stay_apart():
    changes = [
        {}, {"guidance_to": 3}, {"guidance_from": 1}, {"guidance_schedule": "5, 4"}, {"cfg_zero": True},
        {"zero_init_steps": 1}, {"guidance_rescale": 0.5}, {"control_to": 3}, {"control_from": 1},
        {"reference_strength": 0.5}, {"reference_to": 3}, {"denoise": 0.5}, {"mask_edge": "hard"},
        {"solver": "unipc"}, {"solver": "dpm++"}, {"window_frames": 41}, {"window_frames": 41, "window_overlap": 8},
        {"step_cache": 0.1}, {"step_cache": 0.2},
    ]  # fmt: skip
    made = [tuple(counted(plainest(replace(FOUR, **change))).items()) for change in changes]
    assert len(set(made)) == len(changes)


def test_what_has_no_picture_does_not_count():
    changed = replace(FOUR, mask_edge="hard", reference_strength=0.3, reference_to=2)
    assert plainest(changed, mask=False, reference=False) == FOUR
    lonely = replace(FOUR, control_strength=0.5, control_to=2, reference_strength=0.3)
    assert plainest(lonely, control=False, reference=False, mask=False) == FOUR
    # Without a pose video the reference still stands among grey frames, whose hints the control strength scales.
    assert plainest(lonely, control=False) == lonely


def test_what_was_rendered_before_keeps_its_place():
    """Only what a later setting changes stands in the id; the reference used to follow the control strength."""
    first = set(counted(SampleSettings()))
    assert not first & set(ADVANCED)
    assert set(counted(SampleSettings(control_strength=0.5, reference_strength=0.5))) == first
    assert set(counted(SampleSettings(control_strength=0.5))) == first | {"reference_strength"}


def test_plain_settings_are_plain_already():
    for settings in (FOUR, SampleSettings(), replace(FOUR, guidance_to=2, control_from=1, window_frames=41)):
        assert plainest(plainest(settings)) == plainest(settings)

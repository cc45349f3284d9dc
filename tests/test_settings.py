from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.files import canonical_json, sha256_json
from s2v_core.wan.settings import LoraUse, Option, SampleSettings, check, option, options

NUMBERS = [entry for entry in options(SampleSettings) if entry.minimum is not None]
FLOATS = [entry.name for entry in NUMBERS if isinstance(entry.default, float)]
WHOLE = [entry.name for entry in NUMBERS if isinstance(entry.default, int)]


def _values(entry: Option) -> st.SearchStrategy[Any]:
    if entry.choices:
        return st.sampled_from(entry.choices)
    if isinstance(entry.default, bool):
        return st.booleans()
    if entry.parse:
        return st.lists(st.floats(0, 30), max_size=6)
    if isinstance(entry.default, float):
        bounds = (entry.minimum, entry.maximum)
        return st.one_of(st.floats(*bounds), st.integers(math.ceil(bounds[0]), math.floor(bounds[1])))
    return st.integers(int(entry.minimum), int(entry.maximum))


lora_uses = st.builds(
    LoraUse, st.text(min_size=1).filter(str.strip), st.one_of(st.floats(-4, 4), st.integers(-4, 4), st.just(-0.0))
)
SIXTEENS, FOURS = st.integers(1, 256).map(lambda n: n * 16), st.integers(0, 250).map(lambda n: 4 * n + 1)


def _possible(**values: Any) -> SampleSettings:
    """Settings of these values, where what cannot go together is brought together."""
    for name in ("control", "reference", "guidance"):
        window = sorted((values[f"{name}_from"], values[f"{name}_to"]))
        values |= {f"{name}_from": window[0], f"{name}_to": window[1]}
    values["zero_init_steps"] = min(values["zero_init_steps"], values["steps"] - 1)
    values["guidance_schedule"] = values["guidance_schedule"][: values["steps"]]
    values["window_frames"] = max(5, values["window_frames"])
    values["window_overlap"] = min(values["window_overlap"] // 4 * 4, values["window_frames"] - 1)
    if values["precision"] == "diffsynth":
        values |= {"solver": "euler", "step_cache": 0.0}
    return SampleSettings(**values)


settings = st.builds(
    _possible,
    **{
        **{entry.name: _values(entry) for entry in options(SampleSettings)},
        "width": SIXTEENS,
        "height": SIXTEENS,
        "frames": FOURS,
        "window_frames": FOURS,
    },
    loras=st.lists(lora_uses, max_size=3).map(tuple),
)


@given(settings)
def test_settings_survive_a_dictionary_and_json(given_settings: SampleSettings):
    values = given_settings.to_dict()
    assert SampleSettings.from_dict(values) == given_settings
    text = canonical_json(values)
    again = SampleSettings.from_dict(json.loads(text))
    assert again == given_settings
    assert canonical_json(again.to_dict()) == text
    assert hash(again) == hash(given_settings)


@given(settings)
def test_every_value_has_its_fields_own_type(given_settings: SampleSettings):
    for entry in options(SampleSettings):
        assert type(getattr(given_settings, entry.name)) is type(entry.default)
    for use in given_settings.loras:
        assert type(use.strength) is float
    assert "-0.0" not in canonical_json({**given_settings.to_dict(), "loras": []})


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("one", [1, 1.0, np.float32(1), np.float64(1), np.int64(1), Fraction(1)])
def test_the_same_number_gives_the_same_id_however_it_is_written(name: str, one: Any):
    plain, other = SampleSettings(**{name: 1.0}), SampleSettings(**{name: one})
    assert sha256_json(plain.to_dict()) == sha256_json(other.to_dict())
    assert plain == other


@pytest.mark.parametrize("name", WHOLE)
def test_numpys_whole_numbers_are_whole_numbers(name: str):
    default = option(SampleSettings, name).default
    made = SampleSettings(**{name: np.int64(default)})
    assert type(getattr(made, name)) is int
    assert made == SampleSettings()


def test_minus_zero_is_zero():
    for made in (SampleSettings(guidance=-0.0), SampleSettings(control_strength=-0.0), SampleSettings(guidance=0)):
        assert "-0.0" not in canonical_json(made.to_dict())
    assert math.copysign(1, LoraUse("a", -0.0).strength) == 1


@pytest.mark.parametrize("entry", NUMBERS, ids=lambda entry: entry.name)
def test_both_ends_of_a_range_are_in_and_what_is_beyond_is_out(entry: Option):
    low, high = entry.minimum, entry.maximum
    for inside in (low, high):
        assert check(entry, inside) == inside
    for outside in (low - 1, high + 1 if isinstance(entry.default, int) else math.nextafter(high, math.inf)):
        with pytest.raises(SettingsError, match=entry.name) as caught:
            SampleSettings(**{entry.name: outside})
        assert str(low) in caught.value.expected
        assert str(high) in caught.value.expected


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, True, "5", None, 1j, [5.0], np.array([1.0]), 10**400])
def test_what_is_no_finite_number_is_refused(name: str, wrong: Any):
    with pytest.raises(SettingsError, match=f"The setting {name} cannot be"):
        SampleSettings(**{name: wrong})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("wrong", [17.0, 1.5, True, False, "81", None, math.nan, np.float64(81), np.bool_(True)])
def test_what_is_no_whole_number_is_refused(name: str, wrong: Any):
    with pytest.raises(SettingsError, match=f"The setting {name} cannot be"):
        SampleSettings(**{name: wrong})


@pytest.mark.parametrize("name", ["fit", "solver", "precision"])
@pytest.mark.parametrize("wrong", ["", "Letterbox", None, 0, ["letterbox"], np.array(["letterbox", "crop"])])
def test_what_is_no_choice_is_refused_and_the_choices_are_named(name: str, wrong: Any):
    with pytest.raises(SettingsError, match=name) as caught:
        SampleSettings(**{name: wrong})
    for choice in option(SampleSettings, name).choices:
        assert choice in caught.value.expected


@pytest.mark.parametrize("wrong", [0, 1, "true", None])
def test_tiling_is_true_or_false(wrong: Any):
    with pytest.raises(SettingsError, match="tiling"):
        SampleSettings(tiling=wrong)


@given(st.integers(16, 4096), st.integers(16, 4096))
def test_sizes_are_multiples_of_16_and_the_remedy_can_be_used(width: int, height: int):
    if width % 16 == height % 16 == 0:
        assert SampleSettings(width=width, height=height).width == width
        return
    with pytest.raises(SettingsError, match=f"{width} x {height}") as caught:
        SampleSettings(width=width, height=height)
    words = caught.value.remedy.removeprefix("Use ").removesuffix(".").split(" x ")
    near = SampleSettings(width=int(words[0]), height=int(words[1]))
    assert abs(near.width - width) <= 8
    assert abs(near.height - height) <= 8


@given(st.integers(1, 1001))
def test_frames_are_4n_plus_1_and_the_remedy_can_be_used(frames: int):
    if frames % 4 == 1:
        assert SampleSettings(frames=frames).frames == frames
        return
    with pytest.raises(SettingsError, match=f"{frames} frames") as caught:
        SampleSettings(frames=frames)
    lower, upper = (int(word) for word in caught.value.remedy.removeprefix("Use ").removesuffix(".").split(" or "))
    assert SampleSettings(frames=lower).frames < frames < SampleSettings(frames=upper).frames


def test_unknown_names_are_told_with_the_known_ones():
    with pytest.raises(SettingsError, match="guidence, zeal") as caught:
        SampleSettings.from_dict({"zeal": 1, "guidence": 5, "steps": 3})
    assert "guidance" in caught.value.expected
    with pytest.raises(SettingsError, match=r"3, None|None, 3"):
        SampleSettings.from_dict({3: 1, None: 2})  # type: ignore[dict-item]


@pytest.mark.parametrize("wrong", [None, [], "steps: 3", 3])
def test_settings_come_from_a_mapping(wrong: Any):
    with pytest.raises(SettingsError, match="names with values"):
        SampleSettings.from_dict(wrong)


def test_missing_names_keep_their_default():
    assert SampleSettings.from_dict({}) == SampleSettings()
    assert SampleSettings.from_dict({"steps": 3}) == SampleSettings(steps=3)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "a.safetensors",
        {"file": "a.safetensors"},
        5,
        ["a.safetensors"],
        [None],
        [{}],
        [{"strength": 1.0}],
        [{"file": "a", "strenght": 1.0}],
        [{"file": "a", "strength": "1.0"}],
        [{"file": "a", "strength": True}],
        [{"file": "a", "strength": math.nan}],
        [{"file": "a", "strength": 4.01}],
        [{"file": "a", "strength": None}],
        [{"file": ""}],
        [{"file": "  "}],
        [{"file": None}],
        [{"file": 3}],
        [{"file": b"a"}],
        [{"file": "a", 3: 4}],
        [["a", 1.0]],
    ],
    ids=repr,
)
def test_wrong_lora_entries_are_settings_errors_that_say_what_to_write(wrong: Any):
    for make in (lambda: SampleSettings.from_dict({"loras": wrong}), lambda: SampleSettings(loras=wrong)):
        with pytest.raises(SettingsError, match=r"LoRA|loras|strength") as caught:
            make()
        assert caught.value.expected
        assert caught.value.remedy


def test_lora_entries_in_every_form():
    wanted = (LoraUse("a.safetensors", 0.5), LoraUse("b.safetensors"))
    entries = [{"file": "a.safetensors", "strength": 0.5}, {"file": Path("b.safetensors")}]
    assert SampleSettings.from_dict({"loras": entries}).loras == wanted
    assert SampleSettings(loras=list(wanted)).loras == wanted  # type: ignore[arg-type]
    assert sha256_json(dataclasses.asdict(LoraUse("a", 1))) == sha256_json(dataclasses.asdict(LoraUse("a", 1.0)))


@given(
    st.dictionaries(st.sampled_from([*(e.name for e in options(SampleSettings)), "loras", "x"]), st.from_type(object))
)
def test_whatever_stands_in_a_users_file_is_settings_or_a_settings_error(values: dict[str, Any]):
    try:
        made = SampleSettings.from_dict(values)
    except SettingsError:
        return
    assert SampleSettings.from_dict(json.loads(canonical_json(made.to_dict()))) == made


def test_forms_find_every_number_and_choice():
    assert [entry.name for entry in options(SampleSettings)] == [
        entry.name for entry in dataclasses.fields(SampleSettings) if entry.name != "loras"
    ]
    for entry in (*options(SampleSettings), *options(LoraUse)):
        assert entry.help.endswith(".")
        assert check(entry, entry.default) == entry.default
        if entry.minimum is not None:
            assert entry.minimum <= entry.default <= entry.maximum
            assert entry.step > 0
    assert option(LoraUse, "strength").default == 1.0

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s2v_core.arguments import parse_lora_use
from s2v_core.errors import SettingsError
from s2v_core.files import canonical_json
from s2v_core.wan.settings import LoraUse, SampleSettings, option, options

SCOPES = ["", "only self_attn", "blocks 0-9=0.5, ffn=0.1", {"vace": 0.0}, {"only": ["ffn"], "blocks 3": -1}]


@st.composite
def uses(draw):
    first = draw(st.integers(0, 199))
    return LoraUse(
        draw(st.sampled_from(["a.safetensors", "b/c d.safetensors"])),
        draw(st.floats(-4, 4)),
        draw(st.sampled_from(SCOPES)),
        first,
        draw(st.integers(first + 1, 200)),
        draw(st.integers(0, 30)),
        draw(st.integers(0, 30)),
        draw(st.booleans()),
    )


@given(uses())
def test_a_use_survives_its_dictionary_json_and_the_command_line(use):
    assert LoraUse.from_value(use.to_dict()) == use
    assert LoraUse.from_value(json.loads(canonical_json(use.to_dict()))) == use
    assert SampleSettings.from_dict(SampleSettings(loras=(use,)).to_dict()).loras == (use,)
    others = [entry.name for entry in options(LoraUse)[1:]]
    text = f"{use.file}:{use.strength!r};" + ";".join(f"{name}={getattr(use, name)}" for name in others)
    assert parse_lora_use(text) == use
    assert hash(use) == hash(replace(use))


def test_what_is_not_said_is_not_written_and_old_entries_still_load():
    assert LoraUse("a", 0.5).to_dict() == {"file": "a", "strength": 0.5}
    assert LoraUse.from_value({"file": "a", "strength": 0.5}) == LoraUse("a", 0.5)
    assert LoraUse.from_value({"file": "a"}) == LoraUse("a")
    made = LoraUse("a", scope={"blocks 5-9": 0.5, "only": "ffn"}, from_step=3)
    assert made.to_dict()["scope"] == "only ffn, blocks 5-9=0.5"
    assert made.say() == "a at 1 (only ffn, blocks 5-9=0.5; from step 3)"
    assert made.say({"strength", "scope", "from_step"}) == "a"
    assert LoraUse("x/dance v2.safetensors", 0.5).say() == "dance v2 at 0.5"
    assert made.to_dict()["from_step"] == 3
    assert "to_step" not in made.to_dict()


@given(uses(), st.integers(1, 60))
def test_a_schedule_is_a_trapezoid(use, steps):
    assume(not 0 < abs(use.strength) < 1e-300)  # numbers as small as these have few digits to compare
    shares = [use.strength_at(index, steps) / use.strength if use.strength else 0.0 for index in range(steps)]
    end = min(use.to_step, steps)
    for index, share in enumerate(shares):
        assert 0 <= share <= 1
        if not use.from_step <= index < end or not use.strength:
            assert share == 0
            continue
        rise, fall = (index - use.from_step + 1) / (use.ramp_in + 1), (end - index) / (use.ramp_out + 1)
        assert share == pytest.approx(min(1, rise, fall), rel=1e-12)
    assert use.acts(steps) == any(shares)
    if not use.scheduled:
        assert [use.strength_at(index, steps) for index in range(steps)] == [use.strength] * steps


def test_schedules_in_numbers():
    def shares(steps, **schedule):
        return [round(LoraUse("a", **schedule).strength_at(index, steps), 3) for index in range(steps)]

    assert shares(4) == [1, 1, 1, 1]
    assert shares(5, from_step=1, to_step=3) == [0, 1, 1, 0, 0]
    assert shares(6, ramp_in=3) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert shares(6, ramp_out=3) == [1, 1, 1, 0.75, 0.5, 0.25]
    assert shares(6, to_step=4, ramp_out=1) == [1, 1, 1, 0.5, 0, 0]
    assert shares(6, from_step=1, ramp_in=4, ramp_out=4) == [0, 0.2, 0.4, 0.6, 0.4, 0.2]
    assert shares(3, from_step=5) == [0, 0, 0]
    assert shares(4, strength=-2, ramp_in=1) == [-1, -2, -2, -2]


def test_the_identity_is_what_the_use_does():
    plain = LoraUse("a", 0.5)
    assert plain.identity(30) == (0.5,)
    same = [
        (LoraUse("b", 0.5, to_step=30), plain),
        (LoraUse("a", 0.5, allow_unmatched=True), plain),
        (LoraUse("a", 0.5, scope="ffn=1"), plain),
        (LoraUse("a", scope="blocks 5-9=0.2, blocks 0-4=0.2"), LoraUse("a", scope={"blocks 0-9": 0.2})),
        (LoraUse("a", to_step=30, ramp_out=2), LoraUse("a", to_step=99, ramp_out=2)),
    ]
    for one, other in same:
        assert canonical_json(one.identity(30)) == canonical_json(other.identity(30))
    others = ["ffn=0.5", "ffn=0.6", "only ffn", "blocks 0=0.5"]
    schedules = [{"from_step": 1}, {"to_step": 29}, {"ramp_in": 1}, {"ramp_out": 1}]
    different = [plain, *(replace(plain, scope=one) for one in others), *(replace(plain, **one) for one in schedules)]
    assert len({canonical_json(use.identity(30)) for use in different}) == len(different)
    assert LoraUse("a", from_step=30).acts(30) is False
    assert LoraUse("a", from_step=30).acts(31) is True


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scope": "dit=0, vace=0"}, "leaves no layer"),
        ({"scope": "blocks 0-=0, vace_blocks 0-=0, outside=0"}, "leaves no layer"),
        ({"scope": "attn=1"}, "cannot hold 'attn'"),
        ({"from_step": 7, "to_step": 7}, "no step to act in"),
        ({"from_step": 1.5}, "from_step"),
        ({"from_step": -1}, "from 0 to 200"),
        ({"ramp_in": True}, "ramp_in"),
        ({"allow_unmatched": 1}, "true or false"),
    ],
)
def test_wrong_uses_say_what_to_write(values, words):
    for make in (lambda: LoraUse("a", **values), lambda: LoraUse.from_value({"file": "a", **values})):
        with pytest.raises(SettingsError) as caught:
            make()
        assert words in str(caught.value)
        assert caught.value.remedy


def test_the_command_line_form(tmp_path):
    assert parse_lora_use("a.safetensors") == LoraUse("a.safetensors")
    assert parse_lora_use("a.safetensors:0.5") == LoraUse("a.safetensors", 0.5)
    assert parse_lora_use("C:\\a.safetensors:1") == LoraUse("C:\\a.safetensors", 1.0)
    assert parse_lora_use("a:b") == LoraUse("a:b")
    full = parse_lora_use(
        "a b.safetensors:0.8; scope = self_attn=0.5, blocks 20-29=0 ; from_step=5;allow_unmatched=yes;"
    )
    wanted = LoraUse("a b.safetensors", 0.8, "self_attn=0.5, blocks 20-29=0", from_step=5, allow_unmatched=True)
    assert full == wanted
    odd = tmp_path / "x;scope=ffn:0.5.safetensors"
    odd.write_bytes(b"")
    assert parse_lora_use(str(odd)) == LoraUse(str(odd))
    for wrong in ("a;x=1", "a;scope", "a:1;strength=2", "a;scope=ffn=1;scope=ffn=1"):
        with pytest.raises(SettingsError, match="cannot be set for a LoRA"):
            parse_lora_use(wrong)
    for wrong in ("a;from_step=x", "a;from_step=1.5", "a;allow_unmatched=maybe", ";scope=only ffn", "a;scope=z=1"):
        with pytest.raises(SettingsError):
            parse_lora_use(wrong)


def test_forms_show_every_field_but_the_file():
    assert [entry.name for entry in options(LoraUse)] == [
        *("strength", "scope", "from_step", "to_step", "ramp_in", "ramp_out", "allow_unmatched"),
    ]
    assert option(LoraUse, "scope").default == ""


def test_a_cells_id_holds_what_a_lora_does_and_old_ids_stay():
    from s2v_core.prompts.prompt import Prompt
    from s2v_core.sweeps.plan import cell_id

    def cell(*uses):
        return cell_id(
            Prompt("a dancer"), SampleSettings(loras=uses), {"device": "cpu"}, lambda file: "hash of " + file
        )

    # An id from before there were scopes and schedules.
    assert cell(LoraUse("a", 0.5)) == "0c92793169f6ec0a55e47b9dbda2c1a9199299512e893e57dca145d23b2a7f72"
    assert cell(LoraUse("a", 0.5, to_step=30, allow_unmatched=True)) == cell(LoraUse("a", 0.5))
    assert cell(LoraUse("a", 0.5, {"blocks 3-9": 0.5, "only": "ffn"})) == cell(
        LoraUse("a", 0.5, "blocks 5-9=.5, blocks 3-4=.5, only ffn")
    )
    assert cell(LoraUse("a", 0.5, from_step=30)) == cell() == cell(LoraUse("a", 0))
    assert len({cell(LoraUse("a", 0.5, scope)) for scope in ("", "only ffn", "only vace", "ffn=0.5")}) == 4

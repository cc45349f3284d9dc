from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as at
from hypothesis import strategies as st

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.plan import cell_id, effective, plan
from s2v_core.wan.settings import LoraUse, SampleSettings

FINGERPRINT = {"transformer": "aa", "vae": "bb", "control": "cc", "device": "cpu"}
PROMPT = Prompt("a dancer", "blurry")


def content(file: str) -> str:
    """Stands for hashing: paths that end alike have the same content."""
    return file.rpartition("/")[2]


settings_strategy = st.builds(
    SampleSettings,
    steps=st.integers(1, 200),
    guidance=st.floats(0, 30),
    shift=st.floats(0.1, 100),
    seed=st.integers(0, 2**63 - 1),
    width=st.integers(1, 60).map(lambda n: 16 * n),
    height=st.integers(1, 60).map(lambda n: 16 * n),
    frames=st.integers(0, 30).map(lambda n: 4 * n + 1),
    control_strength=st.floats(0, 4),
    fit=st.sampled_from(["letterbox", "crop"]),
    precision=st.sampled_from(["float32", "diffsynth"]),
    tiling=st.booleans(),
    loras=st.lists(st.builds(LoraUse, st.sampled_from(["x/a", "x/b", "y/c"]), st.floats(-4, 4)), max_size=3).map(tuple),
)
prompts = st.builds(Prompt, st.text(max_size=20), st.text(max_size=20))


def test_cells_come_in_row_major_order():
    sweep = Sweep(PROMPT, SampleSettings(), (make_axis("guidance", [2, 3]), make_axis("seed", [0, 1, 2])))
    cells = plan(sweep, FINGERPRINT, content)
    assert [cell.index for cell in cells] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [(cell.settings.guidance, cell.settings.seed) for cell in cells] == [
        (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2),
    ]  # fmt: skip
    assert cells[4].labels == ("guidance 3", "seed 1")
    assert len({cell.id for cell in cells}) == 6


def test_one_axis_is_enough():
    cells = plan(Sweep(PROMPT, SampleSettings(), (make_axis("steps", [1, 2, 3]),)), FINGERPRINT, content)
    assert [cell.index for cell in cells] == [(0,), (1,), (2,)]


def test_lora_files_are_hashed_once_each_and_never_at_strength_0():
    asked = []
    base = SampleSettings(loras=(LoraUse("x/a"),))
    axes = (make_axis("lora_strength", [0, 0.5, 1]), make_axis("guidance", [2, 3]))
    plan(Sweep(PROMPT, base, axes), FINGERPRINT, lambda file: asked.append(file) or "hash")
    assert asked == ["x/a"]
    asked.clear()
    plan(Sweep(PROMPT, base, (make_axis("lora_strength", [0]),)), FINGERPRINT, lambda file: asked.append(file) or "")
    assert asked == []


def test_strength_0_shares_the_id_of_no_lora_over_prompts_and_files():
    base = SampleSettings(loras=(LoraUse("x/a"),))
    axes = (make_axis("lora", ["none", "x/a", "x/b"]), make_axis("lora_strength", [0, 1]))
    cells = plan(Sweep(PROMPT, base, axes), FINGERPRINT, content)
    ids = [cell.id for cell in cells]
    assert len({ids[0], ids[1], ids[2], ids[4]}) == 1
    assert len(set(ids)) == 3
    assert all(not effective(cells[at].settings).loras for at in (0, 1, 2, 4))


@at(deadline=None)
@given(prompts, settings_strategy)
def test_names_paths_order_and_labels_do_not_change_the_id(prompt, settings):
    first = cell_id(prompt, settings, FINGERPRINT, content)
    moved = dataclasses.replace(
        settings, loras=tuple(dataclasses.replace(use, file="elsewhere/" + use.file) for use in settings.loras)
    )
    assert cell_id(prompt, moved, FINGERPRINT, content) == first
    told = dataclasses.replace(prompt, variant="other", facts=("tempo",), origins=(("a", "b"),))
    assert cell_id(told, settings, dict(reversed(FINGERPRINT.items())), content) == first
    assert cell_id(prompt, SampleSettings.from_dict(settings.to_dict()), FINGERPRINT, content) == first
    axis = make_axis("seed", [settings.seed], ["any label"])
    assert plan(Sweep(prompt, settings, (axis,), name="other"), FINGERPRINT, content)[0].id == first


@at(deadline=None, max_examples=50)
@given(prompts, settings_strategy, st.data())
def test_every_single_change_changes_the_id(prompt, settings, data):
    first = cell_id(prompt, settings, FINGERPRINT, content)
    other = data.draw(settings_strategy)
    for entry in dataclasses.fields(SampleSettings):
        changed = dataclasses.replace(settings, **{entry.name: getattr(other, entry.name)})
        same = effective(changed) == effective(settings)
        assert (cell_id(prompt, changed, FINGERPRINT, content) == first) == same, entry.name
    assert cell_id(dataclasses.replace(prompt, text=prompt.text + "."), settings, FINGERPRINT, content) != first
    for key in FINGERPRINT:
        assert cell_id(prompt, settings, {**FINGERPRINT, key: "zz"}, content) != first
    assert cell_id(prompt, settings, {**FINGERPRINT, "new": ""}, content) != first
    assert (
        cell_id(prompt, settings, FINGERPRINT, lambda file: "edited " + file) != first or not effective(settings).loras
    )


@pytest.mark.parametrize(("guidance", "same"), [(1, True), (1.0, True), (1.1, False), (0, False)])
def test_the_negative_prompt_counts_unless_guidance_is_1(guidance, same):
    settings = SampleSettings(guidance=guidance)
    ids = {cell_id(Prompt("a", negative), settings, FINGERPRINT, content) for negative in ("x", "y")}
    assert (len(ids) == 1) == same


def test_whole_and_broken_numbers_are_one():
    a, b = SampleSettings(guidance=3, control_strength=1), SampleSettings(guidance=3.0, control_strength=1.0)
    assert cell_id(PROMPT, a, FINGERPRINT, content) == cell_id(PROMPT, b, FINGERPRINT, content)
    strengths = [(LoraUse("x/a", 1),), (LoraUse("x/a", 1.0),)]
    assert len({cell_id(PROMPT, SampleSettings(loras=use), FINGERPRINT, content) for use in strengths}) == 1


def test_the_order_of_two_loras_counts():
    ids = {
        cell_id(PROMPT, SampleSettings(loras=order), FINGERPRINT, content)
        for order in ((LoraUse("a"), LoraUse("b")), (LoraUse("b"), LoraUse("a")))
    }
    assert len(ids) == 2


def test_the_id_of_a_known_cell_stays():
    # Whoever changes this number on purpose makes every stored cell be rendered again.
    assert cell_id(PROMPT, SampleSettings(), FINGERPRINT, content) == (
        "b0f51365a637c94c2cf24afd9a0b57a0cf22fbe38d311333f85192cfe427a678"
    )


def test_settings_that_nothing_is_made_of_do_not_split_cells():
    def ids(fingerprint, *changes):
        return {cell_id(PROMPT, SampleSettings(**change), fingerprint, content) for change in changes}

    alone = {**FINGERPRINT, "control": "", "reference": ""}
    posed = {**FINGERPRINT, "reference": ""}
    full = {**FINGERPRINT, "reference": "dd"}
    assert len(ids(alone, {}, {"control_strength": 0.5}, {"reference_strength": 0.5}, {"control_to": 3})) == 1
    assert len(ids(posed, {}, {"reference_strength": 0.5}, {"reference_from": 3})) == 1
    assert len(ids(full, {}, {"reference_strength": 0.5}, {"reference_from": 3}, {"control_to": 3})) == 4
    # A mask and a start clip are named when they are there, and count where they are used.
    assert len(ids(full, {}, {"mask_edge": "hard"})) == 1
    assert len(ids({**full, "mask": "ee"}, {}, {"mask_edge": "hard"})) == 2
    assert ids({**full, "start": "ff"}, {}) == ids(full, {})
    assert ids({**full, "start": "ff"}, {"denoise": 0.5}) != ids({**full, "start": "gg"}, {"denoise": 0.5})
    # Without a step that compares, the negative prompt does not count.
    never = [SampleSettings(guidance_to=0), SampleSettings(guidance=1.0), SampleSettings(guidance_schedule="1")]
    made = {cell_id(Prompt("a", text), one, full, content) for text in ("x", "y") for one in never}
    assert len(made) == 1


def test_the_reference_once_followed_the_control():
    """A cell of equal strengths is the one that was stored before the two were apart; others are new."""
    old = {"control_strength": 0.5, "reference_strength": 0.5}
    strengths = [SampleSettings(**old), SampleSettings(control_strength=0.5), SampleSettings(reference_strength=0.5)]
    assert len({cell_id(PROMPT, one, FINGERPRINT, content) for one in strengths}) == 3
    # What the first release wrote for control strength 0.5.
    assert cell_id(PROMPT, SampleSettings(**old), FINGERPRINT, content) == (
        "b7f900596d9a32e746ce14b5bc829f03ec44b2f4591606d4ef0dc43afb35d008"
    )

from dataclasses import replace

import numpy as np
import pytest

from s2v_core.errors import SettingsError
from s2v_core.prompts.template import WAN_NEGATIVE
from s2v_core.sweeps.axes import Sweep, apply_axes, make_axis
from s2v_core.sweeps.kinds import Base
from s2v_core.sweeps.plan import plan
from s2v_core.wan.presets import PRESETS, find_preset
from s2v_core.wan.settings import LoraUse, SampleSettings

FACTS = {
    # shift, solver, precision, fit, mask, negative
    "official": (16.0, "unipc", "float32", "letterbox", "hard", WAN_NEGATIVE),
    "diffsynth": (5.0, "euler", "diffsynth", "letterbox", "soft", ""),
    "comfyui": (8.0, "unipc", "float32", "crop", "soft", None),
}


@pytest.mark.parametrize("name", FACTS)
def test_presets_are_what_their_namesakes_do(name):
    preset = find_preset(name)
    made = preset.on(SampleSettings())
    shift, solver, precision, fit, mask_edge, negative = FACTS[name]
    assert (made.shift, made.solver, made.precision, made.mask_edge) == (shift, solver, precision, mask_edge)
    assert made.fit == fit or name == "diffsynth"
    assert preset.negative == negative
    assert preset.help.endswith(".")


def test_a_preset_leaves_alone_what_it_does_not_name():
    own = SampleSettings(
        seed=7, width=480, height=832, frames=41, control_strength=0.5, reference_strength=0.7,
        loras=(LoraUse("a.safetensors", 0.5),), window_frames=41,
    )  # fmt: skip
    for preset in PRESETS.values():
        made = preset.on(own)
        assert replace(made, **{name: getattr(own, name) for name in preset.values}) == own


def test_one_preset_after_the_other_is_the_last_one():
    """Whatever guidance or precision a preset leaves behind, the next one sets it."""
    start = SampleSettings(guidance_schedule="6, 4", cfg_zero=True, guidance_rescale=0.5, zero_init_steps=1)
    for first in PRESETS.values():
        for second in PRESETS.values():
            if {"fit"} <= set(second.values):
                assert second.on(first.on(start)) == second.on(SampleSettings())


def test_unknown_presets():
    for wrong in ("kijai", "", None, 3):
        with pytest.raises(SettingsError, match="official, diffsynth, comfyui"):
            find_preset(wrong)


def test_presets_as_an_axis(prompt):
    axis = make_axis("preset", list(PRESETS))
    assert axis.labels == ("preset official", "preset diffsynth", "preset comfyui")
    cells = plan(Sweep(prompt, SampleSettings(frames=9), (axis, make_axis("steps", [4]))), {}, str)
    assert [(cell.settings.shift, cell.settings.steps) for cell in cells] == [(16, 4), (5, 4), (8, 4)]
    assert [cell.prompt.negative for cell in cells] == [WAN_NEGATIVE, "", prompt.negative]
    assert len({cell.id for cell in cells}) == 3
    # A preset is put in before the axes that change its numbers, wherever it stands.
    chosen = {"steps": (4, ""), "preset": ("official", "")}
    assert apply_axes(Base(prompt, SampleSettings()), chosen).settings.steps == 4


def test_presets_render(engine, settings, prompt, control, reference):
    from s2v_core.wan.render import Renderer

    renderer = Renderer(engine, control, reference)
    made = [
        renderer.render(prompt, replace(preset.on(settings), steps=2)).frames.astype(int) for preset in PRESETS.values()
    ]
    assert not np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])

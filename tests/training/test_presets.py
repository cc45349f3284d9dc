from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2v_core.errors import SettingsError
from s2v_core.training.presets import (
    PRESETS,
    count_parameters,
    meta_nets,
    parse_targets,
    select_layers,
    wan_sizes,
)

# shared by all tests of the released sizes: no weights, but many modules
COUNTS = {
    "1.3B": {"article": 31_948_800, "self-attention": 11_796_480, "vace": 21_872_640, "dit": 43_745_280},
    "14B": {"article": 100_925_440, "self-attention": 52_428_800, "vace": 30_670_848, "dit": 153_354_240},
}


@pytest.fixture(scope="module")
def nets() -> dict[str, dict[str, torch.nn.Module]]:
    return {name: meta_nets(wan_sizes(name)) for name in COUNTS}


@pytest.mark.parametrize("model", list(COUNTS))
def test_the_presets_train_as_many_parameters_as_is_known(nets, model: str) -> None:
    assert set(COUNTS[model]) == set(PRESETS)
    assert {preset: count_parameters(nets[model], preset, 32) for preset in PRESETS} == COUNTS[model]
    assert count_parameters(nets[model], "article", 8) * 4 == COUNTS[model]["article"]


def test_the_released_models_have_their_known_size(nets) -> None:
    sizes = {
        model: {part: sum(value.numel() for value in net.parameters()) for part, net in both.items()}
        for model, both in nets.items()
    }
    assert sizes["1.3B"] == {"dit": 1_418_996_800, "vace": 734_975_232}
    assert sizes["14B"] == {"dit": 14_288_491_584, "vace": 3_049_101_312}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_diffsynth_injects_just_as_many(preset: str) -> None:
    """The counts come from shapes: DiffSynth's module, on the meta device, must make the same."""
    from diffsynth.diffusion.training_module import DiffusionTrainingModule

    nets = meta_nets(wan_sizes("1.3B"))
    module = DiffusionTrainingModule()
    for net, names in select_layers(nets, preset).items():
        nets[net].requires_grad_(False)
        if names:
            setattr(module, net, module.add_lora_to_model(nets[net], names, 32))
    assert sum(value.numel() for value in module.trainable_modules()) == COUNTS["1.3B"][preset]


def test_diffsynths_vace_recipe_is_the_preset(nets) -> None:
    """Its list, q,k,v,o,ffn.0,ffn.2 on the VACE blocks, means by PEFT's rule the layers of the preset."""
    names = [name for name, module in nets["1.3B"]["vace"].named_modules() if isinstance(module, torch.nn.Linear)]
    theirs = [n for n in names if any(n.endswith(f".{end}") for end in ("q", "k", "v", "o", "ffn.0", "ffn.2"))]
    assert select_layers(nets["1.3B"], "vace") == {"dit": [], "vace": theirs}


def test_a_list_chooses_by_ends_of_names(nets) -> None:
    both = nets["1.3B"]
    assert select_layers(both, "blocks.3.ffn.0") == {"dit": ["blocks.3.ffn.0"], "vace": []}
    assert select_layers(both, "vace.before_proj")["vace"] == ["vace_blocks.0.before_proj"]
    found = select_layers(both, "self_attn.q,dit.head.head,self_attn.q")
    assert [len(found[net]) for net in ("dit", "vace")] == [31, 15]
    # 16 numbers of the end of a name are not the number 6
    assert select_layers(both, "dit.6.ffn.0")["dit"] == ["blocks.6.ffn.0"]


def test_a_target_without_layers_is_an_error(nets) -> None:
    for wrong in ("self_attn.x", "dit.before_proj", "patch_embedding"):
        with pytest.raises(SettingsError, match="No layer of the model"):
            select_layers(nets["1.3B"], f"self_attn.q,{wrong}")


def test_targets_have_one_true_form() -> None:
    assert parse_targets("article") == "article"
    assert parse_targets(" self_attn.q ,ffn.0, self_attn.q") == "self_attn.q,ffn.0"
    assert parse_targets(["ffn.0", "vace.ffn.2"]) == "ffn.0,vace.ffn.2"
    for wrong in ("", ",", "a b", "q,", 3, None, "ffn[0]"):
        with pytest.raises(SettingsError):
            parse_targets(wrong)


@given(st.text(max_size=20))
def test_whatever_is_parsed_stays_what_it_is(text: str) -> None:
    try:
        once = parse_targets(text)
    except SettingsError:
        return
    assert parse_targets(once) == once

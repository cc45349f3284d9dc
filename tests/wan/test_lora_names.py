from __future__ import annotations

import pytest

from s2v_core.wan.lora_names import Names, diffusers_name, model_layers, place_of, sort_unmatched
from s2v_core.wan.lora_scope import Place


def nets(kind):
    """The real 1.3B and 14B nets, without numbers."""
    import torch
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel

    sizes = {"1.3B": (1536, 8960, 12, 30, range(0, 30, 2)), "14B": (5120, 13824, 40, 40, range(0, 40, 5))}
    dim, ffn_dim, heads, layers, places = sizes[kind]
    shared = {"has_image_input": False, "patch_size": (1, 2, 2), "dim": dim, "num_heads": heads, "ffn_dim": ffn_dim}
    with torch.device("meta"):
        dit = WanModel(in_dim=16, freq_dim=256, text_dim=4096, out_dim=16, num_layers=layers, eps=1e-6, **shared)
        vace = VaceWanModel(vace_layers=tuple(places), vace_in_dim=96, eps=1e-6, **shared)
    return dit, vace


@pytest.mark.parametrize("kind", ["1.3B", "14B"])
def test_every_layer_of_the_real_models_is_found_by_all_its_names(kind):
    both = nets(kind)
    layers = model_layers(both)
    keys = {key for net in both for key in net.state_dict()}
    covered = {f"{name}.weight" if layer.parameter == "weight" else name for name, layer in layers.items()}
    assert covered <= keys
    assert {key for key in keys - covered if not key.endswith(".bias")} == set()
    names = Names(layers)
    aliases = {}
    for name in layers:
        theirs = diffusers_name(name)
        forms = [name, theirs, f"diffusion_model.{name}", f"pipe.dit.{name}", f"base_model.model.transformer.{theirs}"]
        for prefix in ("lora_unet_", "lora_unet__", "lora_transformer_", "lycoris_"):
            forms += [prefix + name.replace(".", "_"), prefix + theirs.replace(".", "_")]
        for form in forms:
            assert names.find(form) == name, form
            assert aliases.setdefault(form, name) == name, "two layers share a name"
    for unknown in (
        "blocks.99.self_attn.q",
        "text_model.head.head",
        "lora_te1_blocks_0_self_attn_q",
        "x",
        "",
    ):
        assert names.find(unknown) is None


def test_diffusers_names_are_those_of_diffusers():
    """Against the class itself: every parameter of Wan-VACE in diffusers is what we call it."""
    diffusers = pytest.importorskip("diffusers")
    import torch

    dit, vace = nets("1.3B")
    with torch.device("meta"):
        theirs = diffusers.WanVACETransformer3DModel(
            num_attention_heads=12, ffn_dim=8960, num_layers=30, vace_layers=list(range(0, 30, 2)), vace_in_channels=96
        ).state_dict()
    ours = {}
    for key, value in {**dit.state_dict(), **vace.state_dict()}.items():
        name, _, kind = key.rpartition(".")
        ours[diffusers_name(key) if kind == "modulation" else f"{diffusers_name(name)}.{kind}"] = tuple(value.shape)
    assert ours == {key: tuple(value.shape) for key, value in theirs.items()}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("blocks.12.self_attn.norm_k", Place("dit", "self_attn", 12)),
        ("blocks.0.cross_attn.v", Place("dit", "cross_attn", 0)),
        ("vace_blocks.14.ffn.2", Place("vace", "ffn", 14)),
        ("vace_blocks.0.before_proj", Place("vace", "other", 0)),
        ("blocks.3.modulation", Place("dit", "other", 3)),
        ("blocks.3.norm3", Place("dit", "other", 3)),
        ("head.head", Place("dit", "outside")),
        ("head.modulation", Place("dit", "outside")),
        ("vace_patch_embedding", Place("vace", "outside")),
        ("text_embedding.0", Place("dit", "outside")),
    ],
)
def test_places(name, place):
    assert place_of(name) == place


def test_names_without_a_layer_are_sorted_by_what_they_belong_to():
    kinds = sort_unmatched(
        [
            "lora_te1_text_model_encoder_layers_0_mlp_fc1",
            "text_encoder.encoder.block.0.layer.0.SelfAttention.q",
            "diffusion_model.blocks.0.cross_attn.k_img",
            "transformer.blocks.0.attn2.add_k_proj",
            "lora_unet_img_emb_proj_1",
            "blocks.40.ffn.0",
            "step",
        ]
    )
    assert {kind: len(names) for kind, names in kinds.items()} == {
        "of a text encoder": 2,
        "of image-to-video models only": 3,
        "unknown to this model": 2,
    }

"""Exported LoRAs do the same as the uses that they were made from."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from s2v_core.errors import Interrupted, LoraError, SettingsError
from s2v_core.wan import transformer
from s2v_core.wan.lora import applied
from s2v_core.wan.lora_export import export_lora
from s2v_core.wan.lora_file import load_lora, parse_lora
from s2v_core.wan.lora_names import model_layers
from s2v_core.wan.settings import LoraUse
from tests.wan.lora_files import STYLES, everything, low_rank, whole


def lora_of(changes, style="diffusers", dtype=torch.float32):
    tensors = STYLES[style](changes)
    return parse_lora("x", {key: t.to(dtype) if "alpha" not in key else t for key, t in tensors.items()})


def use(strength=1.0, scope="", **values):
    return LoraUse("some folder/style.safetensors", strength, scope, **values)


@pytest.fixture(scope="module")
def both(engine):
    return engine.parts["dit"], engine.parts["vace"]


@pytest.fixture(scope="module")
def change(both):
    """The change of the transformer's prediction by these uses, in float32."""
    generator = torch.Generator().manual_seed(3)
    latents, text = torch.randn(1, 16, 2, 4, 6, generator=generator), torch.randn(1, 9, 32, generator=generator)
    control = torch.randn(1, 96, 2, 4, 6, generator=generator)

    def run(uses):
        with torch.no_grad(), applied(both, uses):
            constants = transformer.prepare(*both, {"positive": text}, control, tuple(latents.shape))
            return transformer.predict(*both, constants, "positive", latents, torch.tensor([500.0]))

    base = run([])
    return lambda uses: run(uses) - base


def close(got, wanted, tolerance=1e-5):
    assert (got - wanted).norm() / wanted.norm() < tolerance


@pytest.mark.parametrize("style", STYLES)
def test_one_lora_keeps_its_matrices_and_alpha_carries_the_strength(both, tiny, tmp_path, style, change):
    uses = [(lora_of(low_rank(tiny), style), use(0.7, "cross_attn=0.5, only blocks 0-2 vace_blocks 1"))]
    path = tmp_path / "out.safetensors"
    done = []
    made = export_lora(uses, both, path, on_progress=lambda *at: done.append(at))
    assert (made.layers, made.rank, made.path) == (40, 4, str(path))
    assert done[-1] == (40, 40)
    assert len(done) == 40
    tensors = load_file(path)
    assert len(tensors) == 3 * 40
    assert all(key.startswith("diffusion_model.") for key in tensors)
    original = lora_of(low_rank(tiny), "ComfyUI")
    for name in ("blocks.0.self_attn.q", "blocks.2.cross_attn.k", "vace_blocks.1.ffn.2"):
        own = original.layers[f"diffusion_model.{name}"]
        scale = {"kohya": 1, "musubi": 4, "VideoX-Fun": 2, "LyCORIS": 0.5, "lightx2v": 0.5}.get(style, 1)
        assert torch.equal(tensors[f"diffusion_model.{name}.lora_down.weight"], own.down * scale)
        assert torch.equal(tensors[f"diffusion_model.{name}.lora_up.weight"], own.up)
        strength = 0.7 * (0.5 if "cross" in name else 1)
        assert float(tensors[f"diffusion_model.{name}.alpha"]) == pytest.approx(strength * 4 / scale, rel=1e-6)
    close(change([(load_lora(path), use())]), change(uses))
    close(change([(load_lora(path), use(-2.0))]), change([(uses[0][0], use(-1.4, uses[0][1].scope))]))


def test_ranks_add_up_and_nothing_is_approximated(both, tiny, tmp_path, change):
    one, two = (
        lora_of(low_rank(tiny)),
        lora_of(low_rank(tiny, rank=3, seed=8, only=r"blocks\..*ffn.*|.*patch.*"), "PEFT"),
    )
    uses = [(one, use(0.7, "ffn=0.3")), (two, use(-0.9)), (one, use(0.2, "only vace"))]
    path = tmp_path / "out.safetensors"
    made = export_lora(uses, both, path)
    tensors = load_file(path)
    ranks = {
        key.removesuffix(".lora_down.weight"): len(value)
        for key, value in tensors.items()
        if key.endswith("down.weight")
    }
    assert ranks["diffusion_model.blocks.0.ffn.0"] == 4 + 3
    assert ranks["diffusion_model.vace_blocks.0.self_attn.q"] == 4 + 4
    assert ranks["diffusion_model.blocks.0.self_attn.q"] == 4
    assert tensors["diffusion_model.patch_embedding.lora_down.weight"].shape == (3, 16, 1, 2, 2)
    assert made.rank == 8
    close(change([(load_lora(path), use())]), change(uses))
    a, b = (tensors[f"diffusion_model.blocks.0.ffn.0.lora_{end}.weight"].double() for end in ("down", "up"))
    wanted = sum(
        lora.layers[name].up.double() @ lora.layers[name].down.double() * strength
        for lora, name, strength in (
            (one, "transformer.blocks.0.ffn.net.0.proj", 0.7 * 0.3),
            (two, "base_model.model.blocks.0.ffn.0", -0.9),
        )
    )
    assert (b @ a - wanted).abs().max() / wanted.abs().max() < 1e-6


def test_whole_changes_biases_and_modulations(both, tiny, tmp_path, change):
    mixed = lora_of(everything(tiny), "ComfyUI")
    norms = parse_lora("y", STYLES["ComfyUI"](whole(tiny, seed=9)))
    uses = [(mixed, use(0.6, "outside=0.5")), (norms, use(0.4))]
    path = tmp_path / "out.safetensors"
    made = export_lora(uses, both, path)
    assert made.layers == len(model_layers(both))
    assert "7 modulations (such as blocks.0.modulation)" in made.notes[0]
    tensors = load_file(path)
    assert tensors["diffusion_model.blocks.0.modulation.diff"].shape == (1, 6, 48)
    assert tensors["diffusion_model.blocks.0.norm3.diff_b"].shape == (48,)
    head = "diffusion_model.head.head."
    assert {key for key in tensors if key.startswith(head)} == {f"{head}diff", f"{head}diff_b"}, "low-rank and whole"
    close(change([(load_lora(path), use())]), change(uses))


def test_small_types_stay_where_nothing_is_lost(both, tiny, tmp_path):
    one, two = (lora_of(low_rank(tiny, seed=n), dtype=torch.bfloat16) for n in range(2))
    path = tmp_path / "out.safetensors"
    key = "diffusion_model.blocks.0.self_attn.q.lora_down.weight"
    export_lora([(one, use(0.3))], both, path)
    assert load_file(path)[key].dtype == torch.bfloat16
    export_lora([(one, use(0.5)), (two, use(-2.0))], both, path)
    assert load_file(path)[key].dtype == torch.bfloat16
    export_lora([(one, use(0.3)), (two, use(1.0))], both, path)
    assert load_file(path)[key].dtype == torch.float32
    small = lora_of(low_rank(tiny), dtype=torch.float8_e4m3fn)
    export_lora([(small, use())], both, path)
    assert load_file(path)[key].dtype == torch.bfloat16


def test_the_same_uses_give_the_same_bytes_and_say_what_they_are(both, tiny, tmp_path):
    uses = [(lora_of(low_rank(tiny)), use(0.7, "only ffn")), (lora_of(low_rank(tiny, seed=1)), use(0.2))]
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        export_lora(uses, both, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with safe_open(paths[0], framework="pt") as file:
        said = json.loads(file.metadata()["made_from"])
    assert said == [{**one.to_dict(), "file": "style.safetensors"} for _, one in uses]


def test_what_a_file_cannot_hold_is_refused(both, tiny, tmp_path):
    lora, path = lora_of(low_rank(tiny)), tmp_path / "out.safetensors"
    for schedule in ({"from_step": 3}, {"to_step": 9}, {"ramp_in": 2}, {"ramp_out": 1}):
        with pytest.raises(SettingsError, match="cannot be exported with a schedule"):
            export_lora([(lora, use(**schedule))], both, path)
    with pytest.raises(LoraError, match="nothing to export"):
        export_lora([], both, path)
    with pytest.raises(LoraError, match="nothing to export"):
        export_lora([(lora, use(0.0))], both, path)
    with pytest.raises(LoraError, match="nothing to export"):
        export_lora([(lora, use(1.0, "only outside"))], both, path)
    with pytest.raises(LoraError, match="No layer"):
        export_lora([(parse_lora("x", {"y.diff": torch.ones(3)}), use())], both, path)
    assert not path.exists()


def test_it_can_be_stopped_and_leaves_nothing(both, tiny, tmp_path):
    asked = []
    with pytest.raises(Interrupted, match="layer 3 of 60"):
        export_lora(
            [(lora_of(low_rank(tiny)), use())],
            both,
            tmp_path / "out.safetensors",
            should_stop=lambda: asked.append(1) or len(asked) > 2,
        )
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_out_is_told(both, tiny, tmp_path):
    foreign = {f"blocks.0.cross_attn.k_img.lora_{end}.weight": torch.ones(2, 2) for end in "AB"}
    lora = parse_lora("dance.safetensors", STYLES["DiffSynth"](low_rank(tiny)) | foreign)
    made = export_lora([(lora, use(allow_unmatched=True))], both, tmp_path / "out.safetensors")
    assert "1 of 61 layers of the LoRA dance" in made.notes[0]
    assert not any("k_img" in key for key in load_file(tmp_path / "out.safetensors"))

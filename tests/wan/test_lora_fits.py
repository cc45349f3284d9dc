"""LoRAs that do not fit the model, wholly or in part, and what is said of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from s2v_core.errors import LoraError, SettingsError
from s2v_core.wan.checkpoints import load_transformer
from s2v_core.wan.lora import applied, match
from s2v_core.wan.lora_file import parse_lora
from s2v_core.wan.lora_names import model_layers
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import sample
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.vace import condition
from tests.wan.lora_files import STYLES, low_rank, write
from tests.wan.lora_runs import lora_of, nets, run, use


def fails(engine, tensors, words, **values):
    with pytest.raises(LoraError, match=words) as caught:
        match(parse_lora("x/bad.safetensors", tensors), model_layers(nets(engine)), **values)
    assert "x/bad.safetensors" in caught.value.problem
    assert caught.value.got
    assert caught.value.remedy


def test_a_lora_for_another_model_is_refused_with_the_reason(engine, tiny):
    plain = STYLES["ComfyUI"](low_rank(tiny))
    other = {"diffusion_model.blocks.99.self_attn.q.lora_down.weight": torch.zeros(4, 48)}
    other |= {"diffusion_model.blocks.99.self_attn.q.lora_up.weight": torch.zeros(48, 4)}
    fails(engine, {f"text_model.{key}": tensor for key, tensor in plain.items()}, "No layer of")
    fails(engine, other, "No layer of", allow_unmatched=True)
    fails(engine, plain | other, r"1 of 61 layers of .* do not belong")
    fails(engine, plain | {"step": torch.zeros(1)}, "1 of 61 layers")
    narrow = {key: t[:, :20].contiguous() if "down" in key else t for key, t in plain.items()}
    fails(engine, narrow, "another size", allow_unmatched=True)
    one = "diffusion_model.blocks.0."
    fails(engine, {f"{one}norm3.diff": torch.zeros(47)}, "another size")
    fails(engine, {f"{one}self_attn.q.diff": torch.zeros(48, 47)}, "another size")
    fails(engine, {f"{one}self_attn.q.diff_b": torch.zeros(47)}, "another size")
    fails(engine, {f"{one}self_attn.norm_q.diff_b": torch.zeros(48)}, "another size")
    low = {f"{one}norm3.lora_down.weight": torch.zeros(1, 1), f"{one}norm3.lora_up.weight": torch.zeros(48, 1)}
    fails(engine, low, "another size")
    again = {"blocks.0.self_attn.q.lora_A.weight": torch.zeros(4, 48)}
    again |= {"blocks.0.self_attn.q.lora_B.weight": torch.zeros(48, 4)}
    fails(engine, plain | again, "changes blocks.0.self_attn.q twice")


def test_allow_unmatched_uses_what_fits_and_says_what_was_left_out(engine, tiny, inputs, caplog):
    both = nets(engine)
    plain = STYLES["ComfyUI"](low_rank(tiny))
    foreign = {
        "diffusion_model.blocks.0.cross_attn.k_img": (48, 48),
        "diffusion_model.img_emb.proj.1": (48, 1280),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": (8, 8),
        "diffusion_model.patch_embedding": (48, 36 * 4),
        "diffusion_model.blocks.77.ffn.0": (96, 48),
    }
    extra = {f"{name}.lora_down.weight": torch.ones(4, shape[1]) for name, shape in foreign.items()}
    extra |= {f"{name}.lora_up.weight": torch.ones(shape[0], 4) for name, shape in foreign.items()}
    with applied(both, [(parse_lora("x", plain), use())]) as active:
        assert active.notes == []
        wanted = run(both, inputs)
    lora = parse_lora("x/dance.safetensors", plain | extra | {"step": torch.zeros(1)})
    caplog.set_level("INFO")
    with pytest.raises(LoraError, match="6 of 66 layers") as caught, applied(both, [(lora, use())]):
        pass
    assert all(name in caplog.text for name in foreign), "the log names them all"
    assert "allow_unmatched" in caught.value.remedy
    for words in (
        "1 of a text encoder",
        "3 of image-to-video models only",
        "2 unknown to this model",
        "patch_embedding",
    ):
        assert words in caught.value.got
    with applied(both, [(lora, use(allow_unmatched=True))]) as active:
        assert torch.equal(run(both, inputs), wanted)
        (note,) = active.notes
    assert "6 of 66 layers of the LoRA dance" in note
    assert "lora_te1" in note


def test_a_use_that_does_nothing_says_so(engine, tiny):
    both = nets(engine)
    lora = lora_of({name: roles for name, roles in low_rank(tiny).items() if not name.startswith("vace_")})
    with applied(both, [(lora, use(1.0, "only vace"))]) as active:
        assert active.changed == 0
        assert "leaves none of the layers of the LoRA style" in active.notes[0]
    with applied(both, [(lora, use(from_step=7))]) as active:
        active.set_step(0, 5)
        active.set_step(1, 5)
        assert active.notes == ["The LoRA style acts in none of the 5 steps."]
    with (
        pytest.raises(SettingsError, match=r"names blocks 20-29") as caught,
        applied(both, [(lora, use(1.0, "blocks 20-29=0.5"))]),
    ):
        pass
    assert "blocks 0-3" in caught.value.expected
    with pytest.raises(ValueError, match="step 5 of 5"), applied(both, []) as active:
        active.set_step(5, 5)


def test_what_was_left_out_reaches_the_notes_of_the_rendering(engine, tiny, tmp_path, prompt, settings):
    foreign = {f"blocks.0.cross_attn.k_img.lora_{end}.weight": torch.ones(2, 2) for end in "AB"}
    path = write(tmp_path / "dance.safetensors", STYLES["DiffSynth"](low_rank(tiny)) | foreign)
    renderer = Renderer(engine)
    settings = replace(settings, steps=2)
    with pytest.raises(LoraError, match="1 of 61 layers"):
        renderer.render(prompt, replace(settings, loras=(LoraUse(path),)))
    uses = (LoraUse(path, allow_unmatched=True), LoraUse(path, allow_unmatched=True, from_step=7))
    renderer.render(prompt, replace(settings, loras=uses[:1]))
    (note,) = renderer.notes
    assert "1 of 61 layers of the LoRA dance" in note
    renderer.render(prompt, replace(settings, loras=uses))
    assert renderer.notes == (note, note, "The LoRA dance acts in none of the 2 steps.")
    renderer.render(prompt, settings)
    assert renderer.notes == ()


def test_a_wrong_lora_is_noticed_at_strength_0_too(engine, prompt, settings, tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"unet.x.lora_A.weight": torch.zeros(2, 3), "unet.x.lora_B.weight": torch.zeros(3, 2)}, path)
    conditioning = condition(engine, prompt, settings)
    with pytest.raises(LoraError, match="No layer"):
        sample(engine, conditioning, replace(settings, loras=(LoraUse(str(path), 0.0),)))


def test_8_bit_weights_are_changed_like_all_others(tiny, inputs):
    """A layer that keeps its weight in another form (torch's parametrize) is found, and not unpacked to be matched."""
    from torch.nn.utils import parametrize

    class Halve(torch.nn.Module):
        reads = 0

        def forward(self, weight):
            Halve.reads += 1
            return weight * 0.5

    both = load_transformer(tiny.transformer, device="cpu", dtype=torch.float32)
    plain = copy.deepcopy(both)
    for one, other in zip(both, plain, strict=True):
        for name, module in list(one.named_modules()):
            if isinstance(module, torch.nn.Linear):
                parametrize.register_parametrization(module, "weight", Halve())
                other.get_submodule(name).weight.data *= 0.5
    lora = lora_of(low_rank(tiny))
    with applied(plain, [(lora, use())]):
        wanted = run(plain, inputs)
    Halve.reads = 0
    with applied(both, [(lora, use())]):
        assert Halve.reads == 0
        assert torch.equal(run(both, inputs), wanted)

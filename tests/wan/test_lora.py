from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import LoraError
from s2v_core.wan.lora import applied, load_lora, match, parse_lora
from s2v_core.wan.sampler import sample
from s2v_core.wan.settings import LoraUse
from s2v_core.wan.vace import condition


def nets(engine):
    return engine.parts["dit"], engine.parts["vace"]


def test_every_layer_is_matched_and_counted(engine, tiny_lora):
    lora = load_lora(tiny_lora)
    assert lora.rank == 4
    with applied(nets(engine), [(lora, 1.0)]) as changed:
        assert changed == len(lora.layers) == 4 * 6
    with applied(nets(engine), [(lora, 0.0)]) as changed:
        assert changed == 0


def test_it_adds_exactly_the_low_rank_change(engine, tiny_lora):
    lora = load_lora(tiny_lora)
    name = "blocks.1.self_attn.q"
    layer = engine.parts["dit"].get_submodule(name)
    a, b = (matrix.double() for matrix in lora.layers[name])
    x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(1))
    for strength in (-1.0, 0.25, 1.0, 3.0):
        with applied(nets(engine), [(lora, strength)]):
            got = layer(x).double()
        dense = layer.weight.double() + strength * b @ a
        wanted = x.double() @ dense.T + layer.bias.double()
        assert (got - wanted).abs().max() / wanted.abs().max() < 1e-6


def test_nothing_remains_after_an_error_inside(engine, tiny_lora):
    layer = engine.parts["dit"].get_submodule("blocks.0.self_attn.q")
    with pytest.raises(ZeroDivisionError), applied(nets(engine), [(load_lora(tiny_lora), 1.0)]):
        assert len(layer._forward_hooks) == 1
        1 / 0  # noqa: B018
    assert not layer._forward_hooks


@pytest.mark.parametrize("style", ["peft", "comfyui", "down and up", "diffsynth vace", "alpha"])
def test_key_styles_give_the_same_picture(engine, tiny_lora, tmp_path, prompt, settings, control, style):
    plain = load_file(tiny_lora)
    rename = {
        "peft": lambda key: "base_model.model." + key.replace(".default", ""),
        "comfyui": lambda key: "diffusion_model." + key.replace(".default", ""),
        "down and up": lambda key: key.replace("lora_A.default", "lora_down").replace("lora_B.default", "lora_up"),
        "diffsynth vace": lambda key: "pipe.dit." + key,
        "alpha": lambda key: key,
    }[style]
    tensors = {rename(key): value.clone() for key, value in plain.items()}
    if style == "alpha":
        names = {key.split(".lora_")[0] for key in plain}
        tensors |= {f"{name}.alpha": torch.tensor(2.0) for name in names}  # half of the rank
        tensors = {key: value * 2 if ".lora_A" in key else value for key, value in tensors.items()}
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    conditioning = condition(engine, prompt, settings, control=control)
    wanted = sample(engine, conditioning, replace(settings, loras=(LoraUse(tiny_lora, 0.7),)))
    got = sample(engine, conditioning, replace(settings, loras=(LoraUse(str(path), 0.7),)))
    assert torch.equal(got, wanted)


def test_two_loras_add_up_and_a_changed_file_is_read_again(engine, tiny, tiny_lora, tmp_path, prompt, settings):
    from s2v_core.wan.tiny import build_tiny_lora

    other = str(build_tiny_lora(tiny, tmp_path / "second.safetensors", seed=9))
    conditioning = condition(engine, prompt, settings)

    def run(*uses):
        return sample(engine, conditioning, replace(settings, loras=uses))

    both = run(LoraUse(tiny_lora, 0.5), LoraUse(other, 0.5))
    assert not torch.equal(both, run(LoraUse(tiny_lora, 0.5)))
    before = run(LoraUse(other, 1.0))
    build_tiny_lora(tiny, other, rank=5, seed=10)
    assert not torch.equal(run(LoraUse(other, 1.0)), before)


def test_errors_say_what_is_wrong(engine, tiny, tiny_lora, tmp_path):
    plain = load_file(tiny_lora)

    def fails(tensors, words, error=LoraError):
        path = tmp_path / "bad.safetensors"
        save_file(tensors, path)
        with pytest.raises(error, match=words):
            match(load_lora(path), nets(engine))

    fails({f"text_model.{key}": value for key, value in plain.items()}, "No layer of .* belongs to this model")
    fails(
        plain
        | {
            "blocks.99.self_attn.q.lora_A.weight": torch.zeros(4, 48),
            "blocks.99.self_attn.q.lora_B.weight": torch.zeros(48, 4),
        },
        "1 of 25 layers",
    )
    fails({key: value for key, value in plain.items() if "blocks.0.ffn.0.lora_B" not in key}, "only one of the two")
    fails(plain | {"blocks.0.self_attn.q.diff_b": torch.zeros(48)}, "diff_b")
    fails(
        {key: value[:, :20].contiguous() if ".lora_A" in key else value for key, value in plain.items()}, "another size"
    )
    fails(load_file(tiny.vae), "holds no LoRA")
    with pytest.raises(LoraError, match="no LoRA file"):
        load_lora(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"12345")
    with pytest.raises(LoraError, match="cut short"):
        load_lora(tmp_path / "cut.safetensors")


def test_a_wrong_lora_is_noticed_at_strength_0_too(engine, prompt, settings, tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"unet.x.lora_A.weight": torch.zeros(2, 3), "unet.x.lora_B.weight": torch.zeros(3, 2)}, path)
    conditioning = condition(engine, prompt, settings)
    with pytest.raises(LoraError, match="No layer"):
        sample(engine, conditioning, replace(settings, loras=(LoraUse(str(path), 0.0),)))


def test_parsing_keeps_the_layer_names():
    a, b = torch.ones(2, 3), torch.ones(5, 2)
    lora = parse_lora(
        "x",
        {
            "diffusion_model.a.b.lora_down.weight": a,
            "diffusion_model.a.b.lora_up.weight": b,
            "diffusion_model.a.b.alpha": torch.tensor(1.0),
        },
    )
    assert list(lora.layers) == ["a.b"]
    assert torch.equal(lora.layers["a.b"][0], a * 0.5)

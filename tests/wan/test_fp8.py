"""8-bit weights: kept as they are, and computed with as if they had been converted up front."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import ModelFileError
from s2v_core.wan.checkpoints import Reading, load_text_encoder, load_transformer
from s2v_core.wan.engine import ModelFiles, load_engine
from s2v_core.wan.fp8 import is_quantised
from tests.wan import other_layouts
from tests.wan.other_layouts import metadata_of

FORMS = [
    {"form": "scale_weight"},
    {"form": "weight_scale"},
    {"form": "scale_weight", "by": "row"},
    {"form": "weight_scale", "kind": torch.float8_e5m2},
    {"form": "none"},
]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def linear(key):
    """The matrices that ComfyUI's scaled checkpoints have in 8 bits."""
    return key.startswith(("blocks.", "vace_blocks.")) and key.endswith(".weight") and "norm" not in key


def write(tiny, path, prefix="", **options):
    tensors = other_layouts.quantise(load_file(tiny.transformer), names=linear, **options)
    save_file({prefix + key: value for key, value in tensors.items()}, path, metadata_of(tiny.transformer))
    return str(path)


def inputs(dtype):
    generator = torch.Generator().manual_seed(3)

    def noise(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    return noise(1, 16, 3, 6, 8), noise(1, 96, 3, 6, 8), noise(1, 20, 32), torch.tensor([500.0], dtype=dtype)


def forward(nets, dtype):
    from s2v_core.wan import transformer

    latents, control, text, time = inputs(dtype)
    with torch.no_grad():
        constants = transformer.prepare(*nets, {"positive": text}, control, tuple(latents.shape))
        return transformer.predict(*nets, constants, "positive", latents, time)


@pytest.mark.parametrize("options", FORMS, ids=lambda options: " ".join(map(str, options.values())))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_transformer_computes_as_if_converted_up_front(tiny, tmp_path, options, dtype):
    path = write(tiny, tmp_path / "fp8.safetensors", "model.diffusion_model.", **options)
    kept = load_transformer(path, device="cpu", dtype=dtype)
    converted = load_transformer(path, device="cpu", dtype=dtype, reading=Reading(keep_8bit=False))
    assert torch.equal(forward(kept, dtype), forward(converted, dtype))
    # What was converted is the file's weight times its scale, whoever multiplies.
    file = load_file(path)
    key = "model.diffusion_model.vace_blocks.1.cross_attn.v"
    scale = file.get(f"{key}.scale_weight", file.get(f"{key}.weight_scale", torch.ones(())))
    wanted = file[f"{key}.weight"].double() * scale.double().reshape(-1, 1)
    found = converted[1].vace_blocks[1].cross_attn.v.weight
    assert torch.equal(found, wanted.float().to(dtype))
    assert torch.equal(kept[1].vace_blocks[1].cross_attn.v.weight, found)
    # And it is near what was there before the 8 bits.
    plain = load_transformer(tiny.transformer, device="cpu", dtype=dtype)
    difference = (forward(kept, dtype).float() - forward(plain, dtype).float()).norm()
    assert 0 < difference / forward(plain, dtype).float().norm() < 0.2


def test_the_weights_stay_in_8_bits(tiny, tmp_path):
    path = write(tiny, tmp_path / "fp8.safetensors")
    for net in load_transformer(path, device="cpu", dtype=torch.bfloat16):
        layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, torch.nn.Linear)}
        inside = {name: layer for name, layer in layers.items() if linear(f"{name}.weight")}
        assert all(is_quantised(layer) for layer in inside.values())
        kept = sum(
            value.numel() * value.element_size() for layer in inside.values() for value in layer.parameters()
        ) - sum(2 * layer.bias.numel() for layer in inside.values())
        assert kept == sum(layer.in_features * layer.out_features for layer in inside.values())
        assert not any(is_quantised(layer) for name, layer in layers.items() if name not in inside)


@pytest.mark.parametrize("options", FORMS, ids=lambda options: " ".join(map(str, options.values())))
def test_comfyui_s_scaled_text_encoder(tmp_path, options):
    net = other_layouts.randomise(other_layouts.hugging_face_umt5(), 4)
    path = other_layouts.write_comfyui_umt5(tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors", net, **options)
    kept = load_text_encoder(path, device="cpu", dtype=torch.float32)
    converted = load_text_encoder(path, device="cpu", dtype=torch.float32, reading=Reading(keep_8bit=False))
    assert sum(map(is_quantised, kept.modules())) == 2 * 7
    ids = torch.arange(3, 23)[None]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        assert torch.equal(kept(ids, mask), converted(ids, mask))
        exact = net(input_ids=ids, attention_mask=mask).last_hidden_state
        coarse = options.get("kind") == torch.float8_e5m2  # two bits of mantissa instead of three
        assert 0 < (kept(ids, mask) - exact).norm() / exact.norm() < (0.4 if coarse else 0.2)


def test_an_8_bit_embedding_and_8_bit_convolutions_are_converted(tiny, tmp_path):
    """A plain cast of everything, as some conversions do."""
    tensors = {key: value.to(torch.float8_e4m3fn) for key, value in load_file(tiny.text_encoder).items()}
    save_file(tensors, tmp_path / "t5.safetensors")
    encoder = load_text_encoder(str(tmp_path / "t5.safetensors"), device="cpu", dtype=torch.float32)
    assert encoder.token_embedding.weight.dtype == torch.float32
    assert torch.equal(encoder.token_embedding.weight, tensors["token_embedding.weight"].float())
    ids = torch.arange(3, 23)[None]
    with torch.no_grad():
        assert encoder(ids, torch.ones_like(ids)).isfinite().all()


@pytest.mark.parametrize("fault", ["missing scale", "shape of scale", "blocks of 16"])
def test_scales_that_make_no_sense(tiny, tmp_path, fault):
    path = tmp_path / "fp8.safetensors"
    write(tiny, path)
    tensors = load_file(path)
    key = "blocks.2.ffn.0"
    if fault == "missing scale":
        del tensors[f"{key}.scale_weight"]
    elif fault == "shape of scale":
        tensors[f"{key}.scale_weight"] = torch.ones(5)
    else:
        tensors[f"{key}.scale_weight"] = torch.ones(96, 3)
    save_file(tensors, path, metadata_of(tiny.transformer))
    says = "1 without one, such as blocks.2.ffn.0.weight" if fault == "missing scale" else "a scale of"
    with pytest.raises(ModelFileError, match=says):
        load_transformer(str(path), device="cpu", dtype=torch.float32)


def test_a_lora_on_8_bit_weights_is_a_lora_on_converted_ones(tiny, tiny_lora, tmp_path):
    from s2v_core.wan.lora import applied
    from s2v_core.wan.lora_file import load_lora
    from s2v_core.wan.lora_use import LoraUse

    path = write(tiny, tmp_path / "fp8.safetensors")
    found = []
    for keep in (True, False):
        nets = load_transformer(path, device="cpu", dtype=torch.float32, reading=Reading(keep_8bit=keep))
        plain = forward(nets, torch.float32)
        with applied(nets, [(load_lora(tiny_lora), LoraUse(tiny_lora, 0.7))]):
            found.append(forward(nets, torch.float32))
        assert torch.equal(forward(nets, torch.float32), plain)
        assert not torch.equal(found[-1], plain)
    assert torch.equal(*found)


def test_an_engine_of_8_bit_files_renders(tiny, tmp_path, prompt, settings, control):
    from s2v_core.wan.sampler import sample
    from s2v_core.wan.vace import condition

    encoder = other_layouts.randomise(other_layouts.hugging_face_umt5(), 4)
    files = ModelFiles(
        write(tiny, tmp_path / "wan2.1_vace_fp8_scaled.safetensors"),
        tiny.vae,
        other_layouts.write_comfyui_umt5(tmp_path / "umt5_fp8.safetensors", encoder, form="scale_weight"),
    )
    engine = load_engine(files, device="cpu", dtype="bfloat16")
    latents = sample(engine, condition(engine, prompt, settings, control=control), settings)
    assert latents.isfinite().all()
    assert is_quantised(engine.parts["dit"].blocks[0].ffn[0])

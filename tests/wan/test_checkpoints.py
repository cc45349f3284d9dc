import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import ModelFileError, SettingsError
from s2v_core.wan.checkpoints import (
    FileContents,
    Reading,
    inspect_file,
    load_text_encoder,
    load_transformer,
    load_vae,
    text_encoder_sizes,
    vae_sizes,
)
from s2v_core.wan.engine import ModelFiles, load_engine
from s2v_core.wan.sizes import METADATA_KEY
from tests.wan.other_layouts import metadata_of


def on_meta(kind, **sizes):
    with torch.device("meta"):
        net = kind(**sizes)
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def test_sizes_of_the_real_text_encoder_and_vae():
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder
    from diffsynth.models.wan_video_vae import VideoVAE_

    found = text_encoder_sizes(FileContents("t5", ("text_encoder",), on_meta(WanTextEncoder)))
    assert found == {
        "vocab": 256384,
        "dim": 4096,
        "dim_attn": 4096,
        "dim_ffn": 10240,
        "num_heads": 64,
        "num_layers": 24,
        "num_buckets": 32,
        "shared_pos": False,
    }
    shapes = on_meta(VideoVAE_, dim=96, z_dim=16)
    assert len(shapes) == 194
    assert vae_sizes(FileContents("vae", ("vae",), shapes)) == {
        "z_dim": 16,
        "encoder_dim": 96,
        "decoder_dim": 96,
        "encoder_blocks": 2,
        "decoder_blocks": 3,
    }


def test_a_vae_with_encoder_and_decoder_of_different_width(tmp_path):
    from diffsynth.models.wan_video_vae import Decoder3d, VideoVAE_

    net = VideoVAE_(dim=8, z_dim=16, num_res_blocks=1)
    net.decoder = Decoder3d(4, 16, net.dim_mult, 0, [], net.temperal_upsample)
    path = tmp_path / "vae.safetensors"
    save_file(net.state_dict(), str(path))
    vae = load_vae(str(path), device="cpu", dtype=torch.float32)
    video = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    assert torch.equal(
        vae.model.decode(vae.model.encode(video, vae.scale), vae.scale).isfinite().all(), torch.tensor(True)
    )
    assert set(vae.model.state_dict()) == set(net.state_dict())


def test_a_common_prefix_is_taken_off(tiny, tmp_path):
    plain = load_file(tiny.transformer)
    path = tmp_path / "wrapped.safetensors"
    save_file(
        {f"model.diffusion_model.{key}": value for key, value in plain.items()}, path, metadata_of(tiny.transformer)
    )
    dit, vace = load_transformer(str(path), device="cpu", dtype=torch.float32)
    for key, value in {**dit.state_dict(), **vace.state_dict()}.items():
        assert torch.equal(value, plain[key])


@pytest.mark.parametrize("wrapper", [None, "model_state", "state_dict"])
def test_pth_gives_the_same_weights(tiny, tmp_path, wrapper):
    plain = load_file(tiny.vae)
    path = tmp_path / "Wan2.1_VAE.pth"
    torch.save({wrapper: plain} if wrapper else plain, path)
    vae = load_vae(str(path), device="cpu", dtype=torch.float32)
    assert all(torch.equal(value, plain[key]) for key, value in vae.model.state_dict().items())


@pytest.mark.parametrize("kept", [0, 5, 500, 0.5, -1])
@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_a_file_cut_short(tiny, tmp_path, part, kept):
    data = Path(getattr(tiny, part)).read_bytes()
    size = int(len(data) * kept) if isinstance(kept, float) else kept
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[:size])
    load = {"transformer": load_transformer, "vae": load_vae, "text_encoder": load_text_encoder}[part]
    with pytest.raises(ModelFileError, match=r"cut short|empty file"):
        load(str(path), device="cpu", dtype=torch.float32)


def load(kind, path, **options):
    return kind(str(path), device="cpu", dtype=torch.float32, **options)


def test_a_file_of_another_kind_is_named(tiny, tiny_lora, tmp_path):
    def says(kind, path, came):
        with pytest.raises(ModelFileError) as caught:
            load(kind, path)
        assert caught.value.got == came
        assert caught.value.remedy.startswith("Choose")

    says(load_vae, tiny.text_encoder, "a umT5 text encoder")
    says(load_transformer, tiny.vae, "a Wan VAE")
    says(load_text_encoder, tiny.transformer, "a Wan transformer and VACE blocks")
    says(load_transformer, tiny_lora, "a LoRA")
    plain = load_file(tiny.transformer)
    for keep, came in (
        ("blocks", "a Wan transformer without VACE blocks"),
        ("vace", "VACE blocks without a transformer"),
    ):
        own = keep == "vace"
        part = {key: value for key, value in plain.items() if key.startswith("vace") == own}
        save_file(part, tmp_path / f"{keep}.safetensors", metadata_of(tiny.transformer))
        says(load_transformer, tmp_path / f"{keep}.safetensors", came)


@pytest.mark.parametrize(
    ("key", "came"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "a Stable Diffusion checkpoint"),
        ("lora_unet_blocks_0_self_attn_q.lora_down.weight", "a LoRA"),
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "a LoRA"),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "a T5 text encoder that is not umT5"),
        ("decoder.upsamples.0.upsamples.0.residual.0.gamma", "the VAE of Wan2.2 5B, which Wan2.1-VACE cannot use"),
        ("text_model.encoder.layers.0.self_attn.q_proj.weight", "a CLIP text encoder"),
        ("double_blocks.0.img_attn.qkv.weight", "a Flux or HunyuanVideo transformer"),
        ("first_stage_model.decoder.mid.attn_1.k.weight", "a Stable Diffusion VAE"),
        ("something.else", "1 tensors of an unknown model (for example something.else)"),
    ],
)
@pytest.mark.parametrize("kind", [load_transformer, load_vae, load_text_encoder])
def test_the_models_of_others_are_named(tmp_path, key, came, kind):
    path = tmp_path / "model.safetensors"
    save_file({key: torch.zeros(2, 2)}, path)
    with pytest.raises(ModelFileError, match="not the file that is needed here") as caught:
        load(kind, path)
    assert caught.value.got == came


def test_an_empty_table(tmp_path):
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="0 tensors"):
        load(load_vae, tmp_path / "model.safetensors")


def test_what_is_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="no model file"):
        load(load_vae, tmp_path / "nothing.safetensors")
    with pytest.raises(ModelFileError, match="no model for this place"):
        load(load_vae, tmp_path)


def test_one_folder_stands_for_all_nets(tiny, engine):
    folder = str(Path(tiny.transformer).parent)
    found = load_engine(ModelFiles(folder, folder, folder), device="cpu")
    for name in ("dit", "vace", "vae", "text_encoder"):
        (net,), (wanted,) = found.use(name), engine.use(name)
        for key, value in net.state_dict().items():
            assert torch.equal(value, wanted.state_dict()[key])
    assert found.identity() == engine.identity()


def test_several_models_in_a_folder_are_an_error_that_names_them(tiny, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(Path(tiny.vae).read_bytes())
    (tmp_path / "c.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelFileError, match="several models") as caught:
        load(load_vae, tmp_path)
    assert caught.value.got == "a.safetensors: a Wan VAE; b.safetensors: a Wan VAE"
    with pytest.raises(ModelFileError, match="no model for this place") as caught:
        load(load_transformer, tmp_path)
    assert "a.safetensors: a Wan VAE" in caught.value.got
    assert "c.safetensors: 6 bytes" in caught.value.got


def test_a_checkpoint_with_all_nets_in_it(tiny, tmp_path, engine):
    """As ComfyUI's node Save Checkpoint writes them: one file, a prefix for each net."""
    prefixes = {
        tiny.transformer: "model.diffusion_model.",
        tiny.vae: "first_stage_model.",
        tiny.text_encoder: "text_encoders.umt5xxl.transformer.",
    }
    tensors = {prefix + key: value for file, prefix in prefixes.items() for key, value in load_file(file).items()}
    path = tmp_path / "all.safetensors"
    save_file(tensors, path, metadata_of(tiny.transformer))
    assert inspect_file(path).parts == ("dit", "vace", "text_encoder", "vae")
    found = load_engine(ModelFiles(str(path), str(path), str(path), tiny.tokenizer), device="cpu")
    for name in ("dit", "vace", "vae", "text_encoder"):
        (net,), (wanted,) = found.use(name), engine.use(name)
        for key, value in net.state_dict().items():
            assert torch.equal(value, wanted.state_dict()[key])


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool"])
def test_weights_of_a_type_that_is_no_number(tiny, tmp_path, kind):
    tensors = load_file(tiny.transformer)
    tensors["blocks.1.ffn.0.weight"] = tensors["blocks.1.ffn.0.weight"].to(getattr(torch, kind))
    save_file(tensors, tmp_path / "odd.safetensors", metadata_of(tiny.transformer))
    with pytest.raises(ModelFileError, match=f"blocks.1.ffn.0.weight: {kind}"):
        load(load_transformer, tmp_path / "odd.safetensors")


def test_weights_begin_where_the_arithmetic_does_not_depend_on_the_file(tiny, tmp_path):
    """Matrix products of some CPU libraries differ in the last bit with the place of the weights in memory."""
    plain = load_file(tiny.vae)
    places = []
    for length in range(1, 5):
        path = tmp_path / f"{length}.safetensors"
        save_file(plain, path, {"padding": "x" * length * 8})
        for mapped in (False, True):
            net = load(load_vae, path, reading=Reading(mapped=mapped)).model
            places.append((mapped, {value.data_ptr() % 64 for value in net.state_dict().values()}))
    assert all(place == {0} for mapped, place in places if not mapped)
    assert any(place != {0} for mapped, place in places if mapped), "the files would have been in place anyway"


@pytest.mark.parametrize("fault", ["missing", "spare", "shape", "heads", "vace layers", "metadata"])
def test_a_file_that_does_not_fit_itself(tiny, tmp_path, fault):
    tensors, metadata = load_file(tiny.transformer), metadata_of(tiny.transformer)
    declared = json.loads(metadata[METADATA_KEY])
    if fault == "missing":
        del tensors["blocks.1.ffn.0.bias"]
    elif fault == "spare":
        tensors["img_emb.proj.0.weight"] = torch.zeros(3)
    elif fault == "shape":
        tensors["blocks.1.ffn.0.bias"] = torch.zeros(5)
    elif fault == "heads":
        del declared["num_heads"]
    elif fault == "vace layers":
        declared["vace_layers"] = [0, 1, 2]
    else:
        declared = [4]
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path, {METADATA_KEY: json.dumps(declared)})
    with pytest.raises(ModelFileError) as caught:
        load_transformer(str(path), device="cpu", dtype=torch.float32)
    words = {
        "missing": "blocks.1.ffn.0.bias",
        "spare": "img_emb.proj.0.weight",
        "shape": r"[5] not (96,)",
        "heads": "no num_heads in the metadata or config.json",
        "vace layers": "2 VACE blocks",
        "metadata": "JSON object",
    }
    assert words[fault] in str(caught.value)


def test_a_text_encoder_of_another_width_is_refused(tiny, tmp_path):
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder

    other = WanTextEncoder(
        vocab=512, dim=16, dim_attn=16, dim_ffn=32, num_heads=2, num_layers=1, num_buckets=32, shared_pos=False
    )
    path = tmp_path / "t5.safetensors"
    save_file(other.state_dict(), path)
    with pytest.raises(SettingsError, match="do not belong together"):
        load_engine(ModelFiles(tiny.transformer, tiny.vae, str(path), tiny.tokenizer), device="cpu")


def test_the_same_seed_builds_the_same_files(tiny, tmp_path):
    from s2v_core.wan.tiny import build_tiny

    again = build_tiny(tmp_path / "again")
    for part in ("transformer", "vae", "text_encoder"):
        assert Path(getattr(again, part)).read_bytes() == Path(getattr(tiny, part)).read_bytes()
    total = sum(file.stat().st_size for file in (tmp_path / "again").rglob("*") if file.is_file())
    assert total < 2_500_000
    assert inspect_file(again.transformer).parts == ("dit", "vace")

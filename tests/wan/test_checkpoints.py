import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from s2v_core.errors import ModelFileError, SettingsError
from s2v_core.wan.checkpoints import (
    FileContents,
    inspect_file,
    load_text_encoder,
    load_transformer,
    load_vae,
    text_encoder_sizes,
    transformer_sizes,
    vae_sizes,
)
from s2v_core.wan.engine import ModelFiles, load_engine
from s2v_core.wan.sizes import METADATA_KEY


def metadata_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def on_meta(kind, **sizes):
    with torch.device("meta"):
        net = kind(**sizes)
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


WAN_1_3B = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30}
WAN_14B = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}


@pytest.mark.parametrize(
    ("sizes", "vace_layers", "keys"), [(WAN_1_3B, range(0, 30, 2), 1264), (WAN_14B, range(0, 40, 5), 1331)]
)
def test_sizes_of_the_real_nets_are_read_from_their_shapes(sizes, vace_layers, keys):
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel

    shared = {"has_image_input": False, "patch_size": (1, 2, 2), "eps": 1e-6}
    dit = {**shared, **sizes, "in_dim": 16, "freq_dim": 256, "text_dim": 4096, "out_dim": 16}
    vace = {**shared, **{key: sizes[key] for key in ("dim", "ffn_dim", "num_heads")}}
    vace |= {"vace_layers": tuple(vace_layers), "vace_in_dim": 96}
    shapes = on_meta(WanModel, **dit) | on_meta(VaceWanModel, **vace)
    assert len(shapes) == keys
    found = transformer_sizes(FileContents("wan.safetensors", ("dit", "vace"), shapes))
    assert found["dit"] | {"patch_size": tuple(found["dit"]["patch_size"])} == dit
    assert found["vace"] == vace


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


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch hostile-was-here",)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, dump in (("plain.pth", pickle.dump), ("torch.pth", torch.save)):
        with (tmp_path / name).open("wb") as stream:
            dump({"token_embedding.weight": Hostile()}, stream)
        with pytest.raises(ModelFileError, match="cannot be read"):
            load_text_encoder(str(tmp_path / name), device="cpu", dtype=torch.float32)
    assert not (tmp_path / "hostile-was-here").exists()


@pytest.mark.parametrize("kept", [0, 5, 500, 0.5, -1])
@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_a_file_cut_short(tiny, tmp_path, part, kept):
    data = (tmp_path / "x").parent.joinpath(getattr(tiny, part)).read_bytes()
    size = int(len(data) * kept) if isinstance(kept, float) else kept
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[:size])
    load = {"transformer": load_transformer, "vae": load_vae, "text_encoder": load_text_encoder}[part]
    with pytest.raises(ModelFileError, match="cut short"):
        load(str(path), device="cpu", dtype=torch.float32)


def test_a_file_of_another_kind_is_named(tiny, tiny_lora, tmp_path):
    with pytest.raises(ModelFileError, match="came: a umT5 text encoder"):
        load_vae(tiny.text_encoder, device="cpu", dtype=torch.float32)
    with pytest.raises(ModelFileError, match="came: a LoRA"):
        load_transformer(tiny_lora, device="cpu", dtype=torch.float32)
    plain = {key: value for key, value in load_file(tiny.transformer).items() if not key.startswith("vace")}
    save_file(plain, tmp_path / "t2v.safetensors", metadata_of(tiny.transformer))
    with pytest.raises(ModelFileError, match="expected: a Wan transformer and VACE blocks"):
        load_transformer(str(tmp_path / "t2v.safetensors"), device="cpu", dtype=torch.float32)
    save_file({"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2, 2)}, tmp_path / "t5.safetensors")
    with pytest.raises(ModelFileError, match="Hugging Face or ComfyUI layout"):
        load_text_encoder(str(tmp_path / "t5.safetensors"), device="cpu", dtype=torch.float32)
    with pytest.raises(ModelFileError, match="no model file"):
        load_vae(str(tmp_path / "nothing.safetensors"), device="cpu", dtype=torch.float32)
    with pytest.raises(ModelFileError, match="a folder"):
        load_vae(str(tmp_path), device="cpu", dtype=torch.float32)


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
        "heads": "num_heads",
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


def test_the_tokenizer_is_found_beside_the_encoder_and_its_absence_is_said(tiny, tmp_path):
    from s2v_core.wan.text import find_tokenizer

    assert find_tokenizer(tiny.text_encoder) == tiny.tokenizer
    with pytest.raises(ModelFileError, match="tokenizer of the text encoder was not found"):
        find_tokenizer(str(tmp_path / "t5.safetensors"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_engine(ModelFiles(tiny.transformer, tiny.vae, tiny.text_encoder, str(tmp_path)), device="cpu")


def test_the_same_seed_builds_the_same_files(tiny, tmp_path):
    from pathlib import Path

    from s2v_core.wan.tiny import build_tiny

    again = build_tiny(tmp_path / "again")
    for part in ("transformer", "vae", "text_encoder"):
        assert Path(getattr(again, part)).read_bytes() == Path(getattr(tiny, part)).read_bytes()
    total = sum(file.stat().st_size for file in (tmp_path / "again").rglob("*") if file.is_file())
    assert total < 2_500_000
    assert inspect_file(again.transformer).parts == ("dit", "vace")

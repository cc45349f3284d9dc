"""Each layout against the classes that write it: the real key sets, and what the nets compute."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2v_core.errors import ModelFileError
from s2v_core.wan.checkpoints import load_text_encoder, load_transformer, load_vae
from s2v_core.wan.contents import contents_of, inspect_file
from s2v_core.wan.sizes import transformer_sizes
from s2v_core.wan.weights_file import TensorInfo, Weights
from tests.wan import other_layouts

WAN_1_3B = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30}
WAN_14B = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}


def on_meta(kind, *arguments, **sizes):
    with torch.device("meta"):
        net = kind(*arguments, **sizes)
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def contents(shapes, net):
    table = {key: TensorInfo(shape, "float16", "x") for key, shape in shapes.items()}
    return contents_of(Weights("x", ("x",), table), net)


def wan_shapes(sizes, places):
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel

    shared = {"has_image_input": False, "patch_size": (1, 2, 2), "eps": 1e-6}
    dit = {**shared, **sizes, "in_dim": 16, "freq_dim": 256, "text_dim": 4096, "out_dim": 16}
    vace = {**shared, **{key: sizes[key] for key in ("dim", "ffn_dim", "num_heads")}}
    vace |= {"vace_layers": tuple(places), "vace_in_dim": 96}
    return dit, vace, on_meta(WanModel, **dit) | on_meta(VaceWanModel, **vace)


@pytest.mark.parametrize(
    ("sizes", "places", "keys"), [(WAN_1_3B, range(0, 30, 2), 1264), (WAN_14B, range(0, 40, 5), 1331)]
)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_real_transformers_in_wan_s_layout(sizes, places, keys, prefix):
    dit, vace, shapes = wan_shapes(sizes, places)
    assert len(shapes) == keys
    found = contents({prefix + key: shape for key, shape in shapes.items()}, "transformer")
    assert found.shapes == shapes
    assert found.names == {key: prefix + key for key in shapes}
    read = transformer_sizes(found)
    assert read["dit"] | {"patch_size": tuple(read["dit"]["patch_size"])} == dit
    assert read["vace"] == vace


@pytest.mark.parametrize(
    ("sizes", "places", "keys"), [(WAN_1_3B, range(0, 30, 2), 1264), (WAN_14B, range(0, 40, 5), 1331)]
)
def test_the_real_transformers_in_diffusers_layout(sizes, places, keys):
    from diffusers import WanVACETransformer3DModel

    theirs = on_meta(
        WanVACETransformer3DModel,
        num_attention_heads=sizes["num_heads"],
        attention_head_dim=128,
        ffn_dim=sizes["ffn_dim"],
        num_layers=sizes["num_layers"],
        vace_layers=list(places),
    )
    found = contents(theirs, "transformer")
    assert len(theirs) == keys
    assert found.layout == "diffusers"
    assert found.shapes == wan_shapes(sizes, places)[2]
    assert sorted(found.names.values()) == sorted(theirs)


def test_two_tensors_for_one_place_are_noticed(tmp_path):
    net = other_layouts.randomise(other_layouts.diffusers_transformer())
    net.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["blocks.0.norm3.weight"] = tensors["blocks.0.norm2.weight"].clone()  # Wan's name of diffusers' norm2
    save_file(tensors, path)
    with pytest.raises(ModelFileError, match="first: another blocks"):
        load(load_transformer, path)


def test_the_real_text_encoder_in_hugging_face_s_layout():
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(vocab_size=256384, d_model=4096, d_kv=64, num_heads=64, d_ff=10240, num_layers=24)
    theirs = on_meta(UMT5EncoderModel, config)
    found = contents(theirs, "text_encoder")
    assert len(found.shapes) == 242
    assert found.shapes == on_meta(WanTextEncoder)
    # The embedding has two names there, and one here.
    assert sorted(theirs.keys() - set(found.names.values())) == ["encoder.embed_tokens.weight"]
    # Either name alone will do, and the decoder of a whole T5 plays no part.
    del theirs["shared.weight"]
    theirs["decoder.block.0.layer.0.SelfAttention.q.weight"] = theirs["lm_head.weight"] = (4096, 4096)
    assert contents(theirs, "text_encoder").shapes == found.shapes


def test_the_real_vae_in_diffusers_layout():
    from diffsynth.models.wan_video_vae import VideoVAE_
    from diffusers import AutoencoderKLWan

    theirs = on_meta(AutoencoderKLWan)
    found = contents(theirs, "vae")
    assert len(theirs) == 194
    assert found.shapes == on_meta(VideoVAE_, dim=96, z_dim=16)
    assert sorted(found.names.values()) == sorted(theirs)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_vae_with_more_or_fewer_residual_blocks(blocks):
    from diffsynth.models.wan_video_vae import VideoVAE_
    from diffusers import AutoencoderKLWan

    found = contents(on_meta(AutoencoderKLWan, base_dim=8, num_res_blocks=blocks), "vae")
    assert found.shapes == on_meta(VideoVAE_, dim=8, z_dim=16, num_res_blocks=blocks)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return other_layouts.write_diffusers(tmp_path_factory.mktemp("diffusers"))


def load(kind, path):
    return kind(str(path), device="cpu", dtype=torch.float32)


def close(ours, theirs):
    """The relative difference, over the whole tensor."""
    return ((ours - theirs).norm() / theirs.norm()).item() < 1e-5


def test_the_transformer_computes_what_diffusers_computes(theirs):
    from s2v_core.wan import transformer

    dit, vace = load(load_transformer, theirs.folder)
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn((1, 16, 3, 6, 8), generator=generator)
    control = torch.randn((1, 96, 3, 6, 8), generator=generator)
    text = torch.randn((1, 20, other_layouts.TEXT_DIM), generator=generator)
    time = torch.tensor([417.0])
    with torch.no_grad():
        constants = transformer.prepare(dit, vace, {"positive": text}, control, tuple(latents.shape))
        for strength in (1.0, 0.4):
            ours = transformer.predict(dit, vace, constants, "positive", latents, time, strength)
            scales = torch.full((len(other_layouts.VACE_LAYERS),), strength)
            (wanted,) = theirs.transformer(
                latents,
                time,
                text,
                control_hidden_states=control,
                control_hidden_states_scale=scales,
                return_dict=False,
            )
            assert close(ours, wanted)


def test_the_text_encoder_computes_what_hugging_face_computes(theirs):
    encoder = load(load_text_encoder, theirs.folder)
    ids = torch.randint(3, other_layouts.VOCAB, (1, 40), generator=torch.Generator().manual_seed(6))
    mask = torch.ones_like(ids)
    mask[:, 30:] = 0
    with torch.no_grad():
        wanted = theirs.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        assert close(encoder(ids, mask)[:, :30], wanted[:, :30])


def test_the_vae_computes_what_diffusers_computes(theirs):
    vae = load(load_vae, theirs.folder)
    video = torch.rand((1, 3, 9, 32, 48), generator=torch.Generator().manual_seed(7)) * 2 - 1
    mean = torch.tensor(theirs.vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(theirs.vae.config.latents_std).view(1, -1, 1, 1, 1)
    with torch.no_grad():
        raw = theirs.vae.encode(video).latent_dist.mode()
        assert close(vae.encode(video, device="cpu"), (raw - mean) / std)
        assert close(vae.decode((raw - mean) / std, device="cpu"), theirs.vae.decode(raw).sample)


def test_the_config_beside_the_weights_says_what_shapes_cannot(theirs):
    found = transformer_sizes(inspect_file(theirs.folder / "transformer", "transformer"))
    assert found["dit"]["num_heads"] == other_layouts.HEADS
    assert found["vace"]["vace_layers"] == tuple(other_layouts.VACE_LAYERS)

"""A tiny Wan-VACE in the layouts of others, written by their own classes."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

HEADS, HEAD_SIZE, LAYERS, VACE_LAYERS = 4, 12, 4, [0, 2]
TEXT_DIM, VOCAB = 32, 96  # the tokenizer below has about 80 tokens
SENTENCES = (
    "a man is dancing on a stage in a studio",
    "the woman dances ballet, full body, street light",
    "hip hop house krump lock middle pop waack jazz",
    'A person dancing - slowly; "quoted" text, naive cafe',
    "background is static, low quality, blurry",
    "舞蹈 一个人 在 跳舞 灯光",
    "é ï … — ½ fi",
)


@dataclass(frozen=True)
class Theirs:
    """The folder of a model, and the nets that wrote it."""

    folder: Path
    transformer: torch.nn.Module
    text_encoder: torch.nn.Module
    vae: torch.nn.Module


def metadata_of(path):
    """The metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def randomise(net, seed=0):
    """Weights at the scale that keeps signals of size 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim >= 2 and not name.endswith("gamma"):
                value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
            else:
                base = 1.0 if name.endswith("gamma") or ("norm" in name and name.endswith("weight")) else 0.0
                value.copy_(base + 0.1 * torch.randn(value.shape, generator=generator))
    return net.eval()


def diffusers_transformer(**changes):
    from diffusers import WanVACETransformer3DModel

    sizes = {
        "num_attention_heads": HEADS,
        "attention_head_dim": HEAD_SIZE,
        "text_dim": TEXT_DIM,
        "freq_dim": 32,
        "ffn_dim": 96,
        "num_layers": LAYERS,
        "vace_layers": VACE_LAYERS,
    }
    return WanVACETransformer3DModel(**sizes | changes)


def hugging_face_umt5(**changes):
    from transformers import UMT5Config, UMT5EncoderModel

    sizes = {"vocab_size": VOCAB, "d_model": TEXT_DIM, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 2}
    return UMT5EncoderModel(UMT5Config(**sizes | changes, feed_forward_proj="gated-gelu"))


def write_diffusers(folder, shard="10GB"):
    """The folder of a whole model as diffusers writes it. ``shard``: the largest size of one file."""
    from diffusers import AutoencoderKLWan

    transformer = randomise(diffusers_transformer(), 1)
    text_encoder = randomise(hugging_face_umt5(), 2)
    vae = randomise(AutoencoderKLWan(base_dim=4, z_dim=16, num_res_blocks=1), 3)
    transformer.save_pretrained(folder / "transformer", max_shard_size=shard)
    vae.save_pretrained(folder / "vae")
    text_encoder.save_pretrained(folder / "text_encoder", max_shard_size=shard)
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(sentencepiece_model())
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanVACEPipeline"}))
    return Theirs(folder, transformer, text_encoder, vae)


def sentencepiece_model(**options):
    """The bytes of a small sentencepiece model with T5's special tokens, trained on a few sentences."""
    import sentencepiece

    kinds = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} | options
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_writer=written,
        vocab_size=450,
        model_type="unigram",
        hard_vocab_limit=False,
        minloglevel=2,
        **kinds,
    )
    return written.getvalue()


def quantise(tensors, *, names, form="scale_weight", by="tensor", kind=torch.float8_e4m3fn):
    """Weights in 8 bits with scales, as ComfyUI writes them. ``names``: which are quantised.

    ``form``: "scale_weight" with the mark ``scaled_fp8`` (until 0.4), "weight_scale" with ``comfy_quant`` (since), or
    "none" for a plain cast. ``by``: one scale a "tensor", or one a "row".
    """
    made = {}
    for key, value in tensors.items():
        if not names(key):
            made[key] = value
            continue
        largest = value.abs().amax() if by == "tensor" else value.abs().amax(dim=1)
        scale = largest / torch.finfo(kind).max if form != "none" else torch.ones(())
        made[key] = (value / (scale if by == "tensor" else scale[:, None])).to(kind)
        layer = key.removesuffix(".weight")
        if form == "scale_weight":
            made[f"{layer}.scale_weight"] = scale
            made[f"{layer}.scale_input"] = torch.ones(())
        elif form == "weight_scale":
            made[f"{layer}.weight_scale"] = scale
            quant = json.dumps({"format": str(kind).removeprefix("torch.")}).encode()
            made[f"{layer}.comfy_quant"] = torch.tensor(list(quant), dtype=torch.uint8)
    if form == "scale_weight":
        made["scaled_fp8"] = torch.empty(0, dtype=kind)
    return made


def write_comfyui_umt5(path, net, spiece=None, **options):
    """ComfyUI's file of a umT5: Hugging Face's names, the tokenizer inside, 8 bits with ``form`` among the options."""
    tensors = {key: value.detach().clone() for key, value in net.state_dict().items()}
    del tensors["encoder.embed_tokens.weight"]
    if options:
        tensors = quantise(
            tensors, names=lambda key: ".layer." in key and "norm" not in key and "bias" not in key, **options
        )
    tensors["spiece_model"] = torch.tensor(list(spiece or sentencepiece_model()), dtype=torch.uint8)
    save_file({key: value.contiguous() for key, value in tensors.items()}, str(path), {"format": "pt"})
    return str(path)

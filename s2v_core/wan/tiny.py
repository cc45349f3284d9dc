"""A tiny Wan-VACE with random weights: DiffSynth's true classes, files in Wan's own layout, about 2 MB.

It goes through the same loader, sampler and decoder as the real model, so that the whole way can be shown and tested
on any machine. Its pictures are noise: nothing was trained.
"""

from __future__ import annotations

import json
import os
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_folder, atomic_path
from .contents import inspect_file
from .engine import ModelFiles, keep_off_the_network
from .sizes import METADATA_KEY

if TYPE_CHECKING:
    import torch

TRANSFORMER = "diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16.safetensors"
VAE = "Wan2.1_VAE.safetensors"
TOKENIZER = "google/umt5-xxl"

_VACE_LAYERS = (0, 2)
# The head size 12 is the smallest that rotary embedding over three axes allows besides 6.
_DIT: dict[str, Any] = {
    "has_image_input": False,
    "patch_size": (1, 2, 2),
    "in_dim": 16,
    "dim": 48,
    "ffn_dim": 96,
    "freq_dim": 32,
    "text_dim": 32,
    "out_dim": 16,
    "num_heads": 4,
    "num_layers": 4,
    "eps": 1e-6,
}
_WORDS = """
a and are as at background ballet beats blurry body break camera clothes dance dancer dances dancing detailed
face feet fixed front full hands hip hop house in is jazz krump light lock low man middle minute motion moving
music of on one person pop quality sharp smooth stage static street studio the to two view visible waack white
with woman
"""


def build_tiny(folder: str | os.PathLike[str], seed: int = 0) -> ModelFiles:
    """Write the tiny model into ``folder``, unless it is there. The same seed gives the same bytes."""
    root = Path(folder)
    if not root.exists():
        with atomic_folder(root) as temporary:
            _write(temporary, seed)
    return tiny_files(root)


def tiny_files(folder: str | os.PathLike[str]) -> ModelFiles:
    """Where ``build_tiny`` puts the files."""
    root = Path(folder)
    return ModelFiles(str(root / TRANSFORMER), str(root / VAE), str(root / TEXT_ENCODER), str(root / TOKENIZER))


def build_tiny_lora(
    files: ModelFiles, path: str | os.PathLike[str], rank: int = 4, seed: int = 0, size: float = 1.0
) -> Path:
    """Write a random LoRA on the self-attention and ffn of a tiny model's transformer, in DiffSynth's key style.

    ``size``: how large its change is, relative to the layers' own weights.
    """
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in sorted(inspect_file(files.transformer).shapes.items()):
        if key.startswith("blocks.") and key.endswith(
            ("attn.q.weight", "attn.v.weight", "ffn.0.weight", "ffn.2.weight")
        ):
            name = key.removesuffix(".weight")
            a = torch.randn((rank, shape[1]), generator=generator) / shape[1] ** 0.5
            b = torch.randn((shape[0], rank), generator=generator) * size / rank**0.5
            tensors[f"{name}.lora_A.default.weight"] = a
            tensors[f"{name}.lora_B.default.weight"] = b
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary))
    return Path(path)


def _write(root: Path, seed: int) -> None:
    keep_off_the_network()
    import torch
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder
    from diffsynth.models.wan_video_vace import VaceWanModel
    from diffsynth.models.wan_video_vae import VideoVAE_
    from safetensors.torch import save_file

    with torch.inference_mode(False):
        shared = {key: _DIT[key] for key in ("has_image_input", "patch_size", "dim", "num_heads", "ffn_dim", "eps")}
        dit = _randomise(WanModel(**_DIT), seed)
        vace = _randomise(VaceWanModel(vace_layers=_VACE_LAYERS, vace_in_dim=96, **shared), seed + 1)
        text_encoder = _randomise(
            WanTextEncoder(
                vocab=512,
                dim=_DIT["text_dim"],
                dim_attn=32,
                dim_ffn=64,
                num_heads=4,
                num_layers=2,
                num_buckets=32,
                shared_pos=False,
            ),
            seed + 2,
        )
        vae = _randomise(VideoVAE_(dim=4, z_dim=16, num_res_blocks=1), seed + 3)
    # One entry only: the order of several would differ from file to file.
    metadata = {METADATA_KEY: json.dumps({"num_heads": _DIT["num_heads"], "vace_layers": _VACE_LAYERS})}
    save_file({**dit, **vace}, str(root / TRANSFORMER), metadata)
    save_file(text_encoder, str(root / TEXT_ENCODER))
    save_file(vae, str(root / VAE))
    _write_tokenizer(root / TOKENIZER)


def _randomise(net: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Weights at the scale that keeps signals of size 1, whatever the class's own initialisation was."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, value in sorted(net.state_dict().items()):
        if value.ndim >= 2 and not key.endswith("gamma"):
            made = torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
        elif key.endswith("bias"):
            made = torch.randn(value.shape, generator=generator) * 0.02
        else:
            made = torch.ones(value.shape)
        # The decoder's last layer is kept small, so that the noise it paints does not end in plain black and white.
        tensors[key] = (made * 0.3 if key == "decoder.head.2.weight" else made).contiguous()
    return tensors


def _write_tokenizer(folder: Path) -> None:
    """A small tokenizer of umT5's kind (Unigram, ``</s>`` at the end): fixed words, then single characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -4.0)]
    pieces += [(f"▁{word}", -6.0) for word in _WORDS.split()]
    pieces += [(letter, -9.0) for letter in string.printable.strip()]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)

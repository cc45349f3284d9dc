"""The nano Wan-VACE: DiffSynth's own classes at a small width, and their files in Wan's layout.

Sizes and files only; what the weights are is a matter of training. What ``save_nets`` writes is read by the loader
that reads the 1.3B (``wan.checkpoints``).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import SettingsError
from ..wan.engine import ModelFiles, keep_off_the_network
from ..wan.sizes import METADATA_KEY
from ..wan.tiny import tiny_files

_PATCH = (1, 2, 2)
_EPS = 1e-6
_VACE_CHANNELS = 96  # 2 x 16 latent channels and 8 x 8 mask values, as in Wan2.1-VACE


@dataclass(frozen=True)
class NanoSizes:
    """How wide and deep the nano nets are. Raises SettingsError for sizes that do not fit each other.

    The defaults make weights of less than 12 MB in 16 bits. ``vocab``: pieces of the tokenizer. Encoder and decoder of
    the VAE have widths of their own; their blocks are DiffSynth's argument, and a decoder has one more in each level.
    Latent channels are Wan's 16.
    """

    dim: int = 160
    heads: int = 5
    layers: int = 6
    vace_layers: tuple[int, ...] = (0, 2, 4)
    ffn: int = 448
    freq: int = 64
    vocab: int = 512
    text_dim: int = 96
    text_ffn: int = 192
    text_heads: int = 4
    text_layers: int = 2
    encoder_dim: int = 16
    encoder_blocks: int = 1
    decoder_dim: int = 16
    decoder_blocks: int = 0
    latent: int = 16

    def __post_init__(self) -> None:
        places = self.vace_layers
        fits = {
            "heads that divide dim into even parts": self.dim % self.heads == 0 and self.dim // self.heads % 2 == 0,
            "text_heads that divide text_dim": self.text_dim % self.text_heads == 0,
            "an even freq": self.freq % 2 == 0,
            "rising vace_layers from 0 below layers": bool(places)
            and places[0] == 0
            and list(places) == sorted(set(places))
            and places[-1] < self.layers,
        }
        if wrong := [what for what, right in fits.items() if not right]:
            raise SettingsError("These nets cannot be built.", expected="; ".join(wrong), got=str(asdict(self)))


@dataclass(eq=False)
class Nets:
    """DiffSynth's ``WanModel``, ``VaceWanModel``, ``WanTextEncoder`` and ``WanVideoVAE``, on the CPU in float32."""

    dit: Any
    vace: Any
    text_encoder: Any
    vae: Any
    sizes: NanoSizes

    def parameters(self) -> dict[str, int]:
        """How many parameters each net has."""
        parts = {"dit": self.dit, "vace": self.vace, "text_encoder": self.text_encoder, "vae": self.vae}
        return {name: sum(value.numel() for value in net.parameters()) for name, net in parts.items()}


def build_nets(sizes: NanoSizes | None = None, seed: int = 0) -> Nets:
    """The nets with the starting weights of a training: each class's own, drawn from ``seed``.

    Two are set differently, so that a training begins at rest: the transformer's head and every VACE block's
    ``after_proj`` are zero. The global random state is as before.
    """
    keep_off_the_network()
    import torch
    from diffsynth.core.vram.initialization import skip_model_initialization
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder
    from diffsynth.models.wan_video_vace import VaceWanModel
    from diffsynth.models.wan_video_vae import WanVideoVAE

    made = sizes or NanoSizes()
    shared: dict[str, Any] = {
        "has_image_input": False,
        "patch_size": _PATCH,
        "dim": made.dim,
        "num_heads": made.heads,
        "ffn_dim": made.ffn,
        "eps": _EPS,
    }
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dit = WanModel(
            in_dim=made.latent,
            out_dim=made.latent,
            freq_dim=made.freq,
            text_dim=made.text_dim,
            num_layers=made.layers,
            **shared,
        )
        vace = VaceWanModel(vace_layers=made.vace_layers, vace_in_dim=_VACE_CHANNELS, **shared)
        text_encoder = WanTextEncoder(
            vocab=made.vocab,
            dim=made.text_dim,
            dim_attn=made.text_dim,
            dim_ffn=made.text_ffn,
            num_heads=made.text_heads,
            num_layers=made.text_layers,
            num_buckets=32,
            shared_pos=False,
        )
        with skip_model_initialization():  # the class builds the 127M net first
            vae = WanVideoVAE(z_dim=made.latent)
        vae.model = _narrow_vae(made)
        _rest(dit.head.head)
        for block in vace.vace_blocks:
            _rest(block.after_proj)
    return Nets(dit, vace, text_encoder, vae, made)


def save_nets(nets: Nets, folder: str | os.PathLike[str], *, dtype: str = "bfloat16") -> ModelFiles:
    """Write the weights in Wan's own layout and file names, as ``dtype``, and say where they are.

    The tokenizer is not written here (``words.write_tokenizer``); its place in ``folder`` is in the result.
    """
    import torch
    from safetensors.torch import save_file

    from ..files import atomic_path

    kind = getattr(torch, dtype)
    files = tiny_files(folder)
    # One entry only: the order of several would differ from file to file.
    declared = {"num_heads": nets.sizes.heads, "vace_layers": nets.sizes.vace_layers}
    metadata = {METADATA_KEY: json.dumps(declared)}
    tables = {
        files.transformer: (nets.dit.state_dict() | nets.vace.state_dict(), metadata),
        files.text_encoder: (nets.text_encoder.state_dict(), None),
        files.vae: (nets.vae.model.state_dict(), None),
    }
    for path, (tensors, header) in tables.items():
        cast = {key: value.detach().to("cpu", kind).contiguous() for key, value in sorted(tensors.items())}
        with atomic_path(path) as temporary:
            save_file(cast, str(temporary), header)
    return files


def _narrow_vae(sizes: NanoSizes) -> Any:
    """A ``VideoVAE_`` whose encoder and decoder have the widths and blocks of ``sizes``."""
    from diffsynth.models.wan_video_vae import Decoder3d, Encoder3d, VideoVAE_

    net = VideoVAE_(dim=sizes.decoder_dim, z_dim=sizes.latent, num_res_blocks=0)
    for name, made in (
        ("encoder", Encoder3d(
            sizes.encoder_dim, sizes.latent * 2, net.dim_mult, sizes.encoder_blocks, net.attn_scales,
            net.temperal_downsample, 0.0,
        )),
        ("decoder", Decoder3d(
            sizes.decoder_dim, sizes.latent, net.dim_mult, sizes.decoder_blocks, net.attn_scales,
            net.temperal_upsample, 0.0,
        )),
    ):  # fmt: skip
        setattr(net, name, made)
    net.clear_cache()  # counts the convolutions
    return net


def _rest(layer: Any) -> None:
    import torch

    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)

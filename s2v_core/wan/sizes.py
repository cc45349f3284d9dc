"""How large a net is, read from the shapes of its tensors.

Only two numbers cannot be seen in the shapes: the number of attention heads (Wan's head size is 128) and an uneven
placement of the VACE blocks. The config.json that a library wrote beside the weights says them, and so can the
metadata of a safetensors file, as JSON under ``wan_vace``: ``{"num_heads": 4, "vace_layers": [0, 2, 4, 5]}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ModelFileError

if TYPE_CHECKING:
    from .contents import FileContents

METADATA_KEY = "wan_vace"
_HEAD_SIZE = 128  # Wan 2.1, all sizes (Wan-Video/Wan2.1, wan/configs)
_MISFITS = (KeyError, IndexError, ValueError, TypeError, ArithmeticError)  # what reading shapes of another net raises


def transformer_sizes(contents: FileContents) -> dict[str, dict[str, Any]]:
    """Arguments of ``WanModel`` ("dit") and ``VaceWanModel`` ("vace"), read from the shapes."""
    shapes = contents.shapes
    try:
        dim, in_dim, *patch = shapes["patch_embedding.weight"]
        layers = _count(shapes, "blocks")
        ffn_dim = shapes["blocks.0.ffn.0.weight"][0]
        num_heads = _heads(contents, dim)
        vace_blocks = _count(shapes, "vace_blocks")
        dit = {
            "has_image_input": False,
            "patch_size": patch,
            "in_dim": in_dim,
            "dim": dim,
            "ffn_dim": ffn_dim,
            "freq_dim": shapes["time_embedding.0.weight"][1],
            "text_dim": shapes["text_embedding.0.weight"][1],
            "out_dim": shapes["head.head.weight"][0] // math.prod(patch),
            "num_heads": num_heads,
            "num_layers": layers,
            "eps": 1e-6,
        }
        vace = {
            "vace_layers": _vace_layers(contents, vace_blocks, layers),
            "vace_in_dim": shapes["vace_patch_embedding.weight"][1],
            "patch_size": tuple(patch),
            "has_image_input": False,
            "dim": dim,
            "num_heads": num_heads,
            "ffn_dim": shapes["vace_blocks.0.ffn.0.weight"][0],
            "eps": 1e-6,
        }
    except _MISFITS as error:
        raise _odd_shapes(contents, "a Wan-VACE transformer", error) from error
    return {"dit": dit, "vace": vace}


def text_encoder_sizes(contents: FileContents) -> dict[str, Any]:
    """Arguments of ``WanTextEncoder``, read from the shapes."""
    shapes = contents.shapes
    try:
        vocab, dim = shapes["token_embedding.weight"]
        shared = "pos_embedding.embedding.weight" in shapes
        bias = "pos_embedding.embedding.weight" if shared else "blocks.0.pos_embedding.embedding.weight"
        return {
            "vocab": vocab,
            "dim": dim,
            "dim_attn": shapes["blocks.0.attn.q.weight"][0],
            "dim_ffn": shapes["blocks.0.ffn.fc1.weight"][0],
            "num_heads": shapes[bias][1],
            "num_layers": _count(shapes, "blocks"),
            "num_buckets": shapes[bias][0],
            "shared_pos": shared,
        }
    except _MISFITS as error:
        raise _odd_shapes(contents, "a umT5 text encoder", error) from error


def vae_sizes(contents: FileContents) -> dict[str, int]:
    """Widths, latent channels and residual blocks a level of a Wan VAE, read from the shapes."""
    shapes = contents.shapes
    try:
        return {
            "z_dim": shapes["conv2.weight"][0],
            "encoder_dim": shapes["encoder.conv1.weight"][0],
            "decoder_dim": shapes["decoder.head.0.gamma"][0],
            "encoder_blocks": _residual_run(shapes, "encoder.downsamples"),
            "decoder_blocks": _residual_run(shapes, "decoder.upsamples"),
        }
    except _MISFITS as error:
        raise _odd_shapes(contents, "a Wan VAE", error) from error


def _residual_run(shapes: Mapping[str, tuple[int, ...]], stem: str) -> int:
    """How many residual blocks stand before the first change of resolution."""
    count = 0
    while f"{stem}.{count}.residual.0.gamma" in shapes:
        count += 1
    if not count:
        raise KeyError(f"{stem}.0.residual.0.gamma")
    return count


def _declared(contents: FileContents) -> dict[str, Any]:
    """The two numbers where a file or the config beside it says them, else None for each."""
    if METADATA_KEY in contents.metadata:
        declared = json.loads(contents.metadata[METADATA_KEY])
        if not isinstance(declared, dict):
            raise ValueError(f"the metadata {METADATA_KEY} is not a JSON object")
        return declared
    config = contents.config
    # Wan-Video's own name, and diffusers'.
    heads = config.get("num_heads", config.get("num_attention_heads"))
    return {"num_heads": heads, "vace_layers": config.get("vace_layers")}


def _heads(contents: FileContents, dim: int) -> int:
    given = _declared(contents).get("num_heads")
    heads = int(given) if given else dim // _HEAD_SIZE
    if heads < 1 or dim % heads or (not given and dim % _HEAD_SIZE):
        raise ValueError(
            f"a width of {dim} with {f'{heads} heads' if given else 'no num_heads in the metadata or config.json'}"
            f" (Wan's heads are {_HEAD_SIZE} wide)"
        )
    return heads


def _vace_layers(contents: FileContents, blocks: int, layers: int) -> tuple[int, ...]:
    """Which transformer block each VACE block feeds: as it is declared, or evenly spread as in Wan2.1-VACE."""
    given = _declared(contents).get("vace_layers")
    places = tuple(map(int, given)) if given else tuple(range(0, layers, layers // blocks))
    if len(places) != blocks or places[0] != 0 or sorted(set(places)) != list(places) or places[-1] >= layers:
        raise ValueError(f"{blocks} VACE blocks at {places} of {layers} transformer blocks")
    return places


def _count(shapes: Mapping[str, tuple[int, ...]], stem: str) -> int:
    numbers = {key.split(".")[1] for key in shapes if key.startswith(f"{stem}.")}
    if not numbers:
        raise KeyError(f"{stem}.0")
    return len(numbers)


def _odd_shapes(contents: FileContents, wanted: str, error: Exception) -> ModelFileError:
    reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error)
    return ModelFileError(
        f"The sizes of {wanted} cannot be read from {contents.path}.",
        expected=f"the keys and shapes of {wanted}",
        got=f"{contents.describe()}; {reason}",
        remedy="Use the original checkpoint, with the config.json that came beside it.",
    )

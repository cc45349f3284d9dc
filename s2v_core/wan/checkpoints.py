"""Model files: what a file holds, how large its net is, and DiffSynth's own classes filled with it.

Nothing is recognised by a hash or by a file's name: which parts a file holds, and the sizes of each net, are read
from its keys and shapes. So the 1.3B, the 14B and a net of a few kilobytes go the same way. Only two numbers cannot
be seen in the shapes: the number of attention heads (Wan's head size is 128) and an uneven placement of the VACE
blocks; a safetensors file can carry them in its metadata, as JSON under ``wan_vace``:
``{"num_heads": 4, "vace_layers": [0, 2, 4, 5]}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelFileError

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]

# A key that only this part has, and what to call the part in a sentence.
PARTS = {
    "dit": ("blocks.0.self_attn.q.weight", "a Wan transformer"),
    "vace": ("vace_blocks.0.before_proj.weight", "VACE blocks"),
    "text_encoder": ("token_embedding.weight", "a umT5 text encoder"),
    "vae": ("decoder.upsamples.0.residual.0.gamma", "a Wan VAE"),
}
_FOREIGN = {
    "encoder.block.0.layer.0.SelfAttention.q.weight": "a umT5 text encoder in the Hugging Face or ComfyUI layout",
    "condition_embedder.time_embedder.linear_1.weight": "a Wan transformer in the diffusers layout",
    "decoder.mid_block.resnets.0.conv1.weight": "a Wan VAE in the diffusers layout",
    "cond_stage_model.transformer.text_model.embeddings.position_ids": "a Stable Diffusion checkpoint",
}
_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.")
METADATA_KEY = "wan_vace"
_HEAD_SIZE = 128  # Wan 2.1, all sizes (Wan-Video/Wan2.1, wan/configs)


@dataclass(frozen=True)
class FileContents:
    """What a model file holds: its parts, the shapes of its tensors (without a common prefix) and its metadata."""

    path: str
    parts: tuple[str, ...]
    shapes: Shapes = field(repr=False)
    prefix: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)

    def describe(self) -> str:
        """The contents in a few words, for messages."""
        if self.parts:
            return " and ".join(PARTS[part][1] for part in self.parts)
        for key, name in _FOREIGN.items():
            if key in self.shapes:
                return name
        if any(".lora_" in key or key.endswith(".alpha") for key in self.shapes):
            return "a LoRA"
        sample = next(iter(self.shapes), "nothing")
        return f"{len(self.shapes)} tensors of an unknown model (for example {sample})"


def inspect_file(path: str | os.PathLike[str]) -> FileContents:
    """Read a model file's table of contents, without its weights.

    Raises ``ModelFileError`` when the file is missing, cut short, not a model file, or a pickle with anything but
    tensors in it.
    """
    path = os.fspath(path)
    if Path(path).suffix == ".safetensors":
        raw, metadata = _read_safetensors_table(path)
    else:
        raw = {key: tuple(value.shape) for key, value in _read_pickle(path, device="meta").items()}
        metadata = {}
    prefix = next((p for p in _PREFIXES if any(p + key in raw for key, _ in PARTS.values())), "")
    shapes = {key.removeprefix(prefix): shape for key, shape in raw.items()}
    parts = tuple(part for part, (key, _) in PARTS.items() if key in shapes)
    return FileContents(path, parts, shapes, prefix, metadata)


def load_transformer(path: str, *, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """DiffSynth's ``WanModel`` and ``VaceWanModel`` out of one file, as ``dtype`` on ``device``.

    Raises ``ModelFileError`` when the file lacks one of them or its shapes are not those of a Wan-VACE net.
    """
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel

    contents = _require(path, "dit", "vace")
    sizes = transformer_sizes(contents)
    tensors = _read_tensors(contents, device, dtype)
    vace_tensors = {key: tensors.pop(key) for key in list(tensors) if key.startswith("vace_")}
    dit = _build(WanModel, sizes["dit"], tensors, contents)
    vace = _build(VaceWanModel, sizes["vace"], vace_tensors, contents)
    return dit, vace


def load_text_encoder(path: str, *, device: str, dtype: torch.dtype) -> Any:
    """DiffSynth's ``WanTextEncoder`` (umT5) out of a file in Wan's own layout."""
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder

    contents = _require(path, "text_encoder")
    return _build(WanTextEncoder, text_encoder_sizes(contents), _read_tensors(contents, device, dtype), contents)


def load_vae(path: str, *, device: str, dtype: torch.dtype) -> Any:
    """DiffSynth's ``WanVideoVAE`` out of a file in Wan's own layout, at the width that the file has."""
    from diffsynth.core.vram.initialization import skip_model_initialization
    from diffsynth.models.wan_video_vae import Decoder3d, Encoder3d, WanVideoVAE

    contents = _require(path, "vae")
    sizes = vae_sizes(contents)
    with skip_model_initialization():
        vae = WanVideoVAE(z_dim=sizes["z_dim"])
        net, z_dim = vae.model, sizes["z_dim"]
        # The class fixes the width of the 127M net; encoder and decoder of another width come from the same classes.
        net.encoder = Encoder3d(
            sizes["encoder_dim"],
            z_dim * 2,
            net.dim_mult,
            sizes["encoder_blocks"],
            net.attn_scales,
            net.temperal_downsample,
            0.0,
        )
        net.decoder = Decoder3d(
            sizes["decoder_dim"],
            z_dim,
            net.dim_mult,
            sizes["decoder_blocks"] - 1,
            net.attn_scales,
            net.temperal_upsample,
            0.0,
        )
    _fill(net, _read_tensors(contents, device, dtype), contents)
    return vae.eval().requires_grad_(False)


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
            "out_dim": shapes["head.head.weight"][0] // _product(patch),
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
    except (KeyError, IndexError, ValueError) as error:
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
    except (KeyError, IndexError, ValueError) as error:
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
    except (KeyError, IndexError, ValueError) as error:
        raise _odd_shapes(contents, "a Wan VAE", error) from error


def _residual_run(shapes: Shapes, stem: str) -> int:
    """How many residual blocks stand before the first change of resolution."""
    count = 0
    while f"{stem}.{count}.residual.0.gamma" in shapes:
        count += 1
    if not count:
        raise KeyError(f"{stem}.0.residual.0.gamma")
    return count


def _declared(contents: FileContents) -> dict[str, Any]:
    declared = json.loads(contents.metadata.get(METADATA_KEY, "{}"))
    if not isinstance(declared, dict):
        raise ValueError(f"the metadata {METADATA_KEY} is not a JSON object")
    return declared


def _heads(contents: FileContents, dim: int) -> int:
    given = _declared(contents).get("num_heads")
    heads = int(given) if given else dim // _HEAD_SIZE
    if heads < 1 or dim % heads or (not given and dim % _HEAD_SIZE):
        raise ValueError(
            f"a width of {dim} with {f'{heads} heads' if given else 'no num_heads in the metadata'}"
            f" (Wan's heads are {_HEAD_SIZE} wide)"
        )
    return heads


def _vace_layers(contents: FileContents, blocks: int, layers: int) -> tuple[int, ...]:
    """Which transformer block each VACE block feeds: given in the metadata, or evenly spread as in Wan2.1-VACE."""
    given = _declared(contents).get("vace_layers")
    places = tuple(given) if given else tuple(range(0, layers, layers // blocks))
    if len(places) != blocks or places[0] != 0 or sorted(set(places)) != list(places) or places[-1] >= layers:
        raise ValueError(f"{blocks} VACE blocks at {places} of {layers} transformer blocks")
    return places


def _count(shapes: Shapes, stem: str) -> int:
    return 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith(f"{stem}."))


def _product(numbers: Iterable[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def _require(path: str, *parts: str) -> FileContents:
    contents = inspect_file(path)
    if not set(parts) <= set(contents.parts):
        wanted = " and ".join(PARTS[part][1] for part in parts)
        raise ModelFileError(
            f"{path} is not the file that is needed here.",
            expected=f"{wanted} in Wan's own layout",
            got=contents.describe(),
            remedy="Choose the file for this place; `s2v doctor` lists the model files that were found.",
        )
    return contents


def _build(kind: type, sizes: Mapping[str, Any], tensors: dict[str, torch.Tensor], contents: FileContents) -> Any:
    from diffsynth.core.vram.initialization import skip_model_initialization

    with skip_model_initialization():
        net = kind(**sizes)
    _fill(net, tensors, contents)
    return net.eval().requires_grad_(False)


def _fill(net: Any, tensors: dict[str, torch.Tensor], contents: FileContents) -> None:
    """Put the tensors in place (no copy); every key must have one, with its shape."""
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    missing = sorted(set(wanted) - set(tensors))
    spare = sorted(set(tensors) - set(wanted))
    other = sorted(key for key in set(wanted) & set(tensors) if wanted[key] != tuple(tensors[key].shape))
    if missing or spare or other:
        found = []
        if missing:
            found.append(f"{len(missing)} tensors missing (first: {missing[0]})")
        if spare:
            found.append(f"{len(spare)} tensors without a place (first: {spare[0]})")
        if other:
            key = other[0]
            found.append(f"{len(other)} of another shape (first: {key}, {list(tensors[key].shape)} not {wanted[key]})")
        raise ModelFileError(
            f"{contents.path} does not fit the net that its shapes describe.",
            expected=f"{len(wanted)} tensors of {type(net).__name__}",
            got="; ".join(found),
            remedy="Download the file again, or use the checkpoint of the model that this place is for.",
        )
    net.load_state_dict(tensors, strict=True, assign=True)


def _read_tensors(contents: FileContents, device: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    path, prefix = contents.path, contents.prefix
    if Path(path).suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt", device=device) as file:
            return {key.removeprefix(prefix): file.get_tensor(key).to(dtype) for key in file.keys()}  # noqa: SIM118
    tensors = _read_pickle(path, device="cpu")
    return {key.removeprefix(prefix): value.to(device=device, dtype=dtype) for key, value in tensors.items()}


def _read_safetensors_table(path: str) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    _check_there(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} cannot be read.",
            expected="a complete safetensors file",
            got=f"{Path(path).stat().st_size:,} bytes; {error}",
            remedy="The download is probably cut short or damaged: delete the file and get it again.",
        ) from error


def _read_pickle(path: str, device: str) -> dict[str, torch.Tensor]:
    import pickle

    import torch

    _check_there(path)
    try:
        found = torch.load(path, map_location=device, weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"{path} cannot be read.",
            expected="a .safetensors file, or a .pth file that holds tensors and nothing else",
            got=first_line,
            remedy="If the file comes from a source that you trust, get its safetensors version; otherwise delete it.",
        ) from error
    for wrapper in ("model_state", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelFileError(
            f"{path} is not a table of tensors.",
            expected="a dictionary from names to tensors",
            got=type(found).__name__,
            remedy="Choose the model's weights, not an optimiser or training state.",
        )
    return found


def _check_there(path: str) -> None:
    if not Path(path).is_file():
        raise ModelFileError(
            f"There is no model file {path}.",
            expected="a .safetensors or .pth file",
            got="a folder" if Path(path).is_dir() else "nothing",
            remedy="Check the path; `s2v doctor` lists the model files that were found.",
        )


def _odd_shapes(contents: FileContents, wanted: str, error: Exception) -> ModelFileError:
    reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error)
    return ModelFileError(
        f"The sizes of {wanted} cannot be read from {contents.path}.",
        expected=f"the keys and shapes of {wanted}",
        got=f"{contents.describe()}; {reason}",
        remedy="Use the original checkpoint, or add what is missing to the file's metadata.",
    )

"""One LoRA with every kind of change, on every layer of a tiny model, and the ways in which programs name its parts."""

import re

import torch
from safetensors.torch import save_file

from s2v_core.wan.checkpoints import inspect_file
from s2v_core.wan.lora_names import diffusers_name

RANK = 4
SIZE = 0.3  # of a change, relative to the layer's own weights


def low_rank(files, rank=RANK, seed=0, only=r"(vace_)?blocks\..*(_attn\.[qkvo]|ffn\.[02])"):
    """Random pairs for the matrices whose names match ``only``: {layer: {"A": [rank, in...], "B": [out, rank]}}."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for key, shape in sorted(inspect_file(files.transformer).shapes.items()):
        name = key.removesuffix(".weight")
        if key.endswith(".weight") and len(shape) >= 2 and re.fullmatch(only, name):
            inside = shape[1:]
            width = torch.Size(inside).numel()
            a = torch.randn((rank, *inside), generator=generator) / width**0.5
            b = torch.randn((shape[0], rank, *[1] * (len(inside) - 1)), generator=generator) * SIZE / rank**0.5
            made[name] = {"A": a, "B": b}
    return made


def whole(files, seed=1, only=r".*(norm3|norm_[qk]|modulation|head\.head|patch_embedding|time_projection\.1|_attn\.o)"):
    """Random whole changes: {layer: {"diff": weight's shape, "diff_b": bias's shape}}, attention only on biases."""
    generator = torch.Generator().manual_seed(seed)
    shapes = inspect_file(files.transformer).shapes
    made = {}
    for key, shape in sorted(shapes.items()):
        name, _, kind = key.rpartition(".")
        if kind == "modulation":
            name, kind = key, "weight"
        if not re.fullmatch(only, name) or (kind == "weight" and "_attn.o" in name):
            continue
        width = torch.Size(shape[1:]).numel() if len(shape) >= 2 and "modulation" not in key else 1
        role = "diff" if kind == "weight" else "diff_b"
        made.setdefault(name, {})[role] = torch.randn(shape, generator=generator) * SIZE / width**0.5
    return made


def everything(files, seed=0):
    """Low-rank changes of all matrices, and whole ones of all else."""
    made = low_rank(files, seed=seed, only=".*")
    for name, roles in whole(files, seed + 1, only=".*").items():
        roles = {role: tensor for role, tensor in roles.items() if role == "diff_b" or name not in made}
        if roles:
            made.setdefault(name, {}).update(roles)
    return made


def dense(roles, shape):
    """The whole change of a weight, in float64."""
    change = torch.zeros(shape, dtype=torch.float64)
    if "A" in roles:
        change += (roles["B"].double().flatten(1) @ roles["A"].double().flatten(1)).reshape(shape)
    if "diff" in roles:
        change += roles["diff"].double()
    return change


def _keys(name_of, endings):
    def style(lora):
        return {
            name_of(name) + endings[role]: tensor.clone().contiguous()
            for name, roles in lora.items()
            for role, tensor in roles.items()
        }

    return style


def _flat(prefix, name_of=lambda name: name):
    return lambda name: prefix + name_of(name).replace(".", "_")


def _with_alpha(style, name_of, alpha):
    """The same with ``alpha`` in each layer, and A as much larger as alpha makes it smaller."""

    def scaled(lora):
        grown = {
            name: {role: tensor * (RANK / alpha) if role == "A" else tensor for role, tensor in roles.items()}
            for name, roles in lora.items()
        }
        alphas = {f"{name_of(name)}.alpha": torch.tensor(alpha) for name, roles in lora.items() if "A" in roles}
        return style(grown) | alphas

    return scaled


_WHOLE = {"diff": ".diff", "diff_b": ".diff_b"}
_DEFAULT = {"A": ".lora_A.default.weight", "B": ".lora_B.default.weight"}
_PEFT = {"A": ".lora_A.weight", "B": ".lora_B.weight", "diff": ".diff", "diff_b": ".lora_B.bias"}
_DOWN_UP = {"A": ".lora_down.weight", "B": ".lora_up.weight", **_WHOLE}
_OLD = {"A": ".lora.down.weight", "B": ".lora.up.weight", **_WHOLE}


def _own(name):
    return name


# Styles that hold pairs of matrices.
STYLES = {
    "DiffSynth": _keys(_own, _DEFAULT),
    "DiffSynth with pipe prefixes": _keys(
        lambda n: ("pipe.vace." if n.startswith("vace_") else "pipe.dit.") + n, _PEFT
    ),
    "PEFT": _keys(lambda n: f"base_model.model.{n}", _PEFT),
    "PEFT in a transformer": _keys(lambda n: f"base_model.model.transformer.{n}", _PEFT),
    "transformer": _keys(lambda n: f"transformer.{n}", _PEFT),
    "diffusers": _keys(lambda n: f"transformer.{diffusers_name(n)}", _PEFT),
    "diffusers without prefix": _keys(diffusers_name, _PEFT),
    "old diffusers": _keys(lambda n: f"transformer.{diffusers_name(n)}", _OLD),
    "ComfyUI": _keys(lambda n: f"diffusion_model.{n}", _DOWN_UP),
    "ComfyUI with A and B": _keys(lambda n: f"diffusion_model.{n}", {**_PEFT, **_WHOLE}),
    "kohya": _with_alpha(_keys(_flat("lora_unet_"), _DOWN_UP), _flat("lora_unet_"), 4.0),
    "musubi": _with_alpha(_keys(_flat("lora_unet_"), _DOWN_UP), _flat("lora_unet_"), 1.0),
    "VideoX-Fun": _with_alpha(_keys(_flat("lora_unet__"), _DOWN_UP), _flat("lora_unet__"), 2.0),
    "kohya with diffusers' names": _keys(_flat("lora_transformer_", diffusers_name), _DOWN_UP),
    "LyCORIS": _with_alpha(_keys(_flat("lycoris_", diffusers_name), _DOWN_UP), _flat("lycoris_", diffusers_name), 8.0),
    "lightx2v": _with_alpha(_keys(lambda n: f"diffusion_model.{n}", _DOWN_UP), lambda n: f"diffusion_model.{n}", 8.0),
}


def _modulation_by_block(lora):
    """lightx2v's key for a block's modulation."""
    keys = _keys(lambda n: f"diffusion_model.{n}", _WHOLE)(lora)
    return {key.replace(".modulation.diff", ".diff_m"): value for key, value in keys.items()}


def _by_parameter(lora):
    """ComfyUI's generic form: the parameter itself and ``.diff``."""
    keys = _keys(lambda n: f"diffusion_model.{n}", _WHOLE)(lora)
    return {re.sub(r"\.diff_b$", ".bias.diff", key): value for key, value in keys.items()}


def _own_bias(lora):
    """PEFT's lora_bias, which only layers with a pair can have: for all others diff_b."""
    return _keys(lambda n: f"transformer.{diffusers_name(n)}", {**_WHOLE})(lora)


# Styles that hold whole changes.
WHOLE_STYLES = {
    "ComfyUI": _keys(lambda n: f"diffusion_model.{n}", _WHOLE),
    "plain": _keys(_own, _WHOLE),
    "lightx2v": _modulation_by_block,
    "by parameter": _by_parameter,
    "kohya": _keys(_flat("lora_unet_"), _WHOLE),
    "LyCORIS": _keys(_flat("lycoris_", diffusers_name), {"diff": ".w_norm", "diff_b": ".b_norm"}),
    "diffusers": _own_bias,
}


def write(path, tensors, metadata=None):
    save_file(tensors, path, metadata)
    return str(path)

"""LoRA files: what their tensors mean, whatever program wrote them.

A change of a layer is low-rank (A and B, scaled by alpha / rank), or whole (``diff`` for weights, ``diff_b`` for
biases, ``diff_m`` for a block's modulation, as lightx2v and ComfyUI's extraction write them), or both. Which layer of
which model a name stands for is another matter: see ``lora_names``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LoraError
from ..files import remembered_sha256

if TYPE_CHECKING:
    import torch

# How each role is written at the end of a key, and what it leaves to the layer's name.
_ROLES = (
    ("down", re.compile(r"\.lora_A(?:\.(?P<adapter>[^.]+))?\.weight$|\.lora_A$")),
    ("up", re.compile(r"\.lora_B(?:\.(?P<adapter>[^.]+))?\.weight$|\.lora_B$")),
    ("up_bias", re.compile(r"\.lora_B(?:\.(?P<adapter>[^.]+))?\.bias$|\.lora_up\.bias$")),
    ("down", re.compile(r"\.lora_down\.weight$|[._]lora\.down\.weight$|\.lora_linear_layer\.down\.weight$")),
    ("up", re.compile(r"\.lora_up\.weight$|[._]lora\.up\.weight$|\.lora_linear_layer\.up\.weight$")),
    ("alpha", re.compile(r"\.alpha$")),
    ("diff", re.compile(r"\.diff$|\.w_norm$")),
    ("diff_b", re.compile(r"\.diff_b$|\.b_norm$")),
    ("diff_m", re.compile(r"\.diff_m$")),
)
# Relatives of LoRA that change weights by another formula: named, so that nobody takes silence for success.
_RELATIVES = (
    ("DoRA", re.compile(r"\.dora_scale$|\.lora_magnitude_vector")),
    ("LoHa", re.compile(r"\.hada_(w1|w2|t1|t2)")),
    ("LoKr", re.compile(r"\.lokr_(w1|w2|t2)")),
    ("OFT or BOFT", re.compile(r"\.(oft|boft)_(blocks|diag|r|R|s)\b|\.oft_")),
    ("GLoRA", re.compile(r"\.(a1|a2|b1|b2)\.weight$")),
    ("Tucker LoCon", re.compile(r"\.lora_mid\.weight$")),
    ("VeRA", re.compile(r"vera_lambda_")),
    ("IA3", re.compile(r"\.ia3_l\b")),
    ("full fine-tuning (whole weights)", re.compile(r"\.(set_weight|reshape_weight)$|\.modules_to_save\.")),
)
_ADAPTER_FILE, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # PEFT's names
_ADAPTER_METADATA = "lora_adapter_metadata"  # diffusers' key in the safetensors header
_REMEDY = "Convert it to a plain LoRA with the program that made it, or choose another file."


@dataclass(frozen=True, eq=False)
class Change:
    """What a file changes in one layer; None is nothing.

    ``down`` [rank, in...] and ``up`` [out, rank...]: the weight's change is ``scale`` * up @ down. ``diff``: the
    weight's change, in the weight's shape. ``bias``: the bias's change.
    """

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    scale: float = 1.0
    diff: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        """Rank of the low-rank part; 0 without one."""
        return 0 if self.down is None else int(self.down.shape[0])

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All tensors of this change."""
        return tuple(one for one in (self.down, self.up, self.diff, self.bias) if one is not None)


@dataclass(frozen=True, eq=False)
class Lora:
    """A LoRA file in memory. ``layers``: what it changes, by the layers' names as written in the file.

    ``strangers``: keys that are no part of a LoRA.
    """

    path: str
    layers: Mapping[str, Change] = field(repr=False)
    strangers: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """The largest rank among the layers."""
        return max(change.rank for change in self.layers.values())

    @property
    def size(self) -> int:
        """Bytes in memory."""
        tensors = (tensor for change in self.layers.values() for tensor in change.tensors())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def load_lora(path: str | os.PathLike[str]) -> Lora:
    """Read a LoRA file (safetensors).

    Understands the key styles of DiffSynth, PEFT, diffusers, kohya, musubi, ComfyUI and lightx2v. Where the scale is
    not in the file, it is read from PEFT's adapter_config.json beside an adapter_model.safetensors, or from diffusers'
    metadata. Raises ``LoraError`` for a file that is missing, damaged, no LoRA, half a LoRA, or a relative of LoRA.
    """
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    if not Path(path).is_file():
        raise LoraError(f"There is no LoRA file {path}.", remedy="Check the path or the name in the list.")
    if Path(path).suffix.lower() != ".safetensors":
        raise LoraError(
            f"{path} is not a safetensors file.",
            expected="a LoRA as .safetensors",
            got=Path(path).suffix or "no suffix",
            remedy="Save the LoRA as safetensors: other formats can run code when they are opened.",
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise LoraError(
            f"{path} cannot be read.",
            expected="a complete safetensors file",
            got=f"{Path(path).stat().st_size:,} bytes; {error}",
            remedy="The download is probably cut short or damaged: get the file again.",
        ) from error
    return parse_lora(path, tensors, _adapter_config(path, metadata))


def parse_lora(path: str, tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any] | None = None) -> Lora:
    """``load_lora`` on tensors that are in memory already. ``config``: PEFT's LoraConfig, for files without alpha."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    strangers, adapters = [], set()
    for key, tensor in tensors.items():
        if relative := next((name for name, pattern in _RELATIVES if pattern.search(key)), None):
            raise LoraError(
                f"{path} is no plain LoRA but holds {relative}.",
                expected="pairs of lora_A and lora_B (or lora_down and lora_up), diff and diff_b",
                got=key,
                remedy=_REMEDY,
            )
        role, name, adapter = _role(key)
        if not role:
            strangers.append(key)
            continue
        adapters |= {adapter} if adapter else set()
        _check_numbers(path, key, tensor)
        if role in found.setdefault(name, {}):
            raise LoraError(f"{path} holds {role} of {name} twice.", got=key, remedy=_REMEDY)
        found[name][role] = tensor
    if not any(set(roles) - {"alpha"} for roles in found.values()):
        raise LoraError(
            f"{path} holds no LoRA.",
            expected="pairs of lora_A and lora_B (or lora_down and lora_up), diff and diff_b",
            got=f"{len(tensors)} tensors, for example {next(iter(tensors), 'none')}",
            remedy="Choose a LoRA file for Wan2.1.",
        )
    if len(adapters) > 1:
        raise LoraError(
            f"{path} holds {len(adapters)} adapters.",
            expected="one adapter",
            got=", ".join(sorted(adapters)),
            remedy="Save each adapter to a file of its own.",
        )
    _check_pairs(path, found)
    layers = {name: _change(path, name, roles, config) for name, roles in found.items()}
    return Lora(path, layers, tuple(strangers))


def lora_sha256(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of everything that decides what a LoRA does: its file, and PEFT's adapter_config.json if it counts."""
    digest = remembered_sha256(path)
    config = _config_beside(path)
    if config is None:
        return digest
    return hashlib.sha256(f"{digest} {remembered_sha256(config)}".encode()).hexdigest()


def lora_stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Sizes and times of change of what ``load_lora`` reads: another stamp means that it must be read again."""
    files = [Path(path), *([config] if (config := _config_beside(path)) else [])]
    return tuple(number for file in files for number in (file.stat().st_size, file.stat().st_mtime_ns))


def _role(key: str) -> tuple[str, str, str | None]:
    """The role of a key ("" for none), the name of its layer, and the name of the adapter where one is written."""
    for role, pattern in _ROLES:
        if found := pattern.search(key):
            name = key[: found.start()]
            adapter = found.groupdict().get("adapter")
            return ("diff", f"{name}.modulation", adapter) if role == "diff_m" else (role, name, adapter)
    return "", key, None


def _check_numbers(path: str, key: str, tensor: torch.Tensor) -> None:
    import torch

    if not tensor.is_floating_point():
        raise LoraError(
            f"{path} holds whole numbers for {key}.",
            expected="float32, float16, bfloat16 or float8",
            got=str(tensor.dtype).removeprefix("torch."),
            remedy="Quantised LoRAs cannot be used: get the file in bfloat16 or float16.",
        )
    if not bool(torch.isfinite(tensor.float()).all()):
        raise LoraError(
            f"{path} is broken: {key} holds values that are not numbers.",
            expected="finite numbers",
            got="NaN or infinity",
            remedy="The training went wrong or the file was damaged: get it again, or use an earlier checkpoint.",
        )


def _check_pairs(path: str, found: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    odd = []
    for name, roles in sorted(found.items()):
        if ("down" in roles) != ("up" in roles):
            odd.append(f"{name}: only one of the two matrices")
        elif not set(roles) & {"down", "diff", "diff_b"}:
            odd.append(f"{name}: {' and '.join(sorted(roles))} alone")
    if odd:
        raise LoraError(
            f"{path} holds {len(odd)} layers that are not complete.",
            expected="pairs of lora_A and lora_B (or lora_down and lora_up)",
            got=_some(odd),
            remedy="Half of a LoRA would give wrong pictures: convert the file, or train it again.",
        )


def _change(path: str, name: str, roles: Mapping[str, torch.Tensor], config: Mapping[str, Any] | None) -> Change:
    down, up = roles.get("down"), roles.get("up")
    scale = 1.0
    if down is not None and up is not None:
        if min(down.ndim, up.ndim) < 2 or down.shape[0] != up.shape[1] or not down.shape[0]:
            raise LoraError(
                f"{path} is broken: the two matrices of {name} do not belong together.",
                expected="lora_A of [rank, in] and lora_B of [out, rank]",
                got=f"{list(down.shape)} and {list(up.shape)}",
                remedy="Get the file again, or convert it anew.",
            )
        if "alpha" in roles:
            if roles["alpha"].numel() != 1:
                raise LoraError(
                    f"{path} is broken: alpha of {name} is not one number.", got=f"shape {list(roles['alpha'].shape)}"
                )
            scale = float(roles["alpha"]) / down.shape[0]
        elif config:
            scale = _peft_scale(config, name, int(down.shape[0]))
    bias = roles.get("diff_b")
    if "up_bias" in roles:  # PEFT's lora_bias: it is scaled like the matrices
        scaled = roles["up_bias"].float() * scale
        bias = scaled if bias is None else bias.float() + scaled
    return Change(down, up, scale, roles.get("diff"), bias)


def _peft_scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) with rsLoRA (peft, tuners/lora/layer.py: ``update_layer``)."""
    alpha = config.get("lora_alpha")
    patterns = config.get("alpha_pattern") or {}
    alpha = next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), alpha)
    if not isinstance(alpha, (int, float)):
        return 1.0
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _adapter_config(path: str, metadata: Mapping[str, str]) -> Mapping[str, Any] | None:
    """PEFT's LoraConfig of a file, if it has one."""
    beside = _config_beside(path)
    try:
        if beside is not None:
            config = json.loads(beside.read_text(encoding="utf-8"))
        else:
            config = json.loads(metadata.get(_ADAPTER_METADATA, "null"))
        if config is None:
            return None
        if not isinstance(config, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise LoraError(
            f"The scale of {path} cannot be read.",
            expected=f"the adapter's settings as JSON in {beside or f'the metadata {_ADAPTER_METADATA}'}",
            got=str(error),
            remedy="Put the adapter_config.json that belongs to the file beside it." if beside else _REMEDY,
        ) from error
    # diffusers' pipelines save the settings of several nets in one object.
    return {key.removeprefix("transformer."): value for key, value in config.items()}


def _config_beside(path: str | os.PathLike[str]) -> Path | None:
    file = Path(path)
    config = file.with_name(_ADAPTER_CONFIG)
    return config if file.name == _ADAPTER_FILE and config.is_file() else None


def _some(names: list[str]) -> str:
    return "; ".join(names[:3]) + ("; ..." if len(names) > 3 else "")

"""LoRAs as they are used here, scoped, scaled and combined, as one file that other programs read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, LoraError, SettingsError
from ..files import atomic_path, canonical_json
from .lora import gather
from .lora_file import Change, Lora
from .lora_names import Layer
from .lora_target import Target
from .lora_use import LoraUse

if TYPE_CHECKING:
    import torch

_PREFIX = "diffusion_model."  # ComfyUI's; musubi, WanVideoWrapper and DiffSynth take it too
METADATA_KEY = "made_from"  # one entry only: the order of several would differ from file to file


@dataclass(frozen=True)
class ExportedLora:
    """A file that ``export_lora`` wrote: its layers, the largest rank, and what the user should know."""

    path: str
    layers: int
    rank: int
    notes: tuple[str, ...] = ()


def export_lora(
    uses: Sequence[tuple[Lora, LoraUse]],
    nets: Sequence[torch.nn.Module],
    path: str | os.PathLike[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ExportedLora:
    """Write LoRAs with their strengths and scopes as one LoRA file for ComfyUI; used at strength 1 it does the same.

    ``nets``: the transformer and its VACE blocks, which say where each layer belongs. A layer that one LoRA changes
    keeps its matrices bit for bit, and alpha carries the strength; where several change it, the ranks add up and
    nothing is approximated; where one of them holds a whole change (``diff``), the sum is whole.

    ``on_progress(done, total)`` counts layers. Raises ``LoraError`` for LoRAs that do not fit or change nothing,
    ``SettingsError`` for a schedule over steps, which a file cannot hold, and ``Interrupted``.
    """
    from safetensors.torch import save_file

    for _, use in uses:
        if use.scheduled:
            raise SettingsError(
                f"The LoRA {Path(use.file).stem} cannot be exported with a schedule.",
                expected="the same strength in all steps: a LoRA file knows no steps",
                got=f"from step {use.from_step} to step {use.to_step}, ramps of {use.ramp_in} and {use.ramp_out} steps",
                remedy="Remove the schedule, or export the LoRA for each stretch of steps at its own strength.",
            )
    targets, notes = gather(nets, uses)
    if not targets:
        raise LoraError(
            "There is nothing to export.",
            expected="a LoRA with a strength other than 0 and layers in its scope",
            got=", ".join(f"{Path(use.file).stem} at {use.strength}" for _, use in uses) or "no LoRA",
            remedy="Set a strength, or widen the scope.",
        )
    tensors: dict[str, torch.Tensor] = {}
    rank = 0
    for done, target in enumerate(targets.values()):
        if should_stop and should_stop():
            raise Interrupted(f"Stopped before layer {done + 1} of {len(targets)}.")
        made = _combined(target, uses)
        tensors |= {f"{_PREFIX}{target.layer.name}.{key}": value.contiguous() for key, value in made.items()}
        rank = max(rank, made["lora_down.weight"].shape[0] if "lora_down.weight" in made else 0)
        if on_progress:
            on_progress(done + 1, len(targets))
    if alone := [name for name, target in targets.items() if target.layer.parameter != "weight"]:
        # Its ModelPatcher passes over parameters of modules that have modules in them (comfy/model_patcher.py).
        notes.append(
            f"The file changes {len(alone)} modulations (such as {alone[0]}). ComfyUI's own loader reads these keys "
            "but does not apply them (true of 0.3.64 and 0.8.0): there, this part of the change is missing."
        )
    made_from = [{**use.to_dict(), "file": Path(use.file).name} for _, use in uses]
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary), {METADATA_KEY: canonical_json(made_from)})
    return ExportedLora(os.fspath(path), len(targets), rank, tuple(notes))


def _combined(target: Target, uses: Sequence[tuple[Lora, LoraUse]]) -> dict[str, torch.Tensor]:
    """The sum of all changes of a layer, as the ends of its keys and their tensors."""
    parts = [(part.change, uses[part.use][1].strength * part.factor) for part in target.parts]
    low = [(change, strength) for change, strength in parts if change.down is not None]
    found: dict[str, torch.Tensor] = {}
    if any(change.diff is not None for change, _ in parts):
        found["diff"] = _whole(target.layer, parts)
    elif len(low) == 1:
        found = _one(*low[0])
    elif low:
        found = _several(target.layer, low)
    if biases := [change.bias.float() * strength for change, strength in parts if change.bias is not None]:
        found["diff_b"] = _sum(biases)
    return found


def _one(change: Change, strength: float) -> dict[str, Any]:
    import torch

    alpha = torch.tensor(change.scale * strength * change.rank, dtype=torch.float32)
    return {"lora_down.weight": _plain(change.down), "lora_up.weight": _plain(change.up), "alpha": alpha}


def _several(layer: Layer, changes: Sequence[tuple[Change, float]]) -> dict[str, Any]:
    """Ranks side by side: [A1; A2] and [B1 B2], with the strengths in A."""
    import torch

    downs = [_plain(change.down).flatten(1).float() * (change.scale * strength) for change, strength in changes]
    ups = [_plain(change.up).flatten(1) for change, _ in changes]
    down, up = torch.cat(downs), torch.cat([one.float() for one in ups], dim=1)
    rank = down.shape[0]
    kinds = {one.dtype for one in ups} | {_plain(change.down).dtype for change, _ in changes}
    if len(kinds) == 1 and torch.equal(down.to(next(iter(kinds))).float(), down):
        down, up = down.to(next(iter(kinds))), up.to(next(iter(kinds)))  # nothing is lost: keep the small type
    if len(layer.shape) > 2:
        down, up = down.reshape(rank, *layer.shape[1:]), up.reshape(*up.shape, *[1] * (len(layer.shape) - 2))
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(float(rank))}


def _whole(layer: Layer, changes: Sequence[tuple[Change, float]]) -> torch.Tensor:
    found = []
    for change, strength in changes:
        if change.down is not None and change.up is not None:
            dense = change.up.flatten(1).float() @ change.down.flatten(1).float()
            found.append(dense.reshape(layer.shape) * (change.scale * strength))
        if change.diff is not None:
            found.append(change.diff.float() * strength)
    return _sum(found)


def _sum(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    total = tensors[0]
    for one in tensors[1:]:
        total = total + one
    return total


def _plain(tensor: Any) -> torch.Tensor:
    """The tensor in a type that every reader knows: float8 becomes bfloat16, which holds it exactly."""
    import torch

    plain: torch.Tensor = tensor.to(torch.bfloat16) if tensor.element_size() == 1 else tensor
    return plain

"""LoRA at run time: the model's weights are never changed, a strength never needs a reload.

``lora_file`` reads a file, ``match`` finds the layers that it belongs to, and while ``applied`` is open these layers
compute with the change (``lora_target`` says how). At strength 0 nothing happens to a layer, so the result is the base
model's, bit for bit; and since no stored number is ever written, so it is after any sequence of uses.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LoraError, SettingsError
from .lora_file import Change, Lora
from .lora_names import Layer, Names, model_layers, sort_unmatched
from .lora_scope import RANGES
from .lora_target import Part, Target
from .lora_use import LoraUse

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_IMAGE_CHANNELS = 36  # of the patch embedding in image-to-video models: 16 of noise, 4 of mask, 16 of the image


@dataclass(frozen=True, eq=False)
class Matched:
    """Where the layers of a LoRA belong. ``unmatched``: names without a place, by what they belong to."""

    changes: tuple[tuple[Layer, Change], ...]
    unmatched: Mapping[str, Sequence[str]]


@dataclass(eq=False)
class Active:
    """The LoRAs that ``applied`` has put on a model. ``notes``: what the user should know, in sentences."""

    notes: list[str]
    _uses: Sequence[LoraUse] = field(repr=False)
    _targets: Mapping[str, Target] = field(repr=False)
    _begun: bool = field(default=False, repr=False)

    @property
    def changed(self) -> int:
        """The number of layers that are changed now."""
        return sum(target.changed for target in self._targets.values())

    def set_step(self, index: int, steps: int) -> bool:
        """Give each LoRA its strength of step ``index`` (from 0) of ``steps``; call it before the step's predictions.

        True when a strength changed: whatever was computed with the layers before, such as the constants of
        ``transformer.prepare``, must then be computed again.
        """
        if not 0 <= index < steps:
            raise ValueError(f"step {index} of {steps}")
        strengths = [use.strength_at(index, steps) for use in self._uses]
        if not self._begun:
            self._begun = True
            self.notes += [
                f"The LoRA {_stem(use)} acts in none of the {steps} steps."
                for use in self._uses
                if use.strength and not use.acts(steps)
            ]
        changed = [target.set(strengths) for target in self._targets.values()]
        return any(changed)


@contextmanager
def applied(nets: Sequence[torch.nn.Module], uses: Sequence[tuple[Lora, LoraUse]]) -> Iterator[Active]:
    """Apply LoRAs while the block runs. ``nets``: the transformer and its VACE blocks.

    LoRAs that are the same in all steps act at once; those with a schedule wait for ``Active.set_step``. All files are
    matched, also those at strength 0, so that a wrong file is noticed at any strength. Raises ``LoraError`` (see
    ``match``) and ``SettingsError`` for a scope with blocks that the model does not have.
    """
    targets, notes = gather(nets, uses)
    try:
        start = [0.0 if use.scheduled else use.strength for _, use in uses]
        for target in targets.values():
            target.set(start)
        yield Active(notes, [use for _, use in uses], targets)
    finally:
        for target in targets.values():
            target.release()


def gather(
    nets: Sequence[torch.nn.Module], uses: Sequence[tuple[Lora, LoraUse]]
) -> tuple[dict[str, Target], list[str]]:
    """The layers that the LoRAs change, by name, each with its parts at strength 0, and what the user should know.

    Raises what ``applied`` raises.
    """
    targets: dict[str, Target] = {}
    notes: list[str] = []
    layers = model_layers(nets) if uses else {}
    for number, (lora, use) in enumerate(uses):
        _check_blocks(use, layers)
        matched = match(lora, layers, allow_unmatched=use.allow_unmatched)
        notes += _left_out(lora, matched)
        scope = use.map
        scoped = [(layer, change, scope.factor(layer.place)) for layer, change in matched.changes]
        if not any(factor for _, _, factor in scoped):
            notes.append(f"The scope {use.scope!r} leaves none of the layers of the LoRA {_stem(use)}.")
        for layer, change, factor in scoped:
            if use.strength and factor:
                targets.setdefault(layer.name, Target(layer)).parts.append(Part(change, number, factor))
    return targets, notes


def match(lora: Lora, layers: Mapping[str, Layer], *, allow_unmatched: bool = False) -> Matched:
    """Find the layers of a model (``model_layers``) that a LoRA's layers belong to.

    Raises ``LoraError`` when no layer fits, when a shape differs, and, unless ``allow_unmatched``, when some have no
    place: the size or the kind of the model is then not the one that the LoRA was trained on. The message names the
    first ones of each kind, the log all of them.
    """
    names = Names(layers)
    found: dict[str, Change] = {}
    lost = list(lora.strangers)
    for written, change in lora.layers.items():
        name, change = _resolve(names, written, change)
        if name is None or _is_image_embedding(layers[name], change):
            lost.append(written)
            continue
        _check_shapes(lora.path, layers[name], change)
        found[name] = _merge(lora.path, name, found[name], change) if name in found else change
    kinds = sort_unmatched(lost)
    for kind, unmatched in kinds.items():
        log.info("%s: %d layers %s: %s", lora.path, len(unmatched), kind, ", ".join(unmatched))
    if not found:
        raise LoraError(
            f"No layer of {lora.path} belongs to this model.",
            expected=f"layers such as {next((name for name in layers if 'attn' in name), 'none')}",
            got=_listed(kinds),
            remedy="Choose a LoRA that was trained on Wan2.1 (text-to-video or VACE).",
        )
    if lost and not allow_unmatched:
        raise LoraError(
            f"{len(lost)} of {len(lost) + len(found)} layers of {lora.path} do not belong to this model.",
            expected="every layer to have its place",
            got=_listed(kinds),
            remedy="Choose a LoRA for this model, or set allow_unmatched to use the layers that fit.",
        )
    return Matched(tuple((layers[name], change) for name, change in found.items()), kinds)


def _resolve(names: Names, written: str, change: Change) -> tuple[str | None, Change]:
    """Wan's own name of a layer, and the change as it is said of the layer (not of its ``.weight`` or ``.bias``)."""
    name = names.find(written)
    if name is None and change.diff is not None and change.down is None:
        if written.endswith(".weight"):
            return names.find(written.removesuffix(".weight")), change
        if written.endswith(".bias"):
            return names.find(written.removesuffix(".bias")), Change(bias=change.diff)
    return name, change


def _merge(path: str, name: str, one: Change, other: Change) -> Change:
    """Two entries for one layer as one, where they say different things of it."""
    said = [
        {entry.name for entry in dataclasses.fields(Change) if getattr(change, entry.name) is not None} - {"scale"}
        for change in (one, other)
    ]
    if said[0] & said[1]:
        raise LoraError(
            f"{path} changes {name} twice.",
            expected="one entry for each layer",
            got=f"{' and '.join(sorted(said[0] & said[1]))} under two names",
            remedy="The file was merged wrongly: get it again, or convert it anew.",
        )
    scale = one.scale if one.down is not None else other.scale
    both = {name: getattr(change, name) for change, names in zip((one, other), said, strict=True) for name in names}
    return Change(**both, scale=scale)


def _check_shapes(path: str, layer: Layer, change: Change) -> None:
    """Raise ``LoraError`` where a change does not have the layer's shape."""
    out, inside = layer.shape[0], math.prod(layer.shape[1:])
    wrong = ""
    if change.down is not None and change.up is not None:
        if not layer.multiplies:
            wrong = "a low-rank change of what is no matrix"
        elif (change.up.flatten(1).shape[0], change.down.flatten(1).shape[1]) != (out, inside):
            wrong = f"A {list(change.down.shape)} and B {list(change.up.shape)}"
    if change.diff is not None and tuple(change.diff.shape) != layer.shape:
        wrong = f"diff {list(change.diff.shape)}"
    if change.bias is not None:
        bias = getattr(layer.module, "bias", None) if layer.parameter == "weight" else None
        if bias is None:
            wrong = "diff_b for a layer without a bias"
        elif bias.shape != change.bias.shape:
            wrong = f"diff_b {list(change.bias.shape)}"
    if wrong:
        raise LoraError(
            f"{path} was made for a model of another size.",
            expected=f"a change of {list(layer.shape)} for {layer.name}",
            got=wrong,
            remedy="Use a 1.3B LoRA with the 1.3B model and a 14B LoRA with the 14B model.",
        )


def _is_image_embedding(layer: Layer, change: Change) -> bool:
    """Whether this is the patch embedding of an image-to-video model, which has no place in others."""
    wide = change.diff if change.diff is not None else change.down
    if layer.name != "patch_embedding" or wide is None or layer.shape[1] == _IMAGE_CHANNELS:
        return False
    return wide[0].numel() == _IMAGE_CHANNELS * math.prod(layer.shape[2:])


def _check_blocks(use: LoraUse, layers: Mapping[str, Layer]) -> None:
    for entry in use.map.blocks:
        net = RANGES[entry.kind]
        blocks = {layer.place.block for layer in layers.values() if layer.place.net == net} - {None}
        count = len(blocks)
        if entry.last is not None and entry.first >= count:
            raise SettingsError(
                f"The scope of the LoRA {_stem(use)} names {entry}.",
                expected=f"{entry.kind} 0-{count - 1}: this model has {count}",
                got=str(entry),
                remedy="Correct the numbers, or choose the larger model.",
            )


def _left_out(lora: Lora, matched: Matched) -> list[str]:
    if not matched.unmatched:
        return []
    lost = sum(map(len, matched.unmatched.values()))
    return [
        f"{lost} of {lost + len(matched.changes)} layers of the LoRA {Path(lora.path).stem} have no place in this "
        f"model and were left out: {_listed(matched.unmatched)}."
    ]


def _listed(kinds: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in kinds.items()
    )


def _stem(use: LoraUse) -> str:
    return Path(use.file).stem

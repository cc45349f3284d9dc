"""What a training is about, settled before anything is loaded, and whether a folder holds the same one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..wan.contents import require, weights_sha256
from ..wan.engine import ModelFiles, pick_device, pick_dtype
from ..wan.sizes import transformer_sizes
from .manifest import Manifest
from .presets import count_parameters, meta_nets, select_layers
from .processes import Processes
from .result import CHECKPOINT, CONFIG
from .settings import TrainSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Job:
    """What is trained, with which settings, where.

    ``layers``: names by net, "dit" and "vace". ``parameters`` of the LoRA, ``model``: of transformer and VACE blocks.
    """

    manifest: Manifest
    files: ModelFiles
    folder: Path
    settings: TrainSettings
    device: str
    dtype: torch.dtype
    layers: Mapping[str, list[str]]
    parameters: int
    model: int

    def config(self, pictures: Mapping[str, int]) -> dict[str, Any]:
        """What is written beside the result. ``pictures``: width, height and frames."""
        from importlib.metadata import version

        import torch

        return {
            "format": "skeleton2video lora training",
            "version": 1,
            "settings": self.settings.to_dict(),
            "model": {name: weights_sha256(path, name) for name, path in self.files.weights().items()},
            "dataset": {"sha256": self.manifest.sha256(), "clips": len(self.manifest.rows)},
            "pictures": dict(pictures),
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device,
            "parameters": self.parameters,
            "layers": [name for names in self.layers.values() for name in names],
            "versions": {"torch": torch.__version__, **{name: version(name) for name in ("diffsynth", "peft")}},
        }


def prepare(
    manifest: Manifest,
    files: ModelFiles,
    folder: Path,
    settings: TrainSettings,
    device: str,
    dtype: str,
    processes: Processes,
) -> Job:
    """Settle device, type, layers and their parameters. Raises ``SettingsError`` for what cannot be trained."""
    import torch

    if settings.batch % processes.count:
        raise SettingsError(
            "The clips of a step cannot be shared out.",
            expected=f"a batch that {processes.count} processes divide",
            got=f"batch {settings.batch}",
        )
    device = processes.device or pick_device(device)
    kind = pick_dtype(dtype, device, files.transformer)
    if kind == torch.float16:
        raise SettingsError(
            "A LoRA cannot be trained in float16: small gradients vanish in it.",
            expected="bfloat16 or float32",
            got="float16",
            remedy="Choose bfloat16 (the model's files may be float16 all the same).",
        )
    nets = meta_nets(transformer_sizes(require(files.transformer, "transformer")))
    model = sum(value.numel() for net in nets.values() for value in net.parameters())
    parameters = count_parameters(nets, settings.preset, settings.rank)
    layers = select_layers(nets, settings.preset)
    return Job(manifest, files, folder, settings, device, kind, layers, parameters, model)


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ``SettingsError`` when ``folder`` holds a training that this one does not go on with."""
    path = folder / CONFIG
    if not path.is_file():
        if (folder / CHECKPOINT).exists():
            raise SettingsError(f"{folder} holds a checkpoint without {CONFIG}.", remedy="Use another folder.")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        one, other = (_decisive(entry) for entry in (before, config))
    except (ValueError, KeyError, TypeError, SettingsError) as error:
        raise SettingsError(
            f"{path} cannot be read.", expected="what a training wrote", got=str(error), remedy="Use another folder."
        ) from error
    if other_ones := [name for name in other if one.get(name) != other[name]]:
        raise SettingsError(
            f"{folder} holds another training.",
            expected=", ".join(f"{name} {one.get(name)}" for name in other_ones[:3]),
            got=", ".join(f"{name} {other[name]}" for name in other_ones[:3]),
            remedy="Use another folder, or the settings, model and set of the first training.",
        )


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    settings = TrainSettings.from_dict(config["settings"]).decisive()
    rest = {name: config[name] for name in ("model", "dataset", "pictures", "dtype")}
    return {**settings, **rest}

"""Where a training stands: its checkpoint and its log, both whole after a crash at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..files import atomic_path, canonical_json, write_text_atomic

if TYPE_CHECKING:
    import torch

_KEY = "state"  # one entry only: the order of several would differ from file to file
_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's


def save_state(
    path: str | os.PathLike[str],
    step: int,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write what a training goes on from after ``step`` steps, in one move.

    ``parameters``: what is trained, by name, as AdamW got it. ``about``: JSON-ready words of the caller.
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name, value in parameters.items():
        tensors[f"{name}|value"] = value.detach()
        for key in (*_MOMENTS, "step"):
            if key in optimizer.state[value]:
                tensors[f"{name}|{key}"] = optimizer.state[value][key]
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, os.fspath(temporary), {_KEY: canonical_json({"step": step, "about": dict(about or {})})})


def load_state(
    path: str | os.PathLike[str],
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> tuple[int, dict[str, Any]]:
    """Put a checkpoint's numbers into parameters and optimizer; gives its step and ``about``.

    Raises ``StoreError`` when it is damaged or belongs to other parameters.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            said = json.loads((file.metadata() or {})[_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise StoreError(
            f"The checkpoint {path} cannot be read.",
            expected="a file that a training wrote",
            got=f"{type(error).__name__}: {error}",
            remedy="Remove it to begin anew.",
        ) from error
    given = {key.removesuffix("|value"): value.shape for key, value in tensors.items() if key.endswith("|value")}
    wanted = {name: value.shape for name, value in parameters.items()}
    if given != wanted:
        raise StoreError(
            f"The checkpoint {path} belongs to another training.",
            expected=f"{len(wanted)} tensors such as {next(iter(wanted), 'none')}",
            got=f"{len(given)} tensors such as {next(iter(given), 'none')}",
            remedy="Use another folder, or remove the checkpoint to begin anew.",
        )
    with torch.no_grad():
        for name, value in parameters.items():
            # Copied into the place that is there, so that it lies in memory as in a training without a break.
            value.copy_(tensors[f"{name}|value"])
            state = {key: tensors[f"{name}|{key}"] for key in _MOMENTS if f"{name}|{key}" in tensors}
            if state:
                optimizer.state[value] = {key: one.clone().to(value.device) for key, one in state.items()}
                optimizer.state[value]["step"] = tensors[f"{name}|step"].clone()
    return int(said["step"]), dict(said["about"])


class Log:
    """A log of JSON lines, each with the ``step`` that it belongs to.

    ``write`` adds a line; ``rewind`` drops what came after a step, for a training that goes on from there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def write(self, line: Mapping[str, Any]) -> None:
        """Add one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def sync(self) -> None:
        """Bring all lines to the disk."""
        if self.path.is_file():
            with self.path.open("ab") as stream:
                os.fsync(stream.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All whole lines."""
        if not self.path.is_file():
            return []
        found = []
        for text in self.path.read_bytes().decode(errors="replace").split("\n"):
            try:
                line = json.loads(text)
            except ValueError:
                continue  # cut off in a crash
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                found.append(line)
        return found

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Keep the lines up to ``step`` and give them."""
        kept = [line for line in self.read() if line["step"] <= step]
        if self.path.is_file():
            write_text_atomic(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
        return kept

"""A training loop that can be killed: what it had stored goes on as if nothing had happened.

What a step draws at random is a function of the seed and of the step's number, so a loop that goes on from a checkpoint
makes the same steps as one that was never interrupted: same machine, same number of threads, same weights.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...errors import Interrupted, StoreError
from ...files import atomic_path, write_text_atomic
from .config import Optimizer
from .muon import Muon

Figures = dict[str, float]


@dataclass
class Loop:
    """One part's training.

    ``loss_of(step)``: the loss of one batch and figures to log. ``check()``: figures of the averaged weights, every
    ``check_every`` steps and at the end. ``identity``: of the settings; a checkpoint of others is refused.
    """

    name: str
    folder: Path
    identity: str
    nets: torch.nn.Module
    is_matrix: Callable[[str, torch.nn.Parameter], bool]
    optimizer: Optimizer
    steps: int
    loss_of: Callable[[int], tuple[torch.Tensor, Figures]]
    check: Callable[[], Figures]
    save_every: int
    log_every: int
    check_every: int
    on_row: Callable[[Mapping[str, Any]], None] | None = None
    on_step: Callable[[str, int, int], None] | None = None
    should_stop: Callable[[], bool] | None = None
    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    _sums: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = [(name, value) for name, value in self.nets.named_parameters() if value.requires_grad]
        matrices = [value for name, value in named if self.is_matrix(name, value)]
        rest = [(name, value) for name, value in named if not self.is_matrix(name, value)]
        places = [value for name, value in rest if "pos_embedding" in name]
        others = [value for name, value in rest if "pos_embedding" not in name]
        rates, betas = self.optimizer, (self.optimizer.beta1, self.optimizer.beta2)
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(matrices, rates.muon, rates.momentum), rates.muon),
            (torch.optim.AdamW(others, rates.adamw, betas, weight_decay=0.0), rates.adamw),
        ]
        if places:
            rate = rates.position or rates.adamw
            self._optimizers.append((torch.optim.AdamW(places, rate, betas, weight_decay=0.0), rate))
        self.average = {key: value.detach().clone() for key, value in self.nets.state_dict().items()}
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """Where everything is that the loop needs to go on."""
        return self.folder / f"{self.name}.pt"

    @property
    def log(self) -> Path:
        """JSON lines, one every ``log_every`` steps."""
        return self.folder / f"{self.name}.jsonl"

    def run(self) -> None:
        """Train to the end, and leave the averaged weights in the nets. Raises Interrupted when told to stop."""
        self.nets.train()
        began = time.monotonic() - self.seconds
        while self.step < self.steps:
            if self.should_stop and self.should_stop():
                self._save()
                raise Interrupted
            self._one()
            self.seconds = time.monotonic() - began
            last = self.step == self.steps
            if self.step % self.log_every == 0 or last:
                self._report(self.step % self.check_every == 0 or last)
            if self.step % self.save_every == 0 or last:
                self._save()
            if self.on_step:
                self.on_step(self.name, self.step, self.steps)
        self.nets.load_state_dict(self.average)
        self.nets.eval()

    def _one(self) -> None:
        rates = self.optimizer
        share = learning_rate(rates, self.step, self.steps)
        for optimizer, rate in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.zero_grad()
        loss, figures = self.loss_of(self.step)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.nets.parameters(), rates.clip)
        if not torch.isfinite(norm):
            raise StoreError(
                f"The training of {self.name} broke down in step {self.step}.",
                expected="finite gradients",
                got=f"a norm of {norm.item()}",
                remedy="Lower the learning rates; the checkpoint before it is kept.",
            )
        for optimizer, _ in self._optimizers:
            optimizer.step()
        self.step += 1
        kept = min(rates.ema, self.step / (self.step + 10))
        with torch.no_grad():
            for key, value in self.nets.state_dict().items():
                self.average[key].lerp_(value, 1 - kept)
        for key, number in {"loss": float(loss.detach()), **figures}.items():
            self._sums.setdefault(key, []).append(number)

    def averaged(self) -> Averaged:
        """A block in which the nets have their averaged weights."""
        return Averaged(self.nets, self.average)

    def _report(self, checked: bool) -> None:
        means = {key: round(math.fsum(numbers) / len(numbers), 5) for key, numbers in sorted(self._sums.items())}
        self._sums.clear()
        row: dict[str, Any] = {"step": self.step, "seconds": round(self.seconds, 1), **means}
        if checked:
            with self.averaged():
                row |= {f"checked {key}": round(value, 4) for key, value in self.check().items()}
        self.rows.append(row)
        write_text_atomic(self.log, "".join(json.dumps(one) + "\n" for one in self.rows))
        if self.on_row:
            self.on_row({"part": self.name, **row})

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "rows": self.rows,
            "sums": self._sums,
            "nets": self.nets.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
        }
        with atomic_path(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        if state["identity"] != self.identity:
            raise StoreError(
                f"{self.checkpoint} belongs to a training with other settings.",
                expected=self.identity[:12],
                got=str(state["identity"])[:12],
                remedy="Train in another folder, or remove this one.",
            )
        self.step, self.seconds = state["step"], state["seconds"]
        self.rows, self._sums = state["rows"], state["sums"]
        self.nets.load_state_dict(state["nets"])
        self.average = state["average"]
        for (optimizer, _), values in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)


class Averaged:
    """While the block runs, ``nets`` have the weights ``average``; no gradients."""

    def __init__(self, nets: torch.nn.Module, average: Mapping[str, torch.Tensor]) -> None:
        self._nets, self._average = nets, average

    def __enter__(self) -> None:
        self._own = {key: value.detach().clone() for key, value in self._nets.state_dict().items()}
        self._nets.load_state_dict(dict(self._average))
        self._nets.eval()
        self._without = torch.no_grad()
        self._without.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self._without.__exit__(*raised)
        self._nets.load_state_dict(self._own)
        self._nets.train()


def learning_rate(rates: Optimizer, step: int, steps: int) -> float:
    """The share of the learning rates in this step (from 0)."""
    rise = min(1.0, (step + 1) / max(1, rates.warmup))
    gone = (step / steps - rates.decay_from) / max(1e-9, 1 - rates.decay_from)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, gone))))
    return rise * (rates.last + (1 - rates.last) * fall)


def generator(seed: int, *names: object) -> torch.Generator:
    """Random numbers that belong to this seed and these names."""
    import hashlib

    text = " ".join(map(str, (seed, *names)))
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))


def is_block_matrix(name: str, value: torch.Tensor) -> bool:
    """Whether Muon trains this weight: the linear layers of the blocks."""
    return value.ndim == 2 and "blocks" in name and "embedding" not in name

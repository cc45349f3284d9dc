"""What a training tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Counted:
    """Said first. ``parameters`` of the LoRA in ``layers`` layers, of ``model`` parameters in transformer and VACE."""

    parameters: int
    layers: int
    model: int
    clips: int


@dataclass(frozen=True)
class Encoding:
    """``done`` of ``total`` texts or clips (``what``) are encoded or found in the cache."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Trained:
    """One step. ``loss``: DiffSynth's weighted loss; ``norm``: of the gradient, before it is shortened."""

    step: int
    steps: int
    loss: float
    rate: float
    norm: float
    seconds: float


@dataclass(frozen=True)
class Scored:
    """Numbers of the LoRA after ``step`` steps."""

    step: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written after ``step`` steps."""

    step: int


Event = Counted | Encoding | Trained | Scored | Saved

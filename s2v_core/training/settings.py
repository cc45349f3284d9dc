"""Everything that a person can set for the training of a LoRA, with its default, range and meaning in one place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError
from ..options import choice, flag, from_mapping, number, settle, text
from .presets import PRESETS, parse_targets

FILE_DTYPES = ("bfloat16", "float16", "float32")
# Settings that do not decide what is learned in a step: they may be others when a training goes on.
FREE = ("save_every", "score_every", "leakage_limit")


@dataclass(frozen=True)
class TrainSettings:
    """Every number that decides what is learned, besides the model and the training set.

    Raises ``SettingsError``; numbers take their field's type, so that equal settings have equal JSON.
    """

    preset: str = text(
        "article",
        f"Which layers are trained: {', '.join(PRESETS)}, or layers with commas between them, such as "
        "self_attn.q,ffn.0,vace.ffn.2.",
        parse_targets,
    )
    rank: int = number(32, "Rank of the LoRA.", 1, 1024, 1)
    alpha: float = number(
        0.0, "The change is scaled by alpha / rank while it is learned; 0 means alpha = rank.", 0.0, 4096.0, 1.0
    )
    steps: int = number(1000, "Steps of the optimizer.", 1, 1_000_000, 1)
    learning_rate: float = number(1e-4, "Learning rate of AdamW.", 1e-8, 1.0, 1e-5)
    batch: int = number(
        1, "Clips a step, one after the other, each with noise of its own. The noise levels are spread.", 1, 4096, 1
    )
    seed: int = number(0, "Seed of starting weights, order of the clips and noise.", 0, 2**63 - 1, 1)
    shift: float = number(
        5.0, "Sigma shift of the training's noise levels; 5 is DiffSynth's, as in sampling.", 0.1, 100.0, 0.1
    )
    reference_share: float = number(
        1.0, "Share of the steps that see the reference image; spread evenly. 0.5: every second.", 0.0, 1.0, 0.05
    )
    warmup: int = number(0, "Steps over which the learning rate rises from nothing.", 0, 1_000_000, 1)
    decay: str = choice(
        "constant", "The learning rate afterwards: constant, or falling to 0 as a cosine.", "constant", "cosine"
    )
    weight_decay: float = number(0.01, "AdamW's weight decay.", 0.0, 1.0, 0.001)
    clip_norm: float = number(
        1.0, "Longest gradient (norm over all parameters); longer ones are shortened. 0 is off.", 0.0, 1000.0, 0.1
    )
    width: int = number(0, "Width in pixels, a multiple of 16; 0 is the first clip's own.", 0, 4096, 16)
    height: int = number(0, "Height in pixels, a multiple of 16; 0 is the first clip's own.", 0, 4096, 16)
    frames: int = number(0, "Frames of a clip, 4n + 1, at 16 a second; 0 is as many as the first has.", 0, 1001, 4)
    fit: str = choice("letterbox", "How a picture of another shape is fitted: letterbox or crop.", "letterbox", "crop")
    tiling: bool = flag(False, "Encode in overlapping tiles: less memory, more than twice the time.")
    checkpointing: str = choice(
        "auto",
        "Gradient checkpointing: blocks are computed again on the way back, a third slower with a fraction of the "
        "memory. auto: for transformers of more than 100 million parameters.",
        "auto",
        "on",
        "off",
    )
    deterministic: bool = flag(
        False, "On a GPU, only operations that always give the same bits (slower); a CPU does so anyway."
    )
    file_dtype: str = choice("bfloat16", "Type of the numbers in the LoRA file.", *FILE_DTYPES)
    save_every: int = number(
        100, "Steps between checkpoints; after a crash the training goes on from there.", 1, 100_000, 1
    )
    score_every: int = number(0, "Steps between LoRA files that are kept and scored; 0 is never.", 0, 1_000_000, 1)
    leakage_limit: float = number(
        0.0, "Stop when the score `leakage` is above this; the last file below it is the result. 0 is never.",
        0.0, 1e6, 0.05,
    )  # fmt: skip

    def __post_init__(self) -> None:
        settle(self)
        if bool(self.width) != bool(self.height):
            raise SettingsError(
                "Width and height belong together.",
                expected="both, or 0 for both",
                got=f"{self.width} x {self.height}",
            )
        if self.leakage_limit and not self.score_every:
            raise SettingsError(
                "A limit of the leakage needs scores.",
                expected="score_every above 0",
                got=f"leakage_limit {self.leakage_limit:g} without scores",
                remedy="Set score_every, or set leakage_limit to 0.",
            )

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank if self.alpha else 1.0

    def rate(self, step: int) -> float:
        """The learning rate of step ``step``, counted from 0."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        if self.decay == "constant" or step < self.warmup:
            return self.learning_rate * rise
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def sees_reference(self, step: int) -> bool:
        """Whether step ``step``, counted from 0, sees the reference image."""
        return math.floor((step + 1) * self.reference_share) > math.floor(step * self.reference_share)

    def decisive(self) -> dict[str, Any]:
        """The settings that must be the same when a training goes on."""
        values = {name: value for name, value in self.to_dict().items() if name not in FREE}
        if self.decay == "constant":
            del values["steps"]  # a longer training begins like a shorter one
        return values

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``from_dict`` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Settings out of ``to_dict`` or a user's file. Unknown names are an error, missing ones keep their default."""
        return from_mapping(cls, values)

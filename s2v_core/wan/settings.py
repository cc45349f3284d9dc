"""Everything that a person can set for one rendering, with its default, range and meaning in one place.

The nodes' schemas, the command line and the documentation read the ``metadata`` of these fields (``options``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from .lora_use import LoraUse
from .options import Option, check, option, options
from .options import choice as _choice
from .options import number as _number
from .options import settle as _settle

__all__ = ["LoraUse", "Option", "SampleSettings", "check", "option", "options"]


@dataclass(frozen=True)
class SampleSettings:
    """Every number that decides the pixels of one rendering, besides the prompt, the pictures and the weights.

    Sizes are pixels, multiples of 16; ``frames`` is 4n + 1. Raises ``SettingsError`` for what cannot be rendered.
    Numbers take their field's type (5 becomes 5.0, -0.0 becomes 0.0): equal settings have equal JSON and equal ids.
    """

    steps: int = _number(30, "Denoising steps. More is sharper and slower; the gain falls off quickly.", 1, 200, 1)
    guidance: float = _number(
        5.0,
        "Guidance scale: how strongly the prompt is preferred over the negative prompt. 1 is off, in half the time.",
        0.0,
        30.0,
        0.1,
    )
    shift: float = _number(
        5.0,
        "Sigma shift: how much of the steps goes to high noise (motion and layout) instead of detail.",
        0.1,
        100.0,
        0.1,
    )
    seed: int = _number(0, "Seed of the starting noise.", 0, 2**63 - 1, 1)
    width: int = _number(832, "Width in pixels, a multiple of 16.", 16, 4096, 16)
    height: int = _number(480, "Height in pixels, a multiple of 16.", 16, 4096, 16)
    frames: int = _number(81, "Number of frames, 4n + 1. 81 frames at 16 a second are 5 seconds.", 1, 1001, 4)
    control_strength: float = _number(
        1.0,
        "How strongly the pose video and the reference image steer the picture; 0 ignores them.",
        0.0,
        4.0,
        0.05,
    )
    fit: str = _choice(
        "letterbox",
        "How a picture of another shape is fitted: letterbox keeps all of it and adds a border, crop fills and cuts.",
        "letterbox",
        "crop",
    )
    solver: str = _choice("euler", "The solver that walks from noise to picture.", "euler")
    precision: str = _choice(
        "float32",
        "Latents and timesteps in float32 (exact), or in the model's own type, bit for bit as DiffSynth does.",
        "float32",
        "diffsynth",
    )
    tiling: bool = field(
        default=False,
        metadata={"help": "Encode and decode in overlapping tiles: less memory, more than twice the time."},
    )
    loras: tuple[LoraUse, ...] = field(default=(), metadata={"help": "LoRA files with their strengths."})

    def __post_init__(self) -> None:
        _settle(self)
        if not isinstance(self.loras, (list, tuple)):
            raise SettingsError(
                "The setting loras must be a list.",
                expected="a list with a file and a strength for each LoRA",
                got=repr(self.loras),
                remedy="Write loras: [{file: my_lora.safetensors, strength: 0.8}], or [] for none.",
            )
        object.__setattr__(self, "loras", tuple(LoraUse.from_value(use) for use in self.loras))
        if self.width % 16 or self.height % 16:
            near = [max(16, round(side / 16) * 16) for side in (self.width, self.height)]
            raise SettingsError(
                f"The size {self.width} x {self.height} cannot be rendered.",
                expected="a width and a height that are multiples of 16",
                got=f"{self.width} x {self.height}",
                remedy=f"Use {near[0]} x {near[1]}.",
            )
        if self.frames % 4 != 1:
            lower = max(1, (self.frames - 1) // 4 * 4 + 1)
            raise SettingsError(
                f"A video of {self.frames} frames cannot be rendered.",
                expected="4n + 1 frames (..., 77, 81, 85, ...)",
                got=str(self.frames),
                remedy=f"Use {lower} or {lower + 4}.",
            )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``from_dict`` is its inverse."""
        return {**dataclasses.asdict(self), "loras": tuple(use.to_dict() for use in self.loras)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SampleSettings:
        """Settings out of ``to_dict`` or a user's file. Unknown names are an error, missing ones keep their default."""
        if not isinstance(values, Mapping):
            raise SettingsError("Settings must be names with values.", expected="steps: 30, ...", got=repr(values))
        known = {entry.name for entry in dataclasses.fields(cls)}
        if unknown := sorted(str(name) for name in values if name not in known):
            raise SettingsError(
                f"Unknown setting: {', '.join(unknown)}.",
                expected=f"one of {', '.join(sorted(known))}",
                got=", ".join(unknown),
                remedy="Check the spelling.",
            )
        return cls(**values)

"""Everything that a person can set for one rendering, with its default, range and meaning in one place.

The nodes' schemas, the command line and the documentation read the ``metadata`` of these fields (``options``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from ..options import Option, check, choice, flag, from_mapping, number, option, options, settle, text
from .limits import check_size, check_steps, check_windows
from .lora_use import LoraUse
from .scales import MOST_STEPS, parse_scales, say_scales

__all__ = ["ADVANCED", "LATE", "LoraUse", "Option", "SampleSettings", "check", "option", "options"]

_GUIDANCE = (0.0, 30.0)


def _first(what: str) -> Any:
    return number(0, f"First step with {what}, counted from 0.", 0, MOST_STEPS, 1)


def _behind(what: str) -> Any:
    return number(MOST_STEPS, f"First step without {what} again; {MOST_STEPS} is never.", 0, MOST_STEPS, 1)


def _scales_text(value: Any) -> str:
    return say_scales(parse_scales(value, *_GUIDANCE))


@dataclass(frozen=True)
class SampleSettings:
    """Every number that decides the pixels of one rendering, besides the prompt, the pictures and the weights.

    Sizes are pixels, multiples of 16; ``frames`` is 4n + 1. Raises ``SettingsError`` for what cannot be rendered.
    Numbers take their field's type (5 becomes 5.0, -0.0 becomes 0.0): equal settings have equal JSON and equal ids.
    """

    steps: int = number(
        30, "Denoising steps. More is sharper and slower; the gain falls off quickly.", 1, MOST_STEPS, 1
    )
    guidance: float = number(
        5.0,
        "Guidance scale: how strongly the prompt is preferred over the negative prompt. 1 is off, in half the time.",
        *_GUIDANCE,
        0.1,
    )
    shift: float = number(
        5.0,
        "Sigma shift: how much of the steps goes to high noise (motion and layout) instead of detail.",
        0.1,
        100.0,
        0.1,
    )
    seed: int = number(0, "Seed of the starting noise.", 0, 2**63 - 1, 1)
    width: int = number(832, "Width in pixels, a multiple of 16.", 16, 4096, 16)
    height: int = number(480, "Height in pixels, a multiple of 16.", 16, 4096, 16)
    frames: int = number(81, "Number of frames, 4n + 1. 81 frames at 16 a second are 5 seconds.", 1, 1001, 4)
    control_strength: float = number(
        1.0,
        "How strongly the pose video steers the picture; 0 ignores it.",
        0.0,
        4.0,
        0.05,
    )
    fit: str = choice(
        "letterbox",
        "How a picture of another shape is fitted: letterbox keeps all of it and adds a border, crop fills and cuts.",
        "letterbox",
        "crop",
    )
    solver: str = choice(
        "euler",
        "The solver that walks from noise to picture. UniPC and DPM++ are more exact in the same number of steps.",
        "euler",
        "unipc",
        "dpm++",
    )
    precision: str = choice(
        "float32",
        "Latents and timesteps in float32 (exact), or in the model's own type, bit for bit as DiffSynth does.",
        "float32",
        "diffsynth",
    )
    tiling: bool = flag(False, "Encode and decode in overlapping tiles: less memory, more than twice the time.")
    loras: tuple[LoraUse, ...] = field(default=(), metadata={"help": "LoRA files with their strengths."})
    # What follows came later. In forms it stands at the end; in a cell's id it counts only where it is not at its
    # default, so that what was rendered before is still found.
    reference_strength: float = number(
        1.0,
        "How strongly the reference image steers the picture, apart from the pose video. At 0 only what the pose "
        "video's own hints took from it is left.",
        0.0,
        4.0,
        0.05,
    )
    control_from: int = _first("the pose video")
    control_to: int = _behind("the pose video")
    reference_from: int = _first("the reference image")
    reference_to: int = _behind("the reference image")
    guidance_from: int = _first("guidance")
    guidance_to: int = _behind("guidance")
    guidance_schedule: str = text(
        "",
        "Guidance for each step, in place of the one number: 6x10, 3.5x5, 1 is 6 for ten steps, 3.5 for five, then 1. "
        "Empty: the one number.",
        _scales_text,
    )
    cfg_zero: bool = flag(
        False, "CFG-Zero*: scale the negative prompt's prediction to fit the prompt's before they are compared."
    )
    zero_init_steps: int = number(
        0, "CFG-Zero*'s other half: this many first steps stand still (1 is usual with it).", 0, MOST_STEPS - 1, 1
    )
    guidance_rescale: float = number(
        0.0, "Take back the contrast that guidance adds: 0 nothing, 1 all of it; 0.7 is usual.", 0.0, 1.0, 0.05
    )
    denoise: float = number(
        1.0, "How much of the start clip is redrawn: 1 all, 0.5 its second half of the way only.", 0.01, 1.0, 0.01
    )
    mask_edge: str = choice(
        "soft",
        "Grey in the mask: soft mixes, hard makes it black or white at the middle (as the official code does).",
        "soft",
        "hard",
    )
    window_frames: int = number(
        1001,
        "Frames that are rendered at once, 4n + 1. Longer clips are rendered in overlapping windows that share the "
        "reference. Wan2.1 was trained on 81.",
        5,
        1001,
        4,
    )
    window_overlap: int = number(
        16, "Frames that two windows share and blend in, a multiple of 4; less than a window.", 0, 996, 4
    )
    step_cache: float = number(
        0.0,
        "Approximate, 0 is off: do without the model in steps whose prediction is expected to change by less than this "
        "share since it last ran. 0.03 is careful, 0.1 quick; the notes say what was left out.",
        0.0,
        10.0,
        0.005,
    )

    def __post_init__(self) -> None:
        settle(self)
        if not isinstance(self.loras, (list, tuple)):
            raise SettingsError(
                "The setting loras must be a list.",
                expected="a list with a file and a strength for each LoRA",
                got=repr(self.loras),
                remedy="Write loras: [{file: my_lora.safetensors, strength: 0.8}], or [] for none.",
            )
        object.__setattr__(self, "loras", tuple(LoraUse.from_value(use) for use in self.loras))
        check_size(self)
        check_steps(self)
        check_windows(self)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``from_dict`` is its inverse."""
        return {**dataclasses.asdict(self), "loras": tuple(use.to_dict() for use in self.loras)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SampleSettings:
        """Settings out of ``to_dict`` or a user's file. Unknown names are an error, missing ones keep their default."""
        return from_mapping(cls, values)


def _added() -> tuple[str, ...]:
    names = [entry.name for entry in dataclasses.fields(SampleSettings)]
    return tuple(names[names.index("loras") + 1 :])


# The settings that came after the first release, in the order of the forms.
ADVANCED = _added()
# Those of them that came when forms had other fields behind the settings already. They stand behind those.
LATE = ("step_cache",)

"""Everything that a person can set for one rendering, with its default, range and meaning in one place.

The nodes' schemas, the command line and the documentation read the ``metadata`` of these fields (``options``).
"""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..errors import SettingsError
from .limits import check_size, check_steps, check_windows
from .scales import MOST_STEPS, parse_scales, say_scales

_GUIDANCE = (0.0, 30.0)


@dataclass(frozen=True)
class Option:
    """One setting as a form shows it. ``choices`` is empty for numbers; ``step`` is the form's, not a constraint.

    ``parse(value)`` gives a text setting its one true form; None for all others.
    """

    name: str
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    parse: Callable[[Any], str] | None = None


def _number(default: Any, help: str, minimum: float, maximum: float, step: float) -> Any:
    return field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum, "step": step})


def _choice(default: str, help: str, *choices: str) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


def _switch(default: bool, help: str) -> Any:
    return field(default=default, metadata={"help": help})


def _text(default: str, help: str, parse: Callable[[Any], str]) -> Any:
    return field(default=default, metadata={"help": help, "parse": parse})


def _first(what: str) -> Any:
    return _number(0, f"First step with {what}, counted from 0.", 0, MOST_STEPS, 1)


def _behind(what: str) -> Any:
    return _number(MOST_STEPS, f"First step without {what} again; {MOST_STEPS} is never.", 0, MOST_STEPS, 1)


def _scales_text(value: Any) -> str:
    return say_scales(parse_scales(value, *_GUIDANCE))


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file at a strength. The weights of the model are never changed by it.

    ``file``: path of the safetensors file, kept as text. ``strength``: multiplier of its delta; 0 is exactly the base
    model. Raises ``SettingsError``; numbers become float, so that 1 and 1.0 are the same use.
    """

    file: str
    strength: float = _number(1.0, "Multiplier of the LoRA's change; 0 is exactly the base model.", -4.0, 4.0, 0.05)

    def __post_init__(self) -> None:
        path = os.fspath(self.file) if isinstance(self.file, os.PathLike) else self.file
        if not isinstance(path, str) or not path.strip():
            raise SettingsError(
                "A LoRA needs a file.",
                expected="the path of a safetensors file",
                got=repr(self.file),
                remedy="Write file: my_lora.safetensors, and a strength if it is not 1.",
            )
        object.__setattr__(self, "file", path)
        _settle(self)

    @classmethod
    def from_value(cls, value: Any) -> LoraUse:
        """A use out of ``{"file": ..., "strength": ...}``, as ``to_dict`` and a user's file write it."""
        if isinstance(value, LoraUse):
            return value
        if not isinstance(value, Mapping) or "file" not in value or set(value) - {"file", "strength"}:
            raise SettingsError(
                f"The setting loras cannot hold {value!r}.",
                expected="for each LoRA a file and, if it is not 1, a strength",
                got=f"{', '.join(map(repr, value)) or 'nothing'}" if isinstance(value, Mapping) else repr(value),
                remedy="Write loras: [{file: my_lora.safetensors, strength: 0.8}].",
            )
        return cls(**value)


@dataclass(frozen=True)
class SampleSettings:
    """Every number that decides the pixels of one rendering, besides the prompt, the pictures and the weights.

    Sizes are pixels, multiples of 16; ``frames`` is 4n + 1. Raises ``SettingsError`` for what cannot be rendered.
    Numbers take their field's type (5 becomes 5.0, -0.0 becomes 0.0): equal settings have equal JSON and equal ids.
    """

    steps: int = _number(
        30, "Denoising steps. More is sharper and slower; the gain falls off quickly.", 1, MOST_STEPS, 1
    )
    guidance: float = _number(
        5.0,
        "Guidance scale: how strongly the prompt is preferred over the negative prompt. 1 is off, in half the time.",
        *_GUIDANCE,
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
        "How strongly the pose video steers the picture; 0 ignores it.",
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
    solver: str = _choice(
        "euler",
        "The solver that walks from noise to picture. UniPC and DPM++ are more exact in the same number of steps.",
        "euler",
        "unipc",
        "dpm++",
    )
    precision: str = _choice(
        "float32",
        "Latents and timesteps in float32 (exact), or in the model's own type, bit for bit as DiffSynth does.",
        "float32",
        "diffsynth",
    )
    tiling: bool = _switch(False, "Encode and decode in overlapping tiles: less memory, more than twice the time.")
    loras: tuple[LoraUse, ...] = field(default=(), metadata={"help": "LoRA files with their strengths."})
    # What follows came later. In forms it stands at the end; in a cell's id it counts only where it is not at its
    # default, so that what was rendered before is still found.
    reference_strength: float = _number(
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
    guidance_schedule: str = _text(
        "",
        "Guidance for each step, in place of the one number: 6x10, 3.5x5, 1 is 6 for ten steps, 3.5 for five, then 1. "
        "Empty: the one number.",
        _scales_text,
    )
    cfg_zero: bool = _switch(
        False, "CFG-Zero*: scale the negative prompt's prediction to fit the prompt's before they are compared."
    )
    zero_init_steps: int = _number(
        0, "CFG-Zero*'s other half: this many first steps stand still (1 is usual with it).", 0, MOST_STEPS - 1, 1
    )
    guidance_rescale: float = _number(
        0.0, "Take back the contrast that guidance adds: 0 nothing, 1 all of it; 0.7 is usual.", 0.0, 1.0, 0.05
    )
    denoise: float = _number(
        1.0, "How much of the start clip is redrawn: 1 all, 0.5 its second half of the way only.", 0.01, 1.0, 0.01
    )
    mask_edge: str = _choice(
        "soft",
        "Grey in the mask: soft mixes, hard makes it black or white at the middle (as the official code does).",
        "soft",
        "hard",
    )
    window_frames: int = _number(
        1001,
        "Frames that are rendered at once, 4n + 1. Longer clips are rendered in overlapping windows that share the "
        "reference. Wan2.1 was trained on 81.",
        5,
        1001,
        4,
    )
    window_overlap: int = _number(
        16, "Frames that two windows share and blend in, a multiple of 4; less than a window.", 0, 996, 4
    )

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
        check_size(self)
        check_steps(self)
        check_windows(self)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``from_dict`` is its inverse."""
        return dataclasses.asdict(self)

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


@cache
def options(kind: type) -> tuple[Option, ...]:
    """The settable fields of a settings class, in order, as forms need them."""
    found = []
    for entry in dataclasses.fields(kind):
        if entry.default is dataclasses.MISSING or not entry.metadata or isinstance(entry.default, tuple):
            continue
        meta = entry.metadata
        found.append(
            Option(
                entry.name,
                entry.default,
                meta["help"],
                meta.get("minimum"),
                meta.get("maximum"),
                meta.get("step"),
                tuple(meta.get("choices", ())),
                meta.get("parse"),
            )
        )
    return tuple(found)


def option(kind: type, name: str) -> Option:
    """One field of a settings class by its name."""
    return next(entry for entry in options(kind) if entry.name == name)


def check(entry: Option, value: Any) -> Any:
    """``value`` in the option's own type; ``SettingsError`` when it has another kind or lies outside range or choices.

    Whole numbers become int, numbers float with -0.0 as 0.0; NumPy's scalars are taken like Python's.
    """

    def fail(expected: str) -> SettingsError:
        return SettingsError(
            f"The setting {entry.name} cannot be {value!r}.",
            expected=expected,
            got=repr(value),
            remedy=f"Leave it out for the default, {entry.default}.",
        )

    if entry.choices:
        if not isinstance(value, str) or value not in entry.choices:
            raise fail(f"one of {', '.join(entry.choices)}")
        return str(value)
    if entry.parse:
        return entry.parse(value)
    if isinstance(entry.default, bool):
        if not isinstance(value, bool):
            raise fail("true or false")
        return value
    if not isinstance(entry.default, (int, float)):
        return value
    whole = isinstance(entry.default, int)
    kind: Any = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise fail("a whole number" if whole else "a number")
    # Written so that NaN fails too.
    if not (entry.minimum <= value <= entry.maximum):
        raise fail(f"from {entry.minimum} to {entry.maximum}")
    # Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
    return int(value) if whole else float(value) + 0.0


def _settle(settings: Any) -> None:
    """Check every number and choice of a settings object and give it its field's type."""
    for entry in options(type(settings)):
        object.__setattr__(settings, entry.name, check(entry, getattr(settings, entry.name)))


def _added() -> tuple[str, ...]:
    names = [entry.name for entry in dataclasses.fields(SampleSettings)]
    return tuple(names[names.index("loras") + 1 :])


# The settings that came after the first release, in the order of the forms.
ADVANCED = _added()

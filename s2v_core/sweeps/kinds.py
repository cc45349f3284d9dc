"""The kinds of axes: what each of them varies, which values it takes, and how they are said."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import SettingsError
from ..prompts.prompt import Prompt
from ..wan.presets import find_preset
from ..wan.scales import say_number
from ..wan.settings import ADVANCED, LoraUse, SampleSettings, check, option
from .scene import OWN, PoseSource, Scene, accept_model, accept_pose, accept_references, say_model, say_references

_LABEL_WIDTH = 80


class Base(NamedTuple):
    """What the axes change: prompt, settings, and the model and pictures."""

    prompt: Prompt
    settings: SampleSettings
    scene: Scene = OWN


@dataclass(frozen=True)
class AxisKind:
    """How one kind of axis works.

    ``title``: how it is called in headers. ``accept(value) -> value`` gives the value in its one true form or raises
    ``SettingsError``. ``apply(base, value, label) -> base`` puts the value in. ``say(value)`` is the value as text.
    ``joint``: what stands between title and value in a label.
    """

    title: str
    accept: Callable[[Any], Any]
    apply: Callable[[Base, Any, str], Base]
    say: Callable[[Any], str]
    joint: str = " "


def axis_kind(name: str) -> AxisKind:
    """The entry of ``AXES`` with this name; ``SettingsError`` lists the known ones and names the nearest."""
    if name not in AXES:
        near = difflib.get_close_matches(str(name), AXES, 1)
        raise SettingsError(
            f"There is no axis called {name!r}.",
            expected=f"one of {', '.join(AXES)}",
            got=repr(name),
            remedy=f"Did you mean {near[0]}?" if near else "Check the spelling.",
        )
    return AXES[name]


def say_value(value: Any) -> str:
    """The value of a setting as people write it: 2.5, on, unipc."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return (value or "none") if isinstance(value, str) else say_number(value)


def _setting(name: str, title: str = "") -> AxisKind:
    entry = option(SampleSettings, name)

    def apply(base: Base, value: Any, label: str) -> Base:
        return base._replace(settings=replace(base.settings, **{name: value}))

    return AxisKind(title or name.replace("_", " "), partial(check, entry), apply, say_value)


def _preset() -> AxisKind:
    """Sets of settings with their negative prompt; they come before all other axes, which may change them again."""

    def accept(value: Any) -> str:
        return find_preset(value).name

    def apply(base: Base, value: str, label: str) -> Base:
        preset = find_preset(value)
        prompt = base.prompt if preset.negative is None else replace(base.prompt, negative=preset.negative)
        return base._replace(prompt=prompt, settings=preset.on(base.settings))

    return AxisKind("preset", accept, apply, str)


def _lora_setting(name: str) -> AxisKind:
    """A field of ``LoraUse``, put into all LoRAs."""
    entry = option(LoraUse, name)

    def apply(base: Base, value: Any, label: str) -> Base:
        loras = tuple(replace(use, **{name: value}) for use in base.settings.loras)
        return base._replace(settings=replace(base.settings, loras=loras))

    def say(value: Any) -> str:
        return value or "all" if name == "scope" else say_value(value)

    title = "LoRA" if name == "strength" else f"LoRA {name.replace('_', ' ')}"
    return AxisKind(title, partial(check, entry), apply, say)


def _accept_lora(value: Any) -> LoraUse | str:
    if isinstance(value, LoraUse):
        return value
    text = str(value).strip() if isinstance(value, (str, PurePath)) else ""
    if not text:
        raise SettingsError(
            f"The axis lora cannot have the value {value!r}.", expected='a LoRA file, or "none"', got=repr(value)
        )
    return text


def _apply_lora(base: Base, value: LoraUse | str, label: str) -> Base:
    given = base.settings.loras
    if isinstance(value, LoraUse):
        loras: tuple[LoraUse, ...] = (value,)
    elif value == "none":
        loras = ()
    else:
        loras = (replace(given[0], file=value) if given else LoraUse(value),)
    return base._replace(settings=replace(base.settings, loras=loras))


def _say_lora(value: LoraUse | str) -> str:
    if isinstance(value, LoraUse):
        return value.say()
    return value if value == "none" else PurePath(value).stem


def _accept_prompt(value: Any) -> Prompt | str:
    if isinstance(value, Prompt):
        return value
    if not isinstance(value, str) or not value.strip():
        raise SettingsError("The axis prompt has an empty value.", expected="a prompt's text", got=repr(value))
    return value.strip()


def _apply_prompt(base: Base, value: Prompt | str, label: str) -> Base:
    if not isinstance(value, Prompt):
        value = Prompt(value, base.prompt.negative, variant=label.removeprefix("prompt: "))
    return base._replace(prompt=value)


def _say_prompt(value: Prompt | str) -> str:
    if isinstance(value, Prompt) and value.variant != "custom":
        return value.variant
    return textwrap.shorten(value.text if isinstance(value, Prompt) else value, _LABEL_WIDTH, placeholder="…")


def _lora_on() -> AxisKind:
    """The base model against the base model with its LoRAs."""

    def accept(value: Any) -> bool:
        if not isinstance(value, bool):
            raise SettingsError(
                f"The axis lora_on cannot have the value {value!r}.",
                expected="off (the base model) or on (with the LoRAs)",
                got=repr(value),
            )
        return value

    def apply(base: Base, value: bool, label: str) -> Base:
        return base if value else base._replace(settings=replace(base.settings, loras=()))

    return AxisKind("LoRA", accept, apply, say_value)


def _size() -> AxisKind:
    """Width and height together; no grid needs them apart."""

    def accept(value: Any) -> tuple[int, int]:
        try:
            if isinstance(value, str):
                value = [int(part) for part in value.lower().replace("×", "x").split("x")]
            width, height = value
        except (TypeError, ValueError):
            raise SettingsError(
                f"{value!r} is not a size.", expected="width x height such as 832x480", got=repr(value)
            ) from None
        made = SampleSettings(width=width, height=height)
        return made.width, made.height

    def apply(base: Base, value: tuple[int, int], label: str) -> Base:
        return base._replace(settings=replace(base.settings, width=value[0], height=value[1]))

    return AxisKind("size", accept, apply, lambda value: f"{value[0]}x{value[1]}")


def _frames() -> AxisKind:
    plain = _setting("frames")
    # 4n + 1: said while it is typed, not when the cells are planned.
    return replace(plain, accept=lambda value: SampleSettings(frames=plain.accept(value)).frames)


def _scene(name: str, accept: Callable[[Any], Any], say: Callable[[Any], str]) -> AxisKind:
    def apply(base: Base, value: Any, label: str) -> Base:
        return base._replace(scene=replace(base.scene, **{name: value}))

    return AxisKind(name, accept, apply, say, ": ")


# Axes over how LoRAs are used, and the fields of ``LoraUse`` that they set.
LORA_AXES: Mapping[str, str] = MappingProxyType(
    {f"lora_{name}": name for name in ("strength", "scope", "from_step", "to_step", "ramp_in", "ramp_out")}
)
# The order is the order of application: a preset is put in before what it sets, a LoRA file before its strength.
AXES: Mapping[str, AxisKind] = MappingProxyType(
    {
        "preset": _preset(),
        "model": _scene("model", accept_model, say_model),
        "pose": _scene("pose", accept_pose, PoseSource.say),
        "reference": _scene("reference", accept_references, say_references),
        "guidance": _setting("guidance"),
        "steps": _setting("steps"),
        "shift": _setting("shift"),
        "seed": _setting("seed"),
        "control_strength": _setting("control_strength", "control"),
        "prompt": AxisKind("prompt", _accept_prompt, _apply_prompt, _say_prompt, ": "),
        "lora": AxisKind("LoRA file", _accept_lora, _apply_lora, _say_lora, ": "),
        **{name: _lora_setting(field) for name, field in LORA_AXES.items()},
        # After all that changes LoRAs: off means none at all.
        "lora_on": _lora_on(),
        "solver": _setting("solver"),
        "size": _size(),
        "frames": _frames(),
        "precision": _setting("precision"),
        "fit": _setting("fit"),
        "tiling": _setting("tiling"),
        **{name: _setting(name, {"reference_strength": "reference"}.get(name, "")) for name in ADVANCED},
    }
)
# Axes whose values are typed or listed one a line: prompts, files, and what has commas of its own.
LINES = ("prompt", "lora", "lora_scope", "guidance_schedule", "model", "pose", "reference")
# Axes that need another renderer for each value, and what they are when no axis varies them: the sweep's own.
SCENE_AXES = ("model", "pose", "reference")
# Axes that do nothing without a LoRA.
NEED_LORA = (*LORA_AXES, "lora_on")

"""Axes, cells and the sweep that they make.

A sweep is a base (a prompt and settings) and axes; each axis replaces one thing in the base by each of its values.
A cell is one point of that grid, with everything that decides its pixels.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from ..errors import SettingsError
from ..prompts.prompt import Prompt
from ..wan.presets import find_preset
from ..wan.scales import say_number
from ..wan.settings import ADVANCED, LoraUse, SampleSettings, check, option

Base = tuple[Prompt, SampleSettings]
_LABEL_WIDTH = 80


@dataclass(frozen=True)
class AxisKind:
    """How one kind of axis works.

    ``title``: how it is called in headers. ``accept(value) -> value`` gives the value in its one true form or raises
    ``SettingsError``. ``apply(base, value, label) -> base`` puts the value in. ``say(value)`` is the value as text.
    """

    title: str
    accept: Callable[[Any], Any]
    apply: Callable[[Base, Any, str], Base]
    say: Callable[[Any], str]


@dataclass(frozen=True)
class Axis:
    """One thing that varies. ``name``: a key of ``AXES``; ``values`` and ``labels`` have the same length.

    Raises ``SettingsError`` for an unknown name, no values, a value out of range, or the same value or label twice.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        kind = axis_kind(self.name)
        object.__setattr__(self, "values", tuple(kind.accept(value) for value in self.values))
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.values:
            raise SettingsError(f"The axis {self.name} has no values.", expected="one value or more")
        if len(self.labels) != len(self.values):
            raise SettingsError(
                f"The axis {self.name} needs one label a value.",
                expected=f"{len(self.values)} labels",
                got=str(len(self.labels)),
            )
        for what, entries in (("value", [_key(value) for value in self.values]), ("label", list(self.labels))):
            if twice := [entry for number, entry in enumerate(entries) if entry in entries[:number]]:
                raise SettingsError(
                    f"The axis {self.name} has the same {what} twice.",
                    expected=f"every {what} once",
                    got=f"{twice[0]!r} again",
                    remedy=f"Remove the second {twice[0]!r}.",
                )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def title(self) -> str:
        """The axis as headers call it, for example "LoRA"."""
        return axis_kind(self.name).title


@dataclass(frozen=True)
class Sweep:
    """A base and its axes. The first axis runs over the grid's rows, the second over its columns, others over pages.

    A single axis runs over the columns of one row. Raises ``SettingsError`` for no axes, the same axis twice, or a
    LoRA strength, scope or step axis where there is no LoRA.
    """

    prompt: Prompt
    settings: SampleSettings
    axes: tuple[Axis, ...]
    name: str = "sweep"

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        names = [axis.name for axis in self.axes]
        if not names:
            raise SettingsError("This sweep has no axes.", expected="one axis or more", remedy="Add an axis.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingsError(
                f"This sweep has the axis {twice[0]} {names.count(twice[0])} times.",
                expected="every axis once",
                remedy="Put all values into one axis.",
            )
        idle = [name for name in names if name in LORA_AXES]
        if idle and "lora" not in names and not self.settings.loras:
            raise SettingsError(
                f"The axis {idle[0]} has no LoRA to act on.",
                expected="settings with at least one LoRA, or a lora axis",
                remedy="Add a LoRA to the base settings or remove the axis.",
            )


@dataclass(frozen=True)
class Cell:
    """One rendering of a sweep.

    ``id``: hex sha256 of everything that decides its pixels. ``index``: its place on each axis.
    ``labels``: one text an axis.
    """

    id: str
    prompt: Prompt
    settings: SampleSettings
    index: tuple[int, ...]
    labels: tuple[str, ...]


def axis_kind(name: str) -> AxisKind:
    """The entry of ``AXES`` with this name; ``SettingsError`` lists the known ones."""
    if name not in AXES:
        raise SettingsError(
            f"There is no axis called {name!r}.",
            expected=f"one of {', '.join(AXES)}",
            got=repr(name),
            remedy="Check the spelling.",
        )
    return AXES[name]


def make_axis(name: str, values: Iterable[Any], labels: Iterable[str] | None = None) -> Axis:
    """An axis over ``values``, each checked against the range of its setting.

    ``values``: numbers; for ``prompt``, ``Prompt`` objects or texts (a text takes the base's negative prompt); for
    ``lora``, file paths or ``LoraUse`` (a path is used as the base's first LoRA is; "none" is no LoRA).
    ``labels``: one text a value; made from the values when left out. Raises ``SettingsError``.
    """
    kind = axis_kind(name)
    if isinstance(values, (str, bytes)):
        raise SettingsError(f"The values of the axis {name} must be a list.", got=repr(values))
    accepted = tuple(kind.accept(value) for value in values)
    if labels is None:
        return Axis(name, accepted, _labels(kind, accepted))
    return Axis(name, accepted, tuple(labels))


def apply_axes(base: Base, chosen: Mapping[str, tuple[Any, str]]) -> Base:
    """``base`` with one (value, label) of each axis put in.

    Always in the order of ``AXES``, whatever the order of the sweep's axes: a LoRA is chosen before its strength.
    """
    for name, kind in AXES.items():
        if name in chosen:
            base = kind.apply(base, *chosen[name])
    return base


def say_value(value: Any) -> str:
    """The value of a setting as people write it: 2.5, on, unipc."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return (value or "none") if isinstance(value, str) else say_number(value)


def _setting(name: str, title: str = "") -> AxisKind:
    entry = option(SampleSettings, name)

    def apply(base: Base, value: Any, label: str) -> Base:
        return base[0], replace(base[1], **{name: value})

    return AxisKind(title or name.replace("_", " "), partial(check, entry), apply, say_value)


def _preset() -> AxisKind:
    """Sets of settings with their negative prompt; they come before all other axes, which may change them again."""

    def accept(value: Any) -> str:
        return find_preset(value).name

    def apply(base: Base, value: str, label: str) -> Base:
        preset = find_preset(value)
        prompt = base[0] if preset.negative is None else replace(base[0], negative=preset.negative)
        return prompt, preset.on(base[1])

    return AxisKind("preset", accept, apply, str)


def _lora_setting(name: str) -> AxisKind:
    """A field of ``LoraUse``, put into all LoRAs."""
    entry = option(LoraUse, name)

    def apply(base: Base, value: Any, label: str) -> Base:
        return base[0], replace(base[1], loras=tuple(replace(use, **{name: value}) for use in base[1].loras))

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
    prompt, settings = base
    if isinstance(value, LoraUse):
        return prompt, replace(settings, loras=(value,))
    if value == "none":
        return prompt, replace(settings, loras=())
    use = replace(settings.loras[0], file=value) if settings.loras else LoraUse(value)
    return prompt, replace(settings, loras=(use,))


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
    if isinstance(value, Prompt):
        return value, base[1]
    return Prompt(value, base[0].negative, variant=label.removeprefix("prompt: ")), base[1]


def _say_prompt(value: Prompt | str) -> str:
    if isinstance(value, Prompt) and value.variant != "custom":
        return value.variant
    return textwrap.shorten(value.text if isinstance(value, Prompt) else value, _LABEL_WIDTH, placeholder="…")


# Axes over how LoRAs are used, and the fields of ``LoraUse`` that they set.
LORA_AXES: Mapping[str, str] = MappingProxyType(
    {f"lora_{name}": name for name in ("strength", "scope", "from_step", "to_step")}
)
# The order is the order of application: a preset is put in before what it sets, a LoRA file before its strength.
AXES: Mapping[str, AxisKind] = MappingProxyType(
    {
        "preset": _preset(),
        "guidance": _setting("guidance"),
        "steps": _setting("steps"),
        "shift": _setting("shift"),
        "seed": _setting("seed"),
        "control_strength": _setting("control_strength", "control"),
        "prompt": AxisKind("prompt", _accept_prompt, _apply_prompt, _say_prompt),
        "lora": AxisKind("LoRA file", _accept_lora, _apply_lora, _say_lora),
        **{name: _lora_setting(field) for name, field in LORA_AXES.items()},
        "solver": _setting("solver"),
        **{name: _setting(name, {"reference_strength": "reference"}.get(name, "")) for name in ADVANCED},
    }
)


def _labels(kind: AxisKind, values: tuple[Any, ...]) -> tuple[str, ...]:
    said = [kind.say(value) for value in values]
    # Long prompts that differ only near their end get the same short text; their number tells them apart.
    said = [f"{number}: {text}" if said.count(text) > 1 else text for number, text in enumerate(said, start=1)]
    joint = ": " if kind.title in ("prompt", "LoRA file") else " "
    return tuple(f"{kind.title}{joint}{text}" for text in said)


def _key(value: Any) -> Any:
    """What makes two values of an axis the same: for prompts the two texts, not where they came from."""
    return (value.text, value.negative) if isinstance(value, Prompt) else value

"""Axes, cells and the sweep that they make.

A sweep is a base (a prompt and settings) and axes; each axis replaces one thing in the base by each of its values, or
several things together (``zip_axes``). A cell is one point of that grid, with everything that decides its pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import SettingsError
from ..prompts.prompt import Prompt
from ..wan.settings import SampleSettings
from .kinds import AXES, LORA_AXES, NEED_LORA, AxisKind, Base, axis_kind, say_value
from .scene import OWN, Scene

__all__ = [
    "AXES",
    "LORA_AXES",
    "Axis",
    "Base",
    "Cell",
    "Part",
    "Sweep",
    "apply_axes",
    "make_axis",
    "make_part",
    "say_value",
    "zip_axes",
]


@dataclass(frozen=True)
class Part:
    """One thing that an axis varies: a name of ``AXES`` with a value and a label for each place on the axis."""

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """What varies along one side of the grid. ``name``: a key of ``AXES``; ``values`` and ``labels`` have the same
    length.

    ``zipped``: several things that vary together; ``name`` is then theirs with " + " in between, and a value is a tuple
    of theirs. Raises ``SettingsError`` for an unknown name, no values, a value out of range, or the same value or label
    twice.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    zipped: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if not self.zipped:
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
        """The axis as headers call it, for example "LoRA" or "steps + guidance"."""
        return " + ".join(axis_kind(part.name).title for part in self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What varies along it: itself, or what was zipped."""
        return self.zipped or (Part(self.name, self.values, self.labels),)

    def picks(self, at: int) -> dict[str, tuple[Any, str]]:
        """The value and label of each part at a place on the axis, by name, for ``apply_axes``."""
        return {part.name: (part.values[at], part.labels[at]) for part in self.parts}


@dataclass(frozen=True)
class Sweep:
    """A base and its axes. The first axis runs over the grid's rows, the second over its columns, others over pages.

    A single axis runs over the columns of one row. ``scene``: the model and pictures, which axes may vary.
    Raises ``SettingsError`` for no axes, the same axis twice, or a LoRA strength, scope or step axis where there is no
    LoRA.
    """

    prompt: Prompt
    settings: SampleSettings
    axes: tuple[Axis, ...]
    name: str = "sweep"
    scene: Scene = OWN

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        names = [part.name for axis in self.axes for part in axis.parts]
        if not names:
            raise SettingsError("This sweep has no axes.", expected="one axis or more", remedy="Add an axis.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingsError(
                f"This sweep has the axis {twice[0]} {names.count(twice[0])} times.",
                expected="every axis once",
                remedy="Put all values into one axis.",
            )
        idle = [name for name in names if name in NEED_LORA]
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
    ``labels``: one text an axis. ``scene``: the model and pictures, where axes vary them.
    """

    id: str
    prompt: Prompt
    settings: SampleSettings
    index: tuple[int, ...]
    labels: tuple[str, ...]
    scene: Scene = OWN

    @cached_property
    def effective(self) -> SampleSettings:
        """``plan.effective`` of the settings."""
        from .plan import effective

        return effective(self.settings)


def make_axis(name: str, values: Iterable[Any], labels: Iterable[str] | None = None) -> Axis:
    """An axis over ``values``, each checked against the range of its setting.

    ``values``: numbers; for ``prompt``, ``Prompt`` objects or texts (a text takes the base's negative prompt); for
    ``lora``, file paths or ``LoraUse`` (a path is used as the base's first LoRA is; "none" is no LoRA); for ``model``,
    ``pose`` and ``reference`` what ``scene`` takes.
    ``labels``: one text a value; made from the values when left out. Raises ``SettingsError``.
    """
    part = make_part(name, values, labels)
    return Axis(part.name, part.values, part.labels)


def make_part(name: str, values: Iterable[Any], labels: Iterable[str] | None = None) -> Part:
    """``make_axis`` for a part of a zip, where values may come twice."""
    kind = axis_kind(name)
    if isinstance(values, (str, bytes)):
        raise SettingsError(f"The values of the axis {name} must be a list.", got=repr(values))
    accepted = tuple(kind.accept(value) for value in values)
    return Part(name, accepted, _labels(kind, accepted) if labels is None else tuple(labels))


def zip_axes(parts: Iterable[Part], labels: Iterable[str] | None = None) -> Axis:
    """One axis over several things that vary together: the first values of all, the second values of all...

    ``labels``: one text for each place; those of the parts, joined, when left out. Raises ``SettingsError`` for parts
    of different lengths, the same part twice, or fewer than two.
    """
    given = tuple(parts)
    names = [part.name for part in given]
    if len(given) < 2 or len(set(names)) < len(names):
        raise SettingsError(
            "These axes cannot be zipped.", expected="two different axes or more", got=", ".join(names) or "none"
        )
    lengths = {part.name: len(part.values) for part in given}
    if len(set(lengths.values())) > 1:
        raise SettingsError(
            "Axes that are zipped must have equally many values.",
            expected=f"{max(lengths.values())} values each",
            got=", ".join(f"{length} of {name}" for name, length in lengths.items()),
            remedy="Add the missing values, or write the axes one below the other, which crosses them.",
        )
    values = tuple(zip(*(part.values for part in given), strict=True))
    joined = tuple(", ".join(said) for said in zip(*(part.labels for part in given), strict=True))
    return Axis(" + ".join(names), values, joined if labels is None else tuple(labels), given)


def apply_axes(base: Base, chosen: Mapping[str, tuple[Any, str]]) -> Base:
    """``base`` with one (value, label) of each axis put in.

    Always in the order of ``AXES``, whatever the order of the sweep's axes: a LoRA is chosen before its strength.
    """
    for name, kind in AXES.items():
        if name in chosen:
            base = kind.apply(base, *chosen[name])
    return base


def _labels(kind: AxisKind, values: tuple[Any, ...]) -> tuple[str, ...]:
    said = [kind.say(value) for value in values]
    # Long prompts that differ only near their end get the same short text; their number tells them apart.
    keys = [_key(value) for value in values]
    said = [
        f"{number}: {text}" if len({key for key, other in zip(keys, said, strict=True) if other == text}) > 1 else text
        for number, text in enumerate(said, start=1)
    ]
    return tuple(f"{kind.title}{kind.joint}{text}" for text in said)


def _key(value: Any) -> Any:
    """What makes two values of an axis the same: for prompts the two texts, not where they came from."""
    return (value.text, value.negative) if isinstance(value, Prompt) else value

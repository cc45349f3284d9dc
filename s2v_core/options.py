"""Settings that describe themselves: a frozen dataclass whose fields carry default, range and help.

Forms, the command line and the documentation read them from there (``options``), and so does the check of every value
that a person gives (``settle``). A field is made by ``number``, ``choice``, ``flag`` or ``text``.
"""

from __future__ import annotations

import dataclasses
import difflib
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from .errors import SettingsError

Settings = TypeVar("Settings")


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


def number(default: Any, help: str, minimum: float, maximum: float, step: float) -> Any:
    """A field for a number; the default's type, int or float, is the field's."""
    return field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum, "step": step})


def choice(default: str, help: str, *choices: str) -> Any:
    """A field for one of a few words."""
    return field(default=default, metadata={"help": help, "choices": choices})


def flag(default: bool, help: str) -> Any:
    """A field that is true or false."""
    return field(default=default, metadata={"help": help})


def text(default: str, help: str, parse: Callable[[Any], str]) -> Any:
    """A field for a text; ``parse(value)`` gives its one true form or raises ``SettingsError``."""
    return field(default=default, metadata={"help": help, "parse": parse})


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


def settle(settings: Any) -> None:
    """Check every number, choice and text of a frozen settings object and give it its field's type.

    For its ``__post_init__``.
    """
    kind: type = type(settings)
    for entry in options(kind):
        object.__setattr__(settings, entry.name, check(entry, getattr(settings, entry.name)))


def from_mapping(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings of this class out of a dictionary or a user's file.

    Missing names keep their default. Raises SettingsError for unknown names and for whatever the class refuses.
    """
    if not isinstance(values, Mapping):
        example = ", ".join(f"{entry.name}: {entry.default}" for entry in options(kind)[:1])
        raise SettingsError("Settings must be names with values.", expected=f"{example}, ...", got=repr(values))
    known = {entry.name for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(str(name) for name in values if name not in known):
        near = difflib.get_close_matches(unknown[0], known, 1)
        raise SettingsError(
            f"Unknown setting: {', '.join(unknown)}.",
            expected=f"one of {', '.join(sorted(known))}",
            got=", ".join(unknown),
            remedy=f"Did you mean {near[0]}?" if near else "Check the spelling.",
        )
    return kind(**values)

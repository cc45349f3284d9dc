"""The values of an axis as a person types them into one text field."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from ..errors import SettingsError
from ..wan.settings import LoraUse, Option, SampleSettings, option
from .axes import Axis, Part, make_part
from .kinds import LINES, LORA_AXES, axis_kind

MOST_VALUES = 1000
# 1..8 step 0.5, or 1:8:0.5.
_RANGE = re.compile(
    r"(?P<first>[^\s,;:]+?)\s*(?:"
    r"\.\.\s*(?P<last>[^\s,;:]+)(?:\s+step\s+(?P<step>[^\s,;]+))?"
    r"|:\s*(?P<stop>[^\s,;:]+)(?:\s*:\s*(?P<by>[^\s,;:]+))?)",
    re.IGNORECASE,
)
_SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
_WITH_LORA = {**_SWITCH, "lora": True, "base": False}
LABELLED = re.compile(r"\[(?P<label>[^\]]+)\]\s*(?P<text>.+)")


def parse_values(name: str, text: str) -> Axis:
    """The axis ``name`` out of typed text.

    Numbers are parted by commas, semicolons, spaces or line breaks; ``1..8 step 0.5`` (or ``1..8``, step 1) is a
    range with both ends, downwards too, and so is ``1:8:0.5`` (start:stop:step). Names such as solvers, presets and
    sizes are parted in the same way; a switch is on or off, ``lora_on`` also lora or base. Prompts, files, LoRA scopes
    and guidance schedules stand one a line; ``[identity] A man with...`` gives a line the label "identity"; "none" is
    no LoRA, no pose video, no reference. Raises ``SettingsError`` that quotes what could not be read.
    """
    part = parse_part(name, text)
    return Axis(part.name, part.values, part.labels)


def parse_part(name: str, text: str) -> Part:
    """``parse_values`` for what is to be zipped, where a value may come twice."""
    axis_kind(name)
    if name in LINES:
        return _lines(name, text)
    return make_part(name, read_values(name, text))


def read_values(name: str, text: str) -> list[Any]:
    """The values in a text of ``parse_values``, for an axis whose values do not stand one a line."""
    axis_kind(name)
    if name == "lora_on":
        return [_WITH_LORA.get(word.lower(), word) for word in _words(text)]
    if name in ("preset", "size"):
        return _words(text)
    entry = option(LoraUse, LORA_AXES[name]) if name in LORA_AXES else option(SampleSettings, name)
    if entry.choices:
        return _words(text)
    if isinstance(entry.default, bool):
        return [_SWITCH.get(word.lower(), word) for word in _words(text)]
    values: list[float] = []
    position = 0
    text = text.strip()
    while position < len(text):
        if span := _RANGE.match(text, position):
            values.extend(_range(entry, span))
            position = span.end()
        else:
            word = re.compile(r"[^\s,;]+").match(text, position)
            if word is None:
                position += 1
                continue
            values.append(_typed(entry, _decimal(entry, word.group())))
            position = word.end()
        if len(values) > MOST_VALUES:
            raise _too_many(entry)
    return values


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,;]+", text) if word]


def _lines(name: str, text: str) -> Part:
    values = []
    labels: list[str | None] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        labelled = LABELLED.fullmatch(line)
        values.append(labelled["text"] if labelled else line)
        labels.append(labelled["label"].strip() if labelled else None)
    automatic = make_part(name, values)
    title = axis_kind(name).title
    return make_part(
        name, values, [f"{title}: {own}" if own else made for own, made in zip(labels, automatic.labels, strict=True)]
    )


def _range(entry: Option, span: re.Match[str]) -> list[float]:
    first, last = _decimal(entry, span["first"]), _decimal(entry, span["last"] or span["stop"])
    step = abs(_decimal(entry, span["step"] or span["by"] or "1"))
    if not step:
        raise SettingsError(
            f"The range {span.group()!r} of {entry.name} never ends.",
            expected="a step above 0",
            got=str(span["step"] or span["by"]),
        )
    # In decimal arithmetic 0..1 step 0.1 has exactly the eleven values that a person expects.
    try:
        count = abs(last - first) / step
    except ArithmeticError:
        raise _too_many(entry) from None
    if count >= MOST_VALUES:
        raise _too_many(entry)
    step = step if last >= first else -step
    return [_typed(entry, first + number * step) for number in range(int(count) + 1)]


def _decimal(entry: Option, word: str) -> Decimal:
    try:
        value = Decimal(word)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise SettingsError(
            f"{word!r} is not a value of {entry.name}.",
            expected='numbers such as "1, 2.5, 4" or a range such as "1..8 step 0.5" or "1:8:0.5"',
            got=repr(word),
        )
    return value


def _typed(entry: Option, value: Decimal) -> float:
    if isinstance(entry.default, float):
        return float(value)
    # Out of every setting's range: left for the axis to refuse, but never expanded to a million digits.
    if value.adjusted() > 30 or value != value.to_integral_value():
        raise SettingsError(
            f"The setting {entry.name} cannot be {value}.", expected="a whole number in its range", got=str(value)
        )
    return int(value)


def _too_many(entry: Option) -> SettingsError:
    return SettingsError(
        f"The axis {entry.name} has too many values.",
        expected=f"at most {MOST_VALUES}",
        remedy="Use a larger step or fewer values.",
    )

"""A number for each step, as a person writes it: ``6x10, 3.5x5, 1``."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from ..errors import SettingsError

_ENTRY = re.compile(r"(?P<value>[-+]?[0-9.]+(?:e[-+]?\d+)?)(?:\s*[x×*]\s*(?P<times>\d+))?", re.IGNORECASE)
MOST_STEPS = 200


def parse_scales(value: Any, minimum: float, maximum: float) -> tuple[float, ...]:
    """The numbers of a list: a text such as ``"6, 6, 4"`` or ``"6x10, 3.5x5, 1"``, or a list of numbers.

    An empty text and an empty list give (). Raises ``SettingsError`` for what is no number or lies outside
    ``minimum`` to ``maximum``, and for more than 200 numbers.
    """

    def fail(got: Any) -> SettingsError:
        return SettingsError(
            f"{value!r} is not a list of guidance scales.",
            expected=f"at most {MOST_STEPS} numbers from {say_number(minimum)} to {say_number(maximum)}",
            got=repr(got),
            remedy="Write one number for each step; 6x10 is 6 for ten steps, and the last one holds to the end.",
        )

    found: list[float] = []
    if isinstance(value, str):
        for word in filter(None, (word.strip() for word in re.split(r"[,;\n]", value))):
            entry = _ENTRY.fullmatch(word)
            try:
                number = float(entry["value"]) if entry else math.nan
            except ValueError:
                number = math.nan
            times = int(entry["times"] or 1) if entry and len(entry["times"] or "1") < 9 else 0
            if not 1 <= times <= MOST_STEPS:
                raise fail(word)
            found.extend([_in_range(number, word, minimum, maximum, fail)] * times)
            if len(found) > MOST_STEPS:
                raise fail(f"{len(found)} numbers")
    elif isinstance(value, (list, tuple)):
        for number in value:
            if isinstance(number, bool) or not isinstance(number, numbers.Real):
                raise fail(number)
            found.append(_in_range(float(number), number, minimum, maximum, fail))
        if len(found) > MOST_STEPS:
            raise fail(f"{len(found)} numbers")
    else:
        raise fail(value)
    return tuple(found)


def say_scales(scales: Iterable[float]) -> str:
    """The one true text of a list: runs are joined, and the last number, which holds to the end, stands once."""
    runs = [(value, len(list(same))) for value, same in groupby(scales)]
    said = [f"{say_number(value)}x{times}" if times > 1 else say_number(value) for value, times in runs[:-1]]
    return ", ".join([*said, *(say_number(value) for value, _ in runs[-1:])])


def say_number(value: float) -> str:
    """A number as people write it: 3, 2.5, 0.05."""
    text = repr(value)
    return text[:-2] if text.endswith(".0") else text


def _in_range(number: float, said: Any, minimum: float, maximum: float, fail: Any) -> float:
    # Written so that NaN fails too; adding 0.0 turns -0.0 into 0.0.
    if not (minimum <= number <= maximum):
        raise fail(said)
    return number + 0.0

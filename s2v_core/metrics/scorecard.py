"""What is measured of a clip, and what came out: ``Metric``, ``Score`` and ``Scorecard``. Light to import."""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ..errors import SettingsError

Direction = Literal["higher", "lower", "neutral"]
# What a metric may need besides the clip itself, in words for people.
NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "clip": "the clip",
        "control": "the pose video or its points",
        "reference": "the reference picture",
        "training": "the training set",
        "driving": "the clip that the pose was taken from",
        "provenance": "what was noted while the clip was rendered",
        "pose": "a detector of points",
        "face": "nets for faces",
        "text": "the prompt",
        "clip weights": "a CLIP model",
        "dino weights": "a DINOv2 model",
        "truth": "the toy world's truth",
    }
)
_DIRECTIONS = ("higher", "lower", "neutral")


@dataclass(frozen=True)
class Metric:
    """One thing that is measured.

    ``name``: its key everywhere; ``title``: for people. ``direction``: whether "higher" or "lower" is better;
    "neutral": neither (``ideal``, if any, is best). ``unit``: "" for a plain number. ``range``: the lowest and the
    highest value that it can have, None for no limit. ``needs``: keys of ``NEEDS``. ``source``: where the method comes
    from. ``says``: what it tells, in one plain sentence. ``version``: another one when the same clip can give another
    value. ``default``: whether it is measured when nobody chose.
    """

    name: str
    title: str
    direction: Direction
    unit: str
    range: tuple[float | None, float | None]
    needs: tuple[str, ...]
    source: str
    says: str
    version: str = "1"
    ideal: float | None = None
    default: bool = True

    def __post_init__(self) -> None:
        known = (*_DIRECTIONS, *NEEDS)
        if unknown := [word for word in (self.direction, *self.needs) if word not in known]:
            raise SettingsError(
                f"The metric {self.name!r} is not described in a known way.",
                expected=f"a direction of {', '.join(_DIRECTIONS)}, and needs of {', '.join(NEEDS)}",
                got=", ".join(unknown),
            )

    @property
    def lower_is_better(self) -> bool:
        """Whether the lowest value is the best one."""
        return self.direction == "lower"


@dataclass(frozen=True)
class Score:
    """What a metric gave. A value, or None with the ``reason`` why there is none: never zero instead.

    ``low``, ``high``: the 95% interval where there is one. ``how``: by what means, in a few words. ``version``: the
    metric's. Raises SettingsError for a value that is not finite, and for an empty score without a reason.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    how: str = ""
    reason: str = ""
    version: str = "1"

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high)
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise SettingsError("A score must be a finite number.", got=str(numbers))
        if (self.value is None) == (not self.reason):
            raise SettingsError(
                "A score has either a value or the reason why it has none.",
                got=f"value {self.value}, reason {self.reason!r}",
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``Scorecard.from_json`` reads it."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "how": self.how,
            "reason": self.reason,
            "version": self.version,
        }


def empty(reason: str) -> Score:
    """No value, and why."""
    return Score(None, reason=reason)


@dataclass(frozen=True)
class Scorecard:
    """The scores of one clip by metric, in the order in which they were asked for."""

    scores: Mapping[str, Score] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> Score:
        return self.scores[metric]

    def __contains__(self, metric: object) -> bool:
        return metric in self.scores

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def items(self) -> ItemsView[str, Score]:
        """Metric and score, one after the other."""
        return self.scores.items()

    def value(self, metric: str) -> float | None:
        """The value, or None where there is none."""
        score = self.scores.get(metric)
        return None if score is None else score.value

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Metric -> ``value``, ``low``, ``high``, ``how``, ``reason``, ``version``: what a cell store keeps."""
        return {name: score.to_json() for name, score in self.scores.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, Any]]) -> Scorecard:
        """What ``to_json`` gave, and further keys that are left alone. Raises SettingsError when it is none."""
        return cls({name: _score(name, said) for name, said in values.items()})


def _score(name: str, said: Mapping[str, Any]) -> Score:
    try:
        value, low, high = (None if said.get(key) is None else float(said[key]) for key in ("value", "low", "high"))
        how, version = str(said.get("how") or ""), str(said.get("version") or "1")
        reason = str(said.get("reason") or "")
        if value is None and not reason:
            reason = "no value was noted"
        return Score(value, low, high, how=how, reason=reason, version=version)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"The score {name!r} cannot be read.", expected="what Scorecard.to_json gives", got=repr(error)
        ) from error

"""Claims that a file states about sweeps, each as a test with a sign. ``claims.yaml`` beside this file holds the
project's own; docs/claims.md describes every key.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import SettingsError
from ..metrics.registry import METRICS
from ..sweeps.kinds import LORA_AXES
from ..sweeps.yamlfile import Lines, YamlRefused, read_yaml, refusal
from ..wan.settings import SampleSettings

OWN = Path(__file__).with_name("claims.yaml")
# What cells differ by, as ``Row.at`` calls it.
FACTORS = (
    *(entry.name for entry in fields(SampleSettings) if entry.name not in ("seed", "loras")),
    *("lora", *LORA_AXES, "prompt", "negative", "pose", "reference", "model"),
)


def _factor(name: str) -> str:
    return _known("setting that cells differ by", name, FACTORS)


def _margins(given: dict[str, float]) -> dict[str, float]:
    for name in given:
        _known("metric", name, METRICS)
    return given


def _known(what: str, name: str, known: Iterable[str]) -> str:
    if name not in (names := list(known)):
        near = difflib.get_close_matches(name, names, 1)
        raise ValueError(f"there is no {what} called {name!r}{f', did you mean {near[0]}?' if near else ''}")
    return name


FactorName = Annotated[str, AfterValidator(_factor)]
# Metric -> the smallest effect that matters. The first that the cells have scores of is taken.
Margins = Annotated[dict[str, Annotated[float, Field(ge=0)]], Field(min_length=1), AfterValidator(_margins)]
Place = float | str | bool
Expected = Literal["better", "worse", "rises", "falls"]


class Claim(BaseModel):
    """What all claims have: ``name``, and in ``says`` the sentence that is tested. ``where``: of which cells alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)
    name: str = Field(min_length=1)
    says: str = Field(min_length=1)
    where: dict[FactorName, Place] = Field(default_factory=dict)


class Trend(Claim):
    """Along an ``axis`` a metric gets better or worse, rises or falls; with ``between`` only from one place to
    another.
    """

    kind: Literal["trend"]
    axis: FactorName
    expect: Expected
    metrics: Margins
    between: tuple[Place, Place] | None = None


class Plateau(Claim):
    """Along an ``axis`` a metric gets better, but beyond a place by less for each unit of the axis than before.

    ``beyond``: the place; the middle one of those that there are when left out.
    """

    kind: Literal["plateau"]
    axis: FactorName
    metrics: Margins
    beyond: float | None = None


class Swap(Claim):
    """Two pose videos by two reference pictures: the ``pose`` metric follows the pose video and not the reference, and
    the ``identity`` metric the reference and not the pose video.
    """

    kind: Literal["swap"]
    # A prompt goes with the person that it describes.
    loose: ClassVar[tuple[str, ...]] = ("prompt", "negative")

    pose: Margins
    identity: Margins


class Rescue(Claim):
    """At the highest value of ``harm`` a metric is worse than at its lowest, and there the ``axis`` makes it better.

    ``keeps``: metrics that the axis must not make worse by more than their margin meanwhile.
    """

    kind: Literal["rescue"]
    harm: FactorName
    axis: FactorName
    metrics: Margins
    keeps: Margins | None = None


AnyClaim = Trend | Plateau | Swap | Rescue
KINDS: dict[str, type[Claim]] = {"trend": Trend, "plateau": Plateau, "swap": Swap, "rescue": Rescue}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    claims: list[dict[str, Any]] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            raise ValueError("it holds no keys, where `claims:` with a list was expected")
        return values


def load_claims(path: str | os.PathLike[str] | None = None) -> tuple[AnyClaim, ...]:
    """The claims of a file, the project's own for None. Raises ``SettingsError`` that names the file, line and key."""
    file = OWN if path is None else Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The claims file {file} cannot be read.", got=str(error)) from error
    lines: Lines = {}
    try:
        values, lines = read_yaml(text)
        try:
            stated = _File.model_validate(values).claims
        except ValidationError as error:
            raise YamlRefused.of(error, _File) from None
        claims = [_claim(values, ("claims", number)) for number, values in enumerate(stated)]
        names = [claim.name for claim in claims]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise YamlRefused(f"the claim {name!r} is there twice", ("claims", number, "name"))
    except YamlRefused as error:
        raise refusal(file, lines, error) from None
    return tuple(claims)


def _claim(values: dict[str, Any], place: tuple[str | int, ...]) -> Any:
    kind = values.get("kind")
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, 1)
        raise YamlRefused(
            f"{kind!r} is no kind of claim" if kind else "the key 'kind' is missing",
            (*place, "kind") if kind else place,
            expected=f"one of {', '.join(KINDS)}",
            remedy=f"Did you mean {near[0]}?" if near else "",
        )
    try:
        return KINDS[kind].model_validate(values)
    except ValidationError as error:
        raise YamlRefused.of(error, KINDS[kind], place) from None

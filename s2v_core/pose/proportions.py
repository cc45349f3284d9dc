"""How long the limbs of a body are, and by how much those of two bodies differ.

In a picture a limb is as long as it really is only while it lies in the picture's plane. A dancer's limb is therefore
measured by a high quantile of its length over time. A reference is a single picture: its lengths are taken as they are,
for a pair of limbs by default the longer one of both, and lengths that cannot be true are replaced and said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingsError
from .draw import THRESHOLD
from .settings import QUANTILE
from .skeleton import (
    ANKLES,
    FEET_OF,
    HEAD,
    HEAD_NAMES,
    LIMBS,
    NAMES,
    PALMS,
    limb_index,
)
from .track import FACE, LEFT_HAND, POINTS, RIGHT_HAND

Array = np.ndarray[Any, Any]

SIDES = ("left", "right")

_LEAST_FRAMES = 3  # a quantile of fewer lengths follows a single outlier
_BODY_NAMES = tuple(name for name in NAMES if name not in (*HEAD_NAMES, "neck"))


@dataclass(frozen=True)
class LimbRatio:
    """One limb of both bodies. ``ratio``: what the dancer's limb is multiplied by.

    ``reference`` and ``dancer``: lengths in pixels of their own pictures, NaN for what was not seen. ``how``: where the
    ratio comes from.
    """

    limb: str
    ratio: float
    reference: float
    dancer: float
    how: str

    def __str__(self) -> str:
        return f"{self.limb}: {self.ratio:.3f} ({self.how})"


@dataclass(frozen=True, eq=False)
class Proportions:
    """The ratios of two bodies.

    ``limbs`` [17]: in the order of ``LIMBS``. ``points`` [134]: for each point the ratio of what ends there: feet have
    that of their shin, the face that of the head. ``typical``: the median. ``table``: all of it to read. ``notes``:
    what could not be measured and what stands in for it.
    """

    limbs: Array
    points: Array
    typical: float
    table: tuple[LimbRatio, ...]
    notes: tuple[str, ...]


def limb_lengths(points: Array, scores: Array, quantile: float = QUANTILE, threshold: float = THRESHOLD) -> Array:
    """Each limb's length in pixels over one person's frames: float64 [17] in the order of ``LIMBS``.

    ``points`` [T, 134, 2], ``scores`` [T, 134]. The quantile of the lengths in the frames where both ends score more
    than ``threshold``; NaN where that is so in fewer than three frames (in a still picture: not at all).
    """

    def of(limb: int) -> Callable[[Array], Array]:
        return lambda at: np.linalg.norm(at[:, LIMBS[limb].end] - at[:, LIMBS[limb].start], axis=-1)

    pairs = [(limb.start, limb.end) for limb in LIMBS]
    return np.array([_measure(points, scores, pair, of(i), quantile, threshold) for i, pair in enumerate(pairs)])


def spread(
    points: Array, scores: Array, of: Sequence[int], quantile: float = QUANTILE, threshold: float = THRESHOLD
) -> float:
    """How large a group of points is: their root mean square distance from their middle, in pixels, over time.

    For nose, eyes and ears it changes by a few percent only while the head turns, unlike each line between them.
    Frames are used in which all points of the group are seen; NaN when there are fewer than three (see above).
    """

    def radius(at: Array) -> Array:
        group = at[:, list(of)]
        return np.sqrt(np.square(group - group.mean(axis=1, keepdims=True)).sum(axis=-1).mean(axis=1))

    return _measure(points, scores, of, radius, quantile, threshold)


def compare_bodies(
    dancer: tuple[Array, Array],
    reference: tuple[Array, Array],
    *,
    sides: str,
    head: str,
    hands: str,
    quantile: float,
    plausible: float,
) -> Proportions:
    """By how much the dancer's limbs must be multiplied to become the reference's.

    ``dancer`` and ``reference``: (points [T, 134, 2], scores [T, 134]) of one person; the reference has T = 1. The
    choices are those of ``RetargetSettings``. A limb that the reference does not show takes its other side's ratio,
    or the median ratio of the limbs that are seen: the dancer's own proportions at the reference's size.

    Raises SettingsError when the two have no limb in common.
    """
    of_reference, of_dancer = limb_lengths(*reference), limb_lengths(*dancer, quantile)
    if sides == "shared":
        of_reference, of_dancer = longer_side(of_reference), longer_side(of_dancer)
    measured = _divide(of_reference, of_dancer)
    seen = tuple(point for point in HEAD if reference[1][0, point] > THRESHOLD)
    head_sizes = (spread(*reference, seen), spread(*dancer, seen, quantile)) if len(seen) >= 3 else (np.nan, np.nan)
    of_head = float(_divide(np.array(head_sizes[0]), np.array(head_sizes[1])))
    typical = _typical(measured, of_head)

    table: list[LimbRatio] = []
    notes = _Notes()

    def settle(limb: str, ratio: float, lengths: tuple[float, float], how: str, other: float | None = None) -> float:
        """The ratio, or what stands in for it."""
        if not np.isfinite(ratio) and other is not None and np.isfinite(other):
            ratio, how = other, "its other side's"
        if not np.isfinite(ratio):
            missing = "the clip" if np.isfinite(lengths[0]) else "the reference"
            ratio, how = typical, f"median of the limbs seen: {missing} does not show it"
            notes.add(missing, limb)
        elif plausible and not plausible <= ratio / typical <= 1 / plausible:
            short = "the reference" if ratio < typical else "the clip"
            how = f"median of the limbs seen: {ratio:.2f} measured, foreshortened in {short}"
            notes.add(f"foreshortened in {short}", limb)
            ratio = typical
        table.append(LimbRatio(limb, ratio, *lengths, how))
        return ratio

    ratios = np.ones(len(LIMBS))
    own = {name for name in NAMES if head == "limbs" or name not in HEAD_NAMES}
    for index, limb in enumerate(LIMBS):
        if limb.name not in own:
            continue
        other = limb_index(limb.name, SIDES[limb.side == "left"]) if limb.side else index
        lengths = (float(of_reference[index]), float(of_dancer[index]))
        how = "longer side of each" if sides == "shared" and limb.side else "measured"
        ratios[index] = settle(str(limb), float(measured[index]), lengths, how, float(measured[other]))
    whole_head = settle("head", of_head, head_sizes, "spread of nose, eyes and ears")
    for index, limb in enumerate(LIMBS):
        if limb.name not in own:
            ratios[index] = whole_head

    points = np.ones(POINTS)
    for index, limb in enumerate(LIMBS):
        points[limb.end] = ratios[index]
    for ankle, foot in zip(ANKLES, FEET_OF, strict=True):
        points[list(foot)] = points[ankle]
    points[FACE] = whole_head
    of_hands = _hand_ratios(dancer, reference, ratios, sides, hands, quantile, plausible, table, notes)
    points[LEFT_HAND], points[RIGHT_HAND] = of_hands
    return Proportions(ratios, points, typical, tuple(table), notes.texts(typical))


def _hand_ratios(
    dancer: tuple[Array, Array],
    reference: tuple[Array, Array],
    ratios: Array,
    sides: str,
    hands: str,
    quantile: float,
    plausible: float,
    table: list[LimbRatio],
    notes: _Notes,
) -> tuple[float, float]:
    """Left and right; both with their forearm, or measured by the palm where both pictures show it."""
    forearms = [float(ratios[limb_index("forearm", side)]) for side in SIDES]
    if hands == "forearm":
        return forearms[0], forearms[1]
    of_reference = np.array([spread(*reference, palm) for palm in PALMS])
    of_dancer = np.array([spread(*dancer, palm, quantile) for palm in PALMS])
    if sides == "shared":
        of_reference, of_dancer = (np.full(2, _max(both)) for both in (of_reference, of_dancer))
    measured = _divide(of_reference, of_dancer)
    found = forearms.copy()
    for index, side in enumerate(SIDES):
        ratio, how = float(measured[index]), "measured by the palm"
        if not np.isfinite(ratio):
            ratio, how = float(measured[1 - index]), "its other side's"
        if not np.isfinite(ratio) or (plausible and not plausible <= ratio / forearms[index] <= 1 / plausible):
            ratio, how = forearms[index], "the forearm's"
            notes.add("hand", f"{side} hand")
        lengths = (float(of_reference[index]), float(of_dancer[index]))
        table.append(LimbRatio(f"{side} hand", ratio, *lengths, how))
        found[index] = ratio
    return found[0], found[1]


class _Notes:
    """Collects limbs by what is wrong with them, so that each reason is one sentence."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, reason: str, limb: str) -> None:
        self._found.setdefault(reason, []).append(limb)

    def texts(self, typical: float) -> tuple[str, ...]:
        stand_in = f"the dancer's own proportions are used, times {typical:.3f}, the median of the limbs seen"
        said = {
            "the reference": f"the reference does not show them: {stand_in}",
            "the clip": "the clip does not show them: whatever hangs on them is scaled by the median ratio",
            "foreshortened in the reference": f"much too short in the reference, seen from their ends: {stand_in}",
            "foreshortened in the clip": f"much too short in the whole clip, seen from their ends: {stand_in}",
            "hand": "not measurable by the palm: scaled with the forearm",
        }
        return tuple(f"{_join(limbs).capitalize()}: {said[reason]}." for reason, limbs in self._found.items())


def _join(limbs: list[str]) -> str:
    """Names with both sides of a pair said once: "left thigh", "right thigh" -> "both thighs"."""
    bare = [limb.removeprefix("left ").removeprefix("right ") for limb in limbs]
    return ", ".join(
        dict.fromkeys(
            f"{name} (both)" if bare.count(name) > 1 else limb for name, limb in zip(bare, limbs, strict=True)
        )
    )


def _measure(
    points: Array, scores: Array, of: Sequence[int], size: Callable[[Array], Array], quantile: float, threshold: float
) -> float:
    there = np.flatnonzero((scores[:, list(of)] > threshold).all(axis=1))
    if len(there) < min(_LEAST_FRAMES, len(points)) or not len(there):
        return float("nan")
    return float(np.quantile(size(points[there].astype(np.float64)), quantile))


def longer_side(lengths: Array) -> Array:
    """Both sides of each pair get the longer one; one side alone stands for both."""
    longest = {name: _max(lengths[[limb.name == name for limb in LIMBS]]) for name in NAMES}
    return np.array([longest[limb.name] for limb in LIMBS])


def _max(values: Array) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")


def _divide(reference: Array, dancer: Array) -> Array:
    """NaN where either is missing or the dancer's is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(dancer > 0, reference / dancer, np.nan)
    return np.where(ratio > 0, ratio, np.nan)


def _typical(measured: Array, head: float) -> float:
    """The median ratio of trunk, arms and legs, a pair counted once; with neck and head where fewer than three are."""

    def of(name: str) -> float:
        values = measured[[limb.name == name for limb in LIMBS]]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    values = [of(name) for name in _BODY_NAMES]
    if np.isfinite(values).sum() < 3:
        values += [of("neck"), head]
    values = [value for value in values if np.isfinite(value)]
    if not values:
        raise SettingsError(
            "The reference and the dancer have no limb in common.",
            expected="a reference picture that shows at least one limb that the clip also shows",
            got="none with both ends found in both",
            remedy="Choose a reference in which the body, not only the face, can be seen, or another pose backend.",
        )
    return float(np.median(values))

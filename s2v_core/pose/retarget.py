"""The dance of one body by another: a pose track gets the limbs, the place and the floor of a reference picture.

Each limb's vector is multiplied by one ratio for the whole clip: directions, and with them all joint angles in the
picture and all foreshortening, stay those of the dancer. The way of the body is multiplied by the ratio of the legs,
and corrected so that planted feet stay planted. Limbs are the lines that DWPose draws; the width of the hips, which is
not one of them, goes with the torso.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import SettingsError
from .contact import find_root, find_stance, foot_slide, plant_feet, sole_points
from .draw import THRESHOLD
from .placing import Figure, place_figure
from .proportions import LimbRatio, Proportions, compare_bodies, limb_lengths, longer_side
from .settings import RetargetSettings
from .skeleton import ANKLES, HIPS, LIMBS, NECK, NOSE, PARENTS, SOLES, complete, grow
from .track import PoseTrack

Array = np.ndarray[Any, Any]

_EXACT = 5e-4  # relative: how near the lengths come to the reference's after feet were planted
_ROUNDS = 6
_LEG = ("thigh", "shin")
_BODY = ("neck", "torso", *_LEG)
_CROWN = 0.8  # the top of the head is this much farther from the neck than the nose (measured on a standing dancer)


@dataclass(frozen=True, eq=False)
class RetargetResult:
    """A retargeted track and how it came about.

    ``track``: on the reference's canvas, at the clip's rate. ``ratios``: a row for each limb, the head and measured
    hands. ``scale``: target pixels for a pixel of the clip's floor. ``floor``: y of the floor line in the target, or
    NaN when no foot is seen in the clip. ``stance`` bool [T, 2]: when the left and the right foot are planted.
    ``slide_before``, ``slide_after``: ways of planted feet, in legs of each body (``contact.foot_slide``). ``notes``:
    everything that was chosen or could not be kept. ``reference``: the reference's pose.
    """

    track: PoseTrack
    ratios: tuple[LimbRatio, ...]
    scale: float
    floor: float
    stance: Array
    slide_before: float
    slide_after: float
    notes: tuple[str, ...]
    reference: PoseTrack

    def __str__(self) -> str:
        planted = f"feet slide {self.slide_after:.2f} legs in all (clip: {self.slide_before:.2f})"
        lines = [f"retargeted, scale {self.scale:.3f}; {planted}", *map(str, self.ratios), *self.notes]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class _Dancer:
    """What is known of the clip's dancer, in pixels of the clip.

    ``shown`` bool [T, 134]; ``filled`` [T, 134, 2]: without holes; ``ever`` [134]. ``lengths`` [17] of the limbs, NaN
    for what is never seen; ``leg``: 0 when no leg is. ``soles`` [T, 2, 2], ``stance`` [T, 2] as in ``contact``.
    ``origin`` [2]: ``_middle`` of the clip.
    """

    points: Array
    scores: Array
    shown: Array
    filled: Array
    ever: Array
    lengths: Array
    leg: float
    use_toes: bool
    soles: Array
    stance: Array
    origin: Array


def retarget(track: PoseTrack, reference: PoseTrack, settings: RetargetSettings | None = None) -> RetargetResult:
    """Let the body in ``reference`` dance what one person does in ``track``.

    ``reference``: one frame with one person; its canvas becomes the result's. Scores and notes are the clip's; points
    that were not found stay so. Limb lengths, measured by ``limb_lengths`` over the new track, are the reference's
    (with shared sides the longer one of each pair). Joint angles are the clip's; those of hip and knee change, by less
    than a degree, where the new legs could not keep both feet in place otherwise.

    Raises SettingsError when the person does not exist, nobody is found, or the bodies have no limb in common.
    """
    chosen = settings or RetargetSettings()
    _check(track, reference, chosen)
    body = reference.points[0], reference.scores[0]
    dancer = _look_at(track, body[1], chosen)
    proportions = compare_bodies(
        (dancer.points, dancer.scores),
        body,
        sides=chosen.sides,
        head=chosen.head,
        hands=chosen.hands,
        quantile=chosen.quantile,
        plausible=chosen.plausible,
    )
    new_lengths = dancer.lengths * proportions.limbs
    new_leg = _total(new_lengths, _LEG)
    scale = new_leg / dancer.leg if dancer.leg else proportions.typical
    points, soles = _rebuild(dancer, proportions, scale, track.fps, chosen)

    tall = _total(dancer.lengths, _BODY), _total(new_lengths, _BODY)
    figure = Figure(
        _with_crown(points),
        _inside(dancer, track.canvas),
        bool(dancer.shown[:, ANKLES].any()),
        dancer.use_toes,
        dancer.origin,
        tall[0] / tall[1] if tall[0] else 1 / proportions.typical,
    )
    placement = place_figure(
        figure, track.canvas, reference, place=chosen.place, size=chosen.size, stay_inside=chosen.stay_inside
    )
    new_points: Array = points[:, None] * placement.factor + placement.offset
    new_scores: Array = dancer.scores[:, None]
    if chosen.others == "keep":
        floor = (track.points - dancer.origin) * (scale * placement.factor) + placement.offset
        floor[:, chosen.person] = new_points[:, 0]
        new_points, new_scores = floor, track.scores
    slides = (0.0, 0.0)
    if dancer.stance.any():
        slides = foot_slide(dancer.soles, dancer.stance, dancer.leg), foot_slide(soles, dancer.stance, new_leg)
    return RetargetResult(
        PoseTrack(
            np.where(new_scores[..., None] > 0, new_points, 0).astype(np.float32),
            new_scores.astype(np.float32),
            reference.canvas,
            track.fps,
            f"{track.backend}, retargeted",
            track.notes,
        ),
        proportions.table,
        scale * placement.factor,
        float(placement.offset[1]) if figure.has_floor else float("nan"),
        dancer.stance,
        *slides,
        (*proportions.notes, *placement.notes, *_say(track, dancer, slides, chosen)),
        reference,
    )


def _check(track: PoseTrack, reference: PoseTrack, settings: RetargetSettings) -> None:
    people = track.points.shape[1]
    if reference.points.shape[:2] != (1, 1) or not (reference.scores > THRESHOLD).any():
        frames, seen = reference.points.shape[:2]
        nobody = "" if (reference.scores > THRESHOLD).any() else ", and nobody is found in it"
        raise SettingsError(
            "The reference pose cannot be used.",
            expected="the pose of one person in one picture",
            got=f"{frames} frames and {seen} people{nobody}",
            remedy="Extract the pose of the reference picture alone, and select the person in it.",
        )
    if settings.person >= people:
        raise SettingsError(
            f"There is no person {settings.person} in this pose track.",
            expected=f"a person from 0 to {people - 1}" if people else "a track with somebody in it",
            got=str(settings.person),
        )
    if not (track.scores[:, settings.person] > THRESHOLD).any():
        raise SettingsError(
            f"Person {settings.person} of this pose track is found in no frame.",
            expected=f"points that score more than {THRESHOLD}",
            got=f"at most {track.scores[:, settings.person].max(initial=0):.2f}",
            remedy="Choose another person, or another clip.",
        )


def _look_at(track: PoseTrack, reference_scores: Array, settings: RetargetSettings) -> _Dancer:
    points, scores = track.points[:, settings.person].astype(np.float64), track.scores[:, settings.person]
    shown = scores > THRESHOLD
    filled, ever = complete(points, shown)
    lengths = _measure(points, scores, settings)
    leg = _total(lengths, _LEG)
    # Both pictures must be measured at the same place of the foot.
    in_reference = [
        list(toes) for toes, ankle in zip(SOLES, ANKLES, strict=True) if reference_scores[0, ankle] > THRESHOLD
    ]
    use_toes = bool(
        ever[list(SOLES)].all() and all((reference_scores[0, toes] > THRESHOLD).all() for toes in in_reference)
    )
    soles, known = sole_points(filled, ever, use_toes), shown[:, ANKLES]
    stance = find_stance(soles, known, filled[:, HIPS, 1].mean(axis=1), leg, track.fps)
    origin = _middle(soles, known, stance, filled)
    return _Dancer(points, scores, shown, filled, ever, lengths, leg, use_toes, soles, stance, origin)


def _middle(soles: Array, known: Array, stance: Array, points: Array) -> Array:
    """The middle (x, y) of the floor that is danced on.

    x: between the feet, the median over time. y: where the lower one of the planted feet stands, the median; when none
    is ever planted, where the lower foot rarely goes below. When no foot is known, the middle of the neck's way.
    """
    seen = known.any(axis=1)
    if not seen.any():
        return np.median(points[:, NECK], axis=0)
    x = np.median(soles[seen, :, 0].mean(axis=1))
    if stance.any():
        return np.array([x, np.median(np.where(stance, soles[..., 1], -np.inf).max(axis=1)[stance.any(axis=1)])])
    return np.array([x, np.quantile(np.where(known, soles[..., 1], -np.inf).max(axis=1)[seen], 0.9)])


def _rebuild(
    dancer: _Dancer, proportions: Proportions, scale: float, fps: Fraction, settings: RetargetSettings
) -> tuple[Array, Array]:
    """The new body's points [T, 134, 2] and soles [T, 2, 2], in pixels of the reference around the floor's middle."""
    floor, neck = scale * (dancer.soles - dancer.origin), scale * (dancer.filled[:, NECK] - dancer.origin)
    ratios, wanted = proportions.points.copy(), dancer.lengths * proportions.limbs
    if not (settings.plant_feet and dancer.stance.any() and len(neck) > 1):
        grown, root = grow(dancer.filled, ratios), neck
    else:
        # Planting a foot stretches its leg a little; the leg's ratios are corrected until it measures what it should.
        for _ in range(_ROUNDS):
            grown = grow(dancer.filled, ratios)
            reach = sole_points(grown, dancer.ever, dancer.use_toes)
            root = find_root(floor, reach, neck, dancer.stance)
            grown = plant_feet(grown, root, floor, reach, dancer.stance, fps)
            off = wanted / _measure(grown, dancer.scores, settings)
            legs = [(limb.end, off[i]) for i, limb in enumerate(LIMBS) if limb.name in _LEG and np.isfinite(off[i])]
            if all(abs(by - 1) < _EXACT for _, by in legs):
                break
            for point, by in legs:
                ratios[point] *= by
    points = root[:, None] + grown
    soles = sole_points(points, dancer.ever, dancer.use_toes)
    middle = _middle(soles, dancer.shown[:, ANKLES], dancer.stance, points)
    points, soles, root = points - middle, soles - middle, root - middle
    # A point that is unsure was not used, but goes where its parent and its limb's ratio take it.
    parents = list(PARENTS)
    unsure = points[:, parents] + ratios[:, None] * (dancer.points - dancer.filled[:, parents])
    unsure[:, NECK] = root + scale * (dancer.points[:, NECK] - dancer.filled[:, NECK])
    return np.where(dancer.shown[..., None], points, unsure), soles


def _with_crown(points: Array) -> Array:
    """The points [T, 135, 2] with the top of the head, which no net finds but every picture shows, at their end."""
    nose, neck = points[:, [NOSE]], points[:, [NECK]]
    return np.concatenate([points, nose + _CROWN * (nose - neck)], axis=1)


def _inside(dancer: _Dancer, canvas: tuple[int, int]) -> Array:
    """Bool [T, 135]: the points, and the top of the head, that the clip shows inside its picture."""
    points = _with_crown(dancer.points)
    shown = np.concatenate([dancer.shown, dancer.shown[:, [NOSE, NECK]].all(axis=1, keepdims=True)], axis=1)
    return shown & ((points >= 0) & (points <= canvas[::-1])).all(axis=-1)


def _measure(points: Array, scores: Array, settings: RetargetSettings) -> Array:
    lengths = limb_lengths(points, scores, settings.quantile)
    return longer_side(lengths) if settings.sides == "shared" else lengths


def _total(lengths: Array, names: tuple[str, ...]) -> float:
    """The lengths of these limbs one after the other, each the mean of both sides; what is not seen is left out."""
    each = [lengths[[limb.name == name for limb in LIMBS]] for name in names]
    return float(sum(np.nanmean(sides) for sides in each if np.isfinite(sides).any()))


def _say(track: PoseTrack, dancer: _Dancer, slides: tuple[float, float], settings: RetargetSettings) -> list[str]:
    notes = []
    if not dancer.stance.any():
        notes.append("The clip shows no planted foot: the body's way is only scaled, and feet may slide.")
    if settings.plant_feet and slides[1] > 1.01 * slides[0] + 0.01:
        notes.append(
            f"Planted feet slide {slides[1]:.2f} leg lengths, in the clip {slides[0]:.2f}: with legs of these lengths "
            "they cannot slide less while every angle is kept within a degree."
        )
    people = track.points.shape[1]
    if people > 1:
        kept = "keep their own bodies" if settings.others == "keep" else "are left out"
        notes.append(f"Person {settings.person} of {people} dances; the others {kept}.")
    return notes

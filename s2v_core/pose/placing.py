"""Where a retargeted figure stands on the reference's canvas, and how large it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..video.fit import fit_transform
from .contact import sole_points
from .draw import THRESHOLD
from .skeleton import ANKLES, NECK, complete
from .track import PoseTrack

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Figure:
    """The new body before it is placed.

    ``points`` [T, N, 2]: pixels of the reference, with the middle of the danced floor at (0, 0); the 134 points, then
    whatever else must be in the picture. ``inside`` bool [T, N]: what the clip shows inside its own picture.
    ``has_floor``: feet stand on the floor at y = 0. ``use_toes``: soles are the middle of toe and heel, not the ankle.
    ``origin``: the same middle in pixels of the clip. ``clip_height``: how tall the dancer is there, for each pixel
    that the figure is tall.
    """

    points: Array
    inside: Array
    has_floor: bool
    use_toes: bool
    origin: Array
    clip_height: float


@dataclass(frozen=True, eq=False)
class Placement:
    """A point of the figure is at ``point * factor + offset`` on the canvas. ``notes``: what was chosen or cut off."""

    factor: float
    offset: Array
    notes: tuple[str, ...]


def place_figure(
    figure: Figure, clip_canvas: tuple[int, int], reference: PoseTrack, *, place: str, size: str, stay_inside: bool
) -> Placement:
    """Bring the figure onto the reference's canvas; the choices are those of ``RetargetSettings``.

    ``clip_canvas``: (height, width) of the clip.
    """
    height, width = reference.canvas
    scale, dx, dy = fit_transform(clip_canvas[::-1], (width, height), "letterbox")
    notes = []
    low, high = _extent(figure.points, figure.inside)
    factor = scale * figure.clip_height if size == "clip" else 1.0
    if size == "fit":
        factor = float(min(1.0, *((width, height) / np.maximum(high - low, 1e-9))))
        if factor < 1:
            notes.append(f"The figure is {factor:.3f} of the reference's size, so that all of the dance fits.")
    if place == "clip":
        offset = scale * figure.origin + (dx, dy)
    else:
        anchor, at, note = _stand(figure, reference)
        offset = at - factor * anchor
        notes += [note] if note else []
    if place == "centre":
        offset[0] = width / 2 - factor * (low[0] + high[0]) / 2
    if stay_inside and figure.inside.any():
        # Sideways only: up and down the floor stays where it is, unless all of the figure was asked to fit.
        for axis, side in enumerate((width, height) if size == "fit" else (width,)):
            shift = _shift(factor * low[axis] + offset[axis], factor * high[axis] + offset[axis], side)
            offset[axis] += shift
            if abs(shift) >= 1:
                way = (("left", "right"), ("up", "down"))[axis][int(shift > 0)]
                notes.append(f"The dance is moved {abs(shift):.0f} pixels {way}, to stay inside the picture.")
    notes += _say_outside(figure.points * factor + offset, figure.inside, width, height)
    return Placement(factor, offset, tuple(notes))


def _stand(figure: Figure, reference: PoseTrack) -> tuple[Array, Array, str]:
    """A point of the figure, where it belongs in the reference, and a note when that is not the floor."""
    shown = reference.scores[0] > THRESHOLD
    filled, ever = complete(reference.points[0], shown)
    feet = shown[:, ANKLES][0]
    if figure.has_floor and feet.any():
        soles = sole_points(filled, ever, figure.use_toes)[0, feet]
        return np.zeros(2), np.array([soles[:, 0].mean(), soles[:, 1].max()]), ""
    point = NECK if ever[NECK] else int(np.flatnonzero(ever)[0])
    who = "the reference shows no foot" if figure.has_floor else "the clip shows no foot"
    note = f"The figure is placed by its {'neck' if point == NECK else 'body'}, not by its feet: {who}."
    return np.median(figure.points[:, point], axis=0), filled[0, point], note


def _extent(points: Array, which: Array) -> tuple[Array, Array]:
    if not which.any():
        return np.zeros(2), np.zeros(2)
    return points[which].min(axis=0), points[which].max(axis=0)


def _shift(low: float, high: float, side: int) -> float:
    """What to add so that low..high lies in 0..side; in its middle when it is longer."""
    if high - low > side:
        return side / 2 - (low + high) / 2
    return float(np.clip(0.0, -low, side - high))


def _say_outside(points: Array, inside: Array, width: int, height: int) -> list[str]:
    """A note when points that the clip shows are not in the new picture."""
    beyond = {
        "left": -points[..., 0],
        "right": points[..., 0] - width,
        "top": -points[..., 1],
        "bottom": points[..., 1] - height,
    }
    beyond = {edge: np.where(inside, value, 0) for edge, value in beyond.items()}
    out = np.any([value >= 1 for value in beyond.values()], axis=0).any(axis=1)
    if not out.any():
        return []
    edges = ", ".join(f"{edge} by up to {value.max():.0f}" for edge, value in beyond.items() if value.max() >= 1)
    return [
        f"In {out.sum()} of {len(points)} frames the figure leaves the picture ({edges} pixels), where the dancer of "
        "the clip does not. Choose size fit or clip, or a reference with more room."
    ]

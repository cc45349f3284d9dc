"""Colours of a region as numbers that can be averaged and compared: quantiles along directions of CIELAB.

The distance of two regions is their sliced Wasserstein distance (Bonneel et al. 2015): for regions of one colour each,
it is their ΔE (CIE 1976), for patterns the ΔE by which pixels must change on average. Only the quantiles between
15% and 85% count, so that a few pixels of something else do not matter. In this form the way from one region to
another is a straight line, and mixing two pictures goes along it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Looks = Mapping[str, Array]  # region -> [frames, directions, quantiles]; NaN where the region is not seen

QUANTILES = np.linspace(0.15, 0.85, 8)
FEWEST = 12  # pixels that tell a region's colours
_MOST = 1500


def _directions() -> Array:
    """Axes and diagonals of a cube, unit vectors [13, 3]; the mean of their outer products is a third of identity."""
    found = [np.array(one, float) for one in product((-1, 0, 1), repeat=3) if one > (0, 0, 0)]
    return np.stack([one / np.linalg.norm(one) for one in found])


DIRECTIONS = _directions()
NOWHERE = np.full((len(DIRECTIONS), len(QUANTILES)), np.nan)


def to_lab(picture: Array) -> Array:
    """float32 [H, W, 3] CIELAB (D65; L from 0 to 100) of sRGB uint8 [H, W, 3]."""
    import cv2

    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def look(lab: Array, mask: Array) -> Array:
    """The colours of ``lab`` [H, W, 3] where ``mask`` is: [13, 8]; NaN when these are fewer than 12 pixels."""
    pixels = lab[mask]
    if len(pixels) < FEWEST:
        return NOWHERE
    pixels = pixels[:: -(-len(pixels) // _MOST)]
    return np.quantile(pixels @ DIRECTIONS.T, QUANTILES, axis=0).T


def average(looks: Array) -> Array:
    """The mean look [..., 13, 8] of ``looks`` [F, ..., 13, 8], leaving out what was not seen; NaN if it never was."""
    seen = ~np.isnan(looks)
    count = seen.sum(axis=0)
    total = np.where(seen, looks, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def distance(one: Array, other: Array) -> float:
    """ΔE between two looks [13, 8]; NaN when one was not seen."""
    return float(np.sqrt(3 * np.mean((one - other) ** 2)))


def nearer(seen: Array, own: Array, other: Array) -> float:
    """By which share of the way from its ``own`` to an ``other`` a look has come nearer to the other: at most 1.

    On the straight way it is the share that was gone; a look that goes sideways or back comes no nearer: 0 and below.
    """
    return 1 - distance(seen, other) / distance(own, other)


def seen_regions(*looks: Mapping[str, Array]) -> tuple[str, ...]:
    """The regions that are seen in all of these (region -> look [13, 8])."""
    first: Iterable[str] = looks[0] if looks else ()
    return tuple(region for region in first if all(region in one and not np.isnan(one[region]).any() for one in looks))

"""Clothes: the colours inside the limbs, against those in the reference picture."""

from __future__ import annotations

import numpy as np

from .colours import Array, average, distance, seen_regions
from .detect import need_person
from .frames import interval
from .missing import Missing
from .regions import CLOTHES
from .scorecard import Score
from .subject import Subject


def measure(subject: Subject) -> Score:
    """ΔE between clip and reference, averaged over torso, upper arms, thighs and shins as far as both show them.

    The frames' colours are averaged before they are compared, so that what trembles does not add up. Raises Missing.
    """
    need_person(subject.inputs.points_of_picture(), "reference")
    looks, own = subject.looks, {name: average(one) for name, one in subject.reference_looks.items()}
    regions = seen_regions({name: average(looks[name]) for name in CLOTHES}, own)
    if not regions:
        raise Missing("Clip and reference show no part of the clothes in common.")

    def off(chosen: Array) -> dict[str, float]:
        return {name: distance(average(looks[name][chosen]), own[name]) for name in regions}

    everything = np.arange(len(looks[regions[0]]))
    parts = off(everything)
    low, high = interval(len(everything), lambda chosen: float(np.nanmean(list(off(chosen).values()))))
    said = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
    return Score(float(np.mean(list(parts.values()))), low, high, f"{said}; {subject.found.said()}")

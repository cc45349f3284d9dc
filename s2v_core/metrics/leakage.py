"""Leakage: how far background and clothes have gone from the reference towards the training set."""

from __future__ import annotations

import numpy as np

from .colours import Array, average, distance, nearer, seen_regions
from .frames import interval
from .missing import Missing
from .regions import BACKGROUND, CLOTHES
from .scorecard import Score
from .subject import Subject
from .training_look import TrainingLook, training_look

APART = 10.0  # ΔE between reference and training set from which on there is a way to go


def measure(subject: Subject) -> Score:
    """How much nearer the clip's colours are to the training set's than the reference's are: 0 no nearer, 1 the same.

    The mean over background and clothes, of those that differ by at least 10 ΔE between reference and training set.
    Colours that change in another direction come no nearer. Raises Missing when neither differs so much.
    """
    training = training_look(subject.inputs)
    own = {name: average(looks) for name, looks in subject.reference_looks.items()}
    looks = subject.looks
    parts = {
        "background": _apart((BACKGROUND,), looks, own, training),
        "clothes": _apart(CLOTHES, looks, own, training),
    }
    parts = {name: regions for name, regions in parts.items() if regions}
    if not parts:
        raise Missing(
            f"Reference and training set look alike: no part that the clip shows differs by {APART:g} ΔE or more."
        )
    everything = np.arange(len(looks[BACKGROUND]))
    values = {name: _share(regions, looks, own, training, everything) for name, regions in parts.items()}
    low, high = interval(
        len(everything),
        lambda chosen: float(np.mean([_share(regions, looks, own, training, chosen) for regions in parts.values()])),
    )
    said = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
    return Score(
        float(np.mean(list(values.values()))),
        low,
        high,
        f"{said}; {training.clips} of {training.of} clips of the training set; {subject.found.said()}",
    )


def _apart(
    names: tuple[str, ...], looks: dict[str, Array], own: dict[str, Array], training: TrainingLook
) -> tuple[str, ...]:
    """Of these regions those that all three show, when they differ enough between reference and training set."""
    seen = seen_regions({name: average(looks[name]) for name in names}, own, training.looks)
    apart = np.sqrt(np.mean([distance(own[name], training.looks[name]) ** 2 for name in seen])) if seen else 0.0
    return seen if apart >= APART else ()


def _share(
    regions: tuple[str, ...], looks: dict[str, Array], own: dict[str, Array], training: TrainingLook, frames: Array
) -> float:
    seen, before, after = (
        np.stack([one[name] for name in regions])
        for one in ({name: average(looks[name][frames]) for name in regions}, own, training.looks)
    )
    known = ~np.isnan(seen)
    return nearer(seen[known], before[known], after[known])

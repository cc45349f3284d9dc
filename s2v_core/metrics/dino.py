"""What DINOv2 sees: likeness to the reference, and whether the training set is more like it."""

from __future__ import annotations

import numpy as np

from .frames import mean_score
from .inputs import Array, picture_key, remembered
from .scorecard import Score
from .subject import Subject
from .training_look import training_pictures
from .vision import Vision, load_vision, spread


def measure_reference(subject: Subject) -> Score:
    """The mean cosine of the frames and the reference picture. Raises Missing without a reference or a model."""
    dino = load_vision("dino")
    own, frames = _reference(subject, dino), _frames(subject, dino)
    return mean_score(frames @ own, f"{dino.name}, {len(frames)} frames")


def measure_leakage(subject: Subject) -> Score:
    """The mean cosine of the frames and the training set's pictures, less that of the frames and the reference.

    Raises Missing without a reference, a training set or a model.
    """
    dino = load_vision("dino")
    own, frames = _reference(subject, dino), _frames(subject, dino)
    key, pictures = training_pictures(subject.inputs)
    training = remembered(("dino training", key, dino.name), lambda: dino.pictures(pictures()))
    said = f"{dino.name}, {len(frames)} frames, {len(training)} pictures of the training set"
    return mean_score(frames @ training.mean(axis=0) - frames @ own, said)


def _reference(subject: Subject, dino: Vision) -> Array:
    picture = subject.inputs.picture()
    return remembered(("dino", picture_key(picture), dino.name), lambda: dino.pictures([picture])[0])


def _frames(subject: Subject, dino: Vision) -> Array:
    return subject.once(
        "dino", lambda: np.asarray(dino.pictures([subject.clip.frames[t] for t in spread(len(subject.clip))]))
    )

"""Face: whether it is that of the reference picture."""

from __future__ import annotations

import numpy as np

from .faces import FaceNets, face_nets
from .frames import mean_score
from .inputs import Array, picture_key, remembered
from .missing import Missing
from .scorecard import Score
from .subject import Subject

FRAMES = 9  # at most, evenly spread


def measure(subject: Subject) -> Score:
    """The mean distance of the faces in the frames from the one in the reference picture; below 0.6: one person.

    Only frames in which a face is found count; ``how`` says how many these are. Raises Missing when there are no nets,
    or no face in the reference or in the clip.
    """
    own = _of_reference(subject, face_nets())
    found = _found(subject)
    away = np.array([np.nan if one is None else np.linalg.norm(one - own) for one in found])
    count = int(np.isfinite(away).sum())
    if not count:
        raise Missing(f"No face was found in {len(found)} frames of the clip.")
    return mean_score(away, f"a face in {count} of {len(found)} frames")


def measure_found(subject: Subject) -> Score:
    """The share of frames in which a face is found. Raises Missing when there are no nets, or the head is too small."""
    found = _found(subject)
    return mean_score(np.array([one is not None for one in found], float), f"{len(found)} frames")


def _found(subject: Subject) -> list[Array | None]:
    """The face of each frame that is looked at."""
    return subject.once("faces", lambda: _look(subject, face_nets()))


def _look(subject: Subject, nets: FaceNets) -> list[Array | None]:
    chosen = np.unique(np.linspace(0, len(subject.clip) - 1, min(FRAMES, len(subject.clip))).round().astype(int))
    try:
        bodies = dict(zip(subject.found.index.tolist(), subject.found.bodies(), strict=True))
    except Missing:
        bodies = {}
    return [nets.embed(subject.clip.frames[t], bodies.get(int(t), (None, ()))[0]) for t in chosen]


def _of_reference(subject: Subject, nets: FaceNets) -> Array:
    picture = subject.inputs.picture()

    def embed() -> Array | None:
        try:
            main = subject.inputs.points_of_picture().bodies()[0][0]
        except (Missing, IndexError):
            main = None
        found = nets.embed(picture, main)
        return nets.embed(picture, None) if found is None and main is not None else found

    own = remembered(("face", picture_key(picture), subject.inputs.detector), embed)
    if own is None:
        raise Missing("No face was found in the reference.")
    return own

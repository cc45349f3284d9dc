"""Sharpness: how much fine detail the frames have."""

from __future__ import annotations

import numpy as np

from .frames import mean_score
from .scorecard import Score
from .subject import Subject


def measure(subject: Subject) -> Score:
    """The mean variance of the Laplacian of the frames' brightness (Pech-Pacheco et al. 2000), all frames."""
    import cv2

    found = []
    for frame in subject.clip.frames:
        edges = cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_16S)
        found.append(float(cv2.meanStdDev(edges)[1][0, 0]) ** 2)
    return mean_score(np.array(found), f"{len(found)} frames")

"""Steadiness: how little the picture changes from frame to frame."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .frames import mean_score
from .missing import Missing
from .scorecard import Score
from .subject import Subject


def measure(subject: Subject) -> Score:
    """VBench's temporal flickering: (255 - mean difference of neighbouring frames) / 255. Raises Missing.

    Movement lowers it too: compare clips of the same dance, and look at the warp error.
    """
    import cv2

    frames = subject.clip.frames
    if len(frames) < 2:
        raise Missing("Steadiness needs two frames, and there is one.")
    off = [sum(cv2.mean(cv2.absdiff(one, other))[:3]) / 3 for one, other in pairwise(frames)]
    return mean_score(1 - np.array(off) / 255, f"{len(off)} pairs of frames")

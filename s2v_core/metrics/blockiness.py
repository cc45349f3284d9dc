"""Blockiness: whether the blocks of a codec, or of latents, show as a grid."""

from __future__ import annotations

import numpy as np

from .frames import mean_score
from .missing import Missing
from .scorecard import Score
from .subject import Subject

BLOCK = 8  # pixels: JPEG's and H.264's transform, and a latent of Wan's VAE
_EDGE = 32  # levels: larger steps are the picture's own edges
_FLOOR = 0.05  # levels: the step that a perfectly flat picture counts as having
_STRIDE = 3  # frames between those that are looked at


def measure(subject: Subject) -> Score:
    """Mean step across the lines of an 8 pixel grid over the mean step elsewhere: 1 where no grid shows.

    The grid begins at the picture's corner, so a clip that was cropped or resized afterwards hides its blocks. Steps of
    more than 32 levels are edges of what is shown and do not count. After Wang, Sheikh and Bovik 2002. Raises Missing
    for tiny pictures.
    """
    import cv2

    clip = subject.clip
    if min(clip.height, clip.width) < 3 * BLOCK:
        raise Missing(f"Blocks are looked for in pictures of at least {3 * BLOCK} pixels.")
    frames = clip.frames[::_STRIDE]
    found = []
    for frame in frames:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        found.append(float(np.mean([_across(grey), _across(grey.T)])))
    return mean_score(np.array(found), f"{len(frames)} frames, a grid of {BLOCK} pixels")


def _across(grey: np.ndarray) -> float:
    """For the vertical lines of the grid."""
    import cv2

    steps = cv2.absdiff(np.ascontiguousarray(grey[:, 1:]), np.ascontiguousarray(grey[:, :-1]))
    inside = steps <= _EDGE
    columns = np.where(inside, steps, 0).sum(axis=0, dtype=np.int64), inside.sum(axis=0)
    on_grid = (np.arange(steps.shape[1]) + 1) % BLOCK == 0
    mean = [columns[0][place].sum() / max(1, columns[1][place].sum()) for place in (on_grid, ~on_grid)]
    return float((mean[0] + _FLOOR) / (mean[1] + _FLOOR))

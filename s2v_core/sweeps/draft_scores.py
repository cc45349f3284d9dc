"""Simple scores of a draft, for choosing cells: of the clip alone, without any model, more is better."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingsError
from ..video.clip import Clip
from .axes import Cell

if TYPE_CHECKING:
    from .halving import Score


def sharpness(cell: Cell, clip: Clip) -> float:
    """The mean variance of the Laplacian of the frames' brightness (Pech-Pacheco et al. 2000)."""
    import cv2

    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames)
    return float(np.mean([cv2.Laplacian(frame, cv2.CV_64F).var() for frame in grey]))


def motion(cell: Cell, clip: Clip) -> float:
    """The mean change of a pixel from frame to frame, in levels of 255."""
    frames = clip.frames.astype(np.int16)
    return float(np.abs(np.diff(frames, axis=0)).mean()) if len(frames) > 1 else 0.0


def calm(cell: Cell, clip: Clip) -> float:
    """VBench's temporal flicker score: (255 - mean change from frame to frame) / 255."""
    return (255 - motion(cell, clip)) / 255


SCORES: Mapping[str, Score] = MappingProxyType({score.__name__: score for score in (sharpness, motion, calm)})


def find_score(name: str) -> Score:
    """A score by its name, or the function "package.module:function" of (cell, clip). Raises ``SettingsError``."""
    if name in SCORES:
        return SCORES[name]
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function) if function else None
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"The score {name!r} cannot be loaded.", got=str(error)) from error
    if not callable(found):
        raise SettingsError(
            f"There is no score called {name!r}.",
            expected=f"one of {', '.join(SCORES)}, or package.module:function of your own",
            got=repr(name),
        )
    score: Score = found
    return score

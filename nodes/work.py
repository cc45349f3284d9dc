"""Long work in the host: its progress bar and its stop button."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np

from ..s2v_core.errors import Interrupted

PREVIEW_PIXELS = 512
STOPS = (Interrupted, comfy.model_management.InterruptProcessingException)
"""What is raised when the user pressed the stop button."""


class Progress:
    """The bar below a node, with a picture when there is one."""

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)

    def __call__(self, done: int, total: int | None = None, picture: np.ndarray[Any, Any] | None = None) -> None:
        """Show ``done`` of ``total``; ``picture``: uint8 [H, W, 3]. Raises the host's own exception on interrupt."""
        preview = None
        if picture is not None:
            from PIL import Image

            preview = ("JPEG", Image.fromarray(picture), PREVIEW_PIXELS)
        self._bar.update_absolute(done, total, preview)


def interrupted() -> bool:
    """Whether the user pressed the host's stop button."""
    return bool(comfy.model_management.processing_interrupted())


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Gives ``should_stop``; work that stopped by it ends as the host's own interrupt, not as an error."""
    try:
        yield interrupted
    except Interrupted as stop:
        # Also resets the host's flag, so that the next run starts.
        comfy.model_management.throw_exception_if_processing_interrupted()
        raise comfy.model_management.InterruptProcessingException from stop

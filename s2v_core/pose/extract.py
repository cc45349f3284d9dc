"""The way in: a clip to a pose track by the chosen backend, with a report of who did it and how fast."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import SettingsError
from ..video.clip import Clip
from .track import PoseTrack

BACKENDS = ("auto", "blazepose", "dwpose")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ExtractReport:
    """A track and how it was made.

    ``seconds`` spent, loading the nets included, and ``frames_per_second`` so reached. ``provider``: the runtime,
    device and number of threads. ``choice``: why this backend was taken. ``found``: frames with points.
    """

    track: PoseTrack
    seconds: float
    frames_per_second: float
    provider: str
    choice: str
    found: int

    def __str__(self) -> str:
        return (
            f"{self.track.backend}: {self.found} of {len(self.track)} frames found, "
            f"{self.seconds:.1f} s ({self.frames_per_second:.1f} frames a second) on {self.provider}; {self.choice}"
        )


def extract_pose(
    clip: Clip,
    backend: str = "auto",
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> ExtractReport:
    """Find the points in every frame of ``clip`` by one of ``BACKENDS``.

    ``on_progress(frames done, frames in all)``; ``should_stop`` is asked before every frame. Raises SettingsError for
    a backend that does not exist or is not available, ModelFileError, MissingPackageError, and Interrupted.
    """
    choice = _choose(backend)
    from ..litert import litert_version
    from .blazepose import default_threads, extract_blazepose

    count = threads or default_threads()
    start = time.perf_counter()
    track = extract_blazepose(clip, on_progress=on_progress, should_stop=should_stop, threads=count)
    seconds = time.perf_counter() - start
    provider = f"LiteRT {litert_version()}, CPU, {count} thread{'s' if count > 1 else ''}"
    report = ExtractReport(track, seconds, len(clip) / seconds, provider, choice, int(track.found.sum()))
    _log.info("%s", report)
    return report


def _choose(backend: str) -> str:
    if backend not in BACKENDS:
        raise SettingsError(f"There is no pose backend {backend!r}.", expected=" or ".join(BACKENDS), got=str(backend))
    if backend == "dwpose":
        raise SettingsError(
            "The pose backend dwpose is not available in this version.",
            expected="blazepose or auto",
            got="dwpose",
            remedy="Choose blazepose: its points are put into DWPose's layout and drawn the same way.",
        )
    if backend == "auto":
        return "auto: blazepose, the only backend of this version"
    return "blazepose, as asked"

"""Poses by file name: whatever of the known formats a path holds, and where to a track can be written."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..aist.names import FRONT_CAMERA
from ..errors import SettingsError
from .track import PoseTrack

READS = (".npz (this project)", ".json or a folder of them (OpenPose)", ".pkl (AIST++ keypoints2d)")
WRITES = READS[:2]


def load_pose(
    path: str | os.PathLike[str],
    *,
    fps: int | float | Fraction | None = None,
    canvas: tuple[int, int] | None = None,
    camera: str = FRONT_CAMERA,
    start: int | float | Fraction = 0,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    fit: str = "crop",
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> PoseTrack:
    """Read a pose track of any of the formats in ``READS``.

    ``fps`` and ``canvas`` (height, width) are for OpenPose files, which may not name them. AIST++ takes ``fps`` too,
    and ``camera``, ``start``, ``frames``, ``size`` and ``fit``, the arguments of the clip that it shall lie on (see
    ``aistpp_track``). What a format does not need is not used: a track of this project has its own rate and canvas.

    ``on_progress(files read, files in all)`` of a folder. Raises SettingsError, and Interrupted for a folder.
    """
    source = Path(path)
    kind = source.suffix.lower()
    if source.is_dir() or kind == ".json":
        from .openpose_file import load_openpose

        return load_openpose(source, fps, canvas=canvas, on_progress=on_progress, should_stop=should_stop)
    if kind == ".npz":
        from .track_file import load_track

        return load_track(source)
    if kind == ".pkl":
        from .aistpp import load_aistpp

        rate: dict[str, Any] = {} if fps is None else {"fps": fps}
        return load_aistpp(source, camera, start=start, frames=frames, size=size, fit=fit, **rate)
    raise SettingsError(
        f"{source} is no pose file of a known kind.", expected=", ".join(READS), got=kind or "a name without a suffix"
    )


def save_pose(track: PoseTrack, path: str | os.PathLike[str]) -> Path:
    """Write the track by the path's suffix, see ``WRITES``, and return what was written.

    A path without a suffix becomes a folder of OpenPose's files, one a frame. Raises SettingsError.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind == ".npz":
        from .track_file import save_track

        return save_track(track, target)
    if kind in (".json", ""):
        from .openpose_file import save_openpose

        return save_openpose(track, target)
    raise SettingsError(f"A pose cannot be written to {target}.", expected=", ".join(WRITES), got=kind)

"""A pose track as one ``.npz`` file that holds plain arrays only (nothing in it is ever executed)."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import S2VError, SettingsError
from ..files import atomic_path
from .track import PoseTrack

FORMAT = "skeleton2video pose track"
VERSION = 1


def save_track(track: PoseTrack, path: str | os.PathLike[str]) -> Path:
    """Write ``path`` (its suffix becomes ``.npz``) in one step and return it. The same track gives the same arrays."""
    target = Path(path).with_suffix(".npz")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "canvas": [int(side) for side in track.canvas],
        "fps": [track.fps.numerator, track.fps.denominator],
        "backend": track.backend,
        "notes": list(track.notes),
    }
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            points=track.points.astype(np.float32, copy=False),
            scores=track.scores.astype(np.float32, copy=False),
        )
    return target


def load_track(path: str | os.PathLike[str]) -> PoseTrack:
    """Read what ``save_track`` wrote. Raises SettingsError when the file is missing, damaged or of another kind."""
    source = Path(path)
    if not source.is_file():
        raise SettingsError(f"The pose track {source} does not exist.", expected="an .npz file written by this project")
    try:
        with np.load(source, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes().decode())
            points, scores = arrays["points"], arrays["scores"]
    except Exception as error:  # zipfile, zlib, numpy's parser and json each have their own for damaged bytes
        raise _unreadable(source, f"{type(error).__name__}: {error}") from error
    version = header.get("version") if isinstance(header, dict) and header.get("format") == FORMAT else None
    if version is None:
        raise _unreadable(source, "a file of another kind")
    if version != VERSION:
        raise SettingsError(
            f"The pose track {source} was written by another version of this project.",
            expected=f"format version {VERSION}",
            got=f"format version {version}",
            remedy="Extract the pose again, or update the project.",
        )
    return _build(source, header, points, scores)


def _build(source: Path, header: dict[str, Any], points: Any, scores: Any) -> PoseTrack:
    try:
        points, scores = np.asarray(points), np.asarray(scores)  # a member that is no array comes as bytes
        if points.dtype != np.float32 or scores.dtype != np.float32 or points.ndim != 4:
            raise ValueError(f"points {points.dtype} {list(points.shape)}, scores {scores.dtype} {list(scores.shape)}")
        height, width = (int(side) for side in header["canvas"])
        numerator, denominator = (int(part) for part in header["fps"])
        fps, notes = Fraction(numerator, denominator), tuple(str(note) for note in header["notes"])
        if height < 1 or width < 1 or fps <= 0:
            raise ValueError(f"canvas {height} x {width}, {fps} frames a second")
        return PoseTrack(points, scores, (height, width), fps, str(header["backend"]), notes)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, S2VError) as error:
        raise _unreadable(source, str(error)) from error


def _unreadable(source: Path, got: str) -> SettingsError:
    return SettingsError(
        f"{source} is not a pose track that can be read.",
        expected="an .npz file written by this project",
        got=got,
        remedy="Extract the pose again; the file may be damaged.",
    )

"""From where AIST's cameras look: true directions out of AIST++'s ``cameras`` folder.

The folder holds ``mapping.txt`` (a sequence and its setting a line) and one ``settingN.json`` for each setting: a list
of cameras with ``name``, ``rotation`` (a rotation vector, world to camera) and ``translation``, as the loader of
google/aistplusplus_api reads them. AIST's file names say only that c01 is in front; nothing here guesses the others.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from .names import FRONT_CAMERA

Array = np.ndarray[Any, Any]

_MAPPING = "mapping.txt"


@dataclass(frozen=True)
class View:
    """Where a camera stands, seen from the middle of the stage.

    ``azimuth``: degrees from c01's direction, -180 to 180; positive is counterclockwise from above, towards the left
    hand of a dancer who faces c01. ``elevation``: degrees above the middle. ``distance``: in the file's unit.
    """

    azimuth: float
    elevation: float
    distance: float


def load_views(folder: str | os.PathLike[str], sequence: str) -> dict[str, View]:
    """The views of a sequence (``ClipName.sequence``) by camera. Raises ``SettingsError``."""
    root = Path(folder)
    setting = _settings(root).get(sequence)
    if setting is None:
        raise SettingsError(
            f"{root / _MAPPING} does not name {sequence}.",
            expected="a line with the sequence and its setting",
            remedy="AIST++ has cameras of its own 1,408 sequences only.",
        )
    return read_views(root / f"{setting}.json")


def read_views(path: str | os.PathLike[str]) -> dict[str, View]:
    """The views of one setting's cameras by name. Raises ``SettingsError`` for a file that is no such setting."""
    source = Path(path)
    try:
        cameras = json.loads(source.read_text(encoding="utf-8"))
        names = [str(camera["name"]) for camera in cameras]
        vectors = np.array([camera["rotation"] for camera in cameras], np.float64).reshape(-1, 3)
        moves = np.array([camera["translation"] for camera in cameras], np.float64).reshape(-1, 3)
        good = len(names) == len(vectors) == len(moves) >= 3 and np.isfinite([vectors, moves]).all()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(source, f"{type(error).__name__}: {error}") from error
    if not good or FRONT_CAMERA not in names:
        raise _unreadable(source, f"the cameras {', '.join(names)[:80]}")
    rotations = np.stack([_rotation(vector) for vector in vectors])
    centres = -np.einsum("nji,nj->ni", rotations, moves)
    # Cameras stand upright around the stage: the mean of their own "up" is the world's.
    up = _unit(-rotations[:, 1].mean(axis=0))
    middle = _nearest_to_all(centres, rotations[:, 2])
    front = _unit(_flat(centres[names.index(FRONT_CAMERA)] - middle, up))
    left = np.cross(up, front)
    return {name: _view(centre - middle, up, front, left) for name, centre in zip(names, centres, strict=True)}


def _settings(root: Path) -> dict[str, str]:
    try:
        lines = (root / _MAPPING).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{root} is not AIST++'s folder of cameras.", expected=f"a folder with {_MAPPING}", got=str(error)
        ) from error
    pairs = [line.split() for line in lines]
    # A setting is a file's name in this folder and nothing else.
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[1].isalnum()}


def _view(offset: Array, up: Array, front: Array, left: Array) -> View:
    high, ahead, aside = (float(offset @ axis) for axis in (up, front, left))
    level = float(np.hypot(ahead, aside))
    azimuth, elevation = np.degrees([np.arctan2(aside, ahead), np.arctan2(high, level)]).round(2).tolist()
    return View(azimuth + 0.0, elevation + 0.0, round(float(np.linalg.norm(offset)), 4))


def _rotation(vector: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def _nearest_to_all(points: Array, directions: Array) -> Array:
    """The point with the least sum of squared distances to the lines through ``points`` along ``directions``."""
    across = np.eye(3) - np.einsum("ni,nj->nij", directions, directions)
    found, *_ = np.linalg.lstsq(across.sum(axis=0), np.einsum("nij,nj->i", across, points), rcond=None)
    return np.asarray(found)


def _flat(vector: Array, up: Array) -> Array:
    return np.asarray(vector - (vector @ up) * up)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _unreadable(source: Path, got: str) -> SettingsError:
    return SettingsError(
        f"{source} holds no cameras that can be read.",
        expected=f"AIST++'s list of cameras with name, rotation and translation, {FRONT_CAMERA} among them",
        got=got,
    )

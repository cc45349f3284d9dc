"""AIST++'s 2-D keypoints: one pickle a sequence, read without running what a pickle can run.

The files are ``keypoints2d/<sequence with cAll>.pkl`` of google/aistplusplus_api (annotations under CC BY 4.0): COCO's
17 points in 1920 x 1080 pictures from nine cameras, 60 frames a second, NaN where a net saw nobody.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import pickle
import pickletools
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from .names import CAMERAS, ClipName

FPS = Fraction(60)
CANVAS = (1080, 1920)  # height, width
POINTS = 17  # COCO's

Array = np.ndarray[Any, Any]
_EXPECTED = f"AIST++ keypoints2d: a dict with keypoints2d [cameras, frames, {POINTS}, 3], timestamps [frames]"


@dataclass(frozen=True, eq=False)
class Keypoints2d:
    """One sequence as all cameras saw it.

    ``points``: float32 [cameras, N, 17, 2] in pixels of a 1920 x 1080 picture, COCO's order, NaN where nobody was seen.
    ``scores``: float32 [cameras, N, 17]. ``times``: the N frames' times in seconds from the first, rising.
    """

    points: Array
    scores: Array
    times: tuple[Fraction, ...]


def load_keypoints2d(path: str | os.PathLike[str]) -> Keypoints2d:
    """Read a sequence's keypoints2d file.

    The unit of its timestamps is not told anywhere: their usual step is taken for a sixtieth of a second, so that
    frames that are left out leave a gap. Raises SettingsError for a file that is missing, damaged, of another kind, or
    that asks for anything but numpy arrays: what it asks for is named and never run.
    """
    source = Path(path)
    try:
        data = source.read_bytes()
        _check_sizes(data)
        content = _ArraysOnly(io.BytesIO(data)).load()
    except FileNotFoundError:
        remedy = "The files are in the folder keypoints2d of AIST++'s annotations, one for each sequence."
        raise SettingsError(f"{source} does not exist.", expected=_EXPECTED, remedy=remedy) from None
    except _RefusedError as error:
        raise SettingsError(
            f"{source} asks for more than arrays, and was not read.",
            expected="a pickle of numpy arrays, dicts and numbers only",
            got=str(error),
            remedy="Do not open this file with other programs unless you trust who made it.",
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise _unreadable(source, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, dict) or "keypoints2d" not in content:
        keys = ", ".join(str(key)[:30] for key in list(content)[:8]) if isinstance(content, dict) else ""
        raise _unreadable(source, f"a dict with {keys or 'nothing'}" if keys else f"a {type(content).__name__}")
    points = _built(content["keypoints2d"])
    if points is None or points.ndim != 4 or points.shape[2:] != (POINTS, 3) or 0 in points.shape:
        raise _unreadable(source, f"keypoints2d {'of no array' if points is None else list(points.shape)}")
    points = points.astype(np.float32)
    times = _times(_built(content.get("timestamps")), points.shape[1], source)
    return Keypoints2d(points[..., :2], points[..., 2], times)


def camera_index(keypoints: Keypoints2d, camera: str | int | ClipName) -> int:
    """The place of an AIST camera ("c01" to "c09", its number, or a clip's name) in the first axis of ``points``."""
    name = camera.camera if isinstance(camera, ClipName) else f"c{camera:02d}" if isinstance(camera, int) else camera
    known = CAMERAS[: len(keypoints.points)]
    if name not in known:
        raise SettingsError(
            f"AIST++ has no keypoints of the camera {name}.",
            expected=f"{known[0]} to {known[-1]}",
            got=str(name),
            remedy="" if name in CAMERAS else "Choose one of the cameras that stand still.",
        )
    return known.index(name)


def _times(stamps: Array | None, count: int, source: Path) -> tuple[Fraction, ...]:
    if stamps is None or count == 1:
        return tuple(Fraction(index) / FPS for index in range(count))
    if stamps.shape != (count,) or stamps.dtype.kind not in "iuf" or not np.isfinite(stamps).all():
        raise _unreadable(source, f"timestamps {stamps.dtype} {list(stamps.shape)} beside {count} frames")
    exact = [Fraction(stamp) for stamp in stamps.tolist()]
    steps = sorted(after - before for before, after in itertools.pairwise(exact))
    usual = steps[len(steps) // 2]
    if steps[0] <= 0:
        raise _unreadable(source, "timestamps that do not rise")
    return tuple((stamp - exact[0]) / usual / FPS for stamp in exact)


def _unreadable(source: Path, got: str) -> SettingsError:
    return SettingsError(f"{source} holds no keypoints that can be read.", expected=_EXPECTED, got=got)


class _RefusedError(Exception):
    """A pickle asked for something that is not a part of an array."""


class _Dtype:
    """Stands in for ``numpy.dtype`` while a pickle is read: its code, and the order of its bytes."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """Stands in for ``numpy.ndarray`` while a pickle is read."""

    def __init__(self, data: Any = b"", dtype: Any = None, shape: Any = (), order: Any = "C", *_: Any) -> None:
        self.data, self.dtype, self.shape, self.order = data, dtype, shape, order

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, fortran, self.data = state
        self.order = "F" if fortran else "C"


def _latin(text: Any, coding: Any = "latin1", *_: Any) -> bytes:
    """Bytes as Python 2's protocols hold them."""
    if coding != "latin1":
        raise _RefusedError(f"_codecs.encode to {coding!r}"[:200])
    return str(text).encode("latin1")


# Everything that pickles of numpy 1 and 2 name for arrays, in the protocols 0 to 5; numpy 2 calls its core "_core".
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy.core.multiarray", "scalar"): lambda dtype, data, *_: _Array(data, dtype),
    ("numpy.core.numeric", "_frombuffer"): _Array,
    ("_codecs", "encode"): _latin,
}


class _ArraysOnly(pickle.Unpickler):  # the only way to say what a pickle may name
    """Reads a pickle; whatever it asks for besides arrays is refused, and of numpy's own code nothing is run by it."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands in for ``module.name``. Raises ``_RefusedError`` for anything that is not part of an array."""
        stand_in = _STAND_INS.get((module.replace("numpy._core.", "numpy.core."), name))
        if stand_in is None:
            raise _RefusedError(f"{module}.{name}"[:200])
        return stand_in

    def persistent_load(self, pid: Any) -> Any:
        """Raises ``_RefusedError``: arrays have no parts outside of the file."""
        raise _RefusedError(f"the outside object {str(pid)[:100]}")


def _check_sizes(data: bytes) -> None:
    """Raises ValueError for a pickle that announces more bytes than it has: it would take memory without end."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > len(data):
            raise ValueError(f"{opcode.name} {argument} in {len(data)} bytes")


def _built(value: Any) -> Array | None:
    """The array of numbers that was described, or None when it is not one."""
    if not isinstance(value, _Array) or not isinstance(value.dtype, _Dtype):
        return None
    code, order, shape, data = f"{value.dtype.code}", value.dtype.order, value.shape, value.data
    plain = re.fullmatch(r"f[248]|[iu][1248]", code) and order in ("<", ">", "=", "|")
    sides = isinstance(shape, tuple) and all(isinstance(side, int) and side >= 0 for side in shape)
    if not plain or not sides or not isinstance(data, (bytes, bytearray)):
        return None
    dtype = np.dtype(order + code)
    if math.prod(shape) * dtype.itemsize != len(data):
        return None
    return np.frombuffer(data, dtype).reshape(shape, order="F" if value.order == "F" else "C")

"""What a clip is measured with: brought into one form, and what several clips share is worked out once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import SettingsError, VideoError
from ..pose.track import PoseTrack
from ..video.clip import Clip
from .detect import Detector, Found, check_detector, detect
from .missing import Missing

Array = np.ndarray[Any, Any]
T = TypeVar("T")

FPS = Fraction(16)  # of frames that come without a rate: Wan2.1's
_KEPT = 16  # results that are remembered
_memo: OrderedDict[Hashable, Any] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything besides the clip. ``control``: pose video or its points; ``reference``: pictures; ``training``: a
    folder, or clips and pictures; ``driving``: a clip; ``provenance``: what ``cell.json`` says; ``detector``: see
    ``detect``. What is not there is None or empty. ``should_stop`` is asked on the way of what takes long."""

    control: Clip | PoseTrack | None = None
    reference: tuple[Array, ...] = ()
    training: Path | tuple[Clip, ...] | None = None
    driving: Clip | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    detector: Detector | str | None = None
    should_stop: Callable[[], bool] | None = None

    @property
    def fit(self) -> str:
        """How pictures of another shape were fitted when the clip was rendered."""
        from ..wan.settings import SampleSettings

        settings = self.provenance.get("settings")
        said = settings.get("fit") if isinstance(settings, Mapping) else None
        return said if said in ("letterbox", "crop") else str(SampleSettings.fit)

    def picture(self) -> Array:
        """The first reference picture. Raises Missing when there is none."""
        if not self.reference:
            raise Missing("No reference picture was given.")
        return self.reference[0]

    def points_of_picture(self) -> Found:
        """The points of everybody in the first reference picture, in its own pixels. Raises Missing."""
        return self.points_of(Clip(self.picture()[None], FPS))

    def points_of(self, clip: Clip) -> Found:
        """The points of everybody in a clip that other cells share. Raises Missing when no detector can be had."""
        return remembered(("points", clip.sha256(), self.detector), lambda: self.detect(clip))

    def detect(self, clip: Clip) -> Found:
        """The points of everybody in a clip. Raises Missing when no detector can be had."""
        return detect(clip, self.detector, self.should_stop)


def remembered(key: Hashable, make: Callable[[], T]) -> T:
    """What ``make`` gives, remembered under ``key``; the least recently used of 16 results is forgotten."""
    with _lock:
        if key in _memo:
            _memo.move_to_end(key)
            found: T = _memo[key]
            return found
    made = make()
    with _lock:
        _memo[key] = made
        while len(_memo) > _KEPT:
            _memo.popitem(last=False)
    return made


def gather(
    *,
    control: Any,
    reference: Any,
    training: Any,
    driving: Any,
    provenance: Any,
    detector: Any,
    should_stop: Callable[[], bool] | None = None,
) -> Inputs:
    """The inputs in one form; see ``score_clip`` for what each may be. Raises SettingsError for other things."""
    check_detector(detector)
    return Inputs(
        control if control is None or isinstance(control, PoseTrack) else as_clip(control, "control"),
        _pictures(reference),
        _training(training),
        None if driving is None else as_clip(driving, "driving clip"),
        {} if provenance is None else provenance,
        detector,
        should_stop,
    )


def as_clip(value: Any, what: str = "clip") -> Clip:
    """A clip as it is, or frames uint8 [T, H, W, 3] at 16 a second. Raises SettingsError for anything else."""
    if isinstance(value, Clip):
        return value
    if isinstance(value, np.ndarray):
        try:
            return Clip(value, FPS)
        except VideoError as error:
            raise SettingsError(f"The {what} cannot be measured.", expected=error.expected, got=error.got) from error
    raise SettingsError(
        f"The {what} cannot be measured.",
        expected="a Clip, or frames uint8 [T, H, W, 3]",
        got=type(value).__name__,
        remedy="Read a file with s2v_core.video.read.read_clip.",
    )


def first_frames(clip: Clip, count: int) -> Clip:
    """At most this many frames of the beginning."""
    return clip if len(clip) <= count else replace(clip, frames=clip.frames[:count])


def picture_key(picture: Array) -> str:
    """What identifies a picture."""
    digest = hashlib.sha256(f"{picture.dtype} {picture.shape}".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def _pictures(value: Any) -> tuple[Array, ...]:
    if value is None:
        return ()
    given: Sequence[Any] = (value,) if isinstance(value, np.ndarray) and value.ndim == 3 else tuple(value)
    for one in given:
        if not isinstance(one, np.ndarray) or one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3:
            raise SettingsError(
                "The reference cannot be measured.",
                expected="a picture uint8 [H, W, 3], or several",
                got=f"{one.dtype} {list(one.shape)}" if isinstance(one, np.ndarray) else type(one).__name__,
            )
    return tuple(given)


def _training(value: Any) -> Path | tuple[Clip, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, os.PathLike)):
        return Path(value)
    clips = tuple(
        Clip(one[None], FPS) if isinstance(one, np.ndarray) and one.ndim == 3 else as_clip(one, "training set")
        for one in value
    )
    if not clips:
        raise SettingsError("The training set is empty.", expected="a folder, clips or pictures", got="nothing")
    return clips

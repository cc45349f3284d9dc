"""Finding points in a clip that is measured: by the project's own backends, the toy world's, or whatever is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ..errors import S2VError, SettingsError
from ..pose.measure import GOOD, body_height, heights_over_time
from ..pose.track import BODY, PoseTrack
from ..video.clip import Clip
from .missing import Missing, reason
from .regions import Body, body

Array = np.ndarray[Any, Any]
Detector: TypeAlias = Callable[[Clip], PoseTrack]

DETECTORS = ("auto", "toy", "blazepose", "dwpose")
TOY_SIDE = 128  # pixels of the shorter side: no net for real people sees anybody in a smaller picture
_SLOW_STRIDE = 4  # frames between looks of a net that takes a third of a second for each
_ENOUGH = 4  # points of the body that are a person
_OLD = 0.5  # seconds that a person's height is looked for around a frame


@dataclass(frozen=True, eq=False)
class Found:
    """The points in some frames of a clip.

    ``track``: of the frames ``index`` (rising) of the clip, in its pixels; of everybody. ``how``: by what, in words.
    """

    track: PoseTrack
    index: Array
    how: str

    @property
    def main(self) -> Array:
        """The person [T] in each frame who is largest; -1 where nobody is."""
        sizes = np.where(self.people, _sizes(self.track), -1.0)
        best = sizes.argmax(axis=1)
        return np.where(sizes[np.arange(len(sizes)), best] > 0, best, -1)

    @property
    def people(self) -> Array:
        """Bool [T, P]: who is seen with enough points of the body."""
        return np.asarray((self.track.scores[..., BODY] > GOOD).sum(axis=2) >= _ENOUGH)

    def bodies(self) -> list[tuple[Body | None, tuple[Body, ...]]]:
        """Of each frame of ``index``: the main person, or None, and everybody."""
        track, people, main = self.track, self.people, self.main
        tall = heights_over_time(track, 1000 * _OLD)
        made = []
        for t in range(len(track)):
            here = {
                int(p): body(track.points[t, p], track.scores[t, p], float(tall[t, p]))
                for p in np.flatnonzero(people[t] & np.isfinite(tall[t]))
            }
            made.append((here.get(int(main[t])), tuple(here.values())))
        return made

    def said(self) -> str:
        """By what, and in how many frames."""
        seen = int(self.people.any(axis=1).sum())
        return f"{self.how} in {seen} of {len(self.index)} frames"


def detect(clip: Clip, detector: Detector | str | None = None, should_stop: Callable[[], bool] | None = None) -> Found:
    """The points of everybody in ``clip``. Raises Missing when no detector can be had or nobody is found.

    ``detector``: a function, one of ``DETECTORS``, or None for "auto": the toy world's for a clip whose shorter side
    has at most 128 pixels, else DWPose or BlazePose, whichever is there.
    """
    how, index = "", np.arange(len(clip))
    try:
        if callable(detector):
            track = detector(clip)
        else:
            track, index = _by_name(clip, detector or "auto", should_stop)
    except S2VError as error:
        if isinstance(error, SettingsError):
            raise
        raise Missing(f"No points were found: {reason(error)}") from error
    if len(track) != len(index) or track.canvas != (clip.height, clip.width):
        raise SettingsError(
            "The detector gave points of another clip.",
            expected=f"{len(index)} frames of {clip.width} x {clip.height}",
            got=f"{len(track)} frames of {track.canvas[1]} x {track.canvas[0]}",
        )
    how = f"points by {track.backend}"
    if len(index) < len(clip):
        how += f", every {_SLOW_STRIDE}th frame"
    return Found(track, index, how)


def need_person(found: Found, what: str = "clip") -> Found:
    """``found`` itself; raises Missing when it shows nobody."""
    if not found.people.any():
        raise Missing(f"No person was found in the {what} ({found.how}).")
    return found


def given(track: PoseTrack, how: str) -> Found:
    """Points that are known."""
    return Found(track, np.arange(len(track)), how)


def check_detector(detector: Any) -> None:
    """Raises SettingsError unless this can be used as a detector."""
    if detector is not None and not callable(detector) and detector not in DETECTORS:
        raise SettingsError(
            "There is no such detector.", expected=f"a function, or one of {', '.join(DETECTORS)}", got=repr(detector)
        )


def _by_name(clip: Clip, name: str, should_stop: Callable[[], bool] | None) -> tuple[PoseTrack, Array]:
    everything = np.arange(len(clip))
    if name == "toy" or (name == "auto" and min(clip.height, clip.width) <= TOY_SIDE):
        from ..nano.detect import find_toy_dancer

        return find_toy_dancer(clip), everything
    from ..pose.extract import choose_backend, extract_pose
    from ..pose.settings import ExtractSettings

    backend, _ = choose_backend(name)
    index = everything
    if backend == "dwpose" and _on_cpu():
        index = everything[::_SLOW_STRIDE]
        clip = replace(clip, frames=clip.frames[index], fps=clip.fps / _SLOW_STRIDE)
    settings = ExtractSettings(backend, hands=False, face=False)
    return extract_pose(clip, settings, should_stop=should_stop).track, index


def _on_cpu() -> bool:
    from ..onnxnet import provider_order

    return provider_order("auto")[0].startswith("CPU")


def _sizes(track: PoseTrack) -> Array:
    """How large everybody is, [T, P]: the height, standing, by the share of the body's points that are seen."""
    tall = np.nan_to_num(body_height(track))
    return np.asarray(tall[None] * (track.scores[..., BODY] > GOOD).mean(axis=2))

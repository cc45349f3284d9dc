"""Scores against the toy world's truth: every pixel's part and colour is known there.

For clips of the nano model, whose dancers are too small and too plain for detectors of faces and points. Each score
says that it is the toy world's truth.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .scorecard import Metric, Score, empty

if TYPE_CHECKING:
    import numpy as np

    from ..nano.world import Scene, Take
    from ..video.clip import Clip

_HOW = "the toy world's truth"
_SOURCE = "s2v_core/nano/measure.py"
_PERSON = ("skin", "hair", "shirt", "trousers")
_ALL = (
    Metric(
        "toy_identity",
        "Identity (toy truth)",
        "higher",
        "",
        (0.0, 1.0),
        ("clip", "truth"),
        _SOURCE,
        "How near skin, hair, shirt and trousers are to their true colours: 1 less the mean distance of colours.",
        default=False,
    ),
    Metric(
        "toy_leakage",
        "Leakage (toy truth)",
        "lower",
        "",
        (None, None),
        ("clip", "truth"),
        _SOURCE,
        "How far trousers and wall have gone from their own colours (0) to those of the biased training set (1).",
        default=False,
    ),
    Metric(
        "toy_pose",
        "Pose (toy truth)",
        "higher",
        "",
        (0.0, 1.0),
        ("clip", "truth"),
        _SOURCE,
        "Intersection over union of the dancer's silhouette with the true one.",
        default=False,
    ),
    Metric(
        "toy_error",
        "Error (toy truth)",
        "lower",
        "levels",
        (0.0, 255.0),
        ("clip", "truth"),
        _SOURCE,
        "Root mean square difference of all pixels to the clip as it should be.",
        default=False,
    ),
)
TOY_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
# Whose truth a metric measures, by the names that a cell's fingerprint has for pose video and reference.
FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "toy_pose": ("control",),
    "toy_identity": ("reference",),
    "toy_leakage": (),
    "toy_error": (),
}


def score_toy(
    frames: np.ndarray[Any, Any], control: Scene, reference: Scene, metrics: Sequence[str]
) -> dict[str, Score]:
    """Measure a clip uint8 [T, H, W, 3] against the dance of one scene by the person and in the place of another.

    ``metrics``: names of ``TOY_METRICS``. Raises ``SettingsError`` for others.
    """
    if unknown := [name for name in metrics if name not in _MEASURES]:
        raise SettingsError(f"There is no metric called {unknown[0]!r}.", expected=f"some of {', '.join(TOY_METRICS)}")
    height, width = frames.shape[1:3]
    try:
        take = _truth(control, reference, (width, height), len(frames))
    except SettingsError as error:
        return {name: empty(f"the toy world cannot draw this: {error.problem}") for name in metrics}
    values = {name: _MEASURES[name](frames, take) for name in metrics}
    return {
        name: empty("its parts are not seen, or have the training set's colours already")
        if value is None
        else Score(value, how=_HOW, version=TOY_METRICS[name].version)
        for name, value in values.items()
    }


def true_clip(control: Scene, reference: Scene, size: tuple[int, int], frames: int) -> Clip | None:
    """The clip as it should be: the dance of one scene by the person and in the place of another; None where the toy
    world draws no such size. ``size``: (width, height).
    """
    try:
        return _truth(control, reference, size, frames).clip
    except SettingsError:
        return None


def find_world(file: str | os.PathLike[str]) -> ToyWorld | None:
    """The toy world that this pose video or picture lies in, if it does."""
    from ..nano.write import INDEX

    folder = Path(file).parent.parent
    return ToyWorld(folder) if (folder / INDEX).is_file() else None


@lru_cache(maxsize=64)
def _truth(control: Scene, reference: Scene, size: tuple[int, int], frames: int) -> Take:
    from ..nano.world import render

    # The control's skeleton is as tall as its own dancer; all else is the reference's person.
    person = replace(reference.character, height=control.character.height)
    return render(person, control.motion, size=size, frames=frames, seed=control.seed)


def _identity(frames: Any, take: Take) -> float | None:
    from ..nano.measure import off

    offs = [off(frames, take.clip.frames, take.labels, part) for part in _PERSON]
    known = [one for one in offs if one is not None]
    return 1 - sum(known) / len(known) / 255 if known else None


def _leakage(frames: Any, take: Take) -> float | None:
    from ..nano.measure import leakage
    from ..nano.score import BIAS

    return leakage(frames, take.clip.frames, take.labels, BIAS)


def _pose(frames: Any, take: Take) -> float | None:
    from ..nano.measure import dancer, iou, silhouette

    return iou(silhouette(frames), dancer(take.labels))


def _error(frames: Any, take: Take) -> float | None:
    import numpy as np

    return float(np.sqrt(np.mean((frames.astype(np.float32) - take.clip.frames) ** 2)))


_MEASURES = {"toy_identity": _identity, "toy_leakage": _leakage, "toy_pose": _pose, "toy_error": _error}


@dataclass(frozen=True, eq=False)
class ToyWorld:
    """Which scene a pose video or a reference picture shows, by the content hashes that cells are known by.

    ``folder``: what ``nano.write.write_world`` wrote, with its world.json.
    """

    folder: Path
    _controls: dict[int, dict[str, Scene]] = field(default_factory=dict, repr=False)
    _references: dict[str, Scene] = field(default_factory=dict, repr=False)

    def control(self, sha256: str, frames: int) -> Scene | None:
        """The scene of a pose video of this hash, read at so many frames; None for one that is not of this world."""
        if frames not in self._controls:
            self._controls[frames] = self._read_controls(frames)
        return self._controls[frames].get(sha256)

    def reference(self, sha256: str) -> Scene | None:
        """The scene of a reference picture of this hash."""
        from ..video.still import read_reference
        from ..wan.render import picture_fingerprint

        if not self._references:
            for row, made in self._rows():
                picture = read_reference(self.folder / row["vace_reference_image"])
                self._references[picture_fingerprint(None, picture, None, None)["reference"]] = made
        return self._references.get(sha256)

    def _read_controls(self, frames: int) -> dict[str, Scene]:
        from ..video.read import read_clip

        return {read_clip(self.folder / row["vace_video"], frames=frames).sha256(): made for row, made in self._rows()}

    def _rows(self) -> list[tuple[dict[str, Any], Scene]]:
        import json

        from ..nano.world import scene_from_dict
        from ..nano.write import INDEX

        file = self.folder / INDEX
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))["clips"]
            return [(row, scene_from_dict(row)) for row in rows]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise SettingsError(
                f"{file} cannot be read.",
                expected="the index that s2v nano world writes",
                got=str(error),
                remedy="Write the world again, or name its folder.",
            ) from error

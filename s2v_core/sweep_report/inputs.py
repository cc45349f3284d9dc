"""What cells were made from, shown above them: control videos and references, one for each value of axes over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import S2VError, VideoError

if TYPE_CHECKING:
    from ..sweeps.axes import Cell
    from ..sweeps.run import SweepResult
    from ..sweeps.scene import PoseSource
    from ..video.clip import Clip
    from ..wan.settings import SampleSettings

Frames = np.ndarray[Any, np.dtype[np.uint8]]
CONTROL, REFERENCE = "control video", "reference"
# More would push the cells out of sight.
MOST = 12


@dataclass(frozen=True, eq=False)
class Input:
    """One of them. ``frames``: uint8 [T, H, W, 3]; one frame is a still picture.

    ``axis``, ``at``: the axis of the sweep and the place on it (both from 0) whose cells it belongs to; None for all.
    """

    name: str
    frames: Frames
    axis: int | None = None
    at: int | None = None

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise VideoError(
                f"The input {self.name!r} is no picture and no clip.",
                expected="uint8 frames of shape [T, H, W, 3]",
                got=f"{self.frames.dtype} of shape {list(shape)}",
            )


def as_inputs(given: Mapping[str, Frames] | Iterable[Input]) -> tuple[Input, ...]:
    """Inputs as they are, or out of name -> frames, which belong to all cells."""
    if isinstance(given, Mapping):
        return tuple(Input(name, frames) for name, frames in given.items())
    return tuple(given)


def inputs_of(
    result: SweepResult, read_control: Callable[[PoseSource, SampleSettings], Clip | None]
) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """The control videos and references that a sweep's scenes name, at most ``MOST`` of each, and what is missing.

    ``read_control(source, settings)``: the pose video of a source, None where it is empty; what it raises of the
    project's own errors becomes a note. References whose file is gone become one too.
    """
    from ..video.still import read_reference

    found: list[Input] = []
    notes: list[str] = []

    def add(what: str, part: str, read: Callable[[Cell], list[Frames]]) -> None:
        for place, label, cell in _places(result, part):
            name = f"{what}: {label}" if label else what
            try:
                pictures = read(cell)
            except (S2VError, OSError) as error:
                said = error.problem if isinstance(error, S2VError) else str(error)
                notes.append(f"The {name} is not shown: {said}")
                continue
            for number, frames in enumerate(pictures, start=1):
                found.append(Input(name if len(pictures) == 1 else f"{name} {number}", frames, *place))

    def control(cell: Cell) -> list[Frames]:
        source = cell.scene.pose or result.sweep.scene.pose
        clip = read_control(source, cell.settings) if source else None
        return [clip.frames] if clip else []

    def references(cell: Cell) -> list[Frames]:
        own = cell.scene.reference
        paths = result.sweep.scene.reference if own is None else own
        return [read_reference(path)[None] for path in paths or ()]

    add(CONTROL, "pose", control)
    add(REFERENCE, "reference", references)
    return tuple(found), tuple(notes)


def _places(result: SweepResult, part: str) -> list[tuple[tuple[int | None, int | None], str, Cell]]:
    """For each place of the axis that varies this part of the scene: (axis, place), its label, and a cell there."""
    for number, axis in enumerate(result.sweep.axes):
        if part in (one.name for one in axis.parts):
            title = f"{axis.title}: "
            return [
                ((number, at), label.removeprefix(title), next(one for one in result.cells if one.index[number] == at))
                for at, label in enumerate(axis.labels[:MOST])
            ]
    return [((None, None), "", result.cells[0])] if result.cells else []

"""What a cell was made from, which most metrics compare it with: pose video, reference pictures, the driving clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..metrics.toy import ToyWorld, find_world, true_clip
from ..sweeps.axes import Cell
from ..sweeps.run import SweepResult
from ..sweeps.store import CellStore
from ..video.clip import Clip

if TYPE_CHECKING:
    from ..nano.world import Scene
    from ..sweeps.scene import PoseSource
    from ..wan.settings import SampleSettings

KINDS = ("control", "reference")


class Poses(Protocol):
    """Who reads pose videos; ``studio.Studio`` is one."""

    def control(self, pose: PoseSource, settings: SampleSettings) -> Any:
        """The pose video of a source at the settings' size and length, in ``clip``; None for an empty source."""
        ...


@dataclass(frozen=True, eq=False)
class Sources:
    """What is known of it. ``control``: the pose video; ``driving``: the clip that it was taken from.

    ``reference``: pictures uint8 [H, W, 3]. ``truth``: the toy scenes that the pose video and the reference show.
    ``others``: "control" or "reference" -> hash, as in the cell's fingerprint -> sources with another one of that kind,
    which the cell is held against too; its own is among them.
    """

    control: Clip | None = None
    reference: tuple[Any, ...] = ()
    driving: Clip | None = None
    truth: tuple[Scene, Scene] | None = None
    others: Mapping[str, Mapping[str, Sources]] = field(default_factory=dict)


@dataclass(eq=False)
class SweepSources:
    """The sources of a sweep's cells, by id, each file read once.

    ``studio``: reads pose videos by their files, and needs no model for it. ``control``, ``reference``: of cells whose
    scene names none, as in ComfyUI. ``world``: a toy world; the one that a pose video lies in is found by itself.
    """

    result: SweepResult
    studio: Poses
    control: Clip | None = None
    reference: tuple[Any, ...] = ()
    world: ToyWorld | None = None
    _read: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __call__(self, id: str) -> Sources:
        """The sources of a stored cell. Raises what reading its files raises."""
        found = self._own(self._cells[id])
        if not self._crossed:
            return found
        rivals = {kind: self._rivals(kind) for kind in KINDS}
        return replace(
            found,
            others={
                "control": {hash: _danced(found, self._own(other)) for hash, other in rivals["control"].items()},
                "reference": {hash: _played(found, self._own(other)) for hash, other in rivals["reference"].items()},
            },
        )

    @cached_property
    def _cells(self) -> dict[str, Cell]:
        return {cell.id: cell for cell in self.result.cells}

    @cached_property
    def _crossed(self) -> bool:
        """Whether pose videos and references vary on axes of their own: then it can be asked which one is followed."""
        on = {
            kind: {number for number, axis in enumerate(self.result.sweep.axes) if kind in [p.name for p in axis.parts]}
            for kind in ("pose", "reference")
        }
        return bool(on["pose"] and on["reference"] and not on["pose"] & on["reference"])

    def _rivals(self, kind: str) -> dict[str, Cell]:
        """A stored cell for each pose video or reference of the sweep, by its hash."""
        found: dict[str, Cell] = {}
        for id, cell in self._cells.items():
            if self.result.store.path(id).exists() and (hash := self._hash(id, kind)):
                found.setdefault(hash, cell)
        return found

    def _own(self, cell: Cell) -> Sources:
        control, driving = self.control, None
        pose = cell.scene.pose
        if pose is not None:
            made = self.studio.control(pose, cell.settings)
            control = made.clip if made else None
            if pose.file and not pose.drawn:
                driving = self._once((pose, cell.settings.frames), lambda: _dance(pose, cell))
        reference = self.reference
        if cell.scene.reference is not None:
            reference = tuple(self._once(path, partial(_picture, path)) for path in cell.scene.reference)
        world = self.world
        if world is None and pose is not None and pose.drawn:
            world = self._once(("world", Path(pose.file).parent), lambda: find_world(pose.file))
        truth = toy_truth(world, self.result.store, cell.id)
        if driving is None and truth:
            driving = true_clip(*truth, (cell.settings.width, cell.settings.height), cell.settings.frames)
        return Sources(control, reference, driving, truth)

    def _hash(self, id: str, kind: str) -> str:
        return str(self.result.store.meta(id, quick=True).get("fingerprint", {}).get(kind, ""))

    def _once(self, key: Any, read: Callable[[], Any]) -> Any:
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]


def store_sources(store: CellStore, world: ToyWorld | None = None) -> Callable[[str], Sources]:
    """The sources of cells of which only the store is known: none, but the truth of a toy world."""

    def sources(id: str) -> Sources:
        truth = toy_truth(world, store, id)
        clip = store.meta(id, quick=True)["clip"]
        driving = true_clip(*truth, (clip["width"], clip["height"]), clip["frames"]) if truth else None
        return Sources(driving=driving, truth=truth)

    return sources


def toy_truth(world: ToyWorld | None, store: CellStore, id: str) -> tuple[Scene, Scene] | None:
    """The scenes of a cell's pose video and of its reference, where both are of this toy world."""
    if world is None:
        return None
    meta = store.meta(id, quick=True)
    made = meta.get("fingerprint", {})
    control = world.control(str(made.get("control", "")), meta["settings"]["frames"])
    reference = world.reference(str(made.get("reference", "")))
    return (control, reference) if control and reference else None


def _danced(own: Sources, other: Sources) -> Sources:
    """The same with the other's dance."""
    truth = (other.truth[0], own.truth[1]) if own.truth and other.truth else None
    return replace(own, control=other.control, driving=other.driving, truth=truth)


def _played(own: Sources, other: Sources) -> Sources:
    """The same with the other's person."""
    truth = (own.truth[0], other.truth[1]) if own.truth and other.truth else None
    return replace(own, reference=other.reference, truth=truth)


def _dance(pose: Any, cell: Cell) -> Clip:
    from ..video.read import read_clip

    size = (cell.settings.width, cell.settings.height)
    return read_clip(pose.file, frames=cell.settings.frames, size=size, fit="letterbox", start=pose.start)


def _picture(path: str) -> Any:
    from ..video.still import read_reference

    return read_reference(path)

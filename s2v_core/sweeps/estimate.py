"""What a plan costs, before anything runs: forwards alone and shared, encodes, disk, and time where it was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..wan import flops
from ..wan.pictures import TIME_STRIDE
from ..wan.schedule import needs_negative
from ..wan.settings import SampleSettings
from .axes import Cell
from .sharing import peak_states, plan_sharing
from .work import Work, computation_order

# Latents that a state holds: its own, and what the solver remembers (wan.solvers).
_TENSORS = {"euler": 1, "dpm++": 3, "unipc": 4}
_BYTES = 4  # of float32; half-precision latents take less


@dataclass(frozen=True)
class Estimate:
    """``cells`` named by the grids, ``distinct`` ones, those ``stored`` already, and those ``left``.

    ``forwards_alone``: of the transformer, when each named cell is rendered by itself. ``forwards_shared``: of all
    distinct cells, sharing what is equal. ``forwards_left``: of what is left. ``text_encodes``, ``picture_encodes``,
    ``lora_loads``: (alone, shared). ``disk``: bytes that the cells left will take, at most where nothing was measured.
    ``prefix_disk``: bytes that shared latents take meanwhile, at most. ``seconds``: for what is left, or None where
    nothing like it was measured; ``measured``: how many stored cells say so. ``step_cached``: how many of the cells
    left may leave forwards out (``step_cache``); theirs count in full, so that forwards and seconds are upper bounds.
    """

    cells: int
    distinct: int
    stored: int
    left: int
    forwards_alone: int
    forwards_shared: int
    forwards_left: int
    text_encodes: tuple[int, int]
    picture_encodes: tuple[int, int]
    lora_loads: tuple[int, int]
    disk: int
    disk_measured: bool
    prefix_disk: int
    seconds: float | None
    measured: int
    step_cached: int = 0

    @property
    def saved(self) -> float:
        """The share of the forwards that sharing saves, from 0 to 1."""
        return 1 - self.forwards_shared / self.forwards_alone if self.forwards_alone else 0.0


@dataclass(frozen=True)
class Measured:
    """One stored cell: how long it took, for how many forwards, and how large it became."""

    size: tuple[int, int, int]
    seconds: float
    forwards: int
    bytes: int

    @property
    def volume(self) -> int:
        """Pixels in all frames."""
        return self.size[0] * self.size[1] * self.size[2]


def estimate(work: Work, folder: Path | None = None) -> Estimate:
    """The cost of a plan. ``folder``: the store, whose cells say how long they took on this machine and model."""
    named = [cell for cells in work.cells for cell in cells]
    trails = work.sharing.trails
    distinct = list(work.distinct.values())
    whole = plan_sharing(computation_order(distinct, trails), trails)
    like = [work.renderer(cell).fingerprint for cell in work.todo]
    measured = list(read_measured(folder, like)) if folder else []
    disk = sum(_disk(cell.settings, measured) for cell in work.todo)
    return Estimate(
        cells=len(named),
        distinct=len(distinct),
        stored=len(work.stored),
        left=len(work.todo),
        forwards_alone=sum(trails[cell.id].forwards for cell in named),
        forwards_shared=sum(whole.forwards.values()),
        forwards_left=sum(work.sharing.forwards[cell.id] for cell in work.todo),
        text_encodes=(
            sum(len(_texts(cell)) for cell in named),
            len({text for cell in distinct for text in _texts(cell)}),
        ),
        picture_encodes=(len(named), len({_pictures(cell) for cell in distinct})),
        lora_loads=(
            sum(len(cell.effective.loras) for cell in named),
            len({use.file for cell in distinct for use in cell.effective.loras}),
        ),
        disk=round(disk),
        disk_measured=bool(measured),
        prefix_disk=peak_states(work.todo, work.sharing) * max((_state(work, cell) for cell in work.todo), default=0),
        seconds=_seconds(work, measured),
        measured=len(measured),
        step_cached=sum(cell.effective.step_cache > 0 for cell in work.todo),
    )


def read_measured(folder: Path, like: Iterable[Mapping[str, str]]) -> Iterable[Measured]:
    """The stored cells that were computed by one of these models on this device; unreadable ones are left out."""
    kinds = {_kind(fingerprint) for fingerprint in like}
    for file in sorted(folder.glob("*/cell.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if _kind(said["fingerprint"]) not in kinds:
                continue
            clip = said["clip"]
            size = (int(clip["width"]), int(clip["height"]), int(clip["frames"]))
            forwards, seconds = int(said["forwards"]), float(said["seconds"])
            if forwards > 0 and seconds > 0:
                yield Measured(size, seconds, forwards, (file.parent / clip["file"]).stat().st_size)


def estimate_seconds(work: Work, folder: Path) -> float | None:
    """The seconds that a plan will take, or None where nothing like it was measured; as in ``Estimate``."""
    return _seconds(work, list(read_measured(folder, [work.renderer(cell).fingerprint for cell in work.todo])))


def _kind(fingerprint: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(fingerprint.get(name) for name in ("transformer sha256", "device", "dtype"))


def _seconds(work: Work, measured: list[Measured]) -> float | None:
    """Proportional to the nets' arithmetic; of cells of the same size alone where there are some."""
    if not measured:
        return None if work.todo else 0.0
    total = 0.0
    for cell in work.todo:
        size, nets = _size(cell.settings), getattr(work.renderer(cell), "net_sizes", None)
        near = [one for one in measured if one.size == size] or measured
        rate = sum(one.seconds for one in near) / sum(_amount(nets, one.size, one.forwards) for one in near)
        total += rate * _amount(nets, size, work.sharing.forwards[cell.id])
    return total


def _amount(nets: flops.NetSizes | None, size: tuple[int, int, int], forwards: int) -> float:
    """How much is computed: FLOPs of the forwards and the decoding where the nets' sizes are known, else pixels."""
    width, height, frames = size
    if nets is None:
        return forwards * width * height * frames
    tokens = ((frames - 1) // TIME_STRIDE + 2) * (height // 16) * (width // 16)  # with one reference
    return forwards * flops.forward(nets, tokens) + flops.decode(nets, frames, height, width)


def _disk(settings: SampleSettings, measured: list[Measured]) -> float:
    """Lossless clips are hardly ever larger than their pixels."""
    width, height, frames = _size(settings)
    share = sum(one.bytes for one in measured) / sum(one.volume for one in measured) if measured else 3.0
    return width * height * frames * share


def _state(work: Work, cell: Cell) -> int:
    settings = cell.settings
    references = len(work.renderer(cell).fingerprint.get("reference", "").split())
    times = (settings.frames - 1) // TIME_STRIDE + 1 + references
    return 16 * times * (settings.height // 8) * (settings.width // 8) * _BYTES * _TENSORS[settings.solver]


def _size(settings: SampleSettings) -> tuple[int, int, int]:
    return settings.width, settings.height, settings.frames


def _texts(cell: Cell) -> tuple[str, ...]:
    guided = needs_negative(cell.effective)
    return (cell.prompt.text, cell.prompt.negative) if guided else (cell.prompt.text,)


def _pictures(cell: Cell) -> tuple[Any, ...]:
    settings = cell.settings
    names = ("width", "height", "frames", "fit", "tiling", "mask_edge")
    return (cell.scene, *(getattr(settings, name) for name in names), settings.denoise == 1.0)

"""Who shares what: the prefix tree over the trails of all cells that are to be computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..wan.shared import State
from .axes import Cell
from .prefixes import Prefixes
from .trail import Trail

if TYPE_CHECKING:
    import torch

_MEMORY = "memory "


@dataclass(frozen=True, eq=False)
class Sharing:
    """A plan over cells in the order of their computation.

    ``trails``: by id. ``kept``: keys of states and predictions that one cell makes and a later one takes.
    ``takes``: by id, those of them that the cell takes. ``starts``: by id, the step that the cell begins with.
    ``forwards``: by id, the transformer's forwards that are left to the cell.
    """

    trails: Mapping[str, Trail]
    kept: frozenset[str]
    takes: Mapping[str, frozenset[str]]
    starts: Mapping[str, int]
    forwards: Mapping[str, int]

    def idle(self, left: Iterable[str]) -> frozenset[str]:
        """What may be removed when only the cells ``left`` are still to be computed."""
        return self.kept.difference(*(self.takes[id] for id in left))


def plan_sharing(
    cells: Iterable[Cell],
    trails: Mapping[str, Trail],
    *,
    shares: Callable[[Cell], bool] = lambda cell: True,
    there: Callable[[str], bool] = lambda key: False,
) -> Sharing:
    """Share all that can be: each cell begins at the deepest state that a cell before it passes.

    The forwards of all cells together are then those of all different predictions. Cells for which ``shares`` is false
    are computed alone. ``there(key)``: whether an earlier run has left this state or prediction.
    """
    made: set[str] = set()
    kept: set[str] = set()
    takes: dict[str, frozenset[str]] = {}
    starts: dict[str, int] = {}
    forwards: dict[str, int] = {}

    def known(key: str) -> bool:
        return key in made or there(key)

    for cell in cells:
        way = trails[cell.id]
        if not shares(cell):
            takes[cell.id], starts[cell.id], forwards[cell.id] = frozenset(), 0, way.forwards
            continue
        # A state stands for all that came before it, so the deepest known one is enough. Noise is not worth a file.
        start = next((done for done in range(len(way.states) - 1, 0, -1) if known(way.states[done])), 0)
        ahead = [key for made in way.predictions[start:] for key in made.values()]
        taken = {key for key in ahead if known(key)}
        takes[cell.id] = frozenset(taken | ({way.states[start]} if start else set()))
        starts[cell.id] = start
        forwards[cell.id] = way.windows * (len(ahead) - len(taken))
        kept |= takes[cell.id]
        made.update(way.states, ahead)
    return Sharing(trails, frozenset(kept), takes, starts, forwards)


def peak_states(order: Iterable[Cell], sharing: Sharing) -> int:
    """The most keys that lie in the store at one time, when the cells are computed one after the other."""
    ids = [cell.id for cell in order]
    last: dict[str, int] = {}
    for number, id in enumerate(ids):
        for key in sharing.takes[id]:
            last[key] = number
    alive: set[str] = set()
    most = 0
    for number, id in enumerate(ids):
        way = sharing.trails[id]
        alive |= {key for key in sharing.kept.intersection(way.keys()) if last[key] > number}
        most = max(most, len(alive))
        alive = {key for key in alive if last[key] > number}
    return most


class Lender:
    """``wan.shared.Shared`` for one cell, by way of the store's folder. ``forwards``: what was really computed."""

    def __init__(self, sharing: Sharing, id: str, prefixes: Prefixes) -> None:
        self._way = sharing.trails[id]
        self._kept = sharing.kept
        self._prefixes = prefixes
        self.forwards = 0

    def latest(self) -> State | None:
        """The state after the most steps that lies in the folder, sound."""
        for done in range(len(self._way.states) - 1, 0, -1):
            key = self._way.states[done]
            if key in self._kept and (tensors := self._prefixes.read(key)) is not None:
                latents = tensors.pop("latents")
                return State(done, latents, {name.removeprefix(_MEMORY): one for name, one in tensors.items()})
        return None

    def wants(self, done: int) -> bool:
        """Whether a later cell takes this state and it is not there yet."""
        key = self._way.states[done]
        return key in self._kept and not self._prefixes.has(key)

    def keep(self, state: State) -> None:
        """Write a state."""
        memory = {f"{_MEMORY}{name}": tensor for name, tensor in state.memory.items()}
        self._prefixes.write(self._way.states[state.done], {"latents": state.latents, **memory})

    def prediction(self, index: int, side: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A prediction out of the folder, or a computed one, which is kept where a later cell takes it."""
        key = self._way.predictions[index][side]
        if key in self._kept and (known := self._prefixes.read(key)) is not None:
            return known["velocity"]
        made = compute()
        self.forwards += self._way.windows
        if key in self._kept:
            self._prefixes.write(key, {"velocity": made})
        return made

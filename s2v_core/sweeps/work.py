"""The work of one or several sweeps: which cells, in which order, and what they share. Nothing is rendered here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..errors import SettingsError
from ..prompts.prompt import Prompt
from ..video.clip import Clip
from ..wan.settings import SampleSettings
from .axes import Cell, Sweep
from .kinds import SCENE_AXES
from .plan import plan
from .prefixes import Prefixes
from .scene import Scene
from .sharing import Lender, Sharing, plan_sharing
from .trail import Trail, trail


class Renderer(Protocol):
    """What a sweep needs of the thing that renders; ``wan.render.Renderer`` is one.

    When it has an attribute ``shares_steps`` that is true, ``render`` also takes ``shared``, a ``wan.shared.Shared``;
    with ``gives_latents`` also ``on_latents``, which gets the finished latents before they are decoded. With
    ``net_sizes``, a ``wan.flops.NetSizes``, times are carried from one size to another by arithmetic. With ``expect``
    it hears the prompts and settings of all its cells before the first is rendered. ``estimated``, a
    ``wan.step_cache.Estimated`` or None, says what step caching left out of the last rendering.
    """

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What decides the pixels besides prompt and settings: hashes of models and pictures, device, versions."""
        ...

    def render(
        self,
        prompt: Prompt,
        settings: SampleSettings,
        *,
        on_step: Callable[[Any], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Clip:
        """One clip. ``on_step`` gets an object with ``index``, ``total`` and ``preview()`` after each step."""
        ...

    def lora_sha256(self, file: str) -> str:
        """The content hash of a LoRA file."""
        ...


# The renderer of a scene and settings. It is asked for the same one again and again, and must be quick then.
Renderers: TypeAlias = Callable[[Scene, SampleSettings], Renderer]


@dataclass(eq=False)
class Work:
    """``cells``: of each sweep, in row-major order. ``distinct``: the different ones by id. ``stored``: ids that are
    in the store and sound. ``todo``: the others, in the order of their computation. ``sharing``: among ``todo``, with
    the trails of all.
    ``prefixes``: the folder of shared latents. ``pick``: gives the renderers.
    """

    sweeps: tuple[Sweep, ...]
    cells: tuple[tuple[Cell, ...], ...]
    distinct: Mapping[str, Cell]
    stored: tuple[str, ...]
    todo: tuple[Cell, ...]
    sharing: Sharing
    prefixes: Prefixes
    pick: Renderers = field(repr=False)
    _left: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self._left = {cell.id for cell in self.todo}

    def renderer(self, cell: Cell) -> Renderer:
        """Who renders a cell."""
        return self.pick(cell.scene, cell.settings)

    def announce(self) -> None:
        """Tell each renderer which cells are to be computed."""
        wanted: dict[int, tuple[Renderer, list[Cell]]] = {}
        for cell in self.todo:
            renderer = self.renderer(cell)
            wanted.setdefault(id(renderer), (renderer, []))[1].append(cell)
        for renderer, cells in wanted.values():
            if expect := getattr(renderer, "expect", None):
                expect([(cell.prompt, cell.effective) for cell in cells])

    def sweep_of(self, cell: Cell) -> Sweep:
        """The first sweep that names a cell."""
        owners = zip(self.sweeps, self.cells, strict=True)
        return next(sweep for sweep, cells in owners if any(one.id == cell.id for one in cells))

    def lender(self, cell: Cell) -> Lender | None:
        """What the cell shares; None for a renderer that cannot share steps."""
        return Lender(self.sharing, cell.id, self.prefixes) if _shares(self.renderer(cell)) else None

    def release(self, id: str) -> None:
        """A cell is finished: remove the shared latents that no cell needs any more."""
        before = self.sharing.idle(self._left)
        self._left.discard(id)
        self.prefixes.remove(self.sharing.idle(self._left) - before)
        if not self._left:
            # Also what a stopped run has left of cells that were finished since.
            ways = self.sharing.trails.values()
            passed = {
                key for way in ways for key in (*way.states, *(k for made in way.predictions for k in made.values()))
            }
            self.prefixes.remove(self.prefixes.keys() & passed)


def plan_cells(sweep: Sweep, renderer: Renderer | Renderers) -> tuple[Cell, ...]:
    """The cells of a sweep in row-major order.

    Raises ``SettingsError`` for an axis that needs several renderers where there is one, and what planning raises.
    """
    return _plan(sweep, renderer_of(renderer, [sweep]))


def plan_work(
    sweeps: Sequence[Sweep], renderer: Renderer | Renderers, has: Callable[[str], bool], prefixes: Prefixes
) -> Work:
    """Everything that is to be done for these sweeps. ``has(id)``: whether a cell is stored and sound; ``prefixes``:
    the shared latents of the same store. Raises what ``plan_cells`` raises.
    """
    pick = renderer_of(renderer, sweeps)
    return arrange(sweeps, [_plan(sweep, pick) for sweep in sweeps], pick, has, prefixes)


def arrange(
    sweeps: Sequence[Sweep],
    cells: Sequence[tuple[Cell, ...]],
    pick: Renderers,
    has: Callable[[str], bool],
    prefixes: Prefixes,
) -> Work:
    """``plan_work`` for cells that are planned: one tuple for each sweep."""
    distinct: dict[str, Cell] = {}
    for cell in (cell for one in cells for cell in one):
        distinct.setdefault(cell.id, cell)
    stored = tuple(id for id in distinct if has(id))
    missing = [cell for id, cell in distinct.items() if id not in set(stored)]
    trails = make_trails(distinct.values(), pick)
    todo = computation_order(missing, trails)
    left = prefixes.keys()
    sharing = plan_sharing(
        todo, trails, shares=lambda cell: _shares(pick(cell.scene, cell.settings)), there=lambda key: key in left
    )
    return Work(tuple(sweeps), tuple(cells), distinct, stored, tuple(todo), sharing, prefixes, pick)


def make_trails(cells: Iterable[Cell], pick: Renderers) -> dict[str, Trail]:
    """The trail of each cell, by id."""
    made: dict[str, Trail] = {}
    for cell in cells:
        renderer = pick(cell.scene, cell.settings)
        made[cell.id] = trail(cell.prompt, cell.settings, renderer.fingerprint, renderer.lora_sha256)
    return made


def computation_order(cells: Iterable[Cell], trails: Mapping[str, Trail] | None = None) -> list[Cell]:
    """The same cells, ordered so that what is costly to change changes seldom.

    First the model, then the LoRA files, then what the conditioning is made of, then LoRA strengths, then the noise,
    then (with ``trails``) the steps that cells have in common: those that share most come together. Within these,
    groups and cells keep the order in which they came.
    """
    cells = list(cells)
    ranks: list[dict[Hashable, int]] = [{}, {}, {}, {}, {}]
    branches: dict[str, int] = {}

    def key(cell: Cell) -> tuple[int, ...]:
        settings = cell.effective
        parts: tuple[Hashable, ...] = (
            cell.scene.model,
            tuple(use.file for use in settings.loras),
            (
                *(cell.scene.pose, cell.scene.reference, cell.prompt.text, cell.prompt.negative),
                *(settings.width, settings.height, settings.frames, settings.fit, settings.tiling),
            ),
            tuple(use.strength for use in settings.loras),
            settings.seed,
        )
        own = tuple(rank.setdefault(part, len(rank)) for rank, part in zip(ranks, parts, strict=True))
        # Numbered in the order of their first coming, states sort as the branches of the tree do.
        states = trails[cell.id].states if trails else ()
        return own + tuple(branches.setdefault(state, len(branches)) for state in states)

    return sorted(cells, key=key)


def _shares(renderer: Renderer) -> bool:
    return bool(getattr(renderer, "shares_steps", False))


def renderer_of(renderer: Renderer | Renderers, sweeps: Iterable[Sweep]) -> Renderers:
    """One renderer as a function that always gives it. Raises ``SettingsError`` where the sweeps need several."""
    if callable(renderer):
        return renderer
    names = {part.name for sweep in sweeps for axis in sweep.axes for part in axis.parts}
    if several := [name for name in SCENE_AXES if name in names]:
        raise SettingsError(
            f"The axis {several[0]} needs more than one renderer.",
            expected="a function that gives the renderer of each scene",
            got="one renderer",
            remedy="Remove the axis, or run the sweep from a sweep file.",
        )
    only = renderer
    return lambda scene, settings: only


def _plan(sweep: Sweep, pick: Renderers) -> tuple[Cell, ...]:
    # Each renderer is asked once: it looks at its files, which do not change while a sweep is planned.
    asked: dict[int, tuple[Renderer, Mapping[str, str]]] = {}

    def fingerprint(scene: Scene, settings: SampleSettings) -> Mapping[str, str]:
        renderer = pick(scene, settings)
        if id(renderer) not in asked:
            asked[id(renderer)] = renderer, renderer.fingerprint
        return asked[id(renderer)][1]

    def lora_sha256(file: str) -> str:
        renderer, _ = next(iter(asked.values()))  # a LoRA's content is the same for every one
        return renderer.lora_sha256(file)

    return plan(sweep, fingerprint, lora_sha256)

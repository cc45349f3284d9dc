"""From drafts to finals: all cells are rendered cheaply, the best of them less cheaply, and few of them in full.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) over the cells of a sweep. A draft has fewer steps or
a smaller size; what it shows of the full rendering is an approximation, so a cell that was dropped might have been
better in full. The finals themselves are ordinary cells, and exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import SettingsError
from ..video.clip import Clip
from ..wan.scales import MOST_STEPS, parse_scales, say_scales
from ..wan.schedule import guidance_scales
from ..wan.settings import SampleSettings
from .axes import Cell, Sweep
from .events import Event
from .plan import cell_id
from .prefixes import FOLDER, Prefixes
from .run import SweepResult, run_work
from .sharing import plan_sharing
from .store import CellStore
from .work import Renderer, Renderers, arrange, computation_order, make_trails, plan_cells, renderer_of

# The key under which the ``cell.json`` of a draft tells its round, and what its sweep's name ends in.
DRAFT = "draft"
DRAFTS = " (drafts, approximate)"
Score = Callable[[Cell, Clip], float]
_PIXELS = 16  # sizes are multiples of it


@dataclass(frozen=True)
class Round:
    """One round of drafts. ``steps``, ``size``: shares of the full settings, above 0 and at most 1. ``keep``: how many
    cells go on, a share below 1 or a number of cells; at least one does.
    """

    steps: float = 0.2
    size: float = 1.0
    keep: float = 0.25

    def __post_init__(self) -> None:
        if not (0 < self.steps <= 1 and 0 < self.size <= 1 and self.keep > 0):
            raise SettingsError(
                "This round of drafts makes no sense.",
                expected="steps and size above 0 and at most 1, keep above 0",
                got=f"steps {self.steps:g}, size {self.size:g}, keep {self.keep:g}",
            )

    def count(self, cells: int) -> int:
        """How many of ``cells`` go on."""
        return min(cells, max(1, math.ceil(self.keep * cells) if self.keep < 1 else round(self.keep)))


@dataclass(frozen=True, eq=False)
class Drafted:
    """What a round gave. ``result``: the drafts, on the grid of the sweep. ``scores``: by id of the full cell, best
    first; empty where a person picked. ``kept``: ids of the full cells that went on.
    """

    round: Round
    result: SweepResult
    scores: Mapping[str, float]
    kept: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class HalvingResult:
    """``rounds`` of drafts and the ``final`` result, in which dropped cells are neither computed nor reused.

    ``forwards_full``: the transformer's forwards for all cells in full, sharing what is equal. ``forwards_spent``: for
    the drafts and the finals, stored ones included. The choice of cells is approximate, always.
    """

    rounds: tuple[Drafted, ...]
    final: SweepResult
    forwards_full: int
    forwards_spent: int

    @property
    def saved(self) -> float:
        """The share of the forwards that was saved, from 0 to 1; negative where drafts cost more than they saved."""
        return 1 - self.forwards_spent / self.forwards_full if self.forwards_full else 0.0

    def note(self) -> str:
        """What the reader of the result has to know."""
        first = self.rounds[0].round
        small = f" and {first.size:.0%} of the size" if first.size < 1 else ""
        return (
            f"Approximate: {len(self.rounds[-1].kept)} of {len({cell.id for cell in self.final.cells})} cells were "
            f"chosen by drafts with {first.steps:.0%} of the steps{small}. The cells that were rendered in full are "
            "exact; one that was dropped might have been better in full."
        )


def draft_settings(settings: SampleSettings, round: Round) -> SampleSettings:
    """The settings of a draft: fewer steps, with all that is counted in steps moved along, and a smaller size."""
    steps = max(1, math.floor(settings.steps * round.steps + 0.5))

    def moved(step: int) -> int:
        return step if step >= MOST_STEPS else math.floor(step * steps / settings.steps + 0.5)

    def small(pixels: int) -> int:
        return max(_PIXELS, math.floor(pixels * round.size / _PIXELS + 0.5) * _PIXELS)

    loras = []
    for use in settings.loras:
        first = min(moved(use.from_step), MOST_STEPS - 1)
        behind = max(moved(use.to_step), first + 1)
        ramps = moved(use.ramp_in), moved(use.ramp_out)
        loras.append(replace(use, from_step=first, to_step=behind, ramp_in=ramps[0], ramp_out=ramps[1]))
    names = [f"{what}_{end}" for what in ("control", "reference", "guidance") for end in ("from", "to")]
    changes: dict[str, Any] = {name: moved(getattr(settings, name)) for name in names}
    if parse_scales(settings.guidance_schedule, 0.0, math.inf):
        plain = replace(settings, guidance_from=0, guidance_to=MOST_STEPS, zero_init_steps=0)
        scales = guidance_scales(plain)
        changes["guidance_schedule"] = say_scales(scales[at * settings.steps // steps] for at in range(steps))
    return replace(
        settings,
        **changes,
        zero_init_steps=min(moved(settings.zero_init_steps), steps - 1),
        steps=steps,
        width=small(settings.width),
        height=small(settings.height),
        loras=tuple(loras),
    )


def run_drafts(
    sweep: Sweep,
    renderer: Renderer | Renderers,
    store: CellStore,
    round: Round,
    cells: Collection[str] | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[SweepResult, dict[str, str]]:
    """Render drafts of a sweep's cells, of those with these ids only where they are given.

    Returns the drafts on the sweep's grid, and each full cell's id with its draft's. Raises what ``run_sweep`` raises.
    """
    pick = renderer_of(renderer, [sweep])
    drafts: dict[str, str] = {}
    made = []
    for cell in plan_cells(sweep, renderer):
        settings = draft_settings(cell.settings, round)
        who = pick(cell.scene, settings)
        id = cell_id(cell.prompt, settings, who.fingerprint, who.lora_sha256)
        drafts[cell.id] = id
        made.append((cell.id, replace(cell, id=id, settings=settings)))
    shown = tuple(draft for _, draft in made)
    wanted = tuple(draft for full, draft in made if cells is None or full in cells)
    named = replace(sweep, name=f"{sweep.name}{DRAFTS}")
    work = arrange([named], [wanted], pick, store.has, Prefixes(store.folder / FOLDER))
    said = {DRAFT: {"steps": round.steps, "size": round.size}}
    (result,) = run_work(work, store, on_event=on_event, should_stop=should_stop, facts=said)
    return replace(result, cells=shown), drafts


def run_halving(
    sweep: Sweep,
    renderer: Renderer | Renderers,
    store: CellStore,
    rounds: Sequence[Round],
    choose: Score | Sequence[int],
    *,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> HalvingResult:
    """Draft, choose, and render what was chosen in full.

    ``choose``: a score of a cell and its draft, of which more is better, or the places (from 0, in row-major order) of
    the cells that a person picked after the last round. Drafts are cells of the store like any others: nothing is
    rendered twice. Raises ``SettingsError`` for no rounds, places that are not on the grid, and a score that is no
    number; and what ``run_sweep`` raises.
    """
    if not rounds:
        raise SettingsError("There is no round of drafts.", expected="one or more")
    pick = renderer_of(renderer, [sweep])
    cells = plan_cells(sweep, renderer)
    by_id = {cell.id: cell for cell in cells}
    left = tuple(by_id)
    spent = 0
    drafted: list[Drafted] = []
    for number, round in enumerate(rounds, start=1):
        result, drafts = run_drafts(sweep, renderer, store, round, left, on_event=on_event, should_stop=should_stop)
        spent += _forwards([cell for cell in result.cells if cell.id in {drafts[id] for id in left}], pick)
        scores: dict[str, float] = {}
        if callable(choose):
            scores = _scores(left, by_id, drafts, result, choose)
            left = tuple(scores)[: round.count(len(left))]
        elif number == len(rounds):
            left = _picked(cells, choose)
        drafted.append(Drafted(round, result, scores, left))
    chosen = tuple(by_id[id] for id in left)
    work = arrange([sweep], [chosen], pick, store.has, Prefixes(store.folder / FOLDER))
    (final,) = run_work(work, store, on_event=on_event, should_stop=should_stop)
    spent += _forwards(chosen, pick)
    return HalvingResult(tuple(drafted), replace(final, cells=cells), _forwards(cells, pick), spent)


def _scores(
    ids: Sequence[str], by_id: Mapping[str, Cell], drafts: Mapping[str, str], result: SweepResult, score: Score
) -> dict[str, float]:
    """Best first; cells with equal scores stay in their order. Drafts that failed have none."""
    found: dict[str, float] = {}
    shown = {cell.id: cell for cell in result.cells}
    for id in ids:
        if drafts[id] in result.failed:
            continue
        value = float(score(by_id[id], result.clip(shown[drafts[id]])))
        if math.isnan(value):
            raise SettingsError(
                f"The score of the cell {', '.join(by_id[id].labels)} is no number.", expected="more is better"
            )
        found[id] = value
    if not found:
        raise SettingsError("All drafts failed.", got=next(iter(result.failed.values()), "none"))
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def _picked(cells: Sequence[Cell], places: Sequence[int]) -> tuple[str, ...]:
    if not places or any(not 0 <= place < len(cells) for place in places):
        raise SettingsError(
            "These cells cannot be picked.",
            expected=f"numbers from 1 to {len(cells)}, counted along the rows of the grid",
            got=", ".join(str(place + 1) for place in places) or "none",
        )
    return tuple(dict.fromkeys(cells[place].id for place in places))


def _forwards(cells: Sequence[Cell], pick: Renderers) -> int:
    """The forwards of all these cells, sharing what is equal."""
    distinct = list({cell.id: cell for cell in cells}.values())
    trails = make_trails(distinct, pick)
    return sum(plan_sharing(computation_order(distinct, trails), trails).forwards.values())

"""The stages of scoring put together, as the command line, the node and the experiments use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .errors import S2VError

if TYPE_CHECKING:
    from .analysis.claimsfile import AnyClaim
    from .analysis.scoring import Scored
    from .analysis.verdict import Verdict
    from .metrics.toy import ToyWorld
    from .studio import Studio
    from .sweeps.load import SweepFile
    from .sweeps.run import SweepResult
    from .sweeps.store import CellStore


def score_result(
    result: SweepResult,
    *,
    studio: Studio | None = None,
    control: Any = None,
    reference: Sequence[Any] = (),
    world: ToyWorld | None = None,
    **how: Any,
) -> Scored:
    """Score every finished cell of a sweep.

    ``studio``: whose pose videos are known already. ``control``, ``reference``: of cells whose scene names none, a
    ``Clip`` and pictures. ``world``: a toy world that a pose video's file does not lead to. ``how``: what
    ``score_cells`` takes, whose errors are raised.
    """
    from .analysis.scoring import score_cells
    from .analysis.sources import SweepSources
    from .studio import Studio

    sources = SweepSources(result, studio or Studio(), control, tuple(reference), world)
    return score_cells(result.store, finished(result), sources, **how)


def finished(result: SweepResult) -> list[str]:
    """The ids of the cells that the store holds, each once, in the order of the grid."""
    return [id for id in dict.fromkeys(cell.id for cell in result.cells) if result.store.has(id)]


def stored_file(file: SweepFile, store: CellStore) -> tuple[SweepResult, Studio]:
    """What a store holds of a sweep file, and the studio that has read its pose videos.

    Cells are looked for as they would be rendered here; where that finds fewer, as in a store from another machine or
    without the model's files, whatever models and pictures they were rendered with. Raises what planning raises.
    """
    from .recipe import open_sweep_files, sweep_of
    from .studio import Studio
    from .sweeps.run import stored_result
    from .sweeps.stored import result_of_sweep
    from .wan.lora_file import lora_sha256

    loose, _ = result_of_sweep(sweep_of(file), store, lora_sha256)
    try:
        ready = open_sweep_files([file], out=store.folder.parent)
        exact = stored_result(ready.sweeps[0], ready.renderers, store)
    except S2VError:
        return loose, Studio()
    return (exact if len(exact.reused) >= len(loose.reused) else loose), ready.renderers


def verdicts_of(claims: Iterable[AnyClaim], results: Iterable[SweepResult]) -> tuple[Verdict, ...]:
    """Claims held against all finished cells of these sweeps."""
    from .analysis.collect import stored_rows
    from .analysis.judge import judge

    return judge(claims, [row for result in results for row in stored_rows(result.store, finished(result))])

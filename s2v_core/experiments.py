"""The article's experiments with the nano model: one call renders, scores and judges them, and writes the report.

Every ``*.yaml`` file of ``nano/experiments`` is one. They run over three dancers of the toy world whom the model
never saw, with three seeds, in one store: what they have in common is computed once. A second call computes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .experiment_pages import write_index, write_pages, write_verdicts

if TYPE_CHECKING:
    from .analysis.claimsfile import AnyClaim

FOLDER = Path(__file__).parent / "nano" / "experiments"
# Scenes of the toy world that are held out of training, and whose trousers and walls are not the biased set's.
PEOPLE = (9, 10, 11)
WORLD = "toy"
# What is measured: the toy world's truth, and what needs neither nets for faces nor a clock. Scores are the same bytes
# in every run.
METRICS = (
    *("toy_identity", "toy_leakage", "toy_pose", "toy_error"),
    *("identity_clothes", "pose_pck", "motion", "flicker", "sharpness"),
)


def experiment_files() -> tuple[Path, ...]:
    """The experiments, those whose cells others share first."""
    order = ("guidance", "steps", "prompts", "lora_strength", "rescue", "swap")
    return tuple(FOLDER / f"{name}.yaml" for name in order)


def write_dancers(folder: Path) -> Path:
    """The dancers' pose videos and references, where the experiments look for them."""
    from .nano.world import HELD_OUT
    from .nano.write import INDEX, write_world

    if not (folder / INDEX).is_file():
        write_world(folder, len(PEOPLE), start=PEOPLE[0], held=HELD_OUT, stick="fixed")
    return folder


def run_experiments(
    out: str | os.PathLike[str],
    *,
    files: Sequence[str | os.PathLike[str]] | None = None,
    claims: Sequence[AnyClaim] | None = None,
    on_event: Callable[[Any], None] | None = None,
    on_scored: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Render and score the experiments into ``out``, and write verdicts and reports; tells where everything is.

    ``files``: sweep files, the project's own for None; their paths are relative to ``out``, into which they are
    copied. ``claims``: the article's for None. What a former run finished is not done again. Raises what the stages
    raise, and ``Interrupted`` when ``should_stop()`` says so; what was finished is kept.
    """
    from .analysis.claimsfile import load_claims
    from .assess import score_result, verdicts_of
    from .recipe import open_sweep_files
    from .sweeps.load import load_sweep
    from .sweeps.run import run_sweeps
    from .sweeps.store import CellStore

    tell = say or (lambda text: None)
    folder = Path(out).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    write_dancers(folder / WORLD)
    placed = [_placed(Path(file), folder) for file in (experiment_files() if files is None else files)]
    ready = open_sweep_files([load_sweep(file) for file in placed], out=folder, device="cpu", dtype="float32")
    tell(f"{len(placed)} experiments")
    store = CellStore(ready.store)
    results = run_sweeps(ready.sweeps, ready.renderers, store, on_event=on_event, should_stop=should_stop)
    ready.renderers.close()
    tell("Scores")
    failed = {id: reason for result in results for id, reason in result.failed.items()}
    for result in results:
        scored = score_result(
            result, studio=ready.renderers, metrics=METRICS, on_progress=on_scored, should_stop=should_stop
        )
        failed |= scored.failed
    verdicts = verdicts_of(load_claims() if claims is None else claims, results)
    tell("Reports")
    named = {file.stem: result for file, result in zip(placed, results, strict=True)}
    pages = write_pages(named, verdicts, ready.renderers, folder, should_stop)
    return {
        "report": write_index(folder, verdicts, results, pages),
        "pages": list(pages.values()),
        **write_verdicts(folder, verdicts),
        "cells": ready.store,
        "cells named": sum(len(result.cells) for result in results),
        "computed": len({id for result in results for id in result.computed}),
        "reused": len({id for result in results for id in result.reused}),
        "failed": failed,
        "claims": {verdict.claim.name: verdict.word for verdict in verdicts},
    }


def _placed(file: Path, folder: Path) -> Path:
    """A copy of a sweep file in the folder that its paths are relative to."""
    target = folder / file.name
    if file.resolve() != target.resolve():
        shutil.copyfile(file, target)
    return target

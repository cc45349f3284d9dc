"""The stages put one after the other, as the command line and the demo use them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .aist.names import ClipName, find_name
from .errors import SettingsError
from .files import safe_join
from .pose.draw import draw_pose
from .pose.extract import ExtractReport, extract_pose
from .pose.settings import ExtractSettings
from .prompts.prompt import Prompt
from .prompts.template import DEFAULT_SUBJECT, build_prompt
from .video.clip import Clip
from .video.read import read_clip
from .video.still import read_reference as read_reference  # the command line's
from .wan.settings import SampleSettings

if TYPE_CHECKING:
    from .studio import Studio
    from .sweeps.axes import Sweep
    from .sweeps.halving import HalvingResult, Round, Score
    from .sweeps.load import SweepFile
    from .sweeps.run import SweepResult
    from .wan.engine import ModelFiles
    from .wan.memory_plan import MemoryPlan

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Control:
    """A pose video with what it was made from; ``report`` is None for a video that was given as it is."""

    clip: Clip
    report: ExtractReport | None
    name: ClipName | None


def control_from_dance(
    path: str | os.PathLike[str],
    settings: SampleSettings,
    *,
    start: float = 0.0,
    backend: str = "auto",
    palette: str = "vace",
    on_progress: Progress | None = None,
) -> Control:
    """A dance clip at the settings' size and length, its pose, and the pose video drawn from it."""
    clip = read_clip(
        Path(path), frames=settings.frames, size=(settings.width, settings.height), fit="letterbox", start=start
    )
    report = extract_pose(clip, ExtractSettings(backend, hands=False), on_progress=on_progress)  # hands are not drawn
    if not report.found:
        raise SettingsError(
            f"Nobody was found in {path}.",
            expected="a person in at least one frame",
            got=f"none in {len(clip)} frames by {report.track.backend}",
            remedy="Choose another part of the clip, or a clip in which the whole body is seen.",
        )
    return Control(draw_pose(report.track, palette=palette), report, find_name(path))


def control_from_pose_video(path: str | os.PathLike[str], settings: SampleSettings) -> Control:
    """A finished pose video; it is fitted to the settings' size when it is used."""
    return Control(read_clip(Path(path), frames=settings.frames), None, find_name(path))


@dataclass(frozen=True)
class Planned:
    """Sweep files made ready. ``sweeps``: one a file. ``renderers``: theirs, with nothing loaded. ``store``: the folder
    of their cells, which need not exist yet. ``folders``: where each sweep's own results go.
    """

    sweeps: tuple[Sweep, ...]
    renderers: Studio
    store: Path
    folders: tuple[Path, ...]


def open_sweep_files(
    files: Sequence[SweepFile],
    *,
    out: Path | None = None,
    models: ModelFiles | None = None,
    device: str = "auto",
    dtype: str = "auto",
    memory: str = "auto",
    on_plan: Callable[[MemoryPlan], None] | None = None,
    on_pose: Progress | None = None,
) -> Planned:
    """Sweep files ready to plan or to run. They share one store; with several, each has a folder by its name in it.

    ``models`` and ``out`` stand in for those of the files. ``memory``: as for ``load_engine``; ``on_plan`` hears the
    plan before the first rendering, and whenever it is another one. Raises ``SettingsError`` for a file that leaves
    something out, and for files that cannot be run together.
    """
    from .studio import Studio

    places = {out or file.out for file in files}
    folder = next(iter(places)) if len(places) == 1 else None
    if folder is None:
        if len(places) > 1:
            raise SettingsError("These sweeps have different places.", remedy="Give --out, or the same `out` in all.")
        raise SettingsError("The sweep has no place for its results.", remedy="Give --out, or `out` in the sweep file.")
    if twice := [file.name for number, file in enumerate(files) if file.name in [one.name for one in files[:number]]]:
        raise SettingsError(f"Two sweeps are called {twice[0]!r}.", remedy="Give each file a name of its own.")
    sweeps = []
    for file in files:
        sweep = sweep_of(file)
        if models:
            sweep = replace(sweep, scene=replace(sweep.scene, model=models))
        if sweep.scene.model is None and "model" not in file.varied():
            raise SettingsError("The sweep file names no models.", remedy="Add `models` with three paths.")
        sweeps.append(sweep)
    studio = Studio(device, dtype, on_pose, memory=memory, on_plan=on_plan)
    own = [folder] if len(files) == 1 else [safe_join(folder, folder_name(sweep.name)) for sweep in sweeps]
    return Planned(tuple(sweeps), studio, folder / "cells", tuple(own))


def run_sweep_files(
    files: Sequence[SweepFile],
    *,
    out: Path | None = None,
    models: ModelFiles | None = None,
    device: str = "auto",
    dtype: str = "auto",
    memory: str = "auto",
    on_plan: Callable[[MemoryPlan], None] | None = None,
    on_pose: Progress | None = None,
    on_event: Callable[[Any], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    write: bool = True,
    keep_latents: bool = False,
) -> tuple[tuple[SweepResult, ...], list[dict[str, Any]]]:
    """Everything that sweep files ask for: poses, prompts, cells, and the grids and contact sheets beside them.

    What the sweeps have in common is computed once. ``keep_latents``: also where no file asks for it. Returns for each
    file its result and what was written, by kind. Raises what ``open_sweep_files`` and the stages raise.
    """
    from .sweeps.run import run_sweeps
    from .sweeps.store import CellStore
    from .video.write import write_clip

    ready = open_sweep_files(
        files,
        out=out,
        models=models,
        device=device,
        dtype=dtype,
        memory=memory,
        on_plan=on_plan,
        on_pose=on_pose,
    )
    store = CellStore(ready.store)
    keep = keep_latents or any(file.keep_latents for file in files)
    results = run_sweeps(
        ready.sweeps, ready.renderers, store, on_event=on_event, should_stop=should_stop, keep_latents=keep
    )
    written: list[dict[str, Any]] = []
    for sweep, result, folder in zip(ready.sweeps, results, ready.folders, strict=True):
        written.append({"cells": ready.store})
        if not write:
            continue
        control = ready.renderers.control(sweep.scene.pose, sweep.settings) if sweep.scene.pose else None
        if control:
            written[-1]["pose video"] = write_clip(control.clip, folder / "pose.mkv", lossless=True)
        written[-1] |= write_results(result, folder)
    return results, written


def run_sweep_file(file: SweepFile, **how: Any) -> tuple[SweepResult, dict[str, Any]]:
    """``run_sweep_files`` for one."""
    results, written = run_sweep_files([file], **how)
    return results[0], written[0]


def run_draft_file(
    file: SweepFile,
    rounds: Sequence[Round],
    choose: Score | Sequence[int] | None,
    *,
    out: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    memory: str = "auto",
    on_plan: Callable[[MemoryPlan], None] | None = None,
    on_pose: Progress | None = None,
    on_event: Callable[[Any], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[HalvingResult | None, dict[str, Any]]:
    """Draft a sweep file's cells, choose, and render the chosen ones in full, with grids of both.

    ``choose``: as for ``run_halving``, or None to stop after the first round's drafts, for a person to look at; there
    is no result then. Returns the result and what was written, by kind. Raises what ``run_sweep_files`` and
    ``run_halving`` raise.
    """
    from .sweeps.halving import run_drafts, run_halving
    from .sweeps.store import CellStore

    ready = open_sweep_files(
        [file], out=out, device=device, dtype=dtype, memory=memory, on_plan=on_plan, on_pose=on_pose
    )
    store = CellStore(ready.store)
    (sweep,), (folder,) = ready.sweeps, ready.folders
    how: dict[str, Any] = {"on_event": on_event, "should_stop": should_stop}
    if choose is None:
        drafts, _ = run_drafts(sweep, ready.renderers, store, rounds[0], **how)
        return None, {"cells": ready.store, **write_results(drafts, folder / "drafts")}
    result = run_halving(sweep, ready.renderers, store, rounds, choose, **how)
    written: dict[str, Any] = {"cells": ready.store}
    for number, one in enumerate(result.rounds, start=1):
        place = folder / ("drafts" if number == 1 else f"drafts-{number}")
        written |= {f"{place.name}: {kind}": path for kind, path in write_results(one.result, place).items()}
    named = replace(result.final, sweep=replace(sweep, name=f"{sweep.name} (chosen by drafts, approximate)"))
    return result, written | write_results(named, folder / "chosen")


def write_results(result: SweepResult, folder: Path) -> dict[str, Any]:
    """The grid as mp4 and WebP and the contact sheet as PNG; files that already show these cells are left alone."""
    from .files import sha256_json, write_text_atomic
    from .sweeps.grid import pages, write_contact_sheet, write_grid
    from .sweeps.gridpage import stored_scores

    one = pages(result.sweep) == 1

    def plan(suffix: str, stem: str) -> list[Path]:
        return [folder / (f"{stem}{suffix}" if one else f"{stem}-{n + 1}{suffix}") for n in range(pages(result.sweep))]

    written = {"grid": plan(".mp4", "grid"), "grid (WebP)": plan(".webp", "grid"), "sheet": plan(".png", "sheet")}
    shown = sha256_json(
        [
            _GRID_VERSION,
            result.sweep.name,
            result.sweep.prompt.text,
            result.sweep.settings.to_dict(),
            [[cell.id, cell.labels, result.failed.get(cell.id), result.store.has(cell.id)] for cell in result.cells],
            # Only where there are some, so that grids without scores that were drawn before are still found.
            *filter(None, [stored_scores(result)]),
        ]
    )
    stamp = folder / "grid.sha256"
    files = [path for paths in written.values() for path in paths]
    if not (stamp.is_file() and stamp.read_text().strip() == shown and all(path.is_file() for path in files)):
        write_grid(result, folder / "grid.mp4")
        write_grid(result, folder / "grid.webp")
        write_contact_sheet(result, folder / "sheet.png")
        write_text_atomic(stamp, f"{shown}\n")
    return {kind: paths[0] if one else paths for kind, paths in written.items()}


_GRID_VERSION = 2


def folder_name(name: str) -> str:
    """A sweep's name as that of a folder: what file systems do not allow becomes a line."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", name).strip(". ") or "sweep"


def sweep_of(file: SweepFile) -> Sweep:
    """The sweep of a file. A prompt that is built from a subject says of each dance what its name tells."""
    from .sweeps.axes import make_part, zip_axes

    if file.prompt or not file.subject:
        return file.sweep()

    def words(path: str) -> Prompt:
        name = find_name(path) if path else None
        return build_prompt(name, file.subject or DEFAULT_SUBJECT, negative=file.negative or None)

    scene = file.scene()
    sweep = file.sweep(words(scene.pose.file if scene.pose else ""))
    if "prompt" in file.varied():
        return sweep
    axes = [
        zip_axes((*axis.parts, make_part("prompt", [words(source.file) for source in axis.values])), axis.labels)
        if axis.name == "pose"
        else axis
        for axis in sweep.axes
    ]
    return replace(sweep, axes=tuple(axes))

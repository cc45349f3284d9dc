"""The stages put one after the other, as the command line and the demo use them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .aist.names import ClipName, find_name
from .errors import SettingsError
from .pose.draw import draw_pose
from .pose.extract import ExtractReport, extract_pose
from .pose.settings import ExtractSettings
from .prompts.prompt import Prompt
from .prompts.template import DEFAULT_SUBJECT, build_prompt
from .video.clip import Clip
from .video.read import read_clip
from .video.still import read_mask, read_reference
from .wan.settings import SampleSettings

if TYPE_CHECKING:
    from .sweeps.load import SweepFile
    from .sweeps.run import SweepResult
    from .wan.engine import ModelFiles

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


def run_sweep_file(
    file: SweepFile,
    *,
    out: Path | None = None,
    models: ModelFiles | None = None,
    device: str = "auto",
    dtype: str = "auto",
    on_pose: Progress | None = None,
    on_event: Callable[[Any], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    write: bool = True,
) -> tuple[SweepResult, dict[str, Any]]:
    """Everything that a sweep file asks for: pose, prompt, cells, and the grid and contact sheet beside them.

    ``models`` and ``out`` stand in for those of the file. Returns the result and what was written, by kind.
    Raises ``SettingsError`` for a file that leaves something out, and what the stages raise.
    """
    from .sweeps.run import run_sweep
    from .sweeps.store import CellStore
    from .video.write import write_clip
    from .wan.engine import ModelFiles, load_engine
    from .wan.render import Renderer

    folder = out or file.out
    if folder is None:
        raise SettingsError("The sweep has no place for its results.", remedy="Give --out, or `out` in the sweep file.")
    if models is None:
        if file.models is None:
            raise SettingsError("The sweep file names no models.", remedy="Add `models` with three paths.")
        given = file.models
        models = ModelFiles(str(given.transformer), str(given.vae), str(given.text_encoder), str(given.tokenizer or ""))
    settings = file.sample_settings()
    control = None
    if file.inputs.clip:
        control = control_from_dance(file.inputs.clip, settings, start=file.inputs.start, on_progress=on_pose)
    elif file.inputs.pose:
        control = control_from_pose_video(file.inputs.pose, settings)
    inputs = file.inputs
    prompt = _prompt_of(file, control)
    sweep = file.sweep(prompt)

    engine = load_engine(models, device=device, dtype=dtype)
    renderer = Renderer(
        engine,
        control.clip if control else None,
        [read_reference(path) for path in inputs.references],
        mask=read_mask(inputs.mask) if inputs.mask else None,
        start=read_clip(inputs.start_clip, frames=settings.frames) if inputs.start_clip else None,
    )
    result = run_sweep(sweep, renderer, CellStore(folder / "cells"), on_event=on_event, should_stop=should_stop)
    written: dict[str, Any] = {"cells": folder / "cells"}
    if write:
        if control:
            written["pose video"] = write_clip(control.clip, folder / "pose.mkv", lossless=True)
        written |= write_results(result, folder)
    return result, written


def write_results(result: SweepResult, folder: Path) -> dict[str, Any]:
    """The grid as mp4 and WebP and the contact sheet as PNG; files that already show these cells are left alone."""
    from .files import sha256_json, write_text_atomic
    from .sweeps.grid import pages, write_contact_sheet, write_grid

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


_GRID_VERSION = 1


def _prompt_of(file: SweepFile, control: Control | None) -> Prompt | None:
    if file.prompt or not file.subject:
        return None
    name = control.name if control else None
    return build_prompt(name, file.subject or DEFAULT_SUBJECT, negative=file.negative or None)

"""Sweeps: their axes, and the run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError, SettingsError
from ..s2v_core.sweeps.axes import AXES, Axis, zip_axes
from ..s2v_core.sweeps.kinds import axis_kind
from ..s2v_core.sweeps.parse import parse_part, parse_values
from ..s2v_core.sweeps.scene import NONE, PoseSource
from ..s2v_core.wan.settings import LoraUse, SampleSettings
from . import host, live, sockets
from .wan import (
    NO_PRESET,
    check_size,
    late_inputs,
    make_renderer,
    picture_inputs,
    preset_input,
    settings_inputs,
    with_preset,
)

# How often a sweep of this name ended with failed cells: the host would otherwise keep such a result for ever.
_failed_runs: Counter[str] = Counter()


class SweepAxis(io.ComfyNode):
    """One thing that varies, and its values."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_SweepAxis",
            display_name="Sweep Axis",
            category="Skeleton2Video/sweep",
            description=(
                "One thing that varies in a sweep, with its values. Chain two of them: the first runs over the rows of "
                "the grid, the second over its columns, further ones over pages."
            ),
            inputs=[
                io.Combo.Input(
                    "axis",
                    options=list(AXES),
                    default="guidance",
                    tooltip=(
                        "What varies. The lora_ axes act on every LoRA of the sweep; lora_on compares the base model "
                        "with it. model, pose and reference take other files than those connected to Run Sweep."
                    ),
                ),
                io.String.Input(
                    "values",
                    default="1, 3, 5",
                    multiline=True,
                    tooltip=(
                        "Numbers parted by commas, or a range such as 1..8 step 0.5 or 1:8:0.5. Prompts and files "
                        "stand one a line, as they are called in models/loras, models/diffusion_models or the input "
                        "folder; none for no LoRA, pose or reference; [short] in front of a line names it."
                    ),
                ),
                sockets.Axes.Input("axes", optional=True, tooltip="The axes that come before this one."),
                io.Boolean.Input(
                    "together",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Vary together with the axis before instead of crossing it: first values together, second "
                        "values together... Both need equally many values."
                    ),
                ),
            ],
            outputs=[sockets.Axes.Output("chain", display_name="axes", tooltip="The axes with this one at their end.")],
        )

    @classmethod
    def validate_inputs(cls, axis: str | None, values: str | None, together: bool | None = False) -> bool | str:
        """Say what is wrong with the values before anything runs (what comes by a link is None here)."""
        try:
            if axis is not None and values is not None:
                (parse_part if together else parse_values)(axis, values)
        except S2VError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, axis: str, values: str, axes: tuple[Axis, ...] = (), together: bool = False) -> io.NodeOutput:
        """Append to the chain, or zip with its last axis."""
        part = parse_part(axis, values)
        if axis in _FILES:
            part = dataclasses.replace(part, values=tuple(map(_FILES[axis], part.values)))
        if not together:
            return io.NodeOutput((*axes, Axis(part.name, part.values, part.labels)))
        if not axes:
            raise SettingsError("There is no axis before this one to vary together with.", expected="a connected axis")
        return io.NodeOutput((*axes[:-1], zip_axes((*axes[-1].parts, part))))


class RunSweep(io.ComfyNode):
    """Renders every cell that is not stored yet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_RunSweep",
            display_name="Run Sweep",
            category="Skeleton2Video/sweep",
            description=(
                "Renders one video for each combination of the axes' values. Each finished cell is kept in "
                "output/skeleton2video/<name>/cells and never computed twice, also after the stop button or a restart."
            ),
            inputs=[
                sockets.Model.Input("model", tooltip="From Load Wan-VACE."),
                sockets.Prompt.Input("prompt", tooltip="The prompt of all cells, unless an axis varies it."),
                sockets.Axes.Input("axes", tooltip="From Sweep Axis."),
                io.String.Input(
                    "name",
                    default="sweep",
                    tooltip="Folder below output/skeleton2video. The same name goes on with the same cells.",
                ),
                *settings_inputs(randomize_seed=False),
                *picture_inputs(),
                preset_input(),
                io.Boolean.Input(
                    "keep_latents",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Keep each cell's latents beside its clip, for tools that read them. Cells that are finished "
                        "already stay without."
                    ),
                ),
                *late_inputs(),
            ],
            outputs=[sockets.Sweep.Output("sweep", display_name="sweep", tooltip="For Sweep Grid and Pick Cell.")],
        )

    @classmethod
    def validate_inputs(cls, width: int | None, height: int | None, frames: int | None) -> bool | str:
        """Say what is wrong with the size before anything runs."""
        return check_size(width=width, height=height, frames=frames)

    @classmethod
    def fingerprint_inputs(cls, name: str, **_: Any) -> int:
        """Changes after a run with failed cells, so that pressing Run tries them again."""
        return _failed_runs[name]

    @classmethod
    def execute(
        cls,
        model: Any,
        prompt: Any,
        axes: tuple[Axis, ...],
        name: str,
        control_video: Any = None,
        reference: Any = None,
        loras: tuple[LoraUse, ...] = (),
        mask: Any = None,
        start_clip: Any = None,
        preset: str = NO_PRESET,
        keep_latents: bool = False,
        **values: Any,
    ) -> io.NodeOutput:
        """Render what is missing."""
        from ..s2v_core.studio import Studio
        from ..s2v_core.sweeps.axes import Sweep
        from ..s2v_core.sweeps.run import run_sweep
        from ..s2v_core.sweeps.store import CellStore

        folder = host.output_folder(name)
        settings = dataclasses.replace(SampleSettings.from_dict(values), loras=tuple(loras))
        prompt, settings, _ = with_preset(prompt, settings, preset)
        sweep = Sweep(prompt, settings, tuple(axes), folder.name)
        renderer = make_renderer(model, control_video, reference, mask, start_clip)
        progress = host.Progress(1)
        renderer.on_hash = lambda path, done, size: progress(done, size)
        studio = Studio(model.device, str(model.dtype).removeprefix("torch."), own=renderer)
        with host.rendering(model) as should_stop, live.feed(folder) as feed:
            try:
                result = run_sweep(
                    sweep,
                    studio,
                    CellStore(folder / "cells"),
                    on_event=lambda event: _show(event, progress, feed),
                    should_stop=should_stop,
                    keep_latents=keep_latents,
                )
            finally:
                studio.close()
        if result.failed:
            _failed_runs[name] += 1
            if not result.computed and not result.reused:
                raise SettingsError(
                    f"All {len(result.failed)} cells of the sweep {name!r} failed.",
                    got=next(iter(result.failed.values())),
                    remedy="Mend this and run again.",
                )
        return io.NodeOutput(result)


def read_axis(axis: str, values: str, together: bool = False) -> dict[str, Any]:
    """How typed values are read, or what is wrong with them, for the line below the node's form."""
    if not isinstance(axis, str) or not isinstance(values, str):
        raise TypeError("axis and values must be texts")
    try:
        parsed = (parse_part if together else parse_values)(axis, values)
    except S2VError as error:
        return {"problem": str(error)}
    said = [label.removeprefix(axis_kind(axis).title).lstrip(": ") for label in parsed.labels]
    return {"said": f"{len(said)} value{'s' if len(said) > 1 else ''}: {'; '.join(said)}"}


def _lora_file(name: str) -> str:
    return name if name == NONE else str(host.model_file("loras", name))


def _model_files(files: Any) -> Any:
    """A transformer by its name in the host's folder; the other parts are the connected model's."""
    if files.vae != files.transformer:
        return files  # the nano model, whose files are known
    path = str(host.model_file("diffusion_models", files.transformer))
    return dataclasses.replace(files, transformer=path, vae="", text_encoder="")


def _pose_file(source: PoseSource) -> PoseSource:
    return dataclasses.replace(source, file=str(host.input_file(source.file))) if source.file else source


def _pictures(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(host.input_file(name, "picture")) for name in names)


# How the values of an axis over files become paths.
_FILES: dict[str, Callable[[Any], Any]] = {
    "lora": _lora_file,
    "model": _model_files,
    "pose": _pose_file,
    "reference": _pictures,
}


def _show(event: Any, progress: host.Progress, feed: live.Feed) -> None:
    """A sweep's event to the pages that are open, and on the bar: a hundredth of a cell is its unit, since cells differ
    in their steps.
    """
    from ..s2v_core.sweeps.events import Finished, Stepped

    picture = event.step.preview() if isinstance(event, Stepped) else None
    # First told, then shown: the bar is where the host stops a run.
    feed(event, picture)
    if isinstance(event, Stepped):
        share = 100 * (event.step.index + 1) // (event.step.total + 1)
        progress(100 * (event.number - 1) + share, 100 * event.total, picture)
    elif isinstance(event, Finished) and event.number == event.total:
        # Of the others it comes when the next one is under way already: the bar would go back.
        progress(100 * event.number, 100 * event.total)

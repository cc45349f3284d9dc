"""``s2v train``: LoRAs on a prepared set of clips."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SettingsError
from ..training.settings import TrainSettings
from .console import Device, Dtype, Json, command, live_console, say, setting, with_settings

train_app = typer.Typer(help="Training of LoRAs.", no_args_is_help=True)


@train_app.command("lora")
@with_settings(TrainSettings, "values")
def lora(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="A folder with metadata.csv: video, prompt, vace_video, vace_reference_image, [vace_video_mask]."
        ),
    ],
    values: dict[str, Any],
    model: Annotated[
        Path | None, typer.Option(help="The folder of a whole Wan-VACE; the next four stand in for its parts.")
    ] = None,
    transformer: Annotated[Path | None, typer.Option(help="Its transformer.")] = None,
    vae: Annotated[Path | None, typer.Option(help="Its VAE.")] = None,
    text_encoder: Annotated[Path | None, typer.Option(help="Its text encoder.")] = None,
    tokenizer: Annotated[str, typer.Option(help="Its tokenizer's folder, if it is not where it usually is.")] = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the result; a training in it is gone on with.")
    ] = Path("lora"),
    score: Annotated[
        str,
        typer.Option(help="package.module:function that gets (step, LoRA file) and gives numbers by name."),
    ] = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Train a LoRA on any Wan-VACE, from the nano model to the 14B; Ctrl-C keeps what was learned."""
    with command(as_json) as done:
        from ..training.table import TrainTable
        from ..wan.engine import ModelFiles

        settings = TrainSettings.from_dict(values)
        net, codec, words = transformer or model, vae or model, text_encoder or model
        if not (net and codec and words):
            raise SettingsError(
                "A model is needed.", expected="--model with its folder, or --transformer, --vae and --text-encoder"
            )
        files = ModelFiles(str(net), str(codec), str(words), tokenizer)
        from ..training.lora import train_lora

        with TrainTable(live_console()) as table, _stopping() as should_stop:
            made = train_lora(
                dataset,
                files,
                out,
                settings,
                device=device,
                dtype=dtype,
                score=_function(score) if score else None,
                on_event=table.event,
                should_stop=should_stop,
            )
        done(
            {
                "file": made.file,
                "for ComfyUI": made.for_comfyui,
                "steps": made.steps,
                "parameters": made.parameters,
                "loss": round(made.loss, 5),
                "stopped early": made.stopped,
                "curves": out / "curves.html",
                "notes": list(made.notes),
            }
        )


@train_app.command("count")
def count(
    preset: Annotated[str, setting("preset", TrainSettings)] = TrainSettings.preset,
    rank: Annotated[int, setting("rank", TrainSettings)] = TrainSettings.rank,
    transformer: Annotated[
        Path | None, typer.Option(help="A Wan2.1-VACE transformer; the released sizes if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How many parameters a LoRA would train, for the chosen layers and for each preset."""
    with command(as_json) as done:
        from ..training.presets import PRESETS, WAN_SIZES, count_parameters, meta_nets, wan_sizes
        from ..wan.contents import require
        from ..wan.sizes import transformer_sizes

        settings = TrainSettings(preset=preset, rank=rank)
        models = {f"Wan2.1-VACE {name}": wan_sizes(name) for name in WAN_SIZES}
        if transformer:
            models = {str(transformer): transformer_sizes(require(transformer, "transformer"))}
        rows = []
        for name, sizes in models.items():
            nets = meta_nets(sizes)
            for layers in dict.fromkeys([settings.preset, *PRESETS]):
                number = count_parameters(nets, layers, settings.rank)
                rows.append({"model": name, "preset": layers, "parameters": number})
        done({"rank": settings.rank, "counts": rows})


def _function(name: str) -> Callable[..., Any]:
    """The function that ``package.module:function`` names."""
    import importlib

    module, colon, function = name.partition(":")
    try:
        if not colon:
            raise ImportError("no colon")
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"The score function {name!r} cannot be loaded.",
            expected="package.module:function, importable from here",
            got=f"{type(error).__name__}: {error}",
        ) from error
    return found


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """A question that is answered with yes after Ctrl-C, so that the step in work can end. The second one is hard."""
    asked = False

    def stop(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say("Stopping after this step; press Ctrl-C again to stop at once.")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)

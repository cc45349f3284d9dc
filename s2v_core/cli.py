"""The command line, ``s2v``. Every command that prints a result takes ``--json``."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .arguments import parse_lora_use, parse_size
from .errors import Interrupted, S2VError, SettingsError
from .wan.settings import SampleSettings, option

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="s2v",
    help="Skeleton2Video: a dance clip in, a measured sweep of generated videos out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The model files that Skeleton2Video knows.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
Size = Annotated[str, typer.Option(help="Width x height in pixels, for example 832x480; the clip's own by default.")]
Start = Annotated[float, typer.Option(min=0, help="Seconds into the clip.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps...")]
Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, bfloat16, float16 or float32.")]


def _setting(name: str) -> Any:
    """A command line option for a field of ``SampleSettings``: its help, range and choices come from there."""
    entry = option(SampleSettings, name)
    text = entry.help + (f" One of {', '.join(entry.choices)}." if entry.choices else "")
    return typer.Option(help=text, min=entry.minimum, max=entry.maximum)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(out: Out = Path("demo"), as_json: Json = False) -> None:
    """The whole way once: a real dancer's pose, a prompt, and a labelled sweep with a tiny random-weight model."""
    with _command(as_json) as done:
        import time

        from .demo import run_demo

        start = time.monotonic()
        with _progress() as show:
            result = run_demo(out, on_pose=show.pose, on_event=show.event, say=show.say)
        done(
            {**result, "seconds": round(time.monotonic() - start, 1)},
            note="The model has random weights: its pictures are noise. What is real is the dancer's pose, the files' "
            "way through loader, sampler and store, and the grid.",
        )


@app.command()
def pose(
    clip: Annotated[Path, typer.Argument(help="A video of one dancer.")],
    out: Out = Path("pose.mkv"),
    track: Annotated[Path | None, typer.Option(help="Also write the points, as .npz.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Also write the clip with its skeleton over it.")] = None,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second to take.")] = 16.0,
    frames: Annotated[int, typer.Option(min=0, help="Frames to take; 0 for all.")] = 81,
    start: Start = 0.0,
    size: Size = "",
    fit: Annotated[str, _setting("fit")] = "letterbox",
    backend: Annotated[str, typer.Option(help="auto, blazepose or dwpose.")] = "auto",
    palette: Annotated[str, typer.Option(help="vace (as VACE was trained) or openpose.")] = "vace",
    hands: Annotated[bool, typer.Option(help="Draw hands.")] = False,
    face: Annotated[bool, typer.Option(help="Draw the face.")] = True,
    as_json: Json = False,
) -> None:
    """Extract the pose of a clip and draw it. The suffix of --out decides the form; .mkv is lossless."""
    with _command(as_json) as done:
        from .pose.draw import draw_pose
        from .pose.draw import overlay as draw_over
        from .pose.extract import extract_pose
        from .pose.track_file import save_track
        from .video.read import read_clip
        from .video.write import write_clip

        taken = read_clip(
            clip, fps=Fraction(str(fps)), frames=frames or None, size=parse_size(size), fit=fit, start=start
        )
        with _progress() as show:
            report = extract_pose(taken, backend, on_progress=show.pose)
        drawn = draw_pose(report.track, palette=palette, hands=hands, face=face)
        written: dict[str, Any] = {"pose video": write_clip(drawn, out, lossless=out.suffix == ".mkv")}
        if track:
            written["track"] = save_track(report.track, track)
        if overlay:
            written["overlay"] = write_clip(draw_over(taken, report.track), overlay)
        noted = {index: note for index, note in enumerate(report.track.notes) if note}
        done(
            {
                **written,
                "backend": report.track.backend,
                "provider": report.provider,
                "choice": report.choice,
                "frames": len(taken),
                "found": report.found,
                "frames per second": round(report.frames_per_second, 2),
                "notes": noted,
            }
        )


@app.command()
def prompt(
    clip: Annotated[str, typer.Argument(help="A clip, or only an AIST name; '-' for no facts.")],
    subject: Annotated[str, typer.Option(help="Who is seen, for example 'a man with black hair'.")] = "",
    setting: Annotated[str, typer.Option(help="Where, for example 'a small dance studio'.")] = "",
    negative: Annotated[str | None, typer.Option(help="The negative prompt; a default of its own if left out.")] = None,
    variant: Annotated[str, typer.Option(help="detailed, lighting or identity.")] = "detailed",
    as_json: Json = False,
) -> None:
    """Build the prompt of a clip from the facts in its file name and a description of the person."""
    with _command(as_json) as done:
        from .aist.names import ClipName, find_name
        from .prompts.template import DEFAULT_SUBJECT, build_prompt

        name: ClipName | None = None
        if clip != "-":
            name = find_name(clip) if Path(clip).exists() else ClipName.parse(clip)
        built = build_prompt(name, subject or DEFAULT_SUBJECT, setting=setting, negative=negative, variant=variant)
        done(
            {
                "text": built.text,
                "negative": built.negative,
                "variant": built.variant,
                "name": str(name) if name else None,
                "facts": list(built.facts),
                "origins": [list(pair) for pair in built.origins],
                "warnings": list(name.warnings) if name else [],
            }
        )


@app.command()
def sample(
    transformer: Annotated[Path, typer.Option(help="Wan2.1-VACE's transformer.")],
    vae: Annotated[Path, typer.Option(help="Wan's VAE.")],
    text_encoder: Annotated[Path, typer.Option(help="umT5 in Wan's layout.")],
    tokenizer: Annotated[str, typer.Option(help="Its tokenizer's folder; beside the text encoder if left out.")] = "",
    text: Annotated[str, typer.Option("--prompt", help="The prompt; built from the clip's name if left out.")] = "",
    negative: Annotated[str | None, typer.Option(help="The negative prompt; a default of its own if left out.")] = None,
    subject: Annotated[str, typer.Option(help="Who is seen, for a prompt that is built.")] = "",
    clip: Annotated[Path | None, typer.Option(help="A dance clip whose pose drives the video.")] = None,
    pose_video: Annotated[Path | None, typer.Option("--pose", help="A finished pose video instead.")] = None,
    start: Start = 0.0,
    reference: Annotated[Path | None, typer.Option(help="A picture of the person.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="FILE or FILE:STRENGTH; may be given several times.")] = None,
    out: Out = Path("video.mp4"),
    steps: Annotated[int, _setting("steps")] = SampleSettings.steps,
    guidance: Annotated[float, _setting("guidance")] = SampleSettings.guidance,
    shift: Annotated[float, _setting("shift")] = SampleSettings.shift,
    seed: Annotated[int, _setting("seed")] = SampleSettings.seed,
    width: Annotated[int, _setting("width")] = SampleSettings.width,
    height: Annotated[int, _setting("height")] = SampleSettings.height,
    frames: Annotated[int, _setting("frames")] = SampleSettings.frames,
    control_strength: Annotated[float, _setting("control_strength")] = SampleSettings.control_strength,
    fit: Annotated[str, _setting("fit")] = SampleSettings.fit,
    solver: Annotated[str, _setting("solver")] = SampleSettings.solver,
    precision: Annotated[str, _setting("precision")] = SampleSettings.precision,
    tiling: Annotated[bool, _setting("tiling")] = SampleSettings.tiling,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Render one video."""
    with _command(as_json) as done:
        import time

        from .prompts.prompt import Prompt
        from .prompts.template import DEFAULT_NEGATIVE, DEFAULT_SUBJECT, build_prompt
        from .recipe import control_from_dance, control_from_pose_video, read_reference
        from .video.write import write_clip
        from .wan.engine import ModelFiles, load_engine
        from .wan.render import Renderer

        settings = SampleSettings(
            steps=steps, guidance=guidance, shift=shift, seed=seed, width=width, height=height, frames=frames,
            control_strength=control_strength, fit=fit, solver=solver, precision=precision, tiling=tiling,
            loras=tuple(map(parse_lora_use, lora or ())),
        )  # fmt: skip
        if clip and pose_video:
            raise SettingsError("Two controls were given.", expected="--clip or --pose", remedy="Leave one out.")
        with _progress() as show:
            control = None
            if clip:
                control = control_from_dance(clip, settings, start=start, on_progress=show.pose)
            elif pose_video:
                control = control_from_pose_video(pose_video, settings)
            name = control.name if control else None
            words = (
                Prompt(text, DEFAULT_NEGATIVE if negative is None else negative)
                if text
                else build_prompt(name, subject or DEFAULT_SUBJECT, negative=negative)
            )
            engine = load_engine(
                ModelFiles(str(transformer), str(vae), str(text_encoder), tokenizer), device=device, dtype=dtype
            )
            picture = read_reference(reference) if reference else None
            renderer = Renderer(engine, control.clip if control else None, picture)
            begin = time.monotonic()
            made = renderer.render(words, settings, on_step=show.step)
            seconds = time.monotonic() - begin
        done(
            {
                "video": write_clip(made, out, lossless=out.suffix == ".mkv"),
                "prompt": words.text,
                "settings": settings.to_dict(),
                "device": engine.device,
                "notes": list(renderer.notes),
                "seconds": round(seconds, 2),
            }
        )


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep file (YAML).")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Instead of the file's `out`.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Render the cells of a sweep that are not stored yet, and write the grid and the contact sheet."""
    with _command(as_json) as done:
        from .recipe import run_sweep_file
        from .sweeps.load import load_sweep

        with _progress() as show:
            result, written = run_sweep_file(
                load_sweep(file), out=out, device=device, dtype=dtype, on_pose=show.pose, on_event=show.event
            )
        done(
            {
                **written,
                "cells named": len(result.cells),
                "computed": len(result.computed),
                "reused": len(result.reused),
                "failed": result.failed,
                "seconds": round(result.seconds, 1),
            },
            failed=bool(result.failed),
        )


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """The known model files, and which of them are found."""
    with _command(as_json) as done:
        from .models import MODEL_FILES, find_model, model_folders

        done(
            {
                "folders": [str(folder) for folder in model_folders()],
                "files": [
                    {
                        "name": entry.name,
                        "file": entry.file,
                        "bytes": entry.size,
                        "licence": entry.licence,
                        "used by": entry.used_by or "nothing in this version",
                        "found": str(find_model(entry.name) or ""),
                    }
                    for entry in MODEL_FILES
                ],
            }
        )


@models_app.command("get")
def models_get(
    name: Annotated[str, typer.Argument(help="What to install: blazepose.")],
    source: Annotated[Path, typer.Option("--from", help="A mediapipe wheel, a .task file, a folder or a .tflite.")],
    accept_unknown: Annotated[bool, typer.Option(help="Take other versions of the nets too.")] = False,
    as_json: Json = False,
) -> None:
    """Take model files out of a package that you have, check their sha256, and put them in place."""
    with _command(as_json) as done:
        from .models import install_blazepose

        if name != "blazepose":
            raise SettingsError(f"{name!r} cannot be installed.", expected="blazepose", got=name)
        done({"installed": install_blazepose(source, accept_unknown=accept_unknown)})


@app.command()
def doctor(
    folder: Annotated[
        list[Path] | None, typer.Option(help="Also look for model files here (ComfyUI's models).")
    ] = None,
    as_json: Json = False,
) -> None:
    """What is installed, which model files are found, what will compute, and what is missing."""
    with _command(as_json) as done:
        from .doctor import examine

        done(examine(folder))


@contextlib.contextmanager
def _command(as_json: bool) -> Iterator[Any]:
    """Run a command's body: its result goes to stdout at the end, everything else to stderr, errors to exit code 1."""
    from .report import print_json, print_result

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    outcome: dict[str, Any] = {}

    def done(result: dict[str, Any], *, note: str = "", failed: bool = False) -> None:
        outcome.update(result=result, note=note, failed=failed)

    stdout = sys.stdout
    try:
        # Libraries that print on the way must not get between a program and its JSON.
        with contextlib.redirect_stdout(sys.stderr):
            yield done
    except S2VError as error:
        if as_json:
            print_json({"error": error.to_dict()}, stdout)
        else:
            typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    except (Interrupted, KeyboardInterrupt) as error:
        said = str(error) or "Stopped. What was finished is kept."
        if as_json:
            print_json({"error": {"kind": "Interrupted", "problem": said}}, stdout)
        else:
            typer.secho(said, fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(130) from None
    if outcome:
        result = json.loads(json.dumps(outcome["result"], default=str))
        if as_json:
            print_json(result, stdout)
        else:
            print_result(result, outcome["note"])
        if outcome["failed"]:
            raise typer.Exit(1)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    from .report import Show

    with Show(_console()) as show:
        yield show


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def main() -> None:
    """The entry point of ``s2v``."""
    app()


if __name__ == "__main__":
    main()

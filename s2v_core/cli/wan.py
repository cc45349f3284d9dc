"""``s2v sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import parse_lora_use
from ..errors import SettingsError
from ..wan.settings import SampleSettings
from .console import Device, Dtype, Json, Out, Start, command, progress, setting


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
    steps: Annotated[int, setting("steps")] = SampleSettings.steps,
    guidance: Annotated[float, setting("guidance")] = SampleSettings.guidance,
    shift: Annotated[float, setting("shift")] = SampleSettings.shift,
    seed: Annotated[int, setting("seed")] = SampleSettings.seed,
    width: Annotated[int, setting("width")] = SampleSettings.width,
    height: Annotated[int, setting("height")] = SampleSettings.height,
    frames: Annotated[int, setting("frames")] = SampleSettings.frames,
    control_strength: Annotated[float, setting("control_strength")] = SampleSettings.control_strength,
    fit: Annotated[str, setting("fit")] = SampleSettings.fit,
    solver: Annotated[str, setting("solver")] = SampleSettings.solver,
    precision: Annotated[str, setting("precision")] = SampleSettings.precision,
    tiling: Annotated[bool, setting("tiling")] = SampleSettings.tiling,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Render one video."""
    with command(as_json) as done:
        import time

        from ..prompts.prompt import Prompt
        from ..prompts.template import DEFAULT_NEGATIVE, DEFAULT_SUBJECT, build_prompt
        from ..recipe import control_from_dance, control_from_pose_video, read_reference
        from ..video.write import write_clip
        from ..wan.engine import ModelFiles, load_engine
        from ..wan.render import Renderer

        settings = SampleSettings(
            steps=steps, guidance=guidance, shift=shift, seed=seed, width=width, height=height, frames=frames,
            control_strength=control_strength, fit=fit, solver=solver, precision=precision, tiling=tiling,
            loras=tuple(map(parse_lora_use, lora or ())),
        )  # fmt: skip
        if clip and pose_video:
            raise SettingsError("Two controls were given.", expected="--clip or --pose", remedy="Leave one out.")
        with progress() as show:
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

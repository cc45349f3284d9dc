"""``s2v sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..arguments import parse_lora_use
from ..errors import SettingsError
from ..wan.settings import SampleSettings
from .console import Device, Dtype, Json, Memory, Out, Start, command, progress, with_settings

if TYPE_CHECKING:
    from ..prompts.prompt import Prompt
    from ..wan.engine import ModelFiles


@with_settings(SampleSettings, "values")
def sample(
    values: dict[str, Any],
    transformer: Annotated[
        Path | None, typer.Option(help="Wan2.1-VACE's transformer: a file, any of its shards, or a folder.")
    ] = None,
    vae: Annotated[
        Path | None, typer.Option(help="Wan's VAE: a file or a folder; one folder may hold all three.")
    ] = None,
    text_encoder: Annotated[Path | None, typer.Option(help="umT5-XXL, in any layout.")] = None,
    nano: Annotated[
        bool,
        typer.Option(
            "--nano", help="Instead of the three: the small model that comes along, for 96 x 96 and 17 frames."
        ),
    ] = False,
    tokenizer: Annotated[
        str, typer.Option(help="Its tokenizer's folder; in the text encoder's file or beside it if left out.")
    ] = "",
    text: Annotated[str, typer.Option("--prompt", help="The prompt; built from the clip's name if left out.")] = "",
    negative: Annotated[str | None, typer.Option(help="The negative prompt; a default of its own if left out.")] = None,
    subject: Annotated[str, typer.Option(help="Who is seen, for a prompt that is built.")] = "",
    clip: Annotated[Path | None, typer.Option(help="A dance clip whose pose drives the video.")] = None,
    pose_video: Annotated[Path | None, typer.Option("--pose", help="A finished pose video instead.")] = None,
    start: Start = 0.0,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A picture of the person; may be given several times.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="A picture or video, white where the pose video is drawn anew, black where kept."),
    ] = None,
    start_clip: Annotated[Path | None, typer.Option(help="A clip to begin from, with --denoise below 1.")] = None,
    preset: Annotated[
        str, typer.Option(help="official, diffsynth or comfyui: their values in place of those given here.")
    ] = "",
    lora: Annotated[
        list[str] | None,
        typer.Option(help='FILE, FILE:STRENGTH or "FILE:STRENGTH;scope=only self_attn;from_step=5"; several times.'),
    ] = None,
    out: Out = Path("video.mp4"),
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Annotated[
        str,
        typer.Option(help="The kernel of attention: auto, sdpa (torch's), flash or sage, where they are installed."),
    ] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the model's arithmetic between its layers; takes up to a minute.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Encode prompt and pictures anew, and keep nothing of them for the next run."),
    ] = False,
    memory: Memory = "auto",
    as_json: Json = False,
) -> None:
    """Render one video."""
    with command(as_json) as done:
        import time

        from ..recipe import control_from_dance, control_from_pose_video
        from ..video.metadata import OWN
        from ..video.read import read_clip
        from ..video.still import read_mask, read_reference
        from ..video.write import write_clip
        from ..wan.engine import load_engine
        from ..wan.kept import open_kept
        from ..wan.render import Renderer

        files = _files(transformer, vae, text_encoder, tokenizer, nano)
        settings = SampleSettings.from_dict({**values, "loras": tuple(map(parse_lora_use, lora or ()))})
        if clip and pose_video:
            raise SettingsError("Two controls were given.", expected="--clip or --pose", remedy="Leave one out.")
        settings, negative = _with_preset(settings, negative, preset)
        with progress() as show:
            control = None
            if clip:
                control = control_from_dance(clip, settings, start=start, on_progress=show.pose)
            elif pose_video:
                control = control_from_pose_video(pose_video, settings)
            words = _words(text, negative, subject, control.name if control else None)
            kept = None if fresh else open_kept()
            engine = load_engine(
                files,
                device=device,
                dtype=dtype,
                attention=attention,
                compiled=compiled,
                memory=memory,
                kept=kept,
            )
            engine.expected = settings
            show.say(f"Memory plan {engine.memory_plan()}")
            renderer = Renderer(
                engine,
                control.clip if control else None,
                [read_reference(path) for path in reference or ()],
                mask=read_mask(mask) if mask else None,
                start=read_clip(start_clip, frames=settings.frames) if start_clip else None,
            )
            begin = time.monotonic()
            made = renderer.render(words, settings, on_step=show.step)
            seconds = time.monotonic() - begin
        carried = {
            OWN: {"kind": "sample", "prompt": words.text, "negative": words.negative, "settings": settings.to_dict()}
        }
        done(
            {
                "video": write_clip(made, out, lossless=out.suffix == ".mkv", metadata=carried),
                "prompt": words.text,
                "settings": settings.to_dict(),
                "device": engine.device,
                "attention": engine.form.attention.name,
                "memory": engine.memory_plan().to_dict() if as_json else str(engine.memory_plan()),
                "notes": list(renderer.notes),
                **({"step cache": renderer.estimated.to_dict()} if renderer.estimated else {}),
                "seconds": round(seconds, 2),
            }
        )


def _files(
    transformer: Path | None, vae: Path | None, text_encoder: Path | None, tokenizer: str, nano: bool
) -> ModelFiles:
    from ..wan.embedded import nano_files
    from ..wan.engine import ModelFiles

    given = {"--transformer": transformer, "--vae": vae, "--text-encoder": text_encoder}
    named = [name for name, path in given.items() if path]
    if nano and not named:
        return nano_files()
    if nano or len(named) < len(given):
        raise SettingsError(
            "The model is not clear.",
            expected="--transformer, --vae and --text-encoder, or --nano alone",
            got=" ".join([*named, *(["--nano"] if nano else [])]) or "none of them",
        )
    return ModelFiles(str(transformer), str(vae), str(text_encoder), tokenizer)


def _with_preset(settings: SampleSettings, negative: str | None, name: str) -> tuple[SampleSettings, str | None]:
    if not name:
        return settings, negative
    from ..wan.presets import find_preset

    preset = find_preset(name)
    return preset.on(settings), preset.negative if negative is None else negative


def _words(text: str, negative: str | None, subject: str, name: Any) -> Prompt:
    from ..prompts.prompt import Prompt
    from ..prompts.template import DEFAULT_NEGATIVE, DEFAULT_SUBJECT, build_prompt

    if text:
        return Prompt(text, DEFAULT_NEGATIVE if negative is None else negative)
    return build_prompt(name, subject or DEFAULT_SUBJECT, negative=negative)

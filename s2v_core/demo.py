"""``s2v demo``: the whole way once, on any machine, with a real dancer and a tiny random-weight Wan-VACE."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from .errors import MissingPackageError
from .files import write_text_atomic

MEDIA_PACKAGE = "comfyui_workflow_templates_media_assets_01"
DANCER = "video_wan_animate2_distilled-1.webp"
DANCER_WIDTH = 174  # the left half of a split screen, made even
CLIP_NAME = "gLH_sBM_c01_d16_mLH2_ch04.mp4"  # given to the clip, so that a prompt can be built from its facts
SUBJECT = "a woman with short brown hair in an orange space suit"

SWEEP = """\
# Written by `s2v demo`; run it again with: s2v sweep run sweep.yaml
name: guidance x LoRA strength
inputs:
  clip: clip/{clip}
  reference: reference.png
subject: {subject}
models:
  transformer: model/diffusion_pytorch_model.safetensors
  vae: model/Wan2.1_VAE.safetensors
  text_encoder: model/models_t5_umt5-xxl-enc-bf16.safetensors
settings:
  steps: 6
  width: 96
  height: 192
  frames: 33
  seed: 1
  loras:
    - file: lora.safetensors
axes:
  guidance: [1, 3, 6]
  lora_strength: [0, 1]
out: .
"""


def run_demo(
    out: str | os.PathLike[str],
    *,
    on_pose: Callable[[int, int], None] | None = None,
    on_event: Callable[[Any], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write the demo into ``out`` and tell where everything is. What a former run finished is not done again."""
    from .recipe import run_sweep_file
    from .sweeps.load import load_sweep
    from .wan.tiny import build_tiny, build_tiny_lora

    def tell(text: str) -> None:
        if say:
            say(text)

    folder = Path(out).absolute()
    clip = folder / "clip" / CLIP_NAME
    if not clip.is_file():
        tell("A real dancer, out of the template media of ComfyUI")
        write_dancer(clip)
    reference = folder / "reference.png"
    if not reference.is_file():
        write_reference(reference)
    tell("A tiny Wan-VACE with random weights, and a random LoRA")
    files = build_tiny(folder / "model")
    lora = folder / "lora.safetensors"
    if not lora.is_file():
        build_tiny_lora(files, lora, size=2.0)
    sweep_file = folder / "sweep.yaml"
    write_text_atomic(sweep_file, SWEEP.format(clip=CLIP_NAME, subject=SUBJECT))
    tell("Pose, prompt and sweep")
    result, written = run_sweep_file(
        load_sweep(sweep_file), device="cpu", dtype="float32", on_pose=on_pose, on_event=on_event
    )
    prompt = folder / "prompt.txt"
    write_text_atomic(prompt, f"{result.sweep.prompt.text}\n\nnegative:\n{result.sweep.prompt.negative}\n")
    return {
        "clip": clip,
        "reference": reference,
        "prompt": prompt,
        "sweep file": sweep_file,
        **written,
        "computed": len(result.computed),
        "reused": len(result.reused),
        "failed": result.failed,
    }


def write_dancer(path: Path) -> None:
    """The dancer's clip as a video file with an AIST name. Raises ``MissingPackageError`` without the media package."""
    from .video.read import probe_clip, read_clip
    from .video.write import write_clip

    spec = util.find_spec(MEDIA_PACKAGE)
    source = Path(spec.origin).parent / "templates" / DANCER if spec and spec.origin else None
    if source is None or not source.is_file():
        raise MissingPackageError(
            "The demo's clip is not installed.",
            expected=f"{DANCER} in the package comfyui-workflow-templates-media-assets-01",
            remedy='Run: pip install "skeleton2video[media]"   (or use `make demo`)',
        )
    whole = read_clip(source, fps=probe_clip(source).fps, frames=None)
    write_clip(whole.with_frames(whole.frames[:, :, :DANCER_WIDTH]), path)


def write_reference(path: Path) -> None:
    """The portrait that scikit-image carries (a NASA picture in the public domain)."""
    from skimage.data import astronaut

    from .video.write import write_png

    write_png(astronaut(), path)

"""``s2v demo``: the whole way once, on any machine: a real dancer's pose, and the nano Wan-VACE that comes along."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MissingPackageError
from .files import write_text_atomic

if TYPE_CHECKING:
    from .nano.world import Scene

MEDIA_PACKAGE = "comfyui_workflow_templates_media_assets_01"
DANCER = "video_wan_animate2_distilled-1.webp"
DANCER_WIDTH = 174  # the left half of a split screen, made even
CLIP_NAME = "gLH_sBM_c01_d16_mLH2_ch04.mp4"  # given to the clip, so that a prompt can be built from its facts
START = 0.5  # seconds into the clip
SCENE = 4  # of the toy world's held-out scenes: who dances

SWEEP = """\
# Written by `s2v demo`; run it again with: s2v sweep run sweep.yaml
name: guidance x LoRA strength
inputs:
  pose: pose/{pose}
  reference: reference.png
prompt:
  label: full
  text: >-
    {prompt}
negative: >-
  {negative}
models: nano
settings:
  steps: 12
  width: 96
  height: 96
  frames: 17
  seed: 1
  loras:
    - file: lora.safetensors
axes:
  guidance: [1, 3, 6]
  lora_strength: [0, 1, 1.5, 2]
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
    import shutil

    from .nano.world import HELD_OUT, caption, scene
    from .recipe import run_sweep_file
    from .sweeps.load import load_sweep
    from .wan.embedded import nano_lora

    def tell(text: str) -> None:
        if say:
            say(text)

    folder = Path(out).absolute()
    clip = folder / "clip" / CLIP_NAME
    if not clip.is_file():
        tell("A real dancer, out of the template media of ComfyUI")
        write_dancer(clip)
    made = scene(SCENE, held=HELD_OUT)
    pose = folder / "pose" / Path(CLIP_NAME).with_suffix(".mkv").name
    reference = folder / "reference.png"
    tell("The dancer's pose, given to the body of a drawn person")
    write_pose(clip, made, pose, reference, on_pose)
    lora = folder / "lora.safetensors"
    if not lora.is_file():
        shutil.copyfile(nano_lora("article"), lora)
    prompt = caption(made.character, _name())
    sweep_file = folder / "sweep.yaml"
    write_text_atomic(sweep_file, SWEEP.format(pose=pose.name, prompt=prompt.text, negative=prompt.negative))
    tell("The sweep")
    result, written = run_sweep_file(load_sweep(sweep_file), device="cpu", dtype="float32", on_event=on_event)
    return {
        "clip": clip,
        "pose": pose,
        "reference": reference,
        "sweep file": sweep_file,
        **written,
        "computed": len(result.computed),
        "reused": len(result.reused),
        "failed": result.failed,
    }


def write_pose(
    clip: Path, made: Scene, pose: Path, reference: Path, on_pose: Callable[[int, int], None] | None = None
) -> None:
    """The reference picture of a toy person, and the pose video of a real clip danced by that person's body."""
    from .nano.dancer import on_body
    from .nano.world import FRAMES
    from .nano.world import reference as picture_of
    from .pose.draw import draw_pose
    from .pose.extract import extract_pose
    from .pose.settings import ExtractSettings
    from .video.read import read_clip
    from .video.write import write_clip, write_png

    write_png(picture_of(made.character, made.motion, seed=made.seed), reference)
    dance = read_clip(clip, frames=FRAMES, start=START)
    found = extract_pose(dance, ExtractSettings("blazepose", hands=False, face=False), on_progress=on_pose)
    # Lines that are easy to see in so small a picture.
    write_clip(draw_pose(on_body(found.track, made), stick="fixed", face=False), pose, lossless=True)


def _name() -> Any:
    from .aist.names import ClipName

    return ClipName.parse(CLIP_NAME)


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

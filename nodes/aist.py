"""From a dance clip in the host's input folder to frames and the facts of its name."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError
from . import host, sockets


class LoadAistClip(io.ComfyNode):
    """Reads a piece of a video at an exact frame rate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_LoadAistClip",
            display_name="Load AIST Clip",
            category="Skeleton2Video/clip",
            description=(
                "Reads a dance clip from the input folder, frame by exact frame at the chosen rate, and takes the "
                "facts of an AIST Dance DB file name (genre, situation, tempo, camera) for the prompt. Any other video "
                "works too; then there are no facts."
            ),
            inputs=[
                io.Combo.Input(
                    "video",
                    options=host.input_files(host.VIDEO_SUFFIXES),
                    upload=io.UploadType.video,
                    tooltip="A video in ComfyUI's input folder or below it, for example gBR_sBM_c01_d04_mBR0_ch01.mp4.",
                ),
                io.Int.Input(
                    "fps",
                    default=16,
                    min=1,
                    max=120,
                    tooltip="Frames a second to take. Wan2.1 makes videos of 16 frames a second.",
                ),
                io.Int.Input(
                    "frames",
                    default=81,
                    min=1,
                    max=1001,
                    step=4,
                    tooltip="Number of frames to take, 4n + 1 for Wan. 81 frames at 16 a second are 5 seconds.",
                ),
                io.Int.Input("width", default=832, min=16, max=4096, step=16, tooltip="Width of the frames in pixels."),
                io.Int.Input(
                    "height", default=480, min=16, max=4096, step=16, tooltip="Height of the frames in pixels."
                ),
                io.Combo.Input(
                    "fit",
                    options=["crop", "letterbox"],
                    default="crop",
                    tooltip="How a video of another shape is fitted: crop fills and cuts, letterbox adds a border.",
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=36000.0,
                    step=0.1,
                    tooltip="Second of the video at which to begin.",
                ),
                io.Combo.Input(
                    "short",
                    options=["error", "hold", "loop"],
                    default="error",
                    tooltip="When the video ends too early: stop with an error, hold its last frame, or begin again.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="frames", tooltip="The frames."),
                io.Video.Output("clip", display_name="video", tooltip="The same frames as a video without sound."),
                sockets.ClipName.Output("clip_name", display_name="clip name", tooltip="For Build Dance Prompt."),
                io.Float.Output("rate", display_name="fps", tooltip="Frames a second."),
                io.String.Output("facts", display_name="facts", tooltip="What the file name says, to read."),
            ],
        )

    @classmethod
    def validate_inputs(cls, video: str) -> bool | str:
        """The host's own check would refuse its ``name [output]`` form, so this one takes its place."""
        try:
            host.input_file(video)
        except S2VError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, video: str, **_: Any) -> str:
        """Changes with the file, so that another video of the same name is read anew."""
        try:
            return host.file_stamp(host.input_file(video))
        except (S2VError, OSError):
            return "missing"

    @classmethod
    def execute(
        cls, video: str, fps: int, frames: int, width: int, height: int, fit: str, start: float, short: str
    ) -> io.NodeOutput:
        """Read the frames and the name."""
        from ..s2v_core.video.read import read_clip

        path = host.input_file(video)
        progress = host.Progress(frames)
        with host.interruptible() as should_stop:
            clip = read_clip(
                path,
                fps=fps,
                frames=frames,
                size=(width, height),
                fit=fit,
                start=start,
                short=short,
                on_progress=lambda done, total: progress(done, total),
                should_stop=should_stop,
            )
        name, facts = _name_and_facts(path.name)
        images = host.to_image(clip.frames)
        return io.NodeOutput(images, host.to_video(images, clip.fps), name, float(clip.fps), facts)


def _name_and_facts(file_name: str) -> tuple[Any, str]:
    """The parsed name and a text about it; ``(None, text)`` for a name that is not AIST's."""
    from ..s2v_core.aist.names import ClipName

    try:
        name = ClipName.parse(file_name)
    except S2VError as error:
        return None, f"{file_name}: not an AIST Dance DB name, so genre, tempo and camera are unknown.\n{error}"
    facts = (
        ("genre", name.genre_name),
        ("situation", name.situation_name),
        ("tempo", f"{name.tempo_bpm} BPM" if name.tempo_bpm else ""),
        ("camera", name.camera_name),
    )
    return name, "\n".join([file_name, *(f"{label}: {fact}" for label, fact in facts if fact)])

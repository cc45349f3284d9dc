"""Videos of other nodes, as clips with exact times."""

from __future__ import annotations

import io as texts
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from . import host, native, sockets
from .aist import name_and_facts, piece_inputs


class VideoToClip(io.ComfyNode):
    """Takes a piece of a VIDEO at an exact frame rate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_VideoToClip",
            display_name="Video to Clip",
            category="Skeleton2Video/clip",
            description=(
                "Takes frames out of a video of any node, each the one nearest to its exact time, with the sound that "
                "belongs to them. A video of Load Video with an AIST file name also gives its facts."
            ),
            inputs=[
                io.Video.Input("video", tooltip="From Load Video or any other node."),
                *piece_inputs(),
            ],
            outputs=[
                io.Image.Output("images", display_name="frames", tooltip="The frames."),
                io.Video.Output("clip", display_name="video", tooltip="The same frames as a video, with their sound."),
                sockets.ClipName.Output("clip_name", display_name="clip name", tooltip="For Build Dance Prompt."),
                io.Float.Output("rate", display_name="fps", tooltip="Frames a second."),
                io.String.Output("facts", display_name="facts", tooltip="What the file name says, to read."),
                io.Audio.Output(
                    "audio", display_name="audio", tooltip="The sound of these frames; none in a mute one."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        video: Any,
        fps: int,
        frames: int,
        width: int,
        height: int,
        fit: str,
        start: float,
        short: str,
    ) -> io.NodeOutput:
        """Take the piece from the file, or from what is in memory."""
        piece = {"fps": fps, "frames": frames, "size": (width, height), "fit": fit, "start": start, "short": short}
        with tempfile.TemporaryDirectory() as folder:
            path = native.video_file(video) or _written(video, Path(folder))
            clip, audio, silent = _from_file(path, piece) if path else _from_memory(video, piece)
        name, facts = name_and_facts(native.video_name(video) or "a video without a file name")
        facts = "\n".join(filter(None, [facts, silent]))
        images = host.to_image(clip.frames)
        return io.NodeOutput(images, host.to_video(images, clip.fps, audio), name, float(clip.fps), facts, audio)


def _written(video: Any, folder: Path) -> Path | None:
    """A whole file that another node holds in memory, as one on the disk."""
    source = native.whole_source(video)
    if not isinstance(source, texts.BytesIO):
        return None
    path = folder / f"video.{video.get_container_format().split(',')[0]}"
    path.write_bytes(source.getvalue())
    return path


def _from_file(path: Path, piece: dict[str, Any]) -> tuple[Any, Any, str]:
    from ..s2v_core.video.read import read_clip

    progress = host.Progress(piece["frames"])
    with host.interruptible() as should_stop:
        clip = read_clip(path, **piece, on_progress=lambda done, _: progress(done), should_stop=should_stop)
        return clip, *native.file_sound(path, clip, piece["start"], should_stop)


def _from_memory(video: Any, piece: dict[str, Any]) -> tuple[Any, Any, str]:
    from ..s2v_core.video.resample import take

    whole, sound = native.video_parts(video)
    begin = Fraction(repr(float(piece["start"])))
    clip = take(whole, **{**piece, "fps": Fraction(piece["fps"]), "start": begin})
    if sound is None:
        return clip, None, "The video has no sound."
    return clip, native.to_audio(sound.piece(begin, clip.duration)), ""

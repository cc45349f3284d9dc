"""Control videos and masks that keep given frames."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import SettingsError
from ..s2v_core.options import options
from ..s2v_core.wan.settings import SampleSettings
from . import host
from .wan import check_size

_SIZE = ("width", "height", "frames", "fit")


class KeepFrames(io.ComfyNode):
    """First and last frame, or any others, for the sampler's control video and mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        size = {entry.name: entry for entry in options(SampleSettings) if entry.name in _SIZE}
        return io.Schema(
            node_id="Skeleton2Video_KeepFrames",
            display_name="Keep Frames",
            category="Skeleton2Video/wan",
            description=(
                "Puts given pictures into a control video and makes the mask that keeps them: the video then begins "
                "or ends with them. The other frames are those of the control video, or free without one."
            ),
            inputs=[
                io.Image.Input(
                    "pictures", tooltip="The pictures to keep, one for each number; other sizes are fitted."
                ),
                io.String.Input(
                    "numbers",
                    default="0",
                    tooltip="Their frames, counted from 0 and parted by commas; -1 is the last: 0, -1.",
                ),
                *(host.widget(size[name]) for name in _SIZE),
                io.Image.Input(
                    "control_video",
                    display_name="control video",
                    optional=True,
                    tooltip="What steers the other frames, for example from Draw Pose.",
                ),
            ],
            outputs=[
                io.Image.Output("control", display_name="control video", tooltip="For Wan-VACE Sampler."),
                io.Mask.Output("mask", display_name="mask", tooltip="For Wan-VACE Sampler: black where it is kept."),
            ],
        )

    @classmethod
    def validate_inputs(cls, width: int | None, height: int | None, frames: int | None) -> bool | str:
        """Say what is wrong with the size before anything runs."""
        return check_size(width=width, height=height, frames=frames)

    @classmethod
    def execute(cls, pictures: Any, numbers: str, control_video: Any = None, **size: Any) -> io.NodeOutput:
        """Put them in their places."""
        import torch

        from ..s2v_core.wan.masks import DRAWN, keep_frames
        from ..s2v_core.wan.pictures import FPS

        places = _numbers(numbers)
        if len(places) != len(pictures):
            raise SettingsError(
                "Pictures and numbers do not match.",
                expected=f"{len(pictures)} numbers for {len(pictures)} pictures",
                got=numbers,
                remedy="Write one number for each picture, parted by commas; ImageBatch joins pictures.",
            )
        found = dict(zip(places, host.to_frames(pictures, "pictures"), strict=True))
        control = None if control_video is None else host.to_clip(control_video, FPS, "control video")
        clip, mask = keep_frames(found, SampleSettings.from_dict(size), control)
        return io.NodeOutput(host.to_image(clip.frames), torch.from_numpy(mask).float() / DRAWN)


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.replace(";", ",").split(",")]
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is no list of frame numbers.", expected="whole numbers parted by commas: 0, -1", got=text
        ) from error
    if len(set(found)) != len(found):
        raise SettingsError("A frame is named twice.", expected="each number once", got=text)
    return found

"""From frames to a pose track and its drawing."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import SettingsError
from . import host, sockets

# What each choice draws besides the body: face, hands.
LAYERS = {
    "body + face": (True, False),
    "body": (False, False),
    "body + face + hands": (True, True),
    "body + hands": (False, True),
}


class ExtractPose(io.ComfyNode):
    """Finds the dancer's points and draws them as a control video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_ExtractPose",
            display_name="Extract Pose",
            category="Skeleton2Video/pose",
            description=(
                "Finds the body's points in every frame and draws them as the skeleton video that steers Wan-VACE. "
                "The drawing has the size and the number of the frames that come in."
            ),
            inputs=[
                io.Image.Input("frames", tooltip="The frames of a clip, for example from Load AIST Clip."),
                io.Float.Input(
                    "fps", default=16.0, min=1.0, max=240.0, step=0.01, tooltip="Frames a second of these frames."
                ),
                io.Combo.Input(
                    "backend",
                    options=["auto", "blazepose"],
                    default="auto",
                    tooltip=(
                        "The net that finds the points. blazepose runs on the CPU; "
                        "its files come by: s2v models get blazepose."
                    ),
                ),
                io.Combo.Input(
                    "palette",
                    options=["vace", "openpose"],
                    default="vace",
                    tooltip="Colours and line widths: vace as Wan-VACE was trained on, openpose for other models.",
                ),
                io.Combo.Input(
                    "layers",
                    options=list(LAYERS),
                    default="body + face",
                    tooltip="What is drawn. BlazePose finds no points of the face's outline and of the fingers.",
                ),
            ],
            outputs=[
                sockets.Pose.Output("pose", display_name="pose", tooltip="The points of every frame."),
                io.Image.Output("control_video", display_name="control video", tooltip="The drawn skeleton."),
                io.String.Output("report", display_name="report", tooltip="What was found, and in which frames not."),
            ],
        )

    @classmethod
    def execute(cls, frames: Any, fps: float, backend: str, palette: str, layers: str) -> io.NodeOutput:
        """Find and draw."""
        from ..s2v_core.pose.draw import draw_pose
        from ..s2v_core.pose.extract import extract_pose

        if layers not in LAYERS:
            # Host 0.3.64 does not check the choices of a combo.
            raise SettingsError(f"There are no layers {layers!r}.", expected=f"one of {', '.join(LAYERS)}", got=layers)
        host.add_model_folder()
        clip = host.to_clip(frames, fps, "frames")
        progress = host.Progress(len(clip))
        with host.interruptible() as should_stop:
            report = extract_pose(clip, backend, on_progress=progress, should_stop=should_stop)
        track = report.track
        face, hands = LAYERS[layers]
        drawing = draw_pose(track, palette=palette, face=face, hands=hands)
        notes = [f"frame {index}: {note}" for index, note in enumerate(track.notes) if note]
        return io.NodeOutput(track, host.to_image(drawing.frames), "\n".join([str(report), *notes]))

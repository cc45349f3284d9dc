"""From frames to a pose track, its tidying, another body, and its drawing."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

from ..s2v_core.options import options
from ..s2v_core.pose.settings import DwposeSettings, ExtractSettings, RetargetSettings, TidySettings
from . import host, sockets

CATEGORY = "Skeleton2Video/pose"
DWPOSE_SIZE = 400 << 20  # bytes of its two nets
# What each choice draws: face, hands.
LAYERS = {
    "body + face": (True, False),
    "body": (False, False),
    "body + face + hands": (True, True),
    "body + hands": (False, True),
}


def backend_input() -> Any:
    """The choice of nets."""
    return host.widget(next(entry for entry in options(ExtractSettings) if entry.name == "backend"))


def drawing_inputs() -> list[Any]:
    """How a pose is drawn."""
    return [
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
            tooltip="What is drawn. body + face is what Wan-VACE's own pose videos show.",
        ),
    ]


class ExtractPose(io.ComfyNode):
    """Finds the dancer's points and draws them as a control video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_ExtractPose",
            display_name="Extract Pose",
            category=CATEGORY,
            description=(
                "Finds the points of body, hands and face in every frame and draws them as the skeleton video that "
                "steers Wan-VACE. The drawing has the size and the number of the frames that come in."
            ),
            inputs=[
                io.Image.Input("frames", tooltip="The frames of a clip, for example from Load AIST Clip."),
                io.Float.Input(
                    "fps", default=16.0, min=1.0, max=240.0, step=0.01, tooltip="Frames a second of these frames."
                ),
                backend_input(),
                *drawing_inputs(),
                # What came later may be missing in a saved graph: it then has its default.
                *(host.widget(entry, optional=True) for entry in options(DwposeSettings) if entry.name != "batch"),
                *(
                    host.widget(entry, optional=True)
                    for entry in options(ExtractSettings)
                    if entry.name in ("hands", "face")
                ),
            ],
            outputs=[
                sockets.Pose.Output("pose", display_name="pose", tooltip="The points of every frame."),
                io.Image.Output("control_video", display_name="control video", tooltip="The drawn skeleton."),
                io.String.Output("report", display_name="report", tooltip="What was found, and in which frames not."),
                sockets.PoseKeypoint.Output(
                    "keypoints", display_name="keypoints", tooltip="The points for nodes of comfyui_controlnet_aux."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        frames: Any,
        fps: float,
        backend: str,
        palette: str,
        layers: str,
        hands: bool = ExtractSettings.hands,
        face: bool = ExtractSettings.face,
        **dwpose: Any,
    ) -> io.NodeOutput:
        """Find and draw."""
        from ..s2v_core.pose.openpose import to_pose_keypoint

        host.check_choice("layers", layers, LAYERS)
        settings = ExtractSettings(backend, hands=hands, face=face, dwpose=DwposeSettings(**dwpose))
        clip = host.to_clip(frames, fps, "frames")
        track, report = _extract(clip, settings)
        drawing = _draw(track, palette, layers)
        text = "\n".join([report, *_said(track)])
        return io.NodeOutput(track, drawing, text, to_pose_keypoint(track))


class EditPose(io.ComfyNode):
    """Chooses a person and cleans the points."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_EditPose",
            display_name="Edit Pose",
            category=CATEGORY,
            description=(
                "Chooses a person, fills short gaps, drops hands and faces that flicker, and smooths the points "
                "without blurring the beats."
            ),
            inputs=[
                sockets.Pose.Input("pose", tooltip="From Extract Pose or Load Pose."),
                *(host.widget(entry) for entry in options(TidySettings)),
            ],
            outputs=[
                sockets.Pose.Output("edited", display_name="pose", tooltip="The points, tidied."),
                io.String.Output("report", display_name="report", tooltip="What was done, frame by frame."),
            ],
        )

    @classmethod
    def execute(cls, pose: Any, **settings: Any) -> io.NodeOutput:
        """Tidy."""
        from ..s2v_core.pose.measure import jitter
        from ..s2v_core.pose.tidy import tidy

        done = tidy(pose, TidySettings(**settings))
        report = f"trembling: {jitter(pose)} before, {jitter(done)} after"
        return io.NodeOutput(done, "\n".join([report, *_said(done)]))


class RetargetPose(io.ComfyNode):
    """Gives the dance the reference person's body."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_RetargetPose",
            display_name="Retarget Pose",
            category=CATEGORY,
            description=(
                "Lets the person of the reference picture dance: limb lengths, size and place are theirs, angles and "
                "steps are the dancer's."
            ),
            inputs=[
                sockets.Pose.Input("pose", tooltip="The dance, from Extract Pose, Edit Pose or Load Pose."),
                io.Image.Input("reference", tooltip="One picture in which the whole person is seen."),
                backend_input(),
                *(host.widget(entry) for entry in options(RetargetSettings)),
                sockets.Pose.Input(
                    "reference_pose",
                    display_name="reference pose",
                    optional=True,
                    tooltip="The pose in the reference, when it is not to be found by the backend.",
                ),
            ],
            outputs=[
                sockets.Pose.Output("retargeted", display_name="pose", tooltip="The dance on the reference's canvas."),
                io.Image.Output(
                    "before_and_after", display_name="before and after", tooltip="A page that shows what was done."
                ),
                io.String.Output("report", display_name="report", tooltip="The limbs' ratios and what was assumed."),
            ],
        )

    @classmethod
    def execute(
        cls, pose: Any, reference: Any, backend: str, reference_pose: Any = None, **settings: Any
    ) -> io.NodeOutput:
        """Find the reference's pose when none is given, and retarget."""
        from ..s2v_core.pose.before_after import before_and_after
        from ..s2v_core.pose.people import select
        from ..s2v_core.pose.retarget import retarget

        picture = host.one_picture(reference, "reference")
        if reference_pose is None:
            found, _ = _extract(host.to_clip(reference, 16, "reference"), ExtractSettings(backend))
            reference_pose = select(found, "largest")
        result = retarget(pose, reference_pose, RetargetSettings(**settings))
        page = before_and_after(None, pose, result, picture)
        return io.NodeOutput(result.track, host.to_image(page[None]), str(result))


class DrawPose(io.ComfyNode):
    """Draws a pose track as a control video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_DrawPose",
            display_name="Draw Pose",
            category=CATEGORY,
            description="Draws the skeleton video that steers Wan-VACE, of a pose that was edited or loaded.",
            inputs=[
                sockets.Pose.Input("pose", tooltip="From any pose node."),
                *drawing_inputs(),
                io.Int.Input(
                    "width", default=0, min=0, max=4096, step=16, tooltip="Width in pixels; 0 is the pose's own."
                ),
                io.Int.Input(
                    "height", default=0, min=0, max=4096, step=16, tooltip="Height in pixels; 0 is the pose's own."
                ),
                io.Combo.Input(
                    "stick",
                    options=["auto", "vace", "fixed"],
                    default="auto",
                    optional=True,
                    tooltip=(
                        "Width of the lines. vace: a share of the picture, as Wan-VACE was trained; fixed: 8 pixels at "
                        "any size, for the nano model's small pictures; auto: what belongs to the palette."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output("control_video", display_name="control video", tooltip="The drawn skeleton."),
                io.Float.Output("rate", display_name="fps", tooltip="Frames a second."),
            ],
        )

    @classmethod
    def execute(
        cls, pose: Any, palette: str, layers: str, width: int, height: int, stick: str = "auto"
    ) -> io.NodeOutput:
        """Draw."""
        from ..s2v_core.errors import SettingsError

        host.check_choice("layers", layers, LAYERS)
        if bool(width) != bool(height):
            raise SettingsError(
                "The drawing has only one side.",
                expected="a width and a height, or 0 for both",
                got=f"{width} x {height}",
            )
        drawn = _draw(pose, palette, layers, (width, height) if width else None, stick)
        return io.NodeOutput(drawn, float(pose.fps))


def _extract(clip: Any, settings: ExtractSettings) -> tuple[Any, str]:
    """The track and the report as text."""
    from ..s2v_core.pose.extract import extract_pose

    host.add_model_folders()
    progress = host.Progress(len(clip))
    with host.interruptible() as should_stop, host.guest(DWPOSE_SIZE) as device:
        if device == "cpu" == host.torch_device() and settings.dwpose.provider == "auto":
            # The user may have told the host to leave the card alone.
            settings = dataclasses.replace(settings, dwpose=dataclasses.replace(settings.dwpose, provider="cpu"))
        report = extract_pose(clip, settings, on_progress=progress, should_stop=should_stop)
    return report.track, str(report)


def _draw(track: Any, palette: str, layers: str, size: tuple[int, int] | None = None, stick: str = "auto") -> Any:
    from ..s2v_core.pose.draw import draw_pose

    face, hands = LAYERS[layers]
    return host.to_image(draw_pose(track, palette=palette, face=face, hands=hands, size=size, stick=stick).frames)


def _said(track: Any) -> list[str]:
    return [f"frame {index}: {note}" for index, note in enumerate(track.notes) if note]

"""Poses to and from files and other packs."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError
from . import host, sockets
from .pose import CATEGORY

SUFFIXES = (".npz", ".json", ".pkl")
# How each choice is written: the name's ending.
FORMATS = {
    "track (.npz)": ".npz",
    "POSE_KEYPOINT (.json)": ".json",
    "OpenPose (a folder of .json)": "",
}


class LoadPose(io.ComfyNode):
    """Reads a pose from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_LoadPose",
            display_name="Load Pose",
            category=CATEGORY,
            description=(
                "Reads a pose from the input folder: a track that Save Pose wrote, OpenPose keypoints of any program, "
                "or AIST++'s keypoints."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.input_files(SUFFIXES),
                    tooltip=(
                        "A .npz of Save Pose, a .json with OpenPose keypoints, or a .pkl of AIST++ keypoints2d, in "
                        "ComfyUI's input folder. Of a folder of OpenPose files choose any: all of them are read."
                    ),
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames a second, where the file does not say; 0 takes the file's own, or 16 for AIST++.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=8192,
                    step=1,
                    tooltip="Width of the pictures that the points lie on, where the file does not say.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=8192,
                    step=1,
                    tooltip="Height of the pictures that the points lie on, where the file does not say.",
                ),
                io.String.Input("camera", default="c01", tooltip="For AIST++: the camera, c01 to c09."),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=36000.0,
                    step=0.1,
                    tooltip="For AIST++: the second at which to begin, as in Load AIST Clip.",
                ),
                io.Int.Input(
                    "frames", default=0, min=0, max=10000, tooltip="For AIST++: number of frames; 0 for all of them."
                ),
            ],
            outputs=[
                sockets.Pose.Output("pose", display_name="pose", tooltip="The points of every frame."),
                io.String.Output("report", display_name="report", tooltip="What was read, and what it lacks."),
                io.Float.Output("rate", display_name="fps", tooltip="Frames a second."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        """The host's own check would refuse its ``name [output]`` form, so this one takes its place."""
        try:
            host.input_file(file, "pose file")
        except S2VError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Changes with the file."""
        try:
            return host.file_stamp(host.input_file(file, "pose file"))
        except (S2VError, OSError):
            return "missing"

    @classmethod
    def execute(
        cls, file: str, fps: float, width: int, height: int, camera: str, start: float, frames: int
    ) -> io.NodeOutput:
        """Read by the file's kind."""
        from ..s2v_core.pose.openpose_file import is_one_of_many
        from ..s2v_core.pose.pose_file import load_pose

        path = host.input_file(file, "pose file")
        with host.interruptible() as should_stop:
            track = load_pose(
                path.parent if is_one_of_many(path) else path,
                fps=fps or None,
                canvas=(height, width) if width and height else None,
                camera=camera,
                start=start,
                frames=frames or None,
                should_stop=should_stop,
            )
        people = track.points.shape[1]
        said = [f"frame {index}: {note}" for index, note in enumerate(track.notes) if note]
        report = f"{track.backend}: {len(track)} frames at {float(track.fps):g} a second, {people} people"
        return io.NodeOutput(track, "\n".join([report, *said]), float(track.fps))


class SavePose(io.ComfyNode):
    """Writes a pose to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_SavePose",
            display_name="Save Pose",
            category=CATEGORY,
            description="Writes a pose to the output folder: for Load Pose, comfyui_controlnet_aux, or as OpenPose.",
            inputs=[
                sockets.Pose.Input("pose", tooltip="From any pose node."),
                io.String.Input("name", default="pose", tooltip="The file's name; a number is added."),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default=next(iter(FORMATS)),
                    tooltip="The track keeps everything; the others are what other programs read.",
                ),
            ],
            outputs=[io.String.Output("path", display_name="path", tooltip="What was written.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, pose: Any, name: str, format: str) -> io.NodeOutput:
        """Write under the next free number."""
        from ..s2v_core.pose.pose_file import save_pose

        host.check_choice("format", format, FORMATS)
        folder = host.output_folder("poses")
        written = save_pose(pose, host.free_path(folder, host.file_stem(name), FORMATS[format]))
        return io.NodeOutput(str(written))


class KeypointsToPose(io.ComfyNode):
    """Takes the keypoints of other packs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_KeypointsToPose",
            display_name="Keypoints to Pose",
            category=CATEGORY,
            description="Takes the POSE_KEYPOINT of comfyui_controlnet_aux and other packs.",
            inputs=[
                sockets.PoseKeypoint.Input("keypoints", tooltip="For example from DWPose Estimator."),
                io.Float.Input(
                    "fps", default=16.0, min=1.0, max=240.0, step=0.01, tooltip="Frames a second of these frames."
                ),
            ],
            outputs=[sockets.Pose.Output("pose", display_name="pose", tooltip="The points of every frame.")],
        )

    @classmethod
    def execute(cls, keypoints: Any, fps: float) -> io.NodeOutput:
        """Read the socket's value."""
        from ..s2v_core.pose.openpose import from_pose_keypoint

        return io.NodeOutput(from_pose_keypoint(keypoints, fps))


class PoseToKeypoints(io.ComfyNode):
    """Gives a pose to other packs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_PoseToKeypoints",
            display_name="Pose to Keypoints",
            category=CATEGORY,
            description="Gives a pose as the POSE_KEYPOINT that comfyui_controlnet_aux and other packs take.",
            inputs=[sockets.Pose.Input("pose", tooltip="From any pose node.")],
            outputs=[
                sockets.PoseKeypoint.Output(
                    "keypoints", display_name="keypoints", tooltip="For example for Render Pose JSON."
                )
            ],
        )

    @classmethod
    def execute(cls, pose: Any) -> io.NodeOutput:
        """Write the socket's value."""
        from ..s2v_core.pose.openpose import to_pose_keypoint

        return io.NodeOutput(to_pose_keypoint(pose))

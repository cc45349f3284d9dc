"""The toy world's dancers, for the nano model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import host, sockets


class DrawnDancer(io.ComfyNode):
    """A drawn person, a dance, and the prompt that tells of both."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_DrawnDancer",
            display_name="Drawn Dancer",
            category="Skeleton2Video/wan",
            description=(
                "A person of the toy world that the nano model was trained on, who, like the dance, is new to it: "
                "reference picture, pose, prompt, and the clip as it should come out. Connect the pose of a real clip, "
                "and the drawn person dances that."
            ),
            inputs=[
                io.Int.Input(
                    "number", default=4, min=0, max=100000, tooltip="Who, and which dance: each number is another."
                ),
                sockets.Pose.Input(
                    "pose", optional=True, tooltip="A real dance from Extract Pose, put on the drawn person's body."
                ),
            ],
            outputs=[
                sockets.Pose.Output("dance", display_name="pose", tooltip="For Draw Pose, with the stick fixed."),
                io.Image.Output("reference", display_name="reference", tooltip="The person and the place."),
                sockets.Prompt.Output("prompt", display_name="prompt", tooltip="For the sampler and for sweeps."),
                io.Image.Output(
                    "truth", display_name="as it should be", tooltip="The drawn clip: its own dance, not a pose's."
                ),
            ],
        )

    @classmethod
    def execute(cls, number: int, pose: Any = None) -> io.NodeOutput:
        """Draw."""
        from ..s2v_core.nano.dancer import on_body
        from ..s2v_core.nano.world import HELD_OUT, caption, reference, render, scene

        made = scene(number, held=HELD_OUT)
        take = render(made.character, made.motion, seed=made.seed)
        track = take.track if pose is None else on_body(pose, made)
        picture = reference(made.character, made.motion, seed=made.seed)
        return io.NodeOutput(
            track,
            host.to_image(picture[None]),
            caption(made.character, made.motion),
            host.to_image(take.clip.frames),
        )

"""From a clip's facts and a subject to the prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.prompts.template import (
    DEFAULT_NEGATIVE,
    DEFAULT_STYLE,
    DEFAULT_SUBJECT,
    DEFAULT_VARIANT,
    VARIANTS,
    build_prompt,
)
from . import sockets


class BuildDancePrompt(io.ComfyNode):
    """Writes the prompt without any model: the same inputs always give the same text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_BuildDancePrompt",
            display_name="Build Dance Prompt",
            category="Skeleton2Video/prompt",
            description=(
                "Writes the prompt for Wan-VACE from the facts of the clip's name (genre, choreography, tempo, camera) "
                "and your description of the person. What the name does not say is not said."
            ),
            inputs=[
                io.String.Input(
                    "subject",
                    default=DEFAULT_SUBJECT,
                    multiline=True,
                    tooltip="Who is seen, about 30 words: hair, face, clothes, shoes. Describe your reference image.",
                ),
                io.Combo.Input(
                    "variant",
                    options=list(VARIANTS),
                    default=DEFAULT_VARIANT,
                    tooltip=" ".join(f"{name}: {variant.help}" for name, variant in VARIANTS.items()),
                ),
                io.String.Input(
                    "setting", default="", tooltip="The place, for example 'a small dance studio'. Empty says nothing."
                ),
                io.String.Input("style", default=DEFAULT_STYLE, tooltip="The kind of picture. Empty says nothing."),
                io.String.Input(
                    "negative",
                    default=DEFAULT_NEGATIVE,
                    multiline=True,
                    tooltip="What the video should not show. It plays no part at guidance 1.",
                ),
                sockets.ClipName.Input(
                    "clip_name",
                    display_name="clip name",
                    optional=True,
                    tooltip="From Load AIST Clip. Without it the text says nothing of genre, tempo and camera.",
                ),
            ],
            outputs=[
                sockets.Prompt.Output("prompt", display_name="prompt", tooltip="For the sampler and for sweeps."),
                io.String.Output("text", display_name="text", tooltip="The prompt, to read or for other nodes."),
                io.String.Output("negative_text", display_name="negative", tooltip="The negative prompt."),
            ],
        )

    @classmethod
    def execute(
        cls, subject: str, variant: str, setting: str, style: str, negative: str, clip_name: Any = None
    ) -> io.NodeOutput:
        """Write the text."""
        prompt = build_prompt(clip_name, subject, setting=setting, style=style, negative=negative, variant=variant)
        return io.NodeOutput(prompt, prompt.text, prompt.negative)

"""From a clip's facts, a subject and a caption to the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import SettingsError
from ..s2v_core.prompts.caption_text import caption_facts, clean_caption
from ..s2v_core.prompts.facts import SubjectCard, card_facts, name_facts, text_facts
from ..s2v_core.prompts.language import LANGUAGE_MODELS
from ..s2v_core.prompts.length import prompt_length
from ..s2v_core.prompts.prompt import Prompt
from ..s2v_core.prompts.template import (
    DEFAULT_NEGATIVE,
    DEFAULT_STYLE,
    DEFAULT_SUBJECT,
    DEFAULT_VARIANT,
    VARIANTS,
    build_prompt,
    build_variants,
)
from ..s2v_core.sweeps.axes import Axis
from . import host, sockets

NO_REWRITE = "none"
CAPTIONERS = [entry.name for entry in LANGUAGE_MODELS.values() if entry.used_by == "captions"]
REWRITERS = [NO_REWRITE, *(entry.name for entry in LANGUAGE_MODELS.values() if entry.used_by == "rewriting")]

_CARD_TIPS = {
    "who": "Who is seen, for example 'a man with medium brown skin'.",
    "hair": "For example 'wavy black hair'.",
    "face": "For example 'thin rounded glasses'.",
    "clothes": "For example 'a black t-shirt, slim dark jeans'.",
    "shoes": "For example 'light beige sneakers'.",
    "place": "For example 'a small dance studio with a wooden floor'.",
    "light": "For example 'soft window light'.",
}


def _sources() -> list[Any]:
    """The links from which a prompt takes its facts."""
    return [
        sockets.SubjectCard.Input(
            "card",
            optional=True,
            tooltip="From Subject Card. What it says of the person and the place goes before subject and setting.",
        ),
        io.String.Input(
            "caption",
            default="",
            optional=True,
            tooltip="From Caption Frame, or written here. It describes the person where neither card nor subject does.",
        ),
    ]


class SubjectCardNode(io.ComfyNode):
    """What the user knows of the person and the place, a field for each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_SubjectCard",
            display_name="Subject Card",
            category="Skeleton2Video/prompt",
            description=(
                "Describes the person of your reference image and the place, a phrase a field. Every variant of a "
                "prompt says these words, and a rewrite cannot change them. Empty fields say nothing."
            ),
            inputs=[io.String.Input(field, default="", tooltip=tip) for field, tip in _CARD_TIPS.items()],
            outputs=[
                sockets.SubjectCard.Output(
                    "card", display_name="card", tooltip="For Build Dance Prompt and Prompt Variants."
                ),
                io.String.Output("text", display_name="text", tooltip="The person as one phrase, to read."),
            ],
        )

    @classmethod
    def execute(cls, who: str, hair: str, face: str, clothes: str, shoes: str, place: str, light: str) -> io.NodeOutput:
        """Make the card."""
        card = SubjectCard(who, hair, face, clothes, shoes, place, light)
        return io.NodeOutput(card, card.subject(DEFAULT_SUBJECT))


class CaptionFrame(io.ComfyNode):
    """Describes one picture with Florence-2; the same picture is described once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_CaptionFrame",
            display_name="Caption Frame",
            category="Skeleton2Video/prompt",
            description=(
                "Describes a picture with a local Florence-2, without chance. Sentences that speak to a reader, count "
                "people or are not plain English are dropped. Nothing is downloaded."
            ),
            inputs=[
                io.Image.Input("image", tooltip="The reference image, or the frames of a clip."),
                io.Int.Input("frame", default=0, min=0, max=100000, tooltip="Which of several frames is described."),
                io.Combo.Input(
                    "model",
                    options=CAPTIONERS,
                    default=CAPTIONERS[0],
                    tooltip="Read from models/skeleton2video/language/<name>: a copy of florence-community/Florence-2.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["auto", "bfloat16", "float16", "float32"],
                    default="auto",
                    tooltip="Type of the weights: auto is bfloat16 on CUDA, float32 elsewhere.",
                ),
            ],
            outputs=[
                io.String.Output("caption", display_name="caption", tooltip="What may be used of the description."),
                io.String.Output("dropped", display_name="dropped", tooltip="The sentences that were dropped."),
            ],
        )

    @classmethod
    def execute(cls, image: Any, frame: int, model: str, dtype: str) -> io.NodeOutput:
        """Describe the frame."""
        host.check_choice("captioner", model, CAPTIONERS)
        if frame >= len(image):
            raise SettingsError(f"There is no frame {frame}.", expected=f"0 to {len(image) - 1}", got=str(frame))
        host.add_model_folders()
        picture = host.one_picture(image[frame : frame + 1], "image")
        with host.interruptible() as should_stop, host.guest(LANGUAGE_MODELS[model].size) as device:
            caption = clean_caption(_caption(picture, model, device, dtype, should_stop))
        return io.NodeOutput(caption.text, "\n".join(caption.dropped))


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
                    tooltip="What the video should not show; left as it is, the variant adds its own. "
                    "It plays no part at guidance 1.",
                ),
                sockets.ClipName.Input(
                    "clip_name",
                    display_name="clip name",
                    optional=True,
                    tooltip="From Load AIST Clip. Without it the text says nothing of genre, tempo and camera.",
                ),
                *_sources(),
                io.Combo.Input(
                    "rewriter",
                    options=REWRITERS,
                    default=NO_REWRITE,
                    optional=True,
                    tooltip="A local language model that rewrites the text. Where it leaves out or invents anything, "
                    "the text stays as it is.",
                ),
            ],
            outputs=[
                sockets.Prompt.Output("prompt", display_name="prompt", tooltip="For the sampler and for sweeps."),
                io.String.Output("text", display_name="text", tooltip="The prompt, to read or for other nodes."),
                io.String.Output("negative_text", display_name="negative", tooltip="The negative prompt."),
                io.String.Output(
                    "report", display_name="report", tooltip="Each sentence with its source, the length, and rewrites."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        subject: str,
        variant: str,
        setting: str,
        style: str,
        negative: str,
        clip_name: Any = None,
        card: SubjectCard | None = None,
        caption: str = "",
        rewriter: str = NO_REWRITE,
    ) -> io.NodeOutput:
        """Write the text."""
        said = clean_caption(caption)
        prompt = build_prompt(
            clip_name,
            subject,
            setting=setting,
            style=style,
            negative=_negative(negative),
            variant=variant,
            card=card,
            caption=said.text,
        )
        lines: list[str] = []
        host.check_choice("rewriter", rewriter, REWRITERS)
        if rewriter != NO_REWRITE:
            host.add_model_folders()
            own = {"subject": "" if subject == DEFAULT_SUBJECT else subject, "setting": setting}
            # What the card says goes before these in the text, so they are no facts then.
            if card and card.subject(subject):
                own["subject"] = ""
            if card and card.place:
                own["setting"] = ""
            own["style"] = "" if style == DEFAULT_STYLE else style
            facts = (*name_facts(clip_name), *(card_facts(card) if card else ()), *text_facts(**own))
            facts += caption_facts(said, card)
            with host.interruptible() as should_stop, host.guest(LANGUAGE_MODELS[rewriter].size) as device:
                made = _rewritten(prompt, facts, rewriter, device, should_stop)
            prompt = made.prompt
            lines = [f"how: {made.how}", *made.reasons]
        return io.NodeOutput(prompt, prompt.text, prompt.negative, "\n".join([*_report(prompt), *lines]))


class TextToPrompt(io.ComfyNode):
    """A text of one's own, or of another pack, as a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_TextToPrompt",
            display_name="Text to Prompt",
            category="Skeleton2Video/prompt",
            description="Takes a text as it is, for the sampler and for sweeps. Nothing is added to it.",
            inputs=[
                io.String.Input("text", default="", multiline=True, tooltip="The prompt, written here or by any node."),
                io.String.Input(
                    "negative",
                    default=DEFAULT_NEGATIVE,
                    multiline=True,
                    tooltip="What the video should not show. It plays no part at guidance 1.",
                ),
            ],
            outputs=[
                sockets.Prompt.Output("prompt", display_name="prompt", tooltip="For the sampler and for sweeps."),
                io.String.Output("report", display_name="report", tooltip="The length, and whether it is too long."),
            ],
        )

    @classmethod
    def execute(cls, text: str, negative: str) -> io.NodeOutput:
        """Take the texts."""
        prompt = Prompt(text.strip(), negative.strip())
        return io.NodeOutput(prompt, "\n".join(_report(prompt)))


class PromptVariants(io.ComfyNode):
    """All variants at once, as lists and as a prompt axis."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_PromptVariants",
            display_name="Prompt Variants",
            category="Skeleton2Video/prompt",
            description=(
                "Writes every variant of a prompt from the same facts: the emphasis changes, what is known does not. "
                "The axis goes into Run Sweep; the lists run what is connected once for each variant."
            ),
            inputs=[
                io.String.Input(
                    "subject",
                    default=DEFAULT_SUBJECT,
                    multiline=True,
                    tooltip="Who is seen, where no card says it.",
                ),
                io.String.Input("setting", default="", tooltip="The place, where no card says it."),
                io.String.Input("style", default=DEFAULT_STYLE, tooltip="The kind of picture. Empty says nothing."),
                io.String.Input(
                    "variants",
                    default=", ".join(VARIANTS),
                    tooltip=f"Which variants, parted by commas: {', '.join(VARIANTS)}.",
                ),
                sockets.ClipName.Input(
                    "clip_name", display_name="clip name", optional=True, tooltip="From Load AIST Clip."
                ),
                *_sources(),
                sockets.Axes.Input("axes", optional=True, tooltip="The axes that come before this one."),
            ],
            outputs=[
                sockets.Prompt.Output(
                    "prompts", display_name="prompts", is_output_list=True, tooltip="One prompt a variant."
                ),
                io.String.Output("texts", display_name="texts", is_output_list=True, tooltip="Their texts."),
                io.String.Output(
                    "negatives", display_name="negatives", is_output_list=True, tooltip="Their negative texts."
                ),
                sockets.Axes.Output("chain", display_name="axes", tooltip="The variants as an axis, for Run Sweep."),
            ],
        )

    @classmethod
    def execute(
        cls,
        subject: str,
        setting: str,
        style: str,
        variants: str,
        clip_name: Any = None,
        card: SubjectCard | None = None,
        caption: str = "",
        axes: tuple[Axis, ...] = (),
    ) -> io.NodeOutput:
        """Write the texts."""
        wanted = [name.strip() for name in variants.split(",") if name.strip()]
        for name in wanted or [""]:
            host.check_choice("prompt variant", name, VARIANTS)
        every = build_variants(
            clip_name, subject, setting=setting, style=style, card=card, caption=clean_caption(caption).text
        )
        prompts = [next(prompt for prompt in every if prompt.variant == name) for name in wanted]
        axis = Axis("prompt", tuple(prompts), tuple(wanted))
        texts, negatives = [prompt.text for prompt in prompts], [prompt.negative for prompt in prompts]
        return io.NodeOutput(prompts, texts, negatives, (*axes, axis))


def _caption(picture: Any, model: str, device: str, dtype: str, should_stop: Callable[[], bool]) -> str:
    """A function of its own: the model is gone when it ends, and its memory can be given back."""
    from ..s2v_core.prompts.caption import MAX_NEW_TOKENS, caption_images, load_captioner

    captioner = load_captioner(model, device, dtype)
    progress = host.Progress(MAX_NEW_TOKENS)
    return caption_images([picture], captioner, on_token=progress, should_stop=should_stop)[0]


def _rewritten(prompt: Prompt, facts: Any, model: str, device: str, should_stop: Callable[[], bool]) -> Any:
    """As ``_caption``."""
    from ..s2v_core.prompts.rewrite import MAX_NEW_TOKENS, load_writer, rewrite_prompt

    writer = load_writer(model, device)
    progress = host.Progress(MAX_NEW_TOKENS)
    return rewrite_prompt(prompt, facts, writer, on_token=progress, should_stop=should_stop)


def _negative(text: str) -> str | None:
    """The field as it came gives each variant its own negative prompt."""
    return None if text == DEFAULT_NEGATIVE else text


def _report(prompt: Prompt) -> list[str]:
    length = prompt_length(prompt.text)
    lines = [f"{origin}: {sentence}" for sentence, origin in prompt.origins]
    return [
        *lines,
        f"{len(prompt.text.split())} words, about {length.tokens} umT5 tokens",
        *filter(None, [length.warning]),
    ]

"""The prompt that needs no model: short sentences from a clip's file name, the subject's description, and fixed texts.

The order is the one that Wan's own prompt extension asks for (Wan-Video/Wan2.1, ``wan/utils/prompt_extend.py``), which
also advises English of 80 to 100 words; with a subject of about 30 words the texts here have that length:

=======  ======================================================================  ================
part     says                                                                    comes from
=======  ======================================================================  ================
subject  who is seen                                                             user
style    the kind of picture                                                     user or template
space    the place                                                               user or template
shot     one shot without cuts, and what the variant adds                        template
motion   genre, basic or advanced choreography, tempo in a word and in numbers   file name
camera   fixed "from the front" for c01, moving for c10, otherwise fixed         file name
=======  ======================================================================  ================

What the file name does not give is not said: no direction of a camera other than c01, no place, no clothes.

The text always speaks of one dancer. A group clip (group dance, showcase, cypher, battle) gives the motion of one of
its dancers to the one person of the reference image; a text that counted the others would ask the model for more
people. So of a group clip the text states genre, tempo and camera but not the situation, and the negative prompt
refuses a crowd.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..aist.names import ALL_CAMERAS, FRONT_CAMERA, MOVING_CAMERA, ClipName
from ..errors import SettingsError
from .prompt import Prompt

FILE, USER, TEMPLATE = "file name", "user", "template"

DEFAULT_SUBJECT = "a dancer"
DEFAULT_STYLE = "realistic live-action footage with natural colors"

# What goes wrong in generated dance video.
DEFAULT_NEGATIVE = (
    "static picture, frozen pose, flicker, jitter, blurred details, motion blur, overexposed, washed-out colors, "
    "badly drawn hands, extra fingers, fused fingers, extra arms, extra legs, deformed limbs, distorted face, "
    "changing clothes, changing face, several people, crowd, text, subtitles, watermark, low quality, "
    "compression artifacts"
)

# The default negative prompt of the Wan project, word for word (Wan-Video/Wan2.1, ``wan/configs/shared_config.py``,
# ``sample_neg_prompt``).
WAN_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)

# The genres as a sentence about dancing calls them.
DANCES = {
    "gBR": "break dance",
    "gPO": "popping",
    "gLO": "locking",
    "gMH": "middle hip-hop",
    "gLH": "LA-style hip-hop",
    "gHO": "house dance",
    "gWA": "waacking",
    "gKR": "krump",
    "gJS": "street jazz",
    "gJB": "ballet jazz",
}
CHOREOGRAPHIES = {"sBM": "basic choreography", "sFM": "advanced choreography"}


@dataclass(frozen=True)
class Variant:
    """A recipe of fixed sentences. ``shot`` stands after the place, ``motion`` after the facts of the dance."""

    help: str
    shot: str
    motion: str


VARIANTS = {
    "detailed": Variant(
        "The default: an even description of picture and movement.",
        "It is one continuous shot without cuts, sharp and detailed.",
        "Arms, hands and legs keep their natural shape while they move.",
    ),
    "lighting": Variant(
        "Weight on light and picture quality.",
        "It is one continuous shot without cuts, with soft, even light, gentle shadows and fine detail.",
        "The movement stays sharp.",
    ),
    "identity": Variant(
        "Weight on the person staying the same.",
        "It is one continuous shot without cuts.",
        "The same person is seen in every frame: face, hair, skin tone, body shape and clothes never change.",
    ),
}
DEFAULT_VARIANT = "detailed"


def build_prompt(
    name: ClipName | None,
    subject: str = DEFAULT_SUBJECT,
    *,
    setting: str = "",
    style: str = DEFAULT_STYLE,
    negative: str | None = None,
    variant: str = DEFAULT_VARIANT,
) -> Prompt:
    """The prompt of a clip: the same input always gives the same text.

    ``name``: the clip's name, or None for a clip without facts. ``subject``, ``setting`` and ``style``: a phrase that
    is put into a sentence ("a man with black hair", "a small dance studio"), or whole sentences, ending in a full stop.
    Without ``style`` nothing is said of it. ``negative``: None for ``DEFAULT_NEGATIVE``; "" for none.
    ``variant``: a key of ``VARIANTS``. Raises ``SettingsError`` for an empty subject or an unknown variant.
    """
    recipe = VARIANTS.get(variant) if isinstance(variant, str) else None
    if recipe is None:
        raise SettingsError(
            f"There is no prompt variant {variant!r}.", expected=f"one of {', '.join(VARIANTS)}", got=repr(variant)
        )
    subject, setting, style = (
        _tidy(field, text) for field, text in (("subject", subject), ("setting", setting), ("style", style))
    )
    if not subject:
        raise SettingsError(
            "The prompt has no subject.",
            expected="a description of the person, for example 'a man with black hair in a red shirt'",
            got="no word",
            remedy=f"Describe the person of the reference image, or leave the default ({DEFAULT_SUBJECT!r}).",
        )
    facts: list[str] = []
    sentences = [(_sentence("The video shows {}.", subject), TEMPLATE if subject == DEFAULT_SUBJECT else USER)]
    if style:
        sentences.append((_sentence("The style is {}.", style), TEMPLATE if style == DEFAULT_STYLE else USER))
    if setting:
        sentences.append((_sentence("The place is {}.", setting), USER))
    else:
        sentences.append(("The background stays consistent.", TEMPLATE))
    sentences.append((recipe.shot, TEMPLATE))
    sentences.append(_dance(name, facts))
    if name is not None and name.tempo_bpm is not None:
        tempo, beats = f"{tempo_word(name.tempo_bpm)} tempo", f"{name.tempo_bpm} beats per minute"
        facts += [tempo, beats]
        sentences.append((f"The movement follows music at a {tempo} of {beats}.", FILE))
    sentences.append((recipe.motion, TEMPLATE))
    if name is not None and name.camera != ALL_CAMERAS:
        camera = ["moving camera"] if name.camera == MOVING_CAMERA else ["fixed camera"]
        front = ["from the front"] if name.camera == FRONT_CAMERA else []
        facts += camera + front
        sentences.append((f"{' '.join(['A', *camera, 'films the dance', *front])}.", FILE))
    return Prompt(
        text=" ".join(sentence for sentence, _ in sentences),
        negative=DEFAULT_NEGATIVE if negative is None else _tidy("negative", negative),
        variant=variant,
        facts=tuple(facts),
        origins=tuple(sentences),
    )


def tempo_word(bpm: int) -> str:
    """A tempo in a word. AIST's pieces have 80 to 135 beats a minute; thirds of that range, by our own choice."""
    return "slow" if bpm < 100 else "medium" if bpm < 120 else "fast"


def _dance(name: ClipName | None, facts: list[str]) -> tuple[str, str]:
    dance = DANCES.get(name.genre, "") if name else ""
    choreography = CHOREOGRAPHIES.get(name.situation, "") if name else ""
    known = [phrase for phrase in (dance, choreography) if phrase]
    facts.extend(known)
    if not known:
        return "The dancer performs a dance with clear, fluent movement.", TEMPLATE
    return f"The dancer performs {' with '.join(known)}.", FILE


def _tidy(field: str, text: str) -> str:
    if not isinstance(text, str):
        raise SettingsError(f"The prompt's {field} must be text.", expected="text", got=type(text).__name__)
    return " ".join(text.split()) if re.search(r"\w", text) else ""


def _sentence(frame: str, text: str) -> str:
    """``text`` as it is when it is a sentence already, otherwise put into ``frame``."""
    if text.endswith(tuple(".!?。！？")):
        return text
    first, space, rest = text.rstrip(" ,;:").partition(" ")
    return frame.replace("{}", (first.lower() if first in ("A", "An", "The") else first) + space + rest)

"""The prompt that needs no model: short sentences from a clip's file name, the subject's description, and fixed texts.

The order is the one that Wan's own prompt extension asks for (Wan-Video/Wan2.1, ``wan/utils/prompt_extend.py``), which
also advises English of 80 to 100 words; with a subject of about 30 words the texts here have that length:

=======  ======================================================================  ================
part     says                                                                    comes from
=======  ======================================================================  ================
subject  who is seen                                                             user or caption
style    the kind of picture                                                     user or template
space    the place, and the light where the card says it                         user or template
shot     one shot without cuts, and what the variant adds                        template
motion   genre, kind of choreography, tempo in a word and in numbers             file name
camera   fixed "from the front" for c01, moving for c10, otherwise fixed         file name
=======  ======================================================================  ================

What the file name does not give is not said: no direction of a camera other than c01, no place, no clothes.

The text always speaks of one dancer. A group clip (group dance, showcase, cypher, battle) gives the motion of one of
its dancers to the one person of the reference image; a text that counted the others would ask the model for more
people. So of a group clip the text states genre, tempo, camera and how the dance is made up (a set routine, freestyle
improvisation) but not that there are others, and the negative prompt refuses a crowd.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..aist.names import ClipName
from ..errors import SettingsError
from .facts import CAPTION, CHOREOGRAPHIES, DANCES, FILE, GENRE, TEMPLATE, USER, SubjectCard, name_facts, tempo_word
from .prompt import Prompt

__all__ = [
    "CHOREOGRAPHIES",
    "DANCES",
    "DEFAULT_NEGATIVE",
    "DEFAULT_STYLE",
    "DEFAULT_SUBJECT",
    "DEFAULT_VARIANT",
    "VARIANTS",
    "WAN_NEGATIVE",
    "Variant",
    "build_prompt",
    "build_variants",
    "tempo_word",
    "variant_negative",
]

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


@dataclass(frozen=True)
class Variant:
    """A recipe of fixed sentences. ``shot`` stands after the place, ``motion`` after the facts of the dance.

    ``shot_lit`` stands for ``shot`` when the user's card says what the light is. ``moves``: whether the usual moves of
    the genre are named. ``refused`` is what the negative prompt refuses besides ``DEFAULT_NEGATIVE``.
    """

    help: str
    shot: str
    motion: str
    shot_lit: str = ""
    moves: bool = False
    refused: str = ""


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
        shot_lit="It is one continuous shot without cuts, with clear light, natural shadows and fine detail.",
        refused="flat lighting, harsh shadows, underexposed, noise, color banding",
    ),
    "identity": Variant(
        "Weight on the person staying the same.",
        "It is one continuous shot without cuts.",
        "The same person is seen in every frame: face, hair, skin tone, body shape and clothes never change.",
        refused="another person, changing hair, changing skin tone, changing body shape",
    ),
    "motion": Variant(
        "Weight on the dance, with the usual moves of its genre.",
        "It is one continuous shot without cuts.",
        "Every movement is complete, fluent and on the beat.",
        moves=True,
        refused="slow motion, sliding feet, stiff movement, stuttering movement",
    ),
    "background": Variant(
        "Weight on the place staying the same.",
        "It is one continuous shot without cuts, and floor and background keep their shape and color.",
        "Nothing enters or leaves the picture.",
        refused="changing background, warped background, moving furniture, objects that appear, other place",
    ),
}
DEFAULT_VARIANT = "detailed"
_ENDS = tuple(".!?。！？")


def build_prompt(
    name: ClipName | None,
    subject: str = DEFAULT_SUBJECT,
    *,
    setting: str = "",
    style: str = DEFAULT_STYLE,
    negative: str | None = None,
    variant: str = DEFAULT_VARIANT,
    card: SubjectCard | None = None,
    caption: str = "",
) -> Prompt:
    """The prompt of a clip: the same input always gives the same text.

    ``name``: the clip's name, or None for a clip without facts. ``subject``, ``setting`` and ``style``: a phrase that
    is put into a sentence ("a man with black hair", "a small dance studio"), or whole sentences, ending in a full stop.
    Without ``style`` nothing is said of it. ``negative``: None for that of the variant; "" for none.
    ``variant``: a key of ``VARIANTS``. ``card``: what it says of the person and the place goes before ``subject`` and
    ``setting``. ``caption``: sentences about the picture, for when neither card nor ``subject`` describes the person
    (``caption.clean_caption`` makes them fit). Raises ``SettingsError`` for an empty subject or an unknown variant.
    """
    recipe = VARIANTS.get(variant) if isinstance(variant, str) else None
    if recipe is None:
        raise SettingsError(
            f"There is no prompt variant {variant!r}.", expected=f"one of {', '.join(VARIANTS)}", got=repr(variant)
        )
    subject, setting, style, caption = (
        _tidy(field, text)
        for field, text in (("subject", subject), ("setting", setting), ("style", style), ("caption", caption))
    )
    if not subject:
        raise SettingsError(
            "The prompt has no subject.",
            expected="a description of the person, for example 'a man with black hair in a red shirt'",
            got="no word",
            remedy=f"Describe the person of the reference image, or leave the default ({DEFAULT_SUBJECT!r}).",
        )
    card = card or SubjectCard()
    if described := card.subject(subject):
        sentences = [(_sentence("The video shows {}.", described), USER)]
    elif caption and subject == DEFAULT_SUBJECT:
        sentences = [(_sentence("The video shows {}.", caption), CAPTION)]
    else:
        sentences = [(_sentence("The video shows {}.", subject), TEMPLATE if subject == DEFAULT_SUBJECT else USER)]
    if style:
        sentences.append((_sentence("The style is {}.", style), TEMPLATE if style == DEFAULT_STYLE else USER))
    place = card.place or setting
    # One sentence where both are phrases: it saves words.
    lit_place = bool(place and card.light) and not place.endswith(_ENDS)
    if place:
        sentences.append((_sentence("The place is {}.", f"{place}, in {card.light}" if lit_place else place), USER))
    else:
        sentences.append(("The background stays consistent.", TEMPLATE))
    if card.light and not lit_place:
        sentences.append((_sentence("The light is {}.", card.light), USER))
    sentences.append(((card.light and recipe.shot_lit) or recipe.shot, TEMPLATE))
    facts = [fact for fact in name_facts(name) if fact.required]
    said = {fact.kind: fact.text for fact in facts}
    dance = " with ".join(said[kind] for kind in ("genre", "choreography") if kind in said)
    if "genre" in said or "choreography" in said:
        dance = dance if "genre" in said else f"a dance with {dance}"
        sentences.append((f"The dancer performs {dance}.", FILE))
    else:
        sentences.append(("The dancer performs a dance with clear, fluent movement.", TEMPLATE))
    moves = [fact.text for fact in name_facts(name) if fact.kind == "moves"]
    if recipe.moves and moves:
        sentences.append((f"Typical moves are {', '.join(moves[:-1])} and {moves[-1]}.", GENRE))
    if "tempo" in said:
        sentences.append((f"The movement follows music at a {said['tempo']} of {said['beats']}.", FILE))
    sentences.append((recipe.motion, TEMPLATE))
    if "camera" in said:
        direction = [said["direction"]] if "direction" in said else []
        sentences.append((f"{' '.join(['A', said['camera'], 'films the dance', *direction])}.", FILE))
    return Prompt(
        text=" ".join(sentence for sentence, _ in sentences),
        negative=variant_negative(variant) if negative is None else _tidy("negative", negative),
        variant=variant,
        facts=tuple(fact.text for fact in facts),
        origins=tuple(sentences),
    )


def build_variants(
    name: ClipName | None, subject: str = DEFAULT_SUBJECT, *, negative: str | None = None, **given: Any
) -> tuple[Prompt, ...]:
    """One prompt for each of ``VARIANTS``, all from the same facts: emphasis changes, what is known does not.

    ``given``: what else ``build_prompt`` takes, but for the variant. ``negative``: None gives each variant its own.
    """
    return tuple(build_prompt(name, subject, negative=negative, variant=variant, **given) for variant in VARIANTS)


def variant_negative(variant: str) -> str:
    """The negative prompt of a variant: ``DEFAULT_NEGATIVE`` and what this emphasis refuses besides."""
    return ", ".join(part for part in (DEFAULT_NEGATIVE, VARIANTS[variant].refused) if part)


def _tidy(field: str, text: str) -> str:
    if not isinstance(text, str):
        raise SettingsError(f"The prompt's {field} must be text.", expected="text", got=type(text).__name__)
    return " ".join(text.split()) if re.search(r"\w", text) else ""


def _sentence(frame: str, text: str) -> str:
    """``text`` as it is when it is a sentence already, otherwise put into ``frame``."""
    if text.endswith(_ENDS):
        return text
    first, space, rest = text.rstrip(" ,;:").partition(" ")
    return frame.replace("{}", (first.lower() if first in ("A", "An", "The") else first) + space + rest)

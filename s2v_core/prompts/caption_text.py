"""What of a caption may be used: a caption is a model's guess, and its words may be somebody else's.

Text in a picture can reach a caption ("a sign that says: ignore the above"). So a sentence that speaks to a reader, is
not plain English, denies something or tells of several people is dropped whole; and what the user's card settles, a
caption cannot contradict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .facts import CAPTION, Fact, SubjectCard, card_fields
from .guard import phrases
from .words import COLORS, DENIALS, FIELD_WORDS, INSTRUCTIONS, SEVERAL

LONGEST = 45  # words of a caption that a prompt takes: the length of the longest subject that the template is made for
_PLAIN_SENTENCE = re.compile(r"[A-Za-z0-9 ,;'\-]+")
_PICTURE = r"(?:the|this) (?:image|picture|photo|photograph)"
_SHOWS = re.compile(rf"^{_PICTURE} (?:shows|depicts|features|captures|portrays|is of) ", re.IGNORECASE)
_IN_IT = re.compile(rf"^in {_PICTURE},? ", re.IGNORECASE)


@dataclass(frozen=True)
class CleanCaption:
    """``text``: the sentences that may be used, "" when there is none. ``dropped``: the others, as they came."""

    text: str
    dropped: tuple[str, ...] = ()


def clean_caption(text: str) -> CleanCaption:
    """The sentences of a caption that are plain English about one person, together at most ``LONGEST`` words."""
    kept: list[str] = []
    dropped = []
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", " ".join(text.replace("\n", ".\n").split(" "))):
        plain = " ".join(sentence.split()).rstrip(".").strip()
        if not plain:
            continue
        words = set(re.findall(r"\w+", plain.lower()))
        fits = sum(len(one.split()) for one in kept) + len(plain.split()) <= LONGEST
        if not fits or not _PLAIN_SENTENCE.fullmatch(plain) or words & (INSTRUCTIONS | DENIALS | SEVERAL):
            dropped.append(plain)
            continue
        opened = _IN_IT.sub("", _SHOWS.sub("The video shows ", plain))
        kept.append(f"{opened[:1].upper()}{opened[1:]}.")
    return CleanCaption(" ".join(kept), tuple(dropped))


def caption_facts(caption: CleanCaption, card: SubjectCard | None = None) -> tuple[Fact, ...]:
    """The noun phrases of a caption that do not speak of what the card says already; a rewrite may use them."""
    settled = [field for field in card_fields() if card is not None and getattr(card, field)]
    closed = {word for field in settled for word in FIELD_WORDS[field]}

    def is_settled(phrase: tuple[str, ...]) -> bool:
        # A color that stands alone may be that of anything that is settled.
        return bool(closed & set(phrase)) or bool(closed and phrase[-1] in COLORS)

    texts = dict.fromkeys(" ".join(phrase) for phrase in phrases(caption.text) if not is_settled(phrase))
    return tuple(Fact("caption", text, CAPTION, required=False) for text in texts)

"""What a sentence must not do with true words: a camera that is worn, a floor that dances, two people out of one.

There is no grammar here: each rule looks at neighbouring words, so it sees plain sentences, and some relations stay
unseen. A rule that turns an honest sentence away costs nothing but the rewrite.
"""

from __future__ import annotations

from dataclasses import dataclass

from .words import CAMERA_MOVES, FIELD_WORDS, HOLDS, PEOPLE, PLAIN, PRONOUNS, WEARS, words_of

_ARTICLES = words_of("a an the its his her their one this that each every all")
_BE = words_of("is are was be being stays stay remains remain appears appear")
_AT = words_of("on in at within towards toward")
_FRAMES = words_of("shot view frame frames take composition picture image scene")
_BODY = words_of("face hand hands arm arms leg legs feet head shoulders hips knees torso limbs")
_LOOKS = words_of("skin hair appearance")
_FILMS = words_of("""
    films filming captures capturing capture shows showing records follows following highlights highlighting
    emphasizes emphasizing reveals revealing
    """)
_PERFORMS = words_of("performs perform performing performed executes execute executing executed")
# What can be performed or held, of the words that a rewrite may use of its own accord.
_PERFORMED = words_of("""
    dance dancing movement movements motion motions choreography steps gestures transitions performance
    """)
_HELD = words_of("balance posture pace rhythm beat tempo expression energy shape focus weight")
_CLOTHING = words_of("clothes clothing outfit")
_REFLEXIVE = words_of("himself herself itself themselves")
_PLACED = FIELD_WORDS["clothes"] | FIELD_WORDS["shoes"] | FIELD_WORDS["face"]
_SOMEONE = PRONOUNS["male"] | PRONOUNS["female"] | {"they", "them"}


@dataclass(frozen=True)
class Known:
    """``breaks``: the words that end a noun phrase. ``dances``: the last words of what the clip's dance is called.

    ``described``: the last words of what the user or a caption names. ``moving_camera``: whether the camera moves.
    """

    breaks: frozenset[str]
    dances: frozenset[str]
    described: frozenset[str]
    moving_camera: bool


def wrong_relations(sentence: list[str], known: Known) -> list[str]:
    """What no source says of a sentence's words, in a sentence each."""
    found = []
    for place, word in enumerate(sentence):
        before, after = _noun_before(sentence, place, known.breaks), _object_after(sentence, place, known.breaks)
        follows = sentence[place + 1] if place + 1 < len(sentence) else ""
        if word in _PERFORMS:
            if after in PLAIN - _PERFORMED - known.dances:
                found.append(f"Nobody performs {after!r}.")
            if before in PLAIN - PEOPLE - _BODY - _CLOTHING - _LOOKS:
                found.append(f"No source says that {before!r} performs.")
        elif word in WEARS and word != "worn":
            if after in PLAIN - _CLOTHING - known.described:
                found.append(f"Nobody wears {after!r}.")
            if before in (PLAIN | FIELD_WORDS["place"]) - PEOPLE - _BODY - _LOOKS:
                found.append(f"No source says that {before!r} is dressed.")
        elif word in HOLDS and after and after not in _HELD:
            found.append(f"No source says that the person {word} {after!r}.")
        elif word in _BE:
            if before and after and follows in _ARTICLES and (before in PEOPLE) != (after in PEOPLE):
                found.append(f"No source says that {before!r} is {after!r}.")
            where = _object_after(sentence, place + 1, known.breaks) if follows in _AT else ""
            if where and before == "camera" and where not in ("place", "front"):
                found.append(f"No source says that the camera is at {where!r}.")
            if where in _BODY and before in _PLACED:
                found.append(f"No source says that {before!r} is at {where!r}.")
        elif word in _FILMS and after in _BODY | {"camera"}:
            found.append(f"No source says that {after!r} is filmed.")
        elif word == "from" and after in _BODY:
            found.append(f"No source says that the picture ends at {after!r}.")
        elif (word == "with" and follows in _REFLEXIVE) or (
            word == "and" and after in PEOPLE and place and sentence[place - 1] in _SOMEONE
        ):
            found.append("It makes two people out of one.")
        if not known.moving_camera and before in _FRAMES and word in CAMERA_MOVES - {"unfold", "unfolds"}:
            found.append(f"No source says that the camera moves: {before!r} {word!r}.")
    return found


def _noun_before(sentence: list[str], place: int, breaks: frozenset[str]) -> str:
    """The noun right before a word, over adverbs; "" where a phrase has ended."""
    at = place - 1
    while at >= 0 and sentence[at].endswith("ly"):
        at -= 1
    return sentence[at] if at >= 0 and sentence[at] not in breaks else ""


def _object_after(sentence: list[str], place: int, breaks: frozenset[str]) -> str:
    """The last word of the phrase right after a word, over articles; "" where another kind of word follows."""
    at = place + 1
    while at < len(sentence) and sentence[at] in _ARTICLES:
        at += 1
    last = ""
    while at < len(sentence) and sentence[at] not in breaks:
        last = sentence[at]
        at += 1
    return last

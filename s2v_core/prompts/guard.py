"""The fact guard: whether a rewritten prompt still says what is known, and nothing else.

No model and no grammar: a rewrite is cut into noun phrases at the words that end one (``words.BREAKS``), and

- every required phrase of the facts must be there whole: "wavy black hair" with all of its words;
- a phrase that names something of the facts must be part of one of their phrases and hold its last word, so that
  neither a color nor a garment can change or be swapped ("black jeans" where the jeans are dark);
- any other word must be one of ``words``: what no source names is not said. That also turns away other languages.

What it turns away wrongly ("his hair is black and wavy") costs nothing but the rewrite: the template stands in. Of the
relations between true words it sees the plainest (``relations``: nobody wears a camera); what it cannot see are the
others ("the mirror is on the floor"), and plain praise that does not fit ("the dance is energetic").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from .facts import CAPTION, FILE, USER, Fact
from .relations import Known, wrong_relations
from .words import (
    BREAKS,
    CAMERA_MOVES,
    COLORS,
    DENIALS,
    DENIALS_ALLOWED,
    FIELD_WORDS,
    GENDERS,
    HOLDS,
    INSTRUCTIONS,
    PEOPLE,
    PLAIN,
    PLAIN_PHRASES,
    PRONOUNS,
    WEARS,
)

MIN_WORDS, MAX_WORDS = 40, 120
_PLAIN_SIGNS = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": "-", "‑": "-", " ": " "})
_TOKEN = re.compile(r"[^\W_]+|'s\b|[.,;:]")
_ALLOWED_SIGNS = re.compile(r"[\w\s.,;:'\-]*", re.ASCII)
_MOST_REASONS = 12
_LONGEST_SENTENCE = 70  # words; the template's longest has about 45

_WORN_KINDS = ("clothes", "shoes", "face", "hair", "who", "subject")
_BRING_IN = {"a": 1, "an": 1, "one": 1, "each": 2, "every": 2, "all": 2, "these": 2, "those": 2}

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the guard says of a rewrite. ``reasons``: one sentence for each thing that is wrong; none when it passes."""

    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons


def check_rewrite(text: str, facts: Iterable[Fact], *, limits: tuple[int, int] = (MIN_WORDS, MAX_WORDS)) -> Verdict:
    """Judge a rewritten prompt against all facts that its prompt was made from.

    ``limits``: the fewest and the most words. What is wrong is told, in twelve reasons at most.
    """
    facts = tuple(fact for fact in facts if fact.told)
    text = text.translate(_PLAIN_SIGNS)
    count = len(text.split())
    if not count:
        return Verdict(("It is empty.",))
    if count > limits[1]:
        # Said alone: a long text is not worth taking apart.
        return Verdict((f"It has {count} words; at most {limits[1]} are asked for.",))
    found = [f"It has {count} words; at least {limits[0]} are asked for."] if count < limits[0] else []
    found += _form(text, facts)
    sentences, denials = _without_denials(_sentences(text), facts)
    found += [f"It does not say {fact.text!r} ({fact.origin})." for fact in denials if fact.required]
    facts = tuple(fact for fact in facts if not _denies(fact))
    sources = [(phrase, fact) for fact in facts for phrase in phrases(fact.text)]
    found += _missing(sentences, facts)
    found += _foreign(sentences, sources)
    found += _contradictions(sentences, facts)
    return Verdict(tuple(dict.fromkeys(found))[:_MOST_REASONS])


def phrases(text: str) -> list[Phrase]:
    """The noun phrases of a text, each the words between two breaks, in small letters and without hyphens."""
    return [phrase for sentence in _sentences(text) for phrase in _cut(sentence)]


def _sentences(text: str) -> list[list[str]]:
    tokens = _TOKEN.findall(text.translate(_PLAIN_SIGNS).lower())
    sentences: list[list[str]] = [[]]
    for token in tokens:
        if token == ".":
            sentences.append([])
        else:
            sentences[-1].append(token)
    return [sentence for sentence in sentences if sentence]


def _cut(sentence: list[str]) -> list[Phrase]:
    """ "a black and white shirt" stays whole: "and" between two colors ends nothing."""
    found: list[list[str]] = [[]]
    for place, word in enumerate(sentence):
        around = (sentence[place - 1], sentence[place + 1]) if 0 < place < len(sentence) - 1 else ("", "")
        if word == "and" and all(one in COLORS for one in around):
            continue
        if word in _BREAKS:
            found.append([])
        else:
            found[-1].append(word)
    return [tuple(phrase) for phrase in found if phrase]


_BREAKS = BREAKS | DENIALS | {",", ";", ":", "'s"} | PRONOUNS["male"] | PRONOUNS["female"]


def _denies(fact: Fact) -> bool:
    return bool(DENIALS & set(_words(fact.text)))


def _without_denials(sentences: list[list[str]], facts: tuple[Fact, ...]) -> tuple[list[list[str]], list[Fact]]:
    """The sentences without the denials that they may hold, and the facts that deny something but are not there.

    A fact such as "no shoes" must stand word for word: its parts say the contrary.
    """
    missing = []
    allowed = list(DENIALS_ALLOWED)
    for fact in filter(_denies, facts):
        phrase = " ".join(_words(fact.text))
        allowed.append(phrase)
        if not any(f" {phrase} " in f" {' '.join(sentence)} " for sentence in sentences):
            missing.append(fact)
    left = []
    for sentence in sentences:
        running = f" {' '.join(sentence)} "
        for phrase in sorted(allowed, key=len, reverse=True):
            running = running.replace(f" {phrase} ", " , ")
        left.append(running.split())
    return left, missing


def _form(text: str, facts: tuple[Fact, ...]) -> list[str]:
    found = []
    own = set("".join(fact.text for fact in facts).translate(_PLAIN_SIGNS))
    strange = sorted({sign for sign in text if not _ALLOWED_SIGNS.fullmatch(sign) and sign not in own})
    if strange:
        found.append(f"It holds signs that no plain English sentence needs: {' '.join(strange[:5])!r}.")
    if "\n" in text.strip():
        found.append("It has several lines; one paragraph is asked for.")
    if not text.rstrip().endswith("."):
        found.append("It does not end with a full stop.")
    said = [" ".join(sentence) for sentence in _sentences(text)]
    if len(set(said)) < len(said):
        found.append("It says a sentence twice.")
    if any(len(sentence) > _LONGEST_SENTENCE for sentence in _sentences(text)):
        found.append("It holds a sentence that does not end.")
    words = re.findall(r"\w+", text.lower())
    if any(one == two for one, two in pairwise(words)):
        found.append("It says a word twice in a row.")
    return found


def _missing(sentences: list[list[str]], facts: tuple[Fact, ...]) -> list[str]:
    said = [set(phrase) for sentence in sentences for phrase in _cut(sentence)]
    running = f" {' '.join(' '.join(sentence) for sentence in sentences)} "
    found = []
    for fact in facts:
        if not fact.required:
            continue
        if fact.origin == FILE:
            whole = f" {' '.join(_words(fact.text))} " in running
        else:
            whole = all(any(set(phrase) <= one for one in said) for phrase in phrases(fact.text))
        if not whole:
            found.append(f"It does not say {fact.text!r} ({fact.origin}).")
    return found


def _foreign(sentences: list[list[str]], sources: list[tuple[Phrase, Fact]]) -> list[str]:
    """Words without a source, and phrases that mix or bend those that have one."""
    named = {word for phrase, _ in sources for word in phrase}
    # What the user or a caption describes gets no further adjectives, not even plain ones.
    described = {
        phrase[-1] for phrase, fact in sources if fact.origin != FILE and phrase[-1] not in ("dancer", "person")
    }
    found = []
    for sentence in sentences:
        for phrase in _cut(sentence):
            unknown = [word for word in phrase if word not in named and word not in PLAIN]
            if unknown:
                found.append(f"No source names {' '.join(unknown)!r}.")
                continue
            if len(set(phrase)) < len(phrase):
                found.append(f"It says a word twice in {' '.join(phrase)!r}.")
            if " ".join(phrase) in PLAIN_PHRASES:
                continue
            special = [word for word in phrase if word not in PLAIN or word in described]
            if special and not any(set(phrase) <= set(source) and source[-1] in phrase for source, _ in sources):
                found.append(f"No source says {' '.join(phrase)!r}.")
    return found


def _contradictions(sentences: list[list[str]], facts: tuple[Fact, ...]) -> list[str]:
    found = []
    known = {word for fact in facts for word in _words(fact.text)}
    every = [word for sentence in sentences for word in sentence]
    for gender, pronouns in PRONOUNS.items():
        used = sorted(pronouns & set(every) - known)
        if used and not GENDERS[gender] & known:
            found.append(f"No source says that {used[0]!r} fits the person.")
    spoken = sorted(INSTRUCTIONS & set(every) - known)
    if spoken:
        found.append(f"It speaks to its reader: {spoken[0]!r}.")
    moving = any(fact.kind == "camera" and fact.text.startswith("moving") for fact in facts)
    relations = Known(
        _BREAKS,
        frozenset(_words(fact.text)[-1] for fact in facts if fact.kind in ("genre", "choreography", "moves")),
        frozenset(phrase[-1] for fact in facts if fact.origin in (USER, CAPTION) for phrase in phrases(fact.text)),
        moving,
    )
    people = 0
    most_people = max([1, *(_people(part) for fact in facts for part in _sentences(fact.text))])
    for sentence in sentences:
        if denied := sorted(DENIALS & set(sentence)):
            found.append(f"It denies something: {denied[0]!r}.")
        # A sentence on the camera has one verb for it; which noun another verb belongs to cannot be told here.
        if "camera" in sentence and not moving and CAMERA_MOVES & set(sentence):
            found.append("No source says that the camera moves.")
        people += _introduced(sentence)
        if _people(sentence) > most_people:
            found.append("It names the person twice in a sentence, as if there were two.")
        found += _handling(sentence, facts)
        found += wrong_relations(sentence, relations)
    if people > 1:
        found.append("It brings in more than one person.")
    return found


def _people(sentence: list[str]) -> int:
    return sum(not PEOPLE.isdisjoint(phrase) for phrase in _cut(sentence))


def _handling(sentence: list[str], facts: tuple[Fact, ...]) -> list[str]:
    """What a person holds, or wears though it is nothing to wear: no source says that of a thing that it names."""
    named = {phrase[-1]: fact for fact in facts if fact.origin != FILE for phrase in phrases(fact.text)}
    worn = FIELD_WORDS["clothes"] | FIELD_WORDS["shoes"] | FIELD_WORDS["face"]
    found = []
    for place, word in enumerate(sentence):
        if word in HOLDS | WEARS:
            after = _cut(sentence[place + 1 :])
            thing = after[0][-1] if after else ""
            fact = named.get(thing)
            known_worn = thing in worn or (fact is not None and fact.kind in _WORN_KINDS)
            if fact is not None and (word in HOLDS or not known_worn):
                found.append(f"No source says that the person {word} {thing!r}.")
    return found


def _introduced(sentence: list[str]) -> int:
    """How many people "a ..." or "one ..." brings in; "each ..." speaks of several."""
    count = 0
    for place, word in enumerate(sentence):
        if word in _BRING_IN:
            after: list[str] = []
            for later in sentence[place + 1 :]:
                if later in _BREAKS:
                    break
                after.append(later)
            count += _BRING_IN[word] if after and after[-1] in PEOPLE else 0
    return count


def _words(text: str) -> list[str]:
    return [word for word in _TOKEN.findall(text.translate(_PLAIN_SIGNS).lower()) if word not in ".,;:"]

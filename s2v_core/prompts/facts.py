"""What is known of a clip and its person, each fact with where it came from.

Three sources: the clip's file name (genre, choreography, tempo, camera), the user's subject card, and a caption of the
reference picture. What none of them gives is not a fact, and no prompt says it.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..aist.names import ALL_CAMERAS, FRONT_CAMERA, MOVING_CAMERA, ClipName
from ..errors import SettingsError

FILE, USER, CAPTION, GENRE, TEMPLATE = "file name", "user", "caption", "genre", "template"

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

# What dancers of the genre call its usual moves. That the clip shows just these is not known: they colour the text of
# the motion variant, and a rewrite may name them, but must not.
MOVES = {
    "gBR": ("toprock", "footwork", "freezes"),
    "gPO": ("muscle hits", "arm waves", "isolations"),
    "gLO": ("locks", "points", "wrist rolls"),
    "gMH": ("grooves", "bounces", "arm swings"),
    "gLH": ("accents", "grooves", "body rolls"),
    "gHO": ("jacking", "shuffles", "skating steps"),
    "gWA": ("arm whips", "wrist circles", "poses"),
    "gKR": ("stomps", "chest pops", "arm swings"),
    "gJS": ("isolations", "kicks", "turns"),
    "gJB": ("pirouettes", "leaps", "extended lines"),
}

# How the dance is made up. The situations with several dancers say it without counting them (see ``template``). Of the
# situation "moving camera" only the camera is known.
CHOREOGRAPHIES = {
    "sBM": "basic choreography",
    "sFM": "advanced choreography",
    "sGR": "a set routine",
    "sSH": "a rehearsed show routine",
    "sCY": "freestyle improvisation",
    "sBT": "confident freestyle improvisation",
}


@dataclass(frozen=True)
class Fact:
    """One thing that is known. ``text`` is the phrase that says it.

    ``kind``: "genre", "situation", "dancers", "moves", "choreography", "tempo", "beats", "camera", "direction",
    "caption", "subject", or a field of ``SubjectCard``. ``origin``: FILE, USER, CAPTION or GENRE. ``required``: whether
    a rewrite must keep it. ``told``: whether a prompt may say it; what is not told is only shown to the user.
    """

    kind: str
    text: str
    origin: str
    required: bool = True
    told: bool = True


@dataclass(frozen=True)
class SubjectCard:
    """What the user says of the person and the place, one phrase a field, "" for what is left open.

    For example who "a man with medium brown skin", hair "wavy black hair", face "thin rounded glasses", clothes "a
    black t-shirt, slim dark jeans", shoes "beige sneakers", place "a small dance studio", light "soft window light".
    """

    who: str = ""
    hair: str = ""
    face: str = ""
    clothes: str = ""
    shoes: str = ""
    place: str = ""
    light: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str):
                raise SettingsError(
                    f"The subject card's {field.name} must be text.", expected="a phrase", got=repr(value)
                )
            tidy = " ".join(value.split()).strip(" .,;:") if re.search(r"\w", value) else ""
            object.__setattr__(self, field.name, tidy)

    def subject(self, someone: str) -> str:
        """The person as one phrase; ``someone`` stands in when ``who`` is empty. "" when nothing is said of them."""
        looks = [text for text in (self.hair, self.face) if text]
        worn = [text for text in (self.clothes, self.shoes) if text]
        if not (self.who or looks or worn):
            return ""
        said = self.who or someone
        if looks:
            # "a man with brown skin" goes on as a list; "a man" begins one.
            said = _listed([said, *looks]) if " with " in f" {said} " else f"{said} with {_listed(looks)}"
        return f"{said}, wearing {_listed(worn)}" if worn else said


def card_fields() -> tuple[str, ...]:
    """The names of a card's fields, in the order of the text."""
    return tuple(field.name for field in fields(SubjectCard))


def load_card(path: str | os.PathLike[str]) -> SubjectCard:
    """A card from a YAML file of ``field: phrase`` lines. Raises ``SettingsError`` for what cannot be used."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(
            f"The subject card {path} cannot be read.",
            expected="a YAML file with lines such as 'hair: wavy black hair'",
            got=" ".join(str(error).split()),
        ) from error
    return make_card(values, str(path))


def make_card(values: Any, where: str = "given") -> SubjectCard:
    """A card from a mapping of fields; null counts as empty. Raises ``SettingsError`` for unknown fields."""
    names = card_fields()
    if not isinstance(values, dict):
        raise SettingsError(
            f"The subject card {where} holds no fields.", expected=", ".join(names), got=type(values).__name__
        )
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1)
            raise SettingsError(
                f"The subject card {where} has an unknown field {name!r}.",
                expected=f"one of {', '.join(names)}",
                got=repr(name),
                remedy=f"Did you mean {near[0]}?" if near else "",
            )
    return SubjectCard(**{name: "" if value is None else value for name, value in values.items()})


def name_facts(name: ClipName | None) -> tuple[Fact, ...]:
    """What a clip's name says, in the order of the text; empty without a name."""
    if name is None:
        return ()
    facts = []
    if name.genre in DANCES:
        facts.append(Fact("genre", DANCES[name.genre], FILE))
    if name.situation in CHOREOGRAPHIES:
        facts.append(Fact("choreography", CHOREOGRAPHIES[name.situation], FILE))
    if name.tempo_bpm is not None:
        facts.append(Fact("tempo", f"{tempo_word(name.tempo_bpm)} tempo", FILE))
        facts.append(Fact("beats", f"{name.tempo_bpm} beats per minute", FILE))
    if name.camera != ALL_CAMERAS:
        facts.append(Fact("camera", "moving camera" if name.camera == MOVING_CAMERA else "fixed camera", FILE))
    if name.camera == FRONT_CAMERA:
        facts.append(Fact("direction", "from the front", FILE))
    facts += [Fact("moves", move, GENRE, required=False) for move in MOVES.get(name.genre, ())]
    # The picture shows the one person of the reference image, whoever danced (see ``template``).
    shown = {"situation": name.situation_name, "dancers": dancers_text(name)}
    facts += [Fact(kind, text, FILE, required=False, told=False) for kind, text in shown.items() if text]
    return tuple(facts)


def dancers_text(name: ClipName) -> str:
    """How many dance in the clip, as a phrase; "" where the name does not say it."""
    if len(name.dancers) > 1:
        return f"{len(name.dancers)} dancers"
    return "several dancers" if name.is_group else "one dancer" if name.dancers else ""


def card_facts(card: SubjectCard) -> tuple[Fact, ...]:
    """What the user said, one fact a field that is not empty."""
    return tuple(Fact(field, text, USER) for field in card_fields() if (text := getattr(card, field)))


def text_facts(**texts: str) -> tuple[Fact, ...]:
    """What the user wrote outside the card (subject, setting, style), one fact a text that is not empty."""
    return tuple(Fact(kind, text, USER) for kind, text in texts.items() if re.search(r"\w", text))


def tempo_word(bpm: int) -> str:
    """A tempo in a word. AIST's pieces have 80 to 135 beats a minute; thirds of that range, by our own choice."""
    return "slow" if bpm < 100 else "medium" if bpm < 120 else "fast"


def _listed(parts: list[str]) -> str:
    """Phrases as a list: a last "and" only where no part brings one of its own."""
    if len(parts) == 1:
        return parts[0]
    comma = "," if any(" and " in part for part in parts) else ""
    return f"{', '.join(parts[:-1])}{comma} and {parts[-1]}"

"""``ClipName``: the facts that the file name of an AIST dance clip gives.

Two forms exist::

    gBR_sBM_c01_d04_mBR0_ch01          genre, situation, camera, dancer, music, choreography
    gLO_sGR_c01_d13_d14_d15_mLO0_ch01  the same with several dancers
    gBR_sBM_cAll_d04_mBR0_ch01         the same in AIST++: one sequence over all cameras
    sSH_c01_v0                         showcase, cypher, battle: situation, camera, variation

Sources of the tables: the AIST Dance Video Database (Tsuchida et al., ISMIR 2019), its page "Data Formats" at
https://aistdancedb.ongaaccel.jp/data_formats/ and its list of dancers; ``cAll`` is of AIST++ (Li et al., ICCV 2021).
That page calls the moving camera ``sMM`` and writes the short form without a genre. Elsewhere it is ``sMC``, and the
short form begins with a genre or names its dancers before the variation, so all of this is read. The page's own example
has a situation, ``sBA``, that its table lacks: a code that the tables do not know is kept, with a warning.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import astuple, dataclass, replace
from typing import Any
from urllib.parse import unquote

from ..errors import SettingsError

EXAMPLE = "gBR_sBM_c01_d04_mBR0_ch01"

GENRES = {
    "gBR": "Break",
    "gPO": "Pop",
    "gLO": "Lock",
    "gMH": "Middle Hip-hop",
    "gLH": "LA-style Hip-hop",
    "gHO": "House",
    "gWA": "Waack",
    "gKR": "Krump",
    "gJS": "Street Jazz",
    "gJB": "Ballet Jazz",
}

# Three dancers a genre; d31 to d35 dance in showcases, cyphers and battles only.
GENRE_DANCERS = {
    "gJS": ("d01", "d02", "d03"),
    "gBR": ("d04", "d05", "d06"),
    "gJB": ("d07", "d08", "d09"),
    "gPO": ("d10", "d11", "d12"),
    "gLO": ("d13", "d14", "d15"),
    "gLH": ("d16", "d17", "d18"),
    "gHO": ("d19", "d20", "d21"),
    "gMH": ("d22", "d23", "d24"),
    "gWA": ("d25", "d26", "d27"),
    "gKR": ("d28", "d29", "d30"),
}
LAST_DANCER = 35

SITUATIONS = {
    "sBM": "basic dance",
    "sFM": "advanced dance",
    "sGR": "group dance",
    "sMM": "moving camera",
    "sMC": "moving camera",
    "sSH": "showcase",
    "sCY": "cypher",
    "sBT": "battle",
}
SHORT_SITUATIONS = ("sSH", "sCY", "sBT")
GROUP_SITUATIONS = ("sGR", *SHORT_SITUATIONS)
SOLO_SITUATIONS = ("sBM", "sFM")
LAST_CHOREOGRAPHY = {"sBM": 10, "sFM": 21}

# Beats a minute of the pieces 0 to 5 of every genre; House is faster.
TEMPI = (80, 90, 100, 110, 120, 130)
HOUSE_TEMPI = (110, 115, 120, 125, 130, 135)

# A showcase has one piece of music; cyphers and battles run through several.
SHOWCASE_MUSIC = {"v0": "mMH0", "v1": "mLH2", "v2": "mBR4"}

ALL_CAMERAS = "cAll"
CAMERAS = tuple(f"c{number:02d}" for number in range(1, 11))
FRONT_CAMERA = "c01"
MOVING_CAMERA = "c10"

_log = logging.getLogger(__name__)

# What a part of the name looks like, and how a person is told.
_PARTS = {
    "genre": (r"g[A-Z]{2}", "g and two letters, like gBR"),
    "situation": (r"s[A-Z]{2}", "s and two letters, like sBM"),
    "camera": (r"c(?:0[1-9]|10|All)", "c01 to c10, or cAll"),
    "dancer": (r"d[0-9]{2}", "d and two digits, like d04"),
    "music": (r"m[A-Z]{2}[0-9]", "m, two letters and a digit, like mBR0"),
    "choreography": (r"ch[0-9]{2}", "ch and two digits, like ch01"),
    "version": (r"v[0-9]{1,2}", "v and a number, like v0"),
}
_PATTERNS = {kind: re.compile(pattern) for kind, (pattern, _) in _PARTS.items()}


@dataclass(frozen=True)
class ClipName:
    """What an AIST file name says. Every field is the code as it stands in the name; "" where the form lacks it.

    ``parse`` reads a name and ``str()`` writes it in AIST's spelling: the one undoes the other. Fields that do not
    make a name raise ``SettingsError``. A well-formed code that the tables do not know, or that does not fit its
    neighbours, is kept and told in ``warnings``.
    """

    genre: str
    situation: str
    camera: str
    dancers: tuple[str, ...] = ()
    music: str = ""
    choreography: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        given = astuple(self)
        if not isinstance(self.dancers, tuple) or not all(isinstance(part, str) for part in _flat(given)):
            raise _fault("is not made of text", repr(given), expected="codes like gBR", got=repr(given))
        if _split(str(self)) != given:
            raise _fault("cannot be written", repr(given), expected=str(_split(str(self))), got=repr(given))

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> ClipName:
        """Read a bare name, a file name with any suffix, a path or a URL. Upper and lower case do not matter.

        Raises ``SettingsError`` that says which part is wrong. What is odd but readable is logged as a warning.
        """
        name = cls(*_split(_stem(text)))
        for warning in name.warnings:
            _log.warning("%s: %s", name, warning)
        return name

    def __str__(self) -> str:
        return "_".join(part for part in _flat(astuple(self)) if part)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unknown or does not fit, one sentence each; empty for a name of the database."""
        found = []
        if self.genre and self.genre not in GENRES:
            found.append(f"The genre {self.genre} is not one of AIST's ({', '.join(GENRES)}).")
        if self.situation not in SITUATIONS:
            found.append(f"The situation {self.situation} is not one of AIST's ({', '.join(SITUATIONS)}).")
        if not self.version and self.situation in SHORT_SITUATIONS:
            found.append(f"AIST names a {self.situation_name} by a variation, like {self.situation}_c01_v0.")
        found.extend(self._odd_dancers())
        if self.music:
            if self.music[1:3] != self.genre[1:3]:
                found.append(f"The music {self.music} belongs to another genre than {self.genre}.")
            if int(self.music[3]) >= len(TEMPI):
                found.append(f"There is no piece {self.music}: every genre has the pieces 0 to {len(TEMPI) - 1}.")
        if self.choreography and not 1 <= int(self.choreography[2:]) <= LAST_CHOREOGRAPHY.get(self.situation, 99):
            last = LAST_CHOREOGRAPHY.get(self.situation, 99)
            found.append(f"There is no {self.choreography} in {self.situation}: it has ch01 to ch{last:02d}.")
        return tuple(found)

    @property
    def genre_name(self) -> str:
        """The genre in words ("Break"); "" when the name does not give it or it is unknown."""
        return GENRES.get(self.genre, "")

    @property
    def situation_name(self) -> str:
        """The filming situation in words ("basic dance"); "" when it is unknown."""
        return SITUATIONS.get(self.situation, "")

    @property
    def camera_name(self) -> str:
        """The camera in words. Only c01 has a known direction; c02 to c09 stand still, somewhere."""
        if self.camera == FRONT_CAMERA:
            return "front camera"
        if self.camera == MOVING_CAMERA:
            return "moving camera"
        return "all cameras" if self.camera == ALL_CAMERAS else f"fixed camera {int(self.camera[1:])}"

    @property
    def tempo_bpm(self) -> int | None:
        """Beats a minute of the music; None when it is unknown or there are several pieces (cypher, battle)."""
        music = self.music or (SHOWCASE_MUSIC.get(self.version, "") if self.situation == "sSH" else "")
        if not music or f"g{music[1:3]}" not in GENRES or int(music[3]) >= len(TEMPI):
            return None
        return (HOUSE_TEMPI if music[1:3] == "HO" else TEMPI)[int(music[3])]

    @property
    def is_group(self) -> bool:
        """Whether more than one dancer may be in the picture."""
        return len(self.dancers) > 1 or self.situation in GROUP_SITUATIONS

    @property
    def sequence(self) -> str:
        """The name of the AIST++ sequence that this clip is one view of."""
        return str(self.with_camera(ALL_CAMERAS))

    def with_camera(self, camera: str | int) -> ClipName:
        """The same dance from another camera: "c03", 3 or "cAll"."""
        return replace(self, camera=f"c{camera:02d}" if isinstance(camera, int) else camera)

    def _odd_dancers(self) -> list[str]:
        found = []
        for dancer in self.dancers:
            home = GENRE_DANCERS.get(self.genre, ())
            if not 1 <= int(dancer[1:]) <= LAST_DANCER:
                found.append(f"There is no dancer {dancer}: the database has d01 to d{LAST_DANCER}.")
            elif home and dancer not in home and not self.version:
                found.append(f"The dancer {dancer} does not dance {self.genre_name} ({home[0]} to {home[-1]} do).")
        if len(set(self.dancers)) < len(self.dancers):
            found.append("A dancer is named twice.")
        if self.situation == "sGR" and len(self.dancers) != 3:
            found.append(f"A group dance has three dancers, and {len(self.dancers)} are named.")
        if self.situation in SOLO_SITUATIONS and len(self.dancers) > 1:
            found.append(f"A clip of {self.situation} has one dancer, and {len(self.dancers)} are named.")
        return found


def find_name(path: str | os.PathLike[str]) -> ClipName | None:
    """The name of an AIST clip, or None for any other file. A name that only looks like AIST's is told in the log."""
    try:
        return ClipName.parse(path)
    except SettingsError as error:
        if isinstance(path, (str, os.PathLike)) and re.match(r"(?i)g[a-z]{2}_s[a-z]{2}_", _stem(path)):
            _log.warning("The file's name gives no facts. %s", error)
        return None


def _stem(text: str | os.PathLike[str]) -> str:
    """The name inside a path or URL, up to its first dot."""
    plain = os.fspath(text) if isinstance(text, (str, os.PathLike)) else text
    if not isinstance(plain, str):
        raise SettingsError("A clip name must be text.", expected=f"a name like {EXAMPLE}", got=type(text).__name__)
    plain = plain.strip()
    if "://" in plain:
        plain = unquote(re.split(r"[?#]", plain, maxsplit=1)[0])
    return re.split(r"[/\\]", plain.rstrip("/\\"))[-1].split(".", 1)[0].strip()


def _split(stem: str) -> tuple[str, str, str, tuple[str, ...], str, str, str]:
    """The fields of a name, in the order of ``ClipName``; raises ``SettingsError`` at the first part that is wrong."""
    rest = stem.split("_")

    def follows(letter: str) -> bool:
        return bool(rest) and _spell(rest[0]).startswith(letter)

    def take(kind: str) -> str:
        if not rest or not _PATTERNS[kind].fullmatch(_spell(rest[0])):
            raise _broken(kind, repr(_short(rest[0])) if rest and rest[0] else "nothing", stem)
        return _spell(rest.pop(0))

    genre = "" if follows("s") else take("genre")
    situation, camera = take("situation"), take("camera")
    dancers = []
    while follows("d"):
        dancers.append(take("dancer"))
    music = choreography = version = ""
    if follows("v"):
        if situation in SITUATIONS and situation not in SHORT_SITUATIONS:
            raise _broken("dancer", f"{_short(rest[0])!r}, which only a showcase, cypher or battle has", stem)
        version = take("version")
    elif not dancers:
        take("version" if situation in SHORT_SITUATIONS else "dancer")
    else:
        music, choreography = take("music"), take("choreography")
        if not genre:
            raise _broken("genre", "nothing", stem)
    if rest:
        raise _fault(f"ends with {_short('_'.join(rest))!r} too much", stem, got=repr(_short("_".join(rest))))
    return genre, situation, camera, tuple(dancers), music, choreography, version


def _flat(given: tuple[Any, ...]) -> list[Any]:
    return [part for value in given for part in (value if isinstance(value, tuple) else (value,))]


def _spell(part: str) -> str:
    """A part in AIST's spelling: the kind in small letters, the code in capitals."""
    low = part.lower() if part.isascii() else part
    if low == "call":
        return ALL_CAMERAS
    return low[0] + low[1:].upper() if low.startswith(("g", "s", "m")) else low


def _broken(kind: str, got: str, where: str) -> SettingsError:
    return _fault(f"has no valid {kind}", where, expected=_PARTS[kind][1], got=got)


def _fault(what: str, where: str, *, expected: str = "nothing more", got: str) -> SettingsError:
    return SettingsError(
        f"The clip name {_short(where)!r} {what}.",
        expected=expected,
        got=got,
        remedy=f"Name the file as AIST does, for example {EXAMPLE}.mp4 or sSH_c01_v0.mp4.",
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."

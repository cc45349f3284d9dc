"""A catalog of dance clips: what a folder or a list holds, with the facts of each clip, and what was refused and why.

Clips of the AIST Dance Video Database bring their facts in their names (``names.ClipName``). Any other clip works too:
a table (CSV) says what is known of it, see ``facts_table``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import SettingsError
from .facts_table import ClipFacts
from .names import ALL_CAMERAS, CAMERAS, ClipName

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".webp", ".gif")
FIXED_CAMERAS = CAMERAS[:9]
AIST_ATTRIBUTION = (
    "AIST Dance Video Database (S. Tsuchida, S. Fukayama, M. Hamasaki, M. Goto, ISMIR 2019), "
    "https://aistdancedb.ongaaccel.jp; for academic research only, no redistribution"
)
_LONGEST_ID = 60


@dataclass(frozen=True)
class Entry:
    """One clip. ``file``: its path below the catalog's folder with "/", or its address or name in a list.

    ``name``: its AIST name, or None. The facts are AIST's codes where the name gives them, otherwise the words of a
    table: ``dancers`` may be several, ``tempo`` in beats a minute or None. ``caption`` describes the first picture;
    ``prompt`` replaces the one that would be built. ``warnings`` tell what is odd about an AIST name.
    """

    file: str
    name: ClipName | None = None
    genre: str = ""
    situation: str = ""
    camera: str = ""
    dancers: tuple[str, ...] = ()
    music: str = ""
    choreography: str = ""
    tempo: float | None = None
    caption: str = ""
    prompt: str = ""
    attribution: str = ""

    @cached_property
    def id(self) -> str:
        """A name for files, one of its own for each clip of a catalog: AIST's, or made of the path."""
        if self.name:
            return str(self.name)
        path = PurePosixPath(self.file)
        stem = path.as_posix().removesuffix(path.suffix)
        plain = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")
        return f"{plain[-_LONGEST_ID:].strip('-') or 'clip'}-{hashlib.sha256(self.file.encode()).hexdigest()[:8]}"

    @cached_property
    def sequence(self) -> str:
        """What all views of the same dance share; a clip without an AIST name is a sequence of its own."""
        return self.name.sequence if self.name else self.id

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unknown in an AIST name, or does not fit, one sentence each."""
        return self.name.warnings if self.name else ()

    def facts(self) -> dict[str, Any]:
        """What is known of the clip, as a JSON-ready dictionary without empty values."""
        known: dict[str, Any] = {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)[2:9]
            if (value := getattr(self, field.name))
        }
        if self.name:
            words = {"genre name": self.name.genre_name, "situation name": self.name.situation_name}
            known |= {"name": str(self.name), **words, "camera name": self.name.camera_name}
            known["sequence"] = self.sequence
            if self.name.version:
                known["version"] = self.name.version
        return {key: value for key, value in known.items() if value}


@dataclass(frozen=True)
class Refused:
    """Something that was not taken into a catalog: where it stands, and the reason in one sentence."""

    file: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """Clips in the order of their ids, and what was refused. ``root``: the folder, or None for a list."""

    entries: tuple[Entry, ...]
    refused: tuple[Refused, ...] = ()
    root: Path | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def path(self, entry: Entry) -> Path:
        """Where the entry's file lies. Raises ``SettingsError`` for a catalog of a list, which has no files."""
        if self.root is None:
            raise SettingsError(
                "A list of clips has no files.", expected="the catalog of a folder", got="the catalog of a list"
            )
        return self.root / entry.file


def scan_folder(
    folder: str | os.PathLike[str], table: dict[str, ClipFacts] | None = None, *, any_name: bool = False
) -> Catalog:
    """The video files in a folder and below it.

    ``table``: facts by path below the folder (``facts_table.load_facts``); a file that stands in it needs no AIST name.
    ``any_name``: take all other files too, without facts. Every video file is either an entry or refused: for its name,
    as empty, hidden, or as the second one of the same clip. Files of other kinds are not looked at; links to folders
    are not followed. Raises ``SettingsError`` for a folder that is not there.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SettingsError(
            f"There is no folder {root}.",
            expected="a folder with dance clips",
            got="a file" if root.exists() else "nothing there",
            remedy="Check the spelling of the path.",
        )
    refused: list[Refused] = []
    known = dict(table or {})
    found: list[Entry] = []
    for file in sorted(_videos(root, refused)):
        facts = known.pop(file, None)
        path = root / file
        try:
            if PurePosixPath(file).name.startswith("."):
                raise SettingsError("The file is hidden.")
            if not path.stat().st_size:
                raise SettingsError("The file is empty.")
            found.append(make_entry(file, facts, any_name=any_name))
        except (SettingsError, OSError) as error:
            refused.append(Refused(file, _reason(error)))
    refused += [Refused(file, "The table names it, and it is not in the folder.") for file in known]
    return _catalog(found, refused, root)


def read_list(path: str | os.PathLike[str]) -> Catalog:
    """The clips of an official list: one name, file name or URL a line, as AIST++'s ``video_list.txt`` and
    ``refined_10M_all_video_url.csv`` have them. Empty lines and lines with ``#`` in front are skipped.

    A sequence over all cameras (``cAll``) stands for its nine fixed cameras. Lines that name no AIST clip are refused
    with their number; a clip that is listed twice is taken once, without a word. Raises ``SettingsError`` for a file
    that cannot be read.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The list {source} cannot be read.",
            expected="a text file with one AIST name or URL a line",
            got=str(error),
        ) from error
    found: dict[str, Entry] = {}
    refused = []
    for number, line in enumerate(lines, 1):
        text = line.strip().strip('",;').strip()
        if not text or text.startswith("#"):
            continue
        try:
            entry = make_entry(text)
        except SettingsError as error:
            refused.append(Refused(f"line {number}: {text[:80]}", _reason(error)))
            continue
        for view in _views(entry):
            found.setdefault(view.id, view)
    return _catalog(list(found.values()), refused, None)


def make_entry(file: str, facts: ClipFacts | None = None, *, any_name: bool = False) -> Entry:
    """The entry of one file. What ``facts`` says goes before the name.

    Raises ``SettingsError`` for a name that is not AIST's, unless there are facts or ``any_name`` is set.
    """
    name: ClipName | None = None
    if facts is not None and facts.name:
        name = ClipName.parse(facts.name)
    else:
        try:
            name = ClipName.parse(file)
        except SettingsError:
            if facts is None and not any_name:
                raise
    entry = Entry(file)
    if name:
        entry = Entry(
            *(file, name, name.genre, name.situation, name.camera, name.dancers, name.music, name.choreography),
            tempo=name.tempo_bpm,
            attribution=AIST_ATTRIBUTION,
        )
    given = {} if facts is None else facts.given()
    return replace(entry, **given)


def _videos(root: Path, refused: list[Refused]) -> Iterator[str]:
    """The paths of all video files below ``root``, with "/"; folders that cannot be read are refused."""

    def unreadable(error: OSError) -> None:
        refused.append(Refused(str(error.filename), f"The folder cannot be read: {error.strerror}."))

    for place, _, files in os.walk(root, onerror=unreadable):
        for file in files:
            if file.lower().endswith(SUFFIXES):
                yield (Path(place) / file).relative_to(root).as_posix()


def _views(entry: Entry) -> list[Entry]:
    if entry.name is None or entry.name.camera != ALL_CAMERAS:
        return [entry]
    names = [entry.name.with_camera(camera) for camera in FIXED_CAMERAS]
    return [replace(entry, file=str(name), name=name, camera=name.camera) for name in names]


def _catalog(found: list[Entry], refused: list[Refused], root: Path | None) -> Catalog:
    """In the order of ids; of two files of the same clip the first one's path is taken and the other one refused."""
    taken: dict[str, Entry] = {}
    for entry in found:
        if (first := taken.setdefault(entry.id, entry)) is not entry:
            refused.append(Refused(entry.file, f"It is the same clip as {first.file}."))
    entries = tuple(taken[key] for key in sorted(taken))
    return Catalog(entries, tuple(sorted(refused, key=lambda entry: entry.file)), root)


def _reason(error: Exception) -> str:
    if not isinstance(error, SettingsError):
        return str(error)
    return f"{error.problem} Expected {error.expected}, got {error.got}." if error.expected else error.problem

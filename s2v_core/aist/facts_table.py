"""Facts of clips from a table: a CSV file with a column ``file`` and any of the fields of ``ClipFacts``."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .names import ClipName

_KEY = "file"


@dataclass(frozen=True)
class ClipFacts:
    """What a table says of one clip; "" for what it leaves open.

    ``name``: an AIST name for a file that is called otherwise. ``genre``, ``situation``, ``camera``, ``dancers``
    (several with "+" between them), ``music`` and ``choreography``: AIST's codes or any words; they decide filters,
    splits and statistics. ``tempo``: beats a minute. ``caption``: what the first picture shows. ``prompt``: the whole
    prompt, in place of the one that would be built. ``attribution``: whom to name.
    """

    name: str = ""
    genre: str = ""
    situation: str = ""
    camera: str = ""
    dancers: str = ""
    music: str = ""
    choreography: str = ""
    tempo: str = ""
    caption: str = ""
    prompt: str = ""
    attribution: str = ""

    def given(self) -> dict[str, Any]:
        """The fields that are not empty, but for ``name``, as an ``Entry`` has them. Raises ``SettingsError``."""
        found: dict[str, Any] = {}
        for field in fields(self)[1:]:
            text = " ".join(getattr(self, field.name).split())
            if text and field.name == "dancers":
                found["dancers"] = tuple(part.strip() for part in text.split("+") if part.strip())
            elif text and field.name == "tempo":
                found["tempo"] = _tempo(text)
            elif text:
                found[field.name] = text
        return found


def load_facts(path: str | os.PathLike[str]) -> dict[str, ClipFacts]:
    """The facts by the clip's path below its folder, with "/" between folders.

    Raises ``SettingsError`` with the line for a file that cannot be read, an unknown column, a file that stands there
    twice, and values that cannot be used.
    """
    source = Path(path)
    columns = [field.name for field in fields(ClipFacts)]
    expected = f"a CSV file with the column {_KEY} and any of {', '.join(columns)}"
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if _KEY not in names or set(names) - {_KEY, *columns} or len(set(names)) < len(names):
                raise SettingsError(
                    f"The table {source} has other columns.", expected=expected, got=", ".join(names) or "no columns"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The table {source} cannot be read.", expected=expected, got=str(error)) from error
    found: dict[str, ClipFacts] = {}
    for line, row in rows:
        where = f"{source}, line {line}"
        if None in row or None in row.values():
            raise SettingsError(f"{where} has another number of values than there are columns.", expected=expected)
        file = row.pop(_KEY).strip().replace("\\", "/").removeprefix("./")
        if not file or file in found:
            raise SettingsError(
                f"{where}: {'the file is named twice' if file else 'no file is named'}.",
                expected="one row for each file",
                got=file or "nothing",
            )
        facts = ClipFacts(**{name: value.strip() for name, value in row.items()})
        try:
            facts.given()
            if facts.name:
                ClipName.parse(facts.name)
        except SettingsError as error:
            raise SettingsError(
                f"{where}: {error.problem}", expected=error.expected, got=error.got, remedy="Correct the table."
            ) from error
        found[file] = facts
    return found


def _tempo(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 20 <= value <= 400:
        raise SettingsError(f"{text!r} is no tempo.", expected="beats a minute, from 20 to 400", got=text)
    return value

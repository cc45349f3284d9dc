"""A prepared training set: a folder with clips and a ``metadata.csv`` in the columns of DiffSynth's training."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SettingsError
from ..files import remembered_sha256, safe_join, sha256_json

TABLE = "metadata.csv"
REQUIRED = ("video", "prompt")
# Either may be missing or empty, not both: without them there is nothing for VACE.
INPUTS = ("vace_video", "vace_reference_image")
MASK = "vace_video_mask"


@dataclass(frozen=True)
class Row:
    """One clip to learn. ``number``: its line in the table, the first row below the header is 1.

    ``video``: the clip. ``control``, ``reference``, ``mask``: pose video, reference picture and mask, None for none.
    """

    number: int
    prompt: str
    video: Path
    control: Path | None = None
    reference: Path | None = None
    mask: Path | None = None

    def hashes(self) -> dict[str, str]:
        """The sha256 of each file that is there."""
        files = {"video": self.video, "control": self.control, "reference": self.reference, "mask": self.mask}
        return {name: remembered_sha256(path) for name, path in files.items() if path}


@dataclass(frozen=True)
class Manifest:
    """The rows of a training set in their order. ``table``: the CSV file that they were read from."""

    table: Path
    rows: tuple[Row, ...] = field(repr=False)

    def sha256(self, on_progress: Callable[[int, int], None] | None = None) -> str:
        """What identifies the set: the sha256 of all prompts and files in their order; names do not matter.

        ``on_progress(done, total)`` counts rows.
        """
        found = []
        for done, row in enumerate(self.rows):
            if on_progress:
                on_progress(done, len(self.rows))
            found.append({"prompt": row.prompt, **row.hashes()})
        return sha256_json(found)


def read_manifest(dataset: str | os.PathLike[str]) -> Manifest:
    """Read a dataset's folder, or the CSV file in it.

    Columns: ``video``, ``prompt``, ``vace_video``, ``vace_reference_image`` and perhaps ``vace_video_mask``; others are
    left alone. Paths are relative to the folder and stay in it. Raises ``SettingsError`` that names row and column.
    """
    given = Path(dataset)
    table = given / TABLE if given.is_dir() else given
    if not table.is_file():
        raise SettingsError(
            f"There is no training set at {given}.",
            expected=f"a folder with {TABLE} and the files that it names",
            got=f"no {table}",
            remedy="Give the folder, or write the table: one row for each clip, with the columns "
            f"{', '.join((*REQUIRED, *INPUTS))}.",
        )
    try:
        # Excel begins UTF-8 files with a byte order mark.
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{table} cannot be read.", expected="a CSV file in UTF-8", got=str(error)) from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = list(reader.fieldnames or ())
        lines = list(reader)
    except csv.Error as error:
        raise SettingsError(f"{table} cannot be read.", expected="a CSV file with a header", got=str(error)) from error
    missing = [name for name in REQUIRED if name not in columns]
    if missing or not set(INPUTS) & set(columns):
        raise SettingsError(
            f"{table} lacks columns.",
            expected=f"{', '.join(REQUIRED)}, and {' or '.join(INPUTS)} or both",
            got=", ".join(columns) or "an empty file",
            remedy="Name the columns in the first line.",
        )
    if not lines:
        raise SettingsError(f"{table} holds no clips.", expected="at least one row", got="only the header")
    return Manifest(table, tuple(_row(table, number, line) for number, line in enumerate(lines, start=1)))


def _row(table: Path, number: int, line: dict[str, str | None]) -> Row:
    where = f"Row {number} of {table}"

    def text(column: str) -> str:
        return (line.get(column) or "").strip()

    def file(column: str) -> Path | None:
        if not text(column):
            return None
        try:
            path = safe_join(table.parent, text(column))
        except SettingsError as error:
            raise SettingsError(
                f"{where} has a {column} that cannot be used.",
                expected=f"a path inside {table.parent}",
                got=text(column),
                remedy="Copy the file into the folder.",
            ) from error
        if not path.is_file():
            raise SettingsError(f"{where} names a {column} that is not there.", expected=str(path), got="no such file")
        return path

    if None in line:
        raise SettingsError(
            f"{where} has more fields than the header.",
            expected="one field for each column",
            got=str(line),
            remedy="Put texts with commas between quotes.",
        )
    if empty := [column for column in REQUIRED if not text(column)]:
        raise SettingsError(f"{where} is incomplete.", expected=f"a {' and a '.join(empty)}", got="an empty field")
    video, control, reference = file("video"), file(INPUTS[0]), file(INPUTS[1])
    assert video is not None
    if control is None and reference is None:
        raise SettingsError(f"{where} has nothing for VACE.", expected=f"a {' or a '.join(INPUTS)}", got="neither")
    return Row(number, text("prompt"), video, control, reference, file(MASK))

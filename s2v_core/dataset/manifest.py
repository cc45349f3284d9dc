"""The files that list a prepared dataset: ``manifest.jsonl`` (everything), ``metadata.csv`` (what DiffSynth reads), and
``report.json`` (problems).

While a dataset is made, a finished clip's row is added to the manifest in one piece and flushed to the disk. A process
that is killed leaves at most a torn last line, which the next one removes.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..aist.splits import SPLITS, TRAIN
from ..errors import SettingsError
from ..files import canonical_json, write_text_atomic

MANIFEST, METADATA, REPORT = "manifest.jsonl", "metadata.csv", "report.json"
# The names that DiffSynth's training reads: its video, its prompt and VACE's two inputs.
COLUMNS = ("video", "prompt", "vace_video", "vace_reference_image")

Row = dict[str, Any]


def read_rows(folder: str | os.PathLike[str]) -> list[Row]:
    """The rows of a dataset's manifest; none when there is no manifest. Raises ``SettingsError`` with the line.

    After a run that was stopped a clip may have several; the last one is its own.
    """
    return list({row["id"]: row for row in _rows(Path(folder) / MANIFEST)[0]}.values())


def mend(folder: Path) -> list[Row]:
    """All rows, also earlier ones of the same clips, after a torn last line was cut off the file."""
    path = folder / MANIFEST
    rows, whole = _rows(path)
    if path.exists() and path.stat().st_size > whole:
        with path.open("rb+") as stream:
            stream.truncate(whole)
    return rows


def add_row(folder: Path, row: Row) -> None:
    """Add a row to the manifest; it is on the disk when this returns."""
    with (folder / MANIFEST).open("ab") as stream:
        stream.write(f"{canonical_json(row)}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def write_lists(folder: Path, rows: Iterable[Row], report: dict[str, Any], *, final: bool) -> None:
    """Write the tables and the report, and when this is ``final`` the manifest in the order of ids; each in one step.

    Before that the manifest keeps all rows, also those that other settings made: what they name can be used again.

    ``metadata.csv`` holds the clips to train on. Those of "val" and "test" are in ``metadata_val.csv`` and
    ``metadata_test.csv``, where a dataset has such. Paths are relative to the folder.
    """
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    if final:
        write_text_atomic(folder / MANIFEST, "".join(f"{canonical_json(row)}\n" for row in ordered))
    for split in SPLITS:
        path = folder / (METADATA if split == TRAIN else f"metadata_{split}.csv")
        chosen = [row for row in ordered if row["split"] == split]
        if chosen or split == TRAIN:
            write_text_atomic(path, _table(chosen))
        else:
            path.unlink(missing_ok=True)
    write_text_atomic(folder / REPORT, json.dumps(report, ensure_ascii=False, indent=1) + "\n")


def read_report(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The report of a dataset; empty when there is none. Raises ``SettingsError``."""
    path = Path(folder) / REPORT
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read.", expected="the report of a dataset", got=str(error)) from error
    return found


def chips_of(row: Row) -> list[str]:
    """What is known of a clip, in a few words each."""
    facts = row.get("facts", {})
    known = [
        facts.get("genre name") or facts.get("genre"),
        facts.get("situation name") or facts.get("situation"),
        facts.get("camera name") or facts.get("camera"),
        f"{facts['azimuth']:g}° from the front" if "azimuth" in facts else None,
        f"{facts['tempo']:g} BPM" if facts.get("tempo") else None,
        " + ".join(facts.get("dancers", ())),
        facts.get("music"),
        facts.get("choreography"),
    ]
    return [str(fact) for fact in known if fact]


def _table(rows: list[Row]) -> str:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _rows(path: Path) -> tuple[list[Row], int]:
    """The rows, and how many bytes the whole lines have. Only a last line may be torn."""
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise SettingsError(f"{path} cannot be read.", expected="a manifest", got=str(error)) from error
    whole = data.rfind(b"\n") + 1
    rows = []
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            row = json.loads(line)
            if not (isinstance(row["id"], str) and isinstance(row["key"], str) and isinstance(row["files"], dict)):
                raise ValueError("it has no id, key or files")
            if not all(isinstance(row[name], str) for name in (*COLUMNS, "split")):
                raise ValueError(f"it lacks {', '.join(COLUMNS)} or split")
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{path}, line {number} is not a row of a dataset.",
                expected="a line that s2v aist prepare wrote",
                got=str(error),
                remedy="Take another folder, or remove that line.",
            ) from error
        rows.append(row)
    return rows, whole

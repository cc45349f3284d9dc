"""Prompts of many clips: a manifest in, one line of JSON a clip out, and on from there after any stop.

The manifest has one JSON object a line::

    {"clip": "gBR_sBM_c01_d04_mBR0_ch01.mp4", "caption": "A man stands in a hall.", "card": {"hair": "red hair"}}

``clip`` is a file or an AIST name; ``caption`` and ``card`` may be left out. A line of the output is written and
flushed to the disk in one piece once its row is finished. A process that is killed leaves at most a torn last line,
which the next run removes: only the row that was in work is made again.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..aist.names import find_name
from ..errors import Interrupted, SettingsError
from ..files import canonical_json, sha256_json
from .caption_text import caption_facts, clean_caption
from .facts import SubjectCard, card_facts, card_fields, make_card, name_facts
from .prompt import Prompt
from .rewrite import Rewritten, Writer, rewrite_prompt
from .template import VARIANTS, build_prompt

_ROW_KEYS = ("clip", "caption", "card")


@dataclass(frozen=True)
class Row:
    """One clip of a manifest. ``card`` is the row's own, or that of the whole batch."""

    clip: str
    caption: str
    card: SubjectCard

    def key(self, variants: tuple[str, ...], writer: str) -> str:
        """Hex sha256 of everything that decides this row's prompts; ``VARIANTS`` changes with the version."""
        recipe = [[name, dataclasses.astuple(VARIANTS[name])] for name in variants]
        return sha256_json([self.clip, self.caption, dataclasses.astuple(self.card), recipe, writer])


@dataclass(frozen=True)
class BatchReport:
    """How many rows were made now, and how many were there already (the same row twice counts as there)."""

    made: int
    kept: int


def load_manifest(path: str | os.PathLike[str], card: SubjectCard | None = None) -> list[Row]:
    """The rows of a manifest; ``card`` fills what a row's own leaves open. Raises ``SettingsError`` with the line."""
    rows = []
    for number, line in enumerate(_lines(Path(path)), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise SettingsError(f"{where} is not JSON.", expected='{"clip": "..."}', got=str(error)) from error
        if not isinstance(values, dict) or set(values) - set(_ROW_KEYS) or not isinstance(values.get("clip"), str):
            raise SettingsError(
                f"{where} is not a row of a manifest.",
                expected="an object with clip, and caption and card where there are any",
                got=line.strip()[:80],
            )
        if not isinstance(values.get("caption", ""), str):
            raise SettingsError(f"{where}: the caption must be text.", expected="text", got=repr(values["caption"]))
        own = make_card(values.get("card") or {}, where)
        both = {field: getattr(own, field) or getattr(card or own, field) for field in card_fields()}
        rows.append(Row(values["clip"], values.get("caption", ""), SubjectCard(**both)))
    return rows


def run_batch(
    rows: list[Row],
    out: str | os.PathLike[str],
    *,
    variants: tuple[str, ...] = tuple(VARIANTS),
    writer: Writer | None = None,
    writer_identity: str = "",
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BatchReport:
    """Make the prompts of all rows that ``out`` does not hold yet, and append them there.

    ``writer`` rewrites each prompt (``rewrite.load_writer``); ``writer_identity`` names it, so that another one makes
    everything anew. ``on_progress(rows done, rows in all)``. Raises ``Interrupted``; what was finished is kept.
    """
    from filelock import FileLock, Timeout

    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{target}.lock", timeout=0):
            return _run(rows, target, variants, writer, writer_identity, on_progress, should_stop)
    except Timeout as error:
        raise SettingsError(
            f"Another run writes {target}.", expected="one run at a time", remedy="Wait for it, or write elsewhere."
        ) from error


def _run(
    rows: list[Row],
    target: Path,
    variants: tuple[str, ...],
    writer: Writer | None,
    identity: str,
    on_progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> BatchReport:
    done = {entry["key"] for entry in _mend(target)}
    made = 0
    with target.open("ab") as stream:
        for number, row in enumerate(rows):
            key = row.key(variants, identity)
            if key not in done:
                if should_stop and should_stop():
                    raise Interrupted(f"Stopped after {number} of {len(rows)} rows; what was finished is kept.")
                stream.write(f"{canonical_json({'key': key, **_made(row, variants, writer)})}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
                done.add(key)
                made += 1
            if on_progress:
                on_progress(number + 1, len(rows))
    return BatchReport(made, len(rows) - made)


def _made(row: Row, variants: tuple[str, ...], writer: Writer | None) -> dict[str, Any]:
    name = find_name(row.clip)
    caption = clean_caption(row.caption)
    facts = (*name_facts(name), *card_facts(row.card), *caption_facts(caption, row.card))
    prompts = []
    for variant in variants:
        prompt = build_prompt(name, variant=variant, card=row.card, caption=caption.text)
        made = rewrite_prompt(prompt, facts, writer) if writer else Rewritten(prompt, "template")
        prompts.append({**dataclasses.asdict(made.prompt), "how": made.how, "reasons": list(made.reasons)})
    return {"clip": row.clip, "dropped": list(caption.dropped), "prompts": prompts}


def load_prompts(path: str | os.PathLike[str]) -> dict[tuple[str, str], Prompt]:
    """The prompts of an output by clip and variant; of a clip that was made several times, the last."""
    found = {}
    for entry in _entries(Path(path))[0]:
        for said in entry["prompts"]:
            found[entry["clip"], said["variant"]] = Prompt(
                said["text"],
                said["negative"],
                said["variant"],
                tuple(said["facts"]),
                tuple((sentence, origin) for sentence, origin in said["origins"]),
            )
    return found


@dataclass(frozen=True)
class PromptDiff:
    """What differs between two sets: their keys, and for each changed text the words that went and came."""

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: Mapping[tuple[str, str], str]


def diff_prompts(old: Mapping[tuple[str, str], Prompt], new: Mapping[tuple[str, str], Prompt]) -> PromptDiff:
    """Compare two sets of prompts by clip and variant, word by word: "a [-black-] {+red+} shirt"."""
    changed = {}
    for key in sorted(old.keys() & new.keys()):
        parts = [word_diff(old[key].text, new[key].text)] if old[key].text != new[key].text else []
        if old[key].negative != new[key].negative:
            parts.append(f"negative: {word_diff(old[key].negative, new[key].negative)}")
        if parts:
            changed[key] = "\n".join(parts)
    return PromptDiff(tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), changed)


def word_diff(old: str, new: str) -> str:
    """Two texts in one, in the marks of ``git diff --word-diff``."""
    before, after = old.split(), new.split()
    parts = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            parts += before[a:b]
        else:
            parts += [f"[-{' '.join(before[a:b])}-]"] if a < b else []
            parts += [f"{{+{' '.join(after[c:d])}+}}"] if c < d else []
    return " ".join(parts)


def _mend(target: Path) -> list[dict[str, Any]]:
    """The finished entries, after a torn last line was cut off the file."""
    entries, whole = _entries(target) if target.exists() else ([], 0)
    if target.exists() and target.stat().st_size > whole:
        with target.open("rb+") as stream:
            stream.truncate(whole)
    return entries


def _entries(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The entries of an output, and how many bytes its whole lines have. Only a last line may be torn."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read.", expected="a file of prompts", got=str(error)) from error
    whole = data.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            entry = json.loads(line)
            if not (isinstance(entry["key"], str) and isinstance(entry["prompts"], list)):
                raise ValueError("it has no key or no prompts")
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{path}, line {number} is not an entry of a prompt set.",
                expected="a line that this batch wrote",
                got=str(error),
                remedy="Write to another file, or remove that line.",
            ) from error
        entries.append(entry)
    return entries, whole


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The manifest {path} cannot be read.", expected="lines of JSON", got=str(error)) from error

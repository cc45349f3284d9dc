"""Prompts of many clips: a manifest in, one line of JSON a clip out, and on from there after any stop.

The manifest has one JSON object a line::

    {"clip": "gBR_sBM_c01_d04_mBR0_ch01.mp4", "caption": "A man stands in a hall.", "card": {"hair": "red hair"}}

``clip`` is a file or an AIST name; ``caption``, ``card`` and ``image`` (a picture that a captioner describes) may be
left out; paths are relative to the manifest. A line of the output is written and flushed to the disk in one piece once
its row is finished. A process that is killed leaves at most a torn last line, which the next run removes: only the row
that was in work is made again, and only the captions of the batch that was in work.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..aist.names import find_name
from ..errors import Interrupted, SettingsError
from ..files import canonical_json, remembered_sha256, sha256_json
from .caption_text import caption_facts, clean_caption
from .facts import SubjectCard, card_facts, card_fields, make_card, name_facts
from .length import prompt_length
from .prompt import Prompt
from .rewrite import Rewritten, Writer, rewrite_prompt
from .template import VARIANTS, build_prompt

if TYPE_CHECKING:
    import numpy as np

    from .caption import Captioner

_ROW_KEYS = ("clip", "caption", "card", "image")
_CAPTIONS = 4  # pictures that are described at once


@dataclass(frozen=True)
class Row:
    """One clip of a manifest. ``card`` is the row's own, or that of the whole batch.

    ``picture``: what a captioner describes where there is no ``caption``: the row's image, or the clip's file.
    """

    clip: str
    caption: str
    card: SubjectCard
    picture: Path | None = None

    def key(self, variants: tuple[str, ...], writer: str, captioner: str = "") -> str:
        """Hex sha256 of everything that decides this row's prompts; ``VARIANTS`` changes with the version."""
        recipe = [[name, dataclasses.astuple(VARIANTS[name])] for name in variants]
        said = self.caption or ([remembered_sha256(self.picture), captioner] if captioner and self.picture else "")
        return sha256_json([self.clip, said, dataclasses.astuple(self.card), recipe, writer])


@dataclass(frozen=True)
class Describer:
    """Who describes the pictures of rows without a caption: ``captioner``, and what reads a file as uint8 [H, W, 3]."""

    captioner: Captioner
    read: Callable[[Path], np.ndarray]

    def captions(self, rows: Sequence[Row], should_stop: Callable[[], bool] | None) -> list[str]:
        """One a row."""
        from .caption import caption_images

        images = [self.read(row.picture) for row in rows if row.picture]
        return caption_images(images, self.captioner, batch=_CAPTIONS, should_stop=should_stop)


@dataclass(frozen=True)
class BatchReport:
    """How many rows were made now, and how many were there already (the same row twice counts as there).

    ``too_long``: the rows made now that have a prompt beyond what umT5 reads.
    """

    made: int
    kept: int
    too_long: tuple[str, ...] = ()


def load_manifest(path: str | os.PathLike[str], card: SubjectCard | None = None) -> list[Row]:
    """The rows of a manifest; ``card`` fills what a row's own leaves open. Raises ``SettingsError`` with the line."""
    rows = []
    folder = Path(path).parent
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
                expected="an object with clip, and caption, card and image where there are any",
                got=line.strip()[:80],
            )
        for key in ("caption", "image"):
            if not isinstance(values.get(key, ""), str):
                raise SettingsError(f"{where}: the {key} must be text.", expected="text", got=repr(values[key]))
        own = make_card(values.get("card") or {}, where)
        both = {field: getattr(own, field) or getattr(card or own, field) for field in card_fields()}
        picture = folder / (values.get("image") or values["clip"])
        if values.get("image") and not picture.is_file():
            raise SettingsError(f"{where}: there is no picture {values['image']}.", expected="a file", got=str(picture))
        rows.append(
            Row(
                values["clip"],
                values.get("caption", ""),
                SubjectCard(**both),
                picture if picture.is_file() else None,
            )
        )
    return rows


def run_batch(
    rows: list[Row],
    out: str | os.PathLike[str],
    *,
    variants: tuple[str, ...] = tuple(VARIANTS),
    writer: Writer | None = None,
    writer_identity: str = "",
    describer: Describer | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BatchReport:
    """Make the prompts of all rows that ``out`` does not hold yet, and append them there.

    ``writer`` rewrites each prompt (``rewrite.load_writer``); ``writer_identity`` names it, so that another one makes
    everything anew. ``describer`` writes the captions of the rows that have none, each of which needs a picture then.
    ``on_progress(rows done, rows in all)``. Raises ``Interrupted``; what was finished is kept.
    """
    from filelock import FileLock, Timeout

    if describer is not None:
        _check_pictures(rows, describer)
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{target}.lock", timeout=0):
            return _run(rows, target, variants, writer, writer_identity, describer, on_progress, should_stop)
    except Timeout as error:
        raise SettingsError(
            f"Another run writes {target}.", expected="one run at a time", remedy="Wait for it, or write elsewhere."
        ) from error


def _check_pictures(rows: Sequence[Row], describer: Describer) -> None:
    if not describer.captioner.identity:
        raise SettingsError(
            "The captions of this captioner are not kept, so a batch could not go on with them.",
            expected="a captioner with an identity",
            remedy="Write such captions into the manifest.",
        )
    bare = [row.clip for row in rows if not row.caption and row.picture is None]
    if bare:
        raise SettingsError(
            f"{len(bare)} of {len(rows)} rows have neither a caption nor a picture that could be described.",
            expected="a caption, an image, or a clip that is a file, in each row",
            got=", ".join(bare[:3]),
            remedy="Paths are relative to the manifest. Without a captioner such rows need none of these.",
        )


def _run(
    rows: list[Row],
    target: Path,
    variants: tuple[str, ...],
    writer: Writer | None,
    identity: str,
    describer: Describer | None,
    on_progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> BatchReport:
    done = {entry["key"] for entry in _mend(target)}
    keys = [row.key(variants, identity, describer.captioner.identity if describer else "") for row in rows]
    captions = {key: row.caption for key, row in zip(keys, rows, strict=True) if row.caption or describer is None}
    made = 0
    too_long = []
    with target.open("ab") as stream:
        for number, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if key not in done:
                if should_stop and should_stop():
                    raise Interrupted(f"Stopped after {number} of {len(rows)} rows; what was finished is kept.")
                if describer and key not in captions:
                    todo = {one: rows[at] for at, one in enumerate(keys) if at >= number}
                    todo = {one: there for one, there in todo.items() if one not in done and one not in captions}
                    some = dict(list(todo.items())[:_CAPTIONS])
                    captions |= dict(zip(some, describer.captions([*some.values()], should_stop), strict=True))
                entry = _made(row, captions[key], variants, writer, should_stop)
                stream.write(f"{canonical_json({'key': key, **entry})}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
                done.add(key)
                made += 1
                too_long += [row.clip] if any(prompt["warning"] for prompt in entry["prompts"]) else []
            if on_progress:
                on_progress(number + 1, len(rows))
    return BatchReport(made, len(rows) - made, tuple(too_long))


def _made(
    row: Row,
    caption_text: str,
    variants: tuple[str, ...],
    writer: Writer | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, Any]:
    name = find_name(row.clip)
    caption = clean_caption(caption_text)
    facts = (*name_facts(name), *card_facts(row.card), *caption_facts(caption, row.card))
    prompts = []
    for variant in variants:
        prompt = build_prompt(name, variant=variant, card=row.card, caption=caption.text)
        made = Rewritten(prompt, "template")
        if writer:
            made = rewrite_prompt(prompt, facts, writer, should_stop=should_stop)
        length = prompt_length(made.prompt.text)
        about = {"how": made.how, "reasons": list(made.reasons), "tokens": length.tokens, "warning": length.warning}
        prompts.append({**dataclasses.asdict(made.prompt), **about})
    return {"clip": row.clip, "caption": caption.text, "dropped": list(caption.dropped), "prompts": prompts}


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

"""Prepare a dataset: from chosen dance clips to a folder that training reads, and on from there after any stop.

The folder holds ``clips/``, ``controls/`` (pose videos), ``references/`` (first frames), ``poses/`` (tracks), and the
lists of ``manifest``. A clip's files appear there when they are whole, and then its row. What a killed run was working
on lies in ``.work`` and is removed by the next one: in the end the folder is the same, byte by byte, as after an
undisturbed run.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..aist.catalog import Catalog, Entry
from ..aist.splits import TRAIN, UNUSED, leaks
from ..errors import Interrupted, S2VError, SettingsError
from ..files import safe_join, sha256_file, sha256_json
from ..prompts.facts import SubjectCard
from .clip import ClipJob, Outcome, try_clip
from .manifest import Row, add_row, mend, write_lists
from .settings import AISTPP, VIDEO, PrepareSettings
from .workers import Died, wait_for_orphans, work_through

WORK, LOCK = ".work", ".lock"
OTHERS = ("error", "keep", "remove")
_VERSION = 1  # of what preparing does: a change of its results counts this up


@dataclass(frozen=True)
class Sources:
    """What a dataset is made from besides the videos. ``keypoints`` and ``cameras``: AIST++'s folders, or None."""

    card: SubjectCard = field(default_factory=SubjectCard)
    keypoints: Path | None = None
    cameras: Path | None = None


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` clips are finished or failed: the last one is ``id``, "" for those that were there already.

    ``problem``: the first sentence of why it failed, or "".
    """

    done: int
    total: int
    id: str
    problem: str


@dataclass(frozen=True)
class Prepared:
    """What a run did. ``problems``: the clips that failed: id, file, problem, expected, got, remedy."""

    folder: Path
    made: int
    kept: int
    problems: tuple[dict[str, str], ...]
    rows: tuple[Row, ...]


def prepare(
    catalog: Catalog,
    folder: str | os.PathLike[str],
    settings: PrepareSettings | None = None,
    *,
    sources: Sources | None = None,
    splits: Mapping[str, str] | None = None,
    workers: int = 0,
    others: str = "error",
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Prepared:
    """Make every clip of ``catalog`` that ``folder`` does not hold yet, and write its lists.

    A clip counts as there when its row was made of the same video, facts, settings and sources, and its files have the
    sizes that the row names. ``splits``: the set of each clip by its id ("unused" ones are left out); all are for
    training when None. ``workers``: processes; 0 for this one. ``others``: clips in the folder that the catalog does
    not name are an error, are kept, or are removed with their files.

    A clip that fails is a problem in the result and in ``report.json``, and the next run tries it again. What would
    make every clip fail (no nets, a full disk) ends the run. Raises SettingsError, ModelFileError, MissingPackageError,
    and Interrupted; what was finished is kept and listed.
    """
    from filelock import FileLock, Timeout

    settings, sources = settings or PrepareSettings(), sources or Sources()
    _check(settings, sources, workers, others)
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / LOCK, timeout=0):
            work = root / WORK
            if work.exists():
                wait_for_orphans(work)
                shutil.rmtree(work)
            work.mkdir()
            run = _Run(catalog, root, settings, sources, splits or {entry.id: TRAIN for entry in catalog.entries})
            try:
                return run.go(workers, others, on_progress, should_stop)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except Timeout as error:
        raise SettingsError(
            f"Another run prepares {root}.", expected="one run at a time", remedy="Wait for it, or take another folder."
        ) from error


class _Run:
    """One run over a locked folder."""

    def __init__(
        self, catalog: Catalog, root: Path, settings: PrepareSettings, sources: Sources, splits: Mapping[str, str]
    ) -> None:
        self.catalog, self.root, self.settings, self.sources, self.splits = catalog, root, settings, sources, splits
        self.entries = [entry for entry in catalog.entries if splits.get(entry.id, UNUSED) != UNUSED]
        self.rows: dict[str, Row] = {}
        self.problems: list[dict[str, str]] = []
        self.before: list[Row] = []
        self.made = 0

    def go(
        self,
        workers: int,
        others: str,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> Prepared:
        """The run itself; see ``prepare``."""
        self.before = mend(self.root)
        there = {row["id"]: row for row in self.before}
        recipe = _recipe(self.settings, self.sources)
        threads = max(1, (os.cpu_count() or 1) // max(1, workers))
        jobs = []
        for entry in self.entries:
            job = self._job(entry, recipe, threads)
            row = there.pop(entry.id, None)
            if row is not None and row["key"] == job.key and self._is_whole(row, Path(job.source)):
                self.rows[entry.id] = {**row, "split": self.splits[entry.id]}
            else:
                jobs.append(job)
        self._settle_others(there, others)
        kept, total = len(self.rows), len(self.entries)

        def tell(id: str, problem: str) -> None:
            if on_progress:
                on_progress(Progress(kept + self.made + len(self.problems), total, id, problem))

        if kept:
            tell("", "")
        try:
            with closing(work_through(jobs, try_clip, workers, self.root / WORK, should_stop)) as outcomes:
                for job, outcome in outcomes:
                    tell(job.entry.id, self._take(job, outcome))
        except (Interrupted, KeyboardInterrupt):
            self._write(final=False)
            raise Interrupted(
                f"Stopped after {len(self.rows)} of {total} clips. What was finished is kept; the same call goes on."
            ) from None
        except S2VError:
            self._write(final=False)
            raise
        # In this order: a run that is killed in between still knows what is to be removed.
        self._clean()
        self._write(final=True)
        return Prepared(self.root, self.made, kept, tuple(self.problems), tuple(self.rows.values()))

    def _take(self, job: ClipJob, outcome: Outcome | Died[ClipJob]) -> str:
        """Keep a result; returns the first sentence of its problem, or ""."""
        if isinstance(outcome, Died):
            outcome = Outcome(None, _death(job))
        if outcome.row is not None:
            add_row(self.root, outcome.row)
            self.rows[job.entry.id] = outcome.row
            self.made += 1
            return ""
        problem = outcome.problem or {}
        if outcome.fatal:
            raise _as_error(problem)
        self.problems.append({"id": job.entry.id, "file": job.entry.file, **problem})
        return problem["problem"]

    def _job(self, entry: Entry, recipe: dict[str, Any], threads: int) -> ClipJob:
        sources, path = self.sources, self.catalog.path(entry)
        facts: dict[str, Any] = {"recipe": recipe, "file": entry.file, "entry": asdict(entry)}
        if self.settings.pose == AISTPP and sources.keypoints and entry.name:
            points = sources.keypoints / f"{entry.name.sequence}.pkl"
            facts["keypoints"] = sha256_file(points) if points.is_file() else ""
        return ClipJob(
            entry=entry,
            source=str(path),
            split=self.splits[entry.id],
            key=sha256_json(facts),
            settings=self.settings,
            card=sources.card,
            root=str(self.root),
            work=str(self.root / WORK),
            keypoints=str(sources.keypoints or ""),
            cameras=str(sources.cameras or ""),
            threads=threads,
        )

    def _is_whole(self, row: Row, source: Path) -> bool:
        """Whether a row's video and files are still those that it was made of."""
        try:
            stat = source.stat()
            known = row["source"]
            same = stat.st_size == known["bytes"] and (
                # A copy of the same video has another time of change.
                stat.st_mtime_ns == known["changed"] or sha256_file(source) == known["sha256"]
            )
            return same and all(
                safe_join(self.root, name).stat().st_size == facts["bytes"] for name, facts in row["files"].items()
            )
        except (OSError, KeyError, TypeError):
            return False

    def _settle_others(self, there: dict[str, Row], others: str) -> None:
        if not there:
            return
        if others == "error":
            first = ", ".join(sorted(there)[:3])
            raise SettingsError(
                f"{self.root} holds {len(there)} clips that are not in this choice.",
                expected="clips of this choice only",
                got=f"{first}{', ...' if len(there) > 3 else ''}",
                remedy="Keep them beside the new ones (--others keep), remove them (--others remove), or take another "
                "folder.",
            )
        if others == "keep":
            self.rows |= there

    def _clean(self) -> None:
        """Remove the files of earlier rows that no row names any more; nothing else."""
        named = {name for row in self.rows.values() for name in row["files"]}
        for name in {name for row in self.before for name in row["files"]} - named:
            safe_join(self.root, name).unlink(missing_ok=True)

    def _write(self, *, final: bool) -> None:
        order = sorted(self.problems, key=lambda problem: problem["id"])
        chosen = [entry for entry in self.entries if entry.id in self.rows]
        report = {
            "format": "skeleton2video dataset",
            "version": 1,
            "settings": asdict(self.settings),
            "card": asdict(self.sources.card),
            "clips": len(self.rows),
            "sets": dict(sorted(Counter(str(row["split"]) for row in self.rows.values()).items())),
            "shared between sets": leaks(chosen, self.splits),
            "left out by the split": sum(split == UNUSED for split in self.splits.values()),
            "with notes": sum(bool(row.get("notes")) for row in self.rows.values()),
            "problems": order,
            "refused": [asdict(refused) for refused in self.catalog.refused],
        }
        write_lists(self.root, self.rows.values(), report, final=final)


def _check(settings: PrepareSettings, sources: Sources, workers: int, others: str) -> None:
    """Raises SettingsError for what does not fit together, before anything is written."""
    if others not in OTHERS:
        raise SettingsError(f"Other clips cannot be treated by {others!r}.", expected=", ".join(OTHERS), got=others)
    if workers < 0:
        raise SettingsError("There cannot be so many workers.", expected="0 or more", got=str(workers))
    if settings.pose == AISTPP and sources.keypoints is None:
        raise SettingsError(
            "The pose shall come from AIST++, whose keypoints are not given.",
            expected="the folder keypoints2d of AIST++'s annotations",
            got="none",
            remedy="Name it (--keypoints FOLDER), or let the pose be found in the video.",
        )
    for folder in filter(None, (sources.keypoints, sources.cameras)):
        if not folder.is_dir():
            raise SettingsError(f"There is no folder {folder}.", expected="a folder of AIST++'s annotations")


def _recipe(settings: PrepareSettings, sources: Sources) -> dict[str, Any]:
    """What decides every clip alike. A pose's backend is named, since what "auto" means may change between two runs."""
    from ..pose.extract import choose_backend

    backend = choose_backend(settings.backend)[0] if settings.pose == VIDEO else ""
    cameras = sorted(sources.cameras.glob("*")) if sources.cameras else []
    return {
        "version": _VERSION,
        "settings": asdict(settings),
        "backend": backend,
        "card": asdict(sources.card),
        "cameras": [sha256_file(path) for path in cameras if path.is_file()],
    }


def _death(job: ClipJob) -> dict[str, str]:
    return S2VError(
        f"The process that read {job.entry.file} died, twice.",
        expected="a video that can be read, and enough memory",
        got="no message: the system or a library ended it",
        remedy="Try this clip alone with more memory; if it stays so, leave the file out.",
    ).to_dict()


def _as_error(problem: dict[str, str]) -> S2VError:
    """The error that a worker met, in its own class."""
    kinds: Iterable[type[S2VError]] = (S2VError, *S2VError.__subclasses__())
    kind = next((kind for kind in kinds if kind.__name__ == problem["kind"]), S2VError)
    return kind(problem["problem"], expected=problem["expected"], got=problem["got"], remedy=problem["remedy"])

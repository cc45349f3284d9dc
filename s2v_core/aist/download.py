"""Download chosen clips of the AIST Dance Video Database, for people who have accepted its terms.

Nothing of AIST is part of this project. A clip comes into ``.incoming`` in the target folder, is checked there, and
only then gets its place and its line in ``downloads.jsonl`` (address, size, sha256, attribution).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ..download import DownloadError, Patience
from ..download import download as fetch
from ..errors import Interrupted, S2VError, SettingsError, VideoError
from ..files import canonical_json, sha256_file, write_text_atomic
from ..options import number, settle, text
from .catalog import AIST_ATTRIBUTION, Entry

BASE_URL = "https://aistdancedb.ongaaccel.jp/v1.0.0/video/10M/"
LEDGER, INCOMING = "downloads.jsonl", ".incoming"
GIVE_UP = 5  # when the first files all fail, asking on would only bother the server
TERMS = (
    "The videos are for academic research only; they may not be passed on; an application form of the database must be "
    "filled in (https://aistdancedb.ongaaccel.jp)"
)
KNOWN_OF_404 = (
    "The address was reported dead in July 2025. A folder of clips that you or your group have already works without a "
    "download; otherwise ask the database's makers where the files are now, and give --base-url, or a list with whole "
    "addresses."
)


def _base(value: Any) -> str:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(
            f"The address cannot be {value!r}.", expected=f"a web address such as {BASE_URL}", got=repr(value)
        )
    return str(value) if str(value).endswith("/") else f"{value}/"


@dataclass(frozen=True)
class DownloadSettings:
    """How to download. Raises SettingsError for values out of range."""

    base_url: str = text(BASE_URL, "Where the files are, for lists that only name them.", _base)
    parallel: int = number(3, "Files at the same time.", 1, 16, 1)
    max_mb_s: float = number(0.0, "At most so many megabytes a second in all; 0 for no limit.", 0.0, 10_000.0, 0.5)
    attempts: int = number(5, "Attempts without progress before a file is given up.", 1, 100, 1)
    timeout: float = number(30.0, "Seconds to wait for the next byte.", 0.1, 3600.0, 1.0)
    pause: float = number(1.0, "Seconds before the second attempt; doubled for each further one.", 0.0, 600.0, 0.5)

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class Failure:
    """A clip that could not be downloaded, and why."""

    id: str
    url: str
    error: S2VError


@dataclass(frozen=True)
class Downloaded:
    """What came now, what was there already (both as paths), and what failed."""

    downloaded: tuple[Path, ...]
    kept: tuple[Path, ...]
    failed: tuple[Failure, ...]


@dataclass
class _Rate:
    """A limit for all files together."""

    bytes_s: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    free_at: float = 0.0

    def spend(self, amount: int, stop: threading.Event) -> None:
        """Wait until ``amount`` bytes more are within the limit."""
        if not self.bytes_s:
            return
        with self.lock:
            now = time.monotonic()
            self.free_at = max(now, self.free_at) + amount / self.bytes_s
            until = self.free_at
        stop.wait(max(0.0, until - now))


def download_clips(
    entries: Iterable[Entry],
    folder: str | Path,
    settings: DownloadSettings | None = None,
    *,
    accept_terms: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Downloaded:
    """Bring the clips into ``folder`` as NAME.mp4. ``accept_terms`` must be true: the user has agreed with ``TERMS``.

    A clip that the ledger names and that still has its size is there already, and so is a file of that name that the
    user put there, when it can be read. Everything else is downloaded: resumed where it stopped, and checked by the
    length that the server states and by decoding its beginning and its end. What is broken is removed. A failure does
    not stop the others, unless all of the first five do.

    ``on_progress(clips done, clips in all)``. Raises SettingsError without the terms, and Interrupted, after which the
    next call goes on.
    """
    settings = settings or DownloadSettings()
    if not accept_terms:
        raise SettingsError(
            "AIST's terms of use must be accepted before anything is downloaded.",
            expected="--accept-terms, when you have agreed with them",
            got="no agreement",
            remedy=TERMS,
        )
    run = _Run(list(entries), Path(folder), settings)
    return run.go(on_progress, should_stop)


class _Run:
    """One call of ``download_clips``."""

    def __init__(self, entries: list[Entry], folder: Path, settings: DownloadSettings) -> None:
        self.entries, self.folder, self.settings = entries, folder, settings
        self.stop = threading.Event()
        self.rate = _Rate(settings.max_mb_s * 1e6)
        self.ledger = _read_ledger(folder / LEDGER)

    def go(self, on_progress: Callable[[int, int], None] | None, should_stop: Callable[[], bool] | None) -> Downloaded:
        """Work through the clips with threads; the ledger is written here only."""
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with (
                FileLock(self.folder / f"{INCOMING}.lock", timeout=0),
                ThreadPoolExecutor(self.settings.parallel) as pool,
            ):
                try:
                    return self._all(pool, on_progress, should_stop)
                finally:
                    self.stop.set()
                    with suppress(OSError):  # what was begun stays for the next call
                        (self.folder / INCOMING).rmdir()
        except Timeout as error:
            raise SettingsError(
                f"Another download fills {self.folder}.", expected="one at a time", remedy="Wait for it."
            ) from error

    def _all(
        self,
        pool: ThreadPoolExecutor,
        on_progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> Downloaded:
        downloaded: list[Path] = []
        kept: list[Path] = []
        failed: list[Failure] = []
        waiting = iter(self.entries)
        running: dict[Future[tuple[Path, dict[str, Any] | None]], Entry] = {}
        exhausted = False
        first = {entry.id for entry in self.entries[:GIVE_UP]}
        while running or not exhausted:
            while not exhausted and len(running) < self.settings.parallel:
                entry = next(waiting, None)
                if entry is None:
                    exhausted = True
                else:
                    running[pool.submit(self._one, entry)] = entry
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            if should_stop and should_stop():
                self.stop.set()
                raise Interrupted(f"Stopped after {len(downloaded)} clips; the same call goes on.")
            for future in done:
                entry = running.pop(future)
                try:
                    path, line = future.result()
                    (downloaded if line else kept).append(path)
                    if line:
                        self.ledger[path.name] = line
                        _write_ledger(self.folder / LEDGER, self.ledger)
                except (S2VError, OSError) as error:
                    failed.append(Failure(entry.id, self._url(entry), _explained(error)))
                if on_progress:
                    on_progress(len(downloaded) + len(kept) + len(failed), len(self.entries))
            if len(failed) >= GIVE_UP and first <= {failure.id for failure in failed}:
                raise DownloadError(
                    f"The first {len(failed)} clips failed; no more are asked for.",
                    expected="at least one that can be downloaded",
                    got=f"{failed[-1].error.problem} {failed[-1].error.got}".strip(),
                    remedy=failed[-1].error.remedy,
                )
        return Downloaded(tuple(sorted(downloaded)), tuple(sorted(kept)), tuple(sorted(failed, key=lambda one: one.id)))

    def _url(self, entry: Entry) -> str:
        return entry.file if "://" in entry.file else f"{self.settings.base_url}{entry.id}.mp4"

    def _one(self, entry: Entry) -> tuple[Path, dict[str, Any] | None]:
        """(path, its line of the ledger, or None when it was there already)."""
        target = self.folder / f"{entry.id}.mp4"
        if target.is_file():
            known = self.ledger.get(target.name)
            if known is None:
                _check_own(target)
                return target, None
            if target.stat().st_size == known["bytes"]:
                return target, None
        part = self.folder / INCOMING / target.name
        seen = 0

        def come(done: int, _: int) -> None:
            nonlocal seen
            # A transfer that begins anew counts from 0 again.
            self.rate.spend(done - seen if done > seen else done, self.stop)
            seen = done

        given = Patience(self.settings.timeout, self.settings.attempts, self.settings.pause)
        url = self._url(entry)
        fetch(url, part, on_progress=come, should_stop=self.stop.is_set, patience=given)
        try:
            _check(part)
        except VideoError:
            part.unlink(missing_ok=True)
            raise
        line = {
            "file": target.name,
            "url": url,
            "bytes": part.stat().st_size,
            "sha256": sha256_file(part),
            "attribution": entry.attribution or AIST_ATTRIBUTION,
        }
        part.replace(target)
        return target, line


def _check(path: Path) -> None:
    """Raises ``VideoError`` when the beginning or the end of a video cannot be decoded."""
    from ..video.decode import frames_from
    from ..video.read import probe_clip

    info = probe_clip(path)
    start = max(Fraction(0), (info.duration or Fraction(0)) - 1)
    for _ in frames_from(path, start):
        pass


def _check_own(path: Path) -> None:
    """Raises ``DownloadError`` for a file of the user that cannot be read; it is not touched."""
    try:
        _check(path)
    except VideoError as error:
        raise DownloadError(
            f"{path} was there before, and cannot be read: {error.problem}",
            expected=error.expected,
            got=error.got,
            remedy="Move it away, and the next call downloads it.",
        ) from error


def _explained(error: S2VError | OSError) -> S2VError:
    """A failure with what is known of it."""
    if (
        isinstance(error, DownloadError)
        and isinstance(error.__cause__, HTTPError)
        and error.__cause__.code in (404, 410)
    ):
        return DownloadError(error.problem, expected=error.expected, got=error.got, remedy=KNOWN_OF_404)
    if isinstance(error, VideoError):
        return DownloadError(
            f"{error.problem} It was removed.", expected=error.expected, got=error.got, remedy="Download it again."
        )
    return error if isinstance(error, S2VError) else DownloadError(f"The file could not be kept: {error}.")


def _read_ledger(path: Path) -> dict[str, dict[str, Any]]:
    """The lines by file name. A line that cannot be read is forgotten: its file is then checked as any other."""
    found: dict[str, dict[str, Any]] = {}
    for text_line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text_line)
            if isinstance(line["bytes"], int):
                found[str(line["file"])] = line
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _write_ledger(path: Path, ledger: dict[str, dict[str, Any]]) -> None:
    write_text_atomic(path, "".join(f"{canonical_json(ledger[name])}\n" for name in sorted(ledger)))

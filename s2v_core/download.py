"""Downloads that the user asked for: resumable, checked, and never half there.

What has come so far is kept beside the target as ``<name>.part`` until it is whole; only then does it take the
target's name. Nothing here decides that something is to be downloaded.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .errors import Interrupted, S2VError
from .files import sha256_file

_CHUNK = 1 << 18
_RETRY_LATER = {408, 425, 429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class DownloadError(S2VError):
    """A file that could not be downloaded, or is not the one that was expected."""


@dataclass(frozen=True)
class Patience:
    """How long to try: ``timeout`` seconds without a byte, ``attempts`` without progress, a ``pause`` between them."""

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    patience: Patience | None = None,
) -> Path:
    """Bring ``url`` to ``target``, going on where an earlier try stopped, and return ``target``.

    ``size`` in bytes and ``sha256`` in hex are what must come; a whole file with other contents is removed. Without
    either, a transfer whose length the server does not state counts as whole when it ends.
    ``on_progress(bytes so far, bytes in all or 0)``. Proxies are taken from the environment.

    Raises DownloadError when the server refuses, what comes is not what was expected, or no attempt gets further; and
    Interrupted, after which the next call goes on.
    """
    patience = patience or Patience()
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if size is not None and part.is_file() and part.stat().st_size > size:
        part.unlink()
    failures = 0
    while True:
        before = _length(part)
        try:
            _fetch(url, part, size, on_progress, should_stop, patience.timeout)
            break
        except (_Broken, OSError, http.client.HTTPException) as error:
            failures = 1 if _length(part) > before else failures + 1
            if failures >= patience.attempts or not _worth_trying(error):
                raise _failed(url, part, error) from error
            _wait(patience.pause * 2 ** (failures - 1), should_stop)
    if sha256 is not None and (digest := sha256_file(part)) != sha256:
        part.unlink()
        raise DownloadError(
            f"{url} gave another file than expected.",
            expected=f"sha256 {sha256}",
            got=f"sha256 {digest}; it was removed",
            remedy="Try again; if it stays so, the file was changed where it is published: get it from elsewhere.",
        )
    part.replace(target)
    return target


class _Broken(Exception):
    """A transfer that ended early, or could not go on where it stopped."""


def _fetch(
    url: str,
    part: Path,
    size: int | None,
    on_progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
    timeout: float,
) -> None:
    """One request: fill ``part`` up. Returns only when it is whole."""
    have = _length(part)
    if size is not None and have == size:
        return
    headers = {"User-Agent": f"skeleton2video/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            # What is here is longer than the file there.
            part.unlink()
            raise _Broken("the server has fewer bytes than came before") from error
        raise
    with response:
        start, total = _extent(response, have)
        if size is not None and total not in (None, size):
            raise DownloadError(
                f"{url} has another size than expected.",
                expected=f"{size:,} bytes",
                got=f"{total:,} bytes",
                remedy="The file was changed where it is published, or a proxy gave an error page: try again later.",
            )
        total = size if size is not None else total
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            done = start
            while piece := response.read(_CHUNK):
                stream.write(piece)
                done += len(piece)
                if on_progress:
                    on_progress(done, total or 0)
                if should_stop and should_stop():
                    raise Interrupted(f"Stopped after {done:,} bytes of {url}; the next call goes on there.")
            stream.truncate()
    if total is not None and done < total:
        raise _Broken(f"the connection ended after {done:,} of {total:,} bytes")
    if total is not None and done > total:
        part.unlink()
        raise _Broken(f"{done:,} bytes came instead of {total:,}")


def _extent(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the answer starts, and how long the whole file is (None: the server does not say)."""
    if response.status == 206:
        stated = _RANGE.match(response.headers.get("Content-Range", ""))
        if not stated or int(stated[1]) != have:
            raise _Broken("the server sent another part than was asked for")
        return have, None if stated[2] == "*" else int(stated[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _worth_trying(error: Exception) -> bool:
    return not isinstance(error, urllib.error.HTTPError) or error.code in _RETRY_LATER


def _failed(url: str, part: Path, error: Exception) -> DownloadError:
    kept = _length(part)
    got = f"HTTP {error.code} {error.reason}" if isinstance(error, urllib.error.HTTPError) else f"{error}"
    again = f"Try again: {kept:,} bytes are kept and it goes on there." if kept else "Check the connection."
    return DownloadError(
        f"{url} could not be downloaded.",
        expected="an answer with the whole file",
        got=got or type(error).__name__,
        remedy=f"{again} Or get the file in a browser and put it in place by hand.",
    )


def _wait(seconds: float, should_stop: Callable[[], bool] | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if should_stop and should_stop():
            raise Interrupted("Stopped between two attempts; the next call goes on.")
        time.sleep(min(left, 0.1))


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

"""Downloads of clips against a real HTTP server on this machine that cuts, stalls, lies and refuses."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from s2v_core.aist.catalog import make_entry, read_list
from s2v_core.aist.download import BASE_URL, DownloadSettings, download_clips
from s2v_core.download import DownloadError
from s2v_core.errors import Interrupted, SettingsError
from s2v_core.files import sha256_file
from s2v_core.video.clip import Clip
from s2v_core.video.write import write_clip
from tests.dataset.toy_videos import frames_of, names

Answer = Callable[[BaseHTTPRequestHandler, bytes, int], None]


def head(handler: BaseHTTPRequestHandler, code: int, length: int, **more: str) -> None:
    handler.send_response(code)
    handler.send_header("Content-Length", str(length))
    for name, value in more.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def part(handler: BaseHTTPRequestHandler, body: bytes, start: int, end: int | None = None) -> None:
    """The file from ``start``, cut at ``end``, as servers with ranges answer."""
    if start >= len(body):
        head(handler, 416, 0)
        return
    span = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
    head(handler, 206 if start else 200, len(body) - start, **span)
    handler.wfile.write(body[start:end])


def cut(handler: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
    part(handler, body, start, start + (len(body) - start) // 2)


def stall(handler: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
    cut(handler, body, start)
    handler.wfile.flush()
    time.sleep(2)


def says_less(handler: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
    """A length that is too small: the client stops there, and what came looks whole."""
    head(handler, 200, len(body) // 2)
    handler.wfile.write(body)


def says_more(handler: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
    head(handler, 200, len(body) + 1000)
    handler.wfile.write(body)


def code(number: int) -> Answer:
    return lambda handler, body, start: head(handler, number, 0)


def page(handler: BaseHTTPRequestHandler, body: bytes, start: int) -> None:
    """An error page that says it is fine."""
    text = b"<html>The database has moved.</html>"
    head(handler, 200, len(text))
    handler.wfile.write(text)


class Server:
    """Serves videos by name. ``plans``: for a name, the answers to its requests, one after the other; then the file."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.plans = files, {}  # type: ignore[var-annotated]
        self.asked: Counter[str] = Counter()
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.asked[name] += 1
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                plan = outer.plans.get(name, [])
                body = outer.files.get(name)
                answer = plan.pop(0) if plan else part if body is not None else code(404)
                answer(self, body or b"", int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/10M"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


IDS = [str(name) for name in names(7)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("served")
    found = {}
    for number, key in enumerate(IDS[:2]):
        path = write_clip(Clip(frames_of(key, 24), Fraction(8)), folder / f"{key}.mp4")
        found[path.name] = path.read_bytes()
        for other in IDS[2 + number :: 2]:  # more names for the same bytes: encoding takes time
            found[f"{other}.mp4"] = found[path.name]
    return found


@pytest.fixture
def server(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server(dict(files))
    yield made
    made.close()


def bring(server: Server, folder: Path, ids: list[str], **more: Any) -> Any:
    settings = {"base_url": server.url, "attempts": 4, "timeout": 1.0, "pause": 0.01, **more.pop("settings", {})}
    return download_clips(map(make_entry, ids), folder, DownloadSettings(**settings), accept_terms=True, **more)


def whole(folder: Path) -> list[str]:
    """The names of what a person sees in the folder, hidden files of no transfer left aside."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".incoming.lock")


def test_nothing_is_asked_without_the_terms(server: Server, tmp_path: Path):
    with pytest.raises(SettingsError, match="terms of use must be accepted") as caught:
        download_clips([make_entry(IDS[0])], tmp_path / "out", DownloadSettings(base_url=server.url))
    assert "--accept-terms" in caught.value.expected and "application form" in caught.value.remedy
    assert not server.asked and not (tmp_path / "out").exists()


def test_a_list_of_addresses_and_names(server: Server, files: dict[str, bytes], tmp_path: Path):
    path = tmp_path / "list.csv"
    path.write_text(f"{server.url}/{IDS[0]}.mp4\n{IDS[1]}\nnonsense\n")
    result = download_clips(
        read_list(path).entries, tmp_path / "out", DownloadSettings(base_url=f"{server.url}/"), accept_terms=True
    )
    assert [file.name for file in result.downloaded] == sorted(f"{key}.mp4" for key in IDS[:2]) and not result.failed
    assert all(file.read_bytes() == files[file.name] for file in result.downloaded)
    lines = [json.loads(line) for line in (tmp_path / "out" / "downloads.jsonl").read_text().splitlines()]
    assert {line["file"]: line["sha256"] for line in lines} == {f.name: sha256_file(f) for f in result.downloaded}
    assert all("ISMIR 2019" in line["attribution"] and line["url"].startswith(server.url) for line in lines)
    assert whole(tmp_path / "out") == sorted([*(f"{key}.mp4" for key in IDS[:2]), "downloads.jsonl"])


def test_a_nasty_server(server: Server, files: dict[str, bytes], tmp_path: Path):
    """Everything at once: what can be had is had, whole; the rest is told, and leaves nothing under a clip's name."""
    bad = (IDS[4], IDS[5], IDS[6])
    server.plans = {
        f"{IDS[0]}.mp4": [cut, code(416), code(500), part],
        f"{IDS[1]}.mp4": [stall, part],
        f"{IDS[2]}.mp4": [code(503), cut, cut, part],
        f"{IDS[3]}.mp4": [says_more, says_more, says_more],
        f"{IDS[4]}.mp4": [says_less],
        f"{IDS[5]}.mp4": [page],
        f"{IDS[6]}.mp4": [code(500)] * 9,
    }
    missing = "gBR_sBM_c02_d04_mBR0_ch01"
    seen: list[tuple[int, int]] = []
    result = bring(server, tmp_path, [*IDS, missing], on_progress=lambda *step: seen.append(step))
    assert {file.stem for file in result.downloaded} >= set(IDS[:3])
    assert all(file.read_bytes() == files[file.name] for file in result.downloaded)
    failed = {failure.id: failure.error for failure in result.failed}
    assert {*bad, missing} <= set(failed) <= {*bad, missing, IDS[3]}
    assert "It was removed" in failed[IDS[4]].problem and "It was removed" in failed[IDS[5]].problem
    assert "500" in failed[IDS[6]].got
    assert "404" in failed[missing].got and "July 2025" in failed[missing].remedy
    assert "--base-url" in failed[missing].remedy and "have already" in failed[missing].remedy
    assert not [name for name in whole(tmp_path) if name.endswith(".mp4") and name.removesuffix(".mp4") in failed]
    assert not list(tmp_path.glob("*.part")) and seen[-1] == (8, 8)
    # The next call asks only for what failed, and gets what the server has now.
    server.asked.clear()
    server.plans.clear()
    again = bring(server, tmp_path, IDS)
    assert not again.failed and len(again.downloaded) + len(again.kept) == 7
    assert {name.removesuffix(".mp4") for name in server.asked} == set(failed) - {missing}
    assert whole(tmp_path) == sorted([*(f"{key}.mp4" for key in IDS), "downloads.jsonl"])


def test_a_stop_goes_on_with_the_bytes_that_came(server: Server, files: dict[str, bytes], tmp_path: Path):
    server.plans = {f"{IDS[0]}.mp4": [cut, code(403)]}
    assert bring(server, tmp_path, IDS[:1]).failed
    assert (tmp_path / ".incoming").is_dir()
    server.ranges.clear()
    assert bring(server, tmp_path, IDS[:1]).downloaded
    assert server.ranges == [f"bytes={len(files[f'{IDS[0]}.mp4']) // 2}-"]
    with pytest.raises(Interrupted, match="the same call goes on"):
        bring(server, tmp_path, IDS, should_stop=lambda: True)


def test_files_that_are_there_come_first(server: Server, files: dict[str, bytes], tmp_path: Path):
    first, second, third = (tmp_path / f"{key}.mp4" for key in IDS[:3])
    first.write_bytes(files[first.name])
    second.write_bytes(files[second.name][:2000])
    result = bring(server, tmp_path, IDS[:3])
    assert result.kept == (first,) and result.downloaded == (third,)
    assert [failure.id for failure in result.failed] == [second.stem] and first.name not in server.asked
    assert second.read_bytes() == files[second.name][:2000], "a file of the user is never written over or removed"


def test_a_dead_server_is_not_bothered_for_long(server: Server, tmp_path: Path):
    server.files.clear()
    ids = [str(name) for name in names(60)]
    with pytest.raises(DownloadError, match="The first 5 clips failed") as caught:
        bring(server, tmp_path, ids, settings={"parallel": 1})
    assert "July 2025" in caught.value.remedy and sum(server.asked.values()) == 5


def test_the_rate_is_limited_for_all_files_together(server: Server, files: dict[str, bytes], tmp_path: Path):
    size = sum(len(files[f"{key}.mp4"]) for key in IDS[:4])
    begin = time.monotonic()
    result = bring(server, tmp_path, IDS[:4], settings={"parallel": 4, "max_mb_s": size / 1e6})
    # What is in one piece may be over the limit at once, but not what comes after it.
    assert len(result.downloaded) == 4 and time.monotonic() - begin > 0.6


@pytest.mark.parametrize("url", ["", "ftp://a/b", "file:///etc", "nothing", None])
def test_an_address_that_is_none(url: Any):
    with pytest.raises(SettingsError, match="address cannot be"):
        DownloadSettings(base_url=url)
    assert DownloadSettings().base_url == BASE_URL

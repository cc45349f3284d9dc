"""Downloads against a real HTTP server on this machine that cuts, stalls, lies and refuses."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from s2v_core.download import DownloadError, Patience, download
from s2v_core.errors import Interrupted

BODY = bytes(range(256)) * 6000  # 1.5 MB, more than one read
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(timeout=0.5, attempts=3, pause=0.01)

Answer = Callable[[BaseHTTPRequestHandler, int], None]


class Server:
    """Answers each request with the next of ``answers`` (the last one stays)."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [whole]
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                answer(self, int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/file"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.close()


def head(handler: BaseHTTPRequestHandler, code: int, **headers: Any) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def whole(handler: BaseHTTPRequestHandler, start: int) -> None:
    part(handler, start, len(BODY))


def part(handler: BaseHTTPRequestHandler, start: int, end: int) -> None:
    """The file from ``start``, cut at ``end``, as servers with ranges answer."""
    if start >= len(BODY):
        head(handler, 416, Content_Length=0)
        return
    if start:
        span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        head(handler, 206, Content_Length=len(BODY) - start, Content_Range=span)
    else:
        head(handler, 200, Content_Length=len(BODY))
    handler.wfile.write(BODY[start:end])


def cut(at: int) -> Answer:
    return lambda handler, start: part(handler, start, at)


def stall(at: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, start: int) -> None:
        part(handler, start, at)
        time.sleep(2 * QUICK.timeout)

    return answer


def no_ranges(handler: BaseHTTPRequestHandler, start: int) -> None:
    part(handler, 0, len(BODY))


def wrong_range(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, 206, Content_Length=10, Content_Range=f"bytes 3-12/{len(BODY)}")
    handler.wfile.write(BODY[:10])


def code(number: int) -> Answer:
    return lambda handler, start: head(handler, number, Content_Length=0)


def other(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, 200, Content_Length=len(BODY))
    handler.wfile.write(bytes(len(BODY)))


def page(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, 200, Content_Length=5)
    handler.wfile.write(b"sorry")


def too_little_promised(handler: BaseHTTPRequestHandler, start: int) -> None:
    """No Content-Length at all, and an early end."""
    head(handler, 200, Connection="close")
    handler.wfile.write(BODY[:1000])


def bring(server: Server, target: Path, **more: Any) -> Path:
    return download(server.url, target, **{"size": len(BODY), "sha256": SHA256, "patience": QUICK, **more})


@pytest.mark.parametrize(
    "answers",
    [
        [whole],
        [cut(0), whole],
        [cut(400_000), cut(900_000), whole],
        [stall(300_000), whole],
        [cut(400_000), no_ranges],
        [cut(400_000), wrong_range, whole],
        [code(500), code(503), whole],
        [cut(10_000)] + [cut(10_000 * n) for n in range(2, 9)] + [whole],
    ],
    ids=["whole", "empty", "cut", "stall", "no ranges", "wrong range", "500", "many cuts"],
)
def test_it_arrives_whole(server: Server, tmp_path: Path, answers: list[Answer]) -> None:
    server.answers = answers
    assert bring(server, tmp_path / "in" / "file").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["file"]


def test_a_cut_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.answers = [cut(400_000), whole]
    bring(server, tmp_path / "file")
    assert server.ranges == [None, "bytes=400000-"]


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    server.answers = [cut(400_000), code(404)]
    with pytest.raises(DownloadError, match="could not be downloaded") as caught:
        bring(server, tmp_path / "file")
    assert "404" in caught.value.got
    assert "400,000 bytes are kept" in caught.value.remedy
    assert not (tmp_path / "file").exists()
    server.answers, server.ranges = [whole], []
    bring(server, tmp_path / "file")
    assert server.ranges == ["bytes=400000-"]


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_other_contents_are_refused(server: Server, tmp_path: Path, size: int | None) -> None:
    server.answers = [other]
    with pytest.raises(DownloadError, match="another file than expected"):
        bring(server, tmp_path / "file", size=size)
    assert not list(tmp_path.iterdir())


def test_another_size_is_refused_before_anything_is_written(server: Server, tmp_path: Path) -> None:
    server.answers = [page]
    with pytest.raises(DownloadError, match="another size") as caught:
        bring(server, tmp_path / "file")
    assert caught.value.got == "5 bytes"
    assert not list(tmp_path.iterdir())


def test_an_early_end_without_a_length_is_noticed_by_the_size(server: Server, tmp_path: Path) -> None:
    server.answers = [too_little_promised]
    with pytest.raises(DownloadError, match="could not be downloaded"):
        bring(server, tmp_path / "file")


@pytest.mark.parametrize("number", [401, 403, 404, 410])
def test_a_refusal_is_final(server: Server, tmp_path: Path, number: int) -> None:
    server.answers = [code(number)]
    with pytest.raises(DownloadError) as caught:
        bring(server, tmp_path / "file")
    assert str(number) in caught.value.got
    assert len(server.ranges) == 1


def test_a_part_that_is_too_long_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(BODY + b"more")
    assert bring(server, tmp_path / "file", size=None).read_bytes() == BODY


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="could not be downloaded"):
        download("http://127.0.0.1:9/file", tmp_path / "file", patience=QUICK)
    assert not list(tmp_path.iterdir())


def test_stop_and_go_on(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(Interrupted, match="goes on"):
        bring(server, tmp_path / "file", on_progress=lambda *at: seen.append(at), should_stop=lambda: len(seen) == 2)
    assert seen[-1][1] == len(BODY)
    kept = (tmp_path / "file.part").stat().st_size
    assert 0 < kept < len(BODY)
    bring(server, tmp_path / "file")
    assert server.ranges[-1] == f"bytes={kept}-"

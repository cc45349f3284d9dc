"""Getting a language model from a server that answers like the hub: listing, redirects, ranges, sizes and hashes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from s2v_core.download import DownloadError, Patience
from s2v_core.errors import Interrupted, ModelFileError, SettingsError
from s2v_core.prompts.get_language import download_language_model
from s2v_core.prompts.language import LANGUAGE_MODELS, find_language_model

ROOT = Path(__file__).parents[2]
NAME = "qwen2.5-0.5b"
REPOSITORY = LANGUAGE_MODELS[NAME].repository
COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUICK = Patience(timeout=5.0, attempts=2, pause=0.01)


class Hub:
    """``files`` of one repository at one commit. Weights are kept as LFS: listed by sha256, served by a redirect."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.listed = dict(files)
        self.asked: list[tuple[str, str | None]] = []
        self.cut: dict[str, int] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                at = f"/{REPOSITORY}/resolve/{COMMIT}/"
                if path == f"/api/models/{REPOSITORY}":
                    self.answer(200, json.dumps(hub.about("blobs=" in self.path)).encode())
                elif path.startswith(at) and (name := path.removeprefix(at)) in hub.files:
                    hub.asked.append((name, self.headers.get("Range")))
                    if hub.is_lfs(name):
                        self.answer(302, b"", Location=f"/storage/{name}")
                    else:
                        self.answer(200, hub.files[name])
                elif path.startswith("/storage/"):
                    self.part(path.removeprefix("/storage/"))
                else:
                    self.answer(404, b'{"error": "Repository not found"}', X_Error_Code="RepoNotFound")

            def part(self, name: str) -> None:
                data = hub.files[name]
                start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
                more = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
                self.answer(206 if start else 200, data[start:], hub.cut.pop(name, None), **more)

            def answer(self, code: int, body: bytes, cut: int | None = None, **headers: str) -> None:
                self.send_response(code)
                # Said, and not only done: a client that hears nothing may ask again as the connection closes.
                self.send_header("Connection", "close")
                for name, value in {"Content_Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body[:cut])

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def is_lfs(name: str) -> bool:
        return name.endswith(".safetensors")

    def about(self, blobs: bool) -> dict[str, Any]:
        entries = []
        for name, data in self.listed.items():
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            lfs = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
            hashes = {"blobId": git, "size": len(data), **({"lfs": lfs} if self.is_lfs(name) else {})}
            entries.append({"rfilename": name, **(hashes if blobs else {})})
        return {"_id": "1", "id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "private": False, "tags": [],
                "downloads": 0, "likes": 0, "siblings": entries}  # fmt: skip

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from tests.prompts.tiny_models import write_qwen

    folder = write_qwen(tmp_path_factory.mktemp("published"))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def hub(model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    more = {"README.md": b"read", "pytorch_model.bin": b"old", "onnx/model.json": b"{}", "../out.json": b"{}"}
    made = Hub({**model, **more})
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield made
    made.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_only_what_is_needed_comes_and_a_second_time_nothing(hub: Hub, model: dict[str, bytes], tmp_path: Path):
    steps: list[tuple[str, int, int]] = []
    target = download_language_model(NAME, tmp_path, on_progress=lambda *step: steps.append(step), patience=QUICK)
    assert target == tmp_path / "language" / NAME
    assert contents(tmp_path) == {f"language/{NAME}/{name}": data for name, data in model.items()}
    assert {(name, total) for name, done, total in steps if done == total} == {(n, len(d)) for n, d in model.items()}
    assert hub.asked[-1][0] == "config.json"
    hub.asked.clear()
    assert download_language_model(NAME, tmp_path, patience=QUICK) == target and not hub.asked
    # A file that was changed, or of an older commit, is brought anew, and only that one.
    (target / "tokenizer.json").write_bytes(b"x" * len(model["tokenizer.json"]))
    download_language_model(NAME, tmp_path, patience=QUICK)
    assert [name for name, _ in hub.asked] == ["tokenizer.json", "config.json"]
    assert contents(target) == model


def test_a_cut_transfer_goes_on_where_it_stopped(hub: Hub, model: dict[str, bytes], tmp_path: Path):
    hub.cut["model.safetensors"] = 1000
    target = download_language_model(NAME, tmp_path, patience=QUICK)
    ranges = [asked for name, asked in hub.asked if name == "model.safetensors"]
    assert ranges == [None, "bytes=1000-"] and contents(target) == model


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_file_that_is_not_the_listed_one_is_refused(hub: Hub, tmp_path: Path, name: str, model: dict[str, bytes]):
    changed = bytearray(model[name])
    changed[len(changed) // 2] ^= 1
    hub.files[name] = bytes(changed)
    with pytest.raises((DownloadError, ModelFileError), match="another") as caught:
        download_language_model(NAME, tmp_path, patience=QUICK)
    assert name in caught.value.problem and "removed" in caught.value.got
    target = tmp_path / "language" / NAME
    assert not (target / name).exists() and not (target / "config.json").exists()
    with pytest.raises(ModelFileError, match="no language model"):
        find_language_model(str(target))
    # Another length is refused before anything of it is written.
    hub.files[name] = model[name] + b" "
    with pytest.raises((DownloadError, ModelFileError), match="another size"):
        download_language_model(NAME, tmp_path, patience=QUICK)
    hub.files[name] = model[name]
    assert contents(download_language_model(NAME, tmp_path, patience=QUICK)) == model


def test_a_stop_leaves_no_model_and_the_next_call_goes_on(hub: Hub, model: dict[str, bytes], tmp_path: Path):
    with pytest.raises(Interrupted):
        download_language_model(NAME, tmp_path, should_stop=lambda: len(hub.asked) == 2, patience=QUICK)
    assert not (tmp_path / "language" / NAME / "config.json").exists()
    first = hub.asked[0][0]
    hub.asked.clear()
    assert contents(download_language_model(NAME, tmp_path, patience=QUICK)) == model
    assert first not in [name for name, _ in hub.asked]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_a_repository_without_a_model_is_said(hub: Hub, tmp_path: Path, lost: str):
    del hub.listed[lost]
    with pytest.raises(ModelFileError, match="holds no model"):
        download_language_model(NAME, tmp_path)
    assert not contents(tmp_path)


def test_nobody_there_and_unknown_names(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ModelFileError, match="could not be listed") as caught:
        download_language_model("florence-2-base", tmp_path)
    assert "404" in caught.value.got and str(tmp_path) in caught.value.remedy
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelFileError, match="could not be listed"):
        download_language_model(NAME, tmp_path)
    with pytest.raises(SettingsError, match="no language model"):
        download_language_model("gpt")
    assert not contents(tmp_path)


def test_from_the_command_line_to_a_rewriter(hub: Hub, tmp_path: Path):
    """Got with consent, found by its name, loaded and asked: a model that babbles, so the template stands in."""

    def s2v(*given: str) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "S2V_MODELS": str(tmp_path)}
        command = [sys.executable, "-m", "s2v_core.cli", *given, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=True)
        return dict(json.loads(done.stdout))

    got = s2v("models", "get", NAME, "--to", str(tmp_path), "--yes")
    assert got == {"downloaded": str(tmp_path / "language" / NAME)}
    said = s2v("prompt", "gBR_sBM_c01_d04_mBR0_ch01", "--rewriter", NAME, "--device", "cpu")
    assert said["how"] == "template" and said["reasons"]

"""Getting DWPose's files: from a mirror on this machine, or out of a folder. Their contents are stand-ins."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s2v_core.download import DownloadError, Patience
from s2v_core.errors import ModelFileError
from s2v_core.get_models import download_models, install_models, missing_models, model_url
from s2v_core.models import DWPOSE, ModelFile

CONTENTS = {"yolox_l.onnx": b"detector" * 1000, "dw-ll_ucoco_384.onnx": b"pose" * 1000}
QUICK = Patience(timeout=1, attempts=1)


def small(entry: ModelFile) -> ModelFile:
    """The table's entry with the size and the hash of the stand-in."""
    content = CONTENTS[entry.file]
    return replace(entry, size=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ModelFile]:
    for name in ("S2V_MODELS", "AUX_ANNOTATOR_CKPTS_PATH", "HF_HUB_CACHE", "S2V_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return [small(entry) for entry in DWPOSE]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mirror of huggingface.co with the stand-ins."""
    folder = tmp_path / "mirror" / "yzd-v" / "DWPose" / "resolve" / "main"
    folder.mkdir(parents=True)
    for file, content in CONTENTS.items():
        (folder / file).write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "mirror")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert model_url(DWPOSE[0]) == "https://huggingface.co/yzd-v/DWPose/resolve/main/yolox_l.onnx"


def test_download(entries: list[ModelFile], mirror: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assert missing_models(entries) == entries
    paths = download_models(entries, patience=QUICK, on_progress=lambda *at: seen.append(at))
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert {path.parent for path in paths} == {tmp_path / "S2V_MODELS"}
    assert seen[-1] == ("dw-ll_ucoco_384.onnx", 4000, 4000)
    assert missing_models(entries) == []
    (mirror / "yolox_l.onnx").unlink()
    assert download_models(entries, patience=QUICK) == paths  # nothing is fetched again


def test_a_file_that_was_changed_is_refused(entries: list[ModelFile], mirror: Path) -> None:
    (mirror / "yolox_l.onnx").write_bytes(b"DETECTOR" * 1000)
    with pytest.raises(DownloadError, match="another file than expected"):
        download_models(entries, patience=QUICK)
    assert missing_models(entries) == entries


def test_install_from_a_folder_or_a_file(entries: list[ModelFile], mirror: Path, tmp_path: Path) -> None:
    paths = install_models(entries, mirror, tmp_path / "models")
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    (one,) = install_models(entries, mirror / "yolox_l.onnx", tmp_path / "other")
    assert one.name == "yolox_l.onnx"
    (mirror / "yolox_l.onnx").unlink()
    with pytest.raises(ModelFileError, match="does not hold what is to be installed"):
        install_models(entries, mirror, tmp_path / "models")
    (mirror / "yolox_l.onnx").write_bytes(b"DETECTOR" * 1000)
    with pytest.raises(ModelFileError, match="damaged"):
        install_models(entries, mirror, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_nothing_is_downloaded_without_consent(entries: list[ModelFile], mirror: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "s2v_core.cli", "models", "get", "dwpose", "--json"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ.copy(),
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["problem"] == "Nothing was downloaded."
    assert "217 MB, licence Apache-2.0" in done.stderr
    assert not (tmp_path / "S2V_MODELS").exists()
    # With consent it is fetched, and this mirror's stand-in is not the real file.
    agreed = subprocess.run(
        [sys.executable, "-m", "s2v_core.cli", "models", "get", "dwpose", "--yes", "--json"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ.copy(),
    )  # fmt: skip
    assert "another size than expected" in json.loads(agreed.stdout)["error"]["problem"]

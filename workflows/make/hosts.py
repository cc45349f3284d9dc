"""A real ComfyUI with this pack and small models under the names that the workflows ask for.

The models are DiffSynth's true classes: with random weights (``tiny``, for tests), or the nano model's (``nano``, for
pictures). The clips are drawn dancers, so that nothing here is anybody's property.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .experiments import CLIP, LORA, REFERENCE, WAN_FILES
from .schemas import ROOT

PACK = "skeleton2video"
SECONDS = 120
MORE_CLIPS = ("gLO_sBM_c01_d13_mLO2_ch03.mp4",)


@dataclass(frozen=True)
class RunningHost:
    """A server that answers. ``base``: its folder with models, input and output."""

    root: Path
    base: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """What the server answers, read as JSON."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.loads(answer.read())

    def log(self) -> str:
        """What it has said so far."""
        return (self.base / "server.log").read_text(errors="replace")


def fill_base(base: Path, weights: str = "tiny") -> None:
    """Models, clips, a reference picture and this pack in a new folder."""
    for folder in ("input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    models = base / "models"
    for folder in ("diffusion_models", "vae", "text_encoders", "loras", "skeleton2video"):
        (models / folder).mkdir(parents=True)
    _write_models(models, base / "made", weights)
    _write_clips(base / "input")


def _write_models(models: Path, made: Path, weights: str) -> None:
    from s2v_core.wan.embedded import nano_files, nano_lora
    from s2v_core.wan.engine import ModelFiles
    from s2v_core.wan.tiny import build_tiny, build_tiny_lora

    files = build_tiny(made) if weights == "tiny" else nano_files()
    sources = (files.transformer, files.vae, files.text_encoder)
    for source, (folder, name) in zip(sources, WAN_FILES.values(), strict=True):
        shutil.copyfile(source, models / folder / name)
    tokenizer = Path(files.tokenizer or Path(files.text_encoder).with_name("google") / "umt5-xxl")
    shutil.copytree(tokenizer, models / "text_encoders" / "google" / "umt5-xxl")
    if weights == "tiny":
        transformer = models / WAN_FILES["diffusion_model"][0] / WAN_FILES["diffusion_model"][1]
        build_tiny_lora(ModelFiles(str(transformer), "", ""), models / "loras" / LORA)
    else:
        shutil.copyfile(nano_lora("article"), models / "loras" / LORA)


def _write_clips(folder: Path) -> None:
    from s2v_core.nano.world import HELD_OUT, reference, render, scene
    from s2v_core.video.write import write_clip, write_png

    for number, name in zip((4, 5), (CLIP, *MORE_CLIPS), strict=True):
        made = scene(number, held=HELD_OUT)
        write_clip(render(made.character, made.motion, seed=made.seed).clip, folder / name)
        if name == CLIP:
            write_png(reference(made.character, made.motion, seed=made.seed), folder / REFERENCE)


@contextlib.contextmanager
def running(root: Path, base: Path, overlay: str = "") -> Iterator[RunningHost]:
    """A server of the checkout ``root``; ``overlay``: a folder whose packages go first (an older or newer frontend)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
    command += ["--base-directory", str(base), "--database-url", f"sqlite:///{base}/user/comfyui.db"]
    command += ["--disable-auto-launch", "--disable-api-nodes"]
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", HF_HUB_OFFLINE="1", S2V_CACHE=str(base / "cache"))
    environment.pop("S2V_MODELS", None)
    environment["PYTHONPATH"] = overlay
    with (base / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    host = RunningHost(root, base, port, process)
    try:
        _wait(host)
        yield host
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _wait(host: RunningHost) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if host.process.poll() is not None:
            raise RuntimeError(f"The host ended with {host.process.returncode}:\n{host.log()[-4000:]}")
        try:
            host.get("/system_stats")
            return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError(f"The host does not answer after {SECONDS} s:\n{host.log()[-4000:]}")

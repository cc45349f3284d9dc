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
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .needs import CLIP, LORA, REFERENCE, WAN_FILES
from .schemas import ROOT

if TYPE_CHECKING:
    from s2v_core.video.clip import Clip

PACK = "skeleton2video"
SECONDS = 600  # to start, on a busy machine
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

    def run(self, prompt: Mapping[str, Any], seconds: float = 3600) -> dict[str, Any]:
        """Run a workflow in API form to its end; its outputs by the nodes' numbers. RuntimeError when it fails."""
        body = json.dumps({"prompt": prompt}).encode()
        request = urllib.request.Request(self.url + "/prompt", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                id = json.loads(answer.read())["prompt_id"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done = self.get(f"/history/{id}").get(id)
            if done and done["status"]["completed"]:
                outputs: dict[str, Any] = done["outputs"]
                return outputs
            if done and done["status"]["status_str"] == "error":
                raise RuntimeError(json.dumps(done["status"]["messages"][-1])[:2000])
            time.sleep(0.5)
        raise RuntimeError(f"The workflow did not end in {seconds} s.")

    def log(self) -> str:
        """What it has said so far."""
        return (self.base / "server.log").read_text(errors="replace")


def fill_base(base: Path, weights: str = "tiny", clip: Clip | None = None, nets: Path | None = None) -> None:
    """Models, clips, a reference picture and this pack in a new folder.

    ``clip``: in place of the drawn dancers, for nets that find poses, which lie in the folder ``nets``.
    """
    for folder in ("input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    models = base / "models"
    for folder in ("diffusion_models", "vae", "text_encoders", "loras", "skeleton2video"):
        (models / folder).mkdir(parents=True)
    if weights == "tiny":
        _write_tiny(models, base / "made")
    else:
        _write_nano(models)
    for net in nets.iterdir() if nets else ():
        (models / "skeleton2video" / net.name).symlink_to(net)
    _write_clips(base / "input", clip)


def _path(models: Path, part: str) -> Path:
    folder, name = WAN_FILES[part]
    return models / folder / name


def _write_tiny(models: Path, made: Path) -> None:
    """Random weights; the text encoder as ComfyUI's users have it: 8 bits with scales, the tokenizer inside."""
    from s2v_core.wan.engine import ModelFiles
    from s2v_core.wan.tiny import build_tiny, build_tiny_lora
    from tests.wan import other_layouts

    files = build_tiny(made)
    shutil.copyfile(files.transformer, _path(models, "diffusion_model"))
    shutil.copyfile(files.vae, _path(models, "vae"))
    net = other_layouts.randomise(other_layouts.hugging_face_umt5(), 2)
    other_layouts.write_comfyui_umt5(_path(models, "text_encoder"), net, form="scale_weight")
    transformer = ModelFiles(str(_path(models, "diffusion_model")), "", "")
    build_tiny_lora(transformer, models / "loras" / LORA)


def _write_nano(models: Path) -> None:
    from s2v_core.wan.embedded import nano_files, nano_lora

    files = nano_files()
    shutil.copyfile(files.transformer, _path(models, "diffusion_model"))
    shutil.copyfile(files.vae, _path(models, "vae"))
    shutil.copyfile(files.text_encoder, _path(models, "text_encoder"))
    shutil.copytree(files.tokenizer, models / "text_encoders" / "google" / "umt5-xxl")
    shutil.copyfile(nano_lora("article"), models / "loras" / LORA)


def _write_clips(folder: Path, clip: Clip | None) -> None:
    from s2v_core.nano.world import HELD_OUT, reference, render, scene
    from s2v_core.video.write import write_clip, write_png

    for number, name in zip((4, 5), (CLIP, *MORE_CLIPS), strict=True):
        made = scene(number, held=HELD_OUT)
        drawn = render(made.character, made.motion, seed=made.seed).clip
        write_clip(clip or drawn, folder / name)
        if name == CLIP:
            picture = reference(made.character, made.motion, seed=made.seed)
            write_png(picture if clip is None else clip.frames[0], folder / REFERENCE)


@contextlib.contextmanager
def running(root: Path, base: Path, overlay: str = "", python: str = sys.executable) -> Iterator[RunningHost]:
    """A server of the checkout ``root``; ``overlay``: a folder whose packages go first (an older or newer frontend)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
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

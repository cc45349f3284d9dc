"""A real ComfyUI with this pack and a tiny model, started once for all host tests."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2v_core.files import sha256_file
from s2v_core.video.clip import Clip
from s2v_core.video.write import write_clip

ROOT = Path(__file__).resolve().parents[2]
PACK = "skeleton2video-under-test"
CLIP_NAME = "gBR_sBM_c01_d04_mBR0_ch01.mp4"
# Long enough for a machine with other work.
START_SECONDS = 300
RUN_SECONDS = 600
# A node of another pack, in the old form of comfyui_controlnet_aux's: keypoints in, the same through JSON out.
ECHO = """
import json

class EchoKeypoints:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"pose_kps": ("POSE_KEYPOINT",)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("POSE_KEYPOINT", "STRING"), "echo", "test"

    def echo(self, pose_kps):
        text = json.dumps(pose_kps, allow_nan=False)
        return json.loads(text), text

NODE_CLASS_MAPPINGS = {"EchoKeypoints": EchoKeypoints}
"""


@dataclass
class Run:
    """What one queued prompt did. ``events``: the websocket's messages; ``pictures``: binary previews."""

    id: str
    events: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events if event["type"] == kind]

    @property
    def executed(self) -> set[str]:
        """Nodes that ran, not those that were taken from the cache."""
        return {data["node"] for data in self.of("executing") if data["node"] is not None} - self.cached

    @property
    def cached(self) -> set[str]:
        return {node for data in self.of("execution_cached") for node in data["nodes"]}

    @property
    def ended(self) -> str:
        ends = [event["type"] for event in self.events if event["type"] in Host.ENDS]
        return ends[-1] if ends else "nothing"

    @property
    def error(self) -> str:
        return "\n".join(data["exception_message"] for data in self.of("execution_error"))


@dataclass
class Host:
    """A running server. ``base``: its folder with models, input and output."""

    ENDS = ("execution_success", "execution_error", "execution_interrupted")

    root: Path
    base: Path
    port: int
    process: subprocess.Popen[bytes]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url(path), timeout=20) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url(path), json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        return status, json.loads(text) if text.strip() else None

    def log(self) -> str:
        return (self.base / "server.log").read_text(errors="replace")

    def run(self, prompt: dict[str, Any], watch: Callable[[dict[str, Any]], bool] | None = None) -> Run:
        """Queue an API-format prompt and follow it to its end. ``watch(event)``: True interrupts the run, once."""
        return asyncio.run(asyncio.wait_for(self._run(prompt, watch), RUN_SECONDS))

    async def _run(self, prompt: dict[str, Any], watch: Callable[[dict[str, Any]], bool] | None) -> Run:
        import aiohttp

        client = uuid.uuid4().hex
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self.url(f"/ws?clientId={client}"), max_msg_size=0) as stream,
        ):
            async with session.post(self.url("/prompt"), json={"prompt": prompt, "client_id": client}) as answer:
                queued = await answer.json()
                assert answer.status == 200, json.dumps(queued, indent=1)
            run = Run(queued["prompt_id"])
            async for message in stream:
                if message.type == aiohttp.WSMsgType.BINARY:
                    run.pictures.append(message.data)
                    continue
                event = json.loads(message.data)
                if event.get("data", {}).get("prompt_id") != run.id:
                    continue
                run.events.append(event)
                if watch and watch(event):
                    watch = None
                    await (await session.post(self.url("/interrupt"), json={})).read()
                if event["type"] in self.ENDS:
                    break
            for _ in range(50):
                async with session.get(self.url(f"/history/{run.id}")) as answer:
                    history = await answer.json()
                if run.id in history:
                    run.outputs = history[run.id]["outputs"]
                    return run
                await asyncio.sleep(0.1)
            raise AssertionError(f"the host keeps no history of {run.id}")


def comfy_root() -> Path:
    root = Path(os.environ.get("COMFY_ROOT") or Path.home() / "comfy" / "ComfyUI").expanduser()
    if not (root / "main.py").is_file():
        pytest.skip(f"HOST TESTS SKIPPED: no ComfyUI at {root}; name a checkout in COMFY_ROOT")
    return root


def need_requirements(root: Path) -> None:
    """Skip, loudly, when this interpreter cannot run the host."""
    overlay = os.environ.get("COMFY_OVERLAY")
    paths = [*([overlay] if overlay else []), *sys.path]
    there = {name_of(found.metadata["Name"] or "") for found in importlib.metadata.distributions(path=paths)}
    lines = (root / "requirements.txt").read_text().split("#non essential")[0].splitlines()
    names = [name_of(re.split(r"[=<>~!; ]", line, maxsplit=1)[0]) for line in lines if line.strip()]
    if missing := [name for name in names if name not in there]:
        pytest.skip(
            f"HOST TESTS SKIPPED: {sys.executable} lacks {', '.join(missing)}; "
            f"run: {sys.executable} -m pip install -r {root}/requirements.txt"
        )


def name_of(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text.strip()).lower()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The host's folders: tiny model files, a LoRA, a clip with an AIST name, BlazePose's nets, and this pack."""
    root = comfy_root()
    need_requirements(root)
    from s2v_core.wan.tiny import build_tiny, build_tiny_lora

    base = tmp_path_factory.mktemp("host")
    for folder in ("input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir()
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    (base / "custom_nodes" / "echo_keypoints.py").write_text(ECHO)
    (base / "custom_nodes" / "tiny_nodes.py").symlink_to(Path(__file__).with_name("tiny_nodes.py"))
    if aux := os.environ.get("COMFY_AUX_ROOT"):
        (base / "custom_nodes" / "comfyui_controlnet_aux").symlink_to(aux, target_is_directory=True)

    models = base / "models"
    made = build_tiny(base / "tiny")
    places = {
        "diffusion_models/wan2.1_vace_1.3B_fp16.safetensors": made.transformer,
        "vae/wan_2.1_vae.safetensors": made.vae,
        "text_encoders/models_t5_umt5-xxl-enc-bf16.safetensors": made.text_encoder,
        "text_encoders/google/umt5-xxl": made.tokenizer,
    }
    for place, source in places.items():
        (models / place).parent.mkdir(parents=True, exist_ok=True)
        Path(source).rename(models / place)
    # The name of the file that ComfyUI's users have, and the shipped workflows ask for.
    (models / "text_encoders" / "umt5_xxl_fp8_e4m3fn_scaled.safetensors").symlink_to(
        models / "text_encoders" / "models_t5_umt5-xxl-enc-bf16.safetensors"
    )
    (models / "loras").mkdir()
    from s2v_core.wan.engine import ModelFiles

    transformer = models / "diffusion_models" / "wan2.1_vace_1.3B_fp16.safetensors"
    build_tiny_lora(ModelFiles(str(transformer), "", ""), models / "loras" / "dance.safetensors")
    (models / "diffusion_models" / "broken.safetensors").write_bytes(transformer.read_bytes()[:5000])

    clip = optional(request, "dancer_clip") or moving_square()
    write_clip(clip, base / "input" / CLIP_NAME)
    whole = (base / "input" / CLIP_NAME).read_bytes()
    (base / "input" / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
    write_reference(base / "input" / "reference.png", clip)
    (models / "skeleton2video").mkdir()
    if nets := optional(request, "blazepose_models"):
        for net in nets.iterdir():
            (models / "skeleton2video" / net.name).symlink_to(net)
    return base


def optional(request: pytest.FixtureRequest, name: str) -> Any:
    """A fixture's value, or None where it skips."""
    try:
        return request.getfixturevalue(name)
    except pytest.skip.Exception:
        return None


def moving_square() -> Clip:
    frames = np.full((45, 352, 176, 3), 30, np.uint8)
    for index, frame in enumerate(frames):
        frame[100:200, 10 + 2 * index : 60 + 2 * index] = (200, 120, 40)
    return Clip(frames, Fraction(15))


def write_reference(path: Path, clip: Clip) -> None:
    from PIL import Image

    Image.fromarray(clip.frames[0]).save(path)


@pytest.fixture(scope="session")
def host(base: Path) -> Iterator[Host]:
    """The running server, ended with the tests."""
    with running(comfy_root(), base) as host:
        yield host


@contextmanager
def running(root: Path, base: Path) -> Iterator[Host]:
    """The host of this checkout with this folder, on a port of its own; its whole process group is ended."""
    host = start_host(root, base)
    try:
        wait_until_ready(host)
        yield host
    finally:
        end_host(host)


def start_host(root: Path, base: Path, *more: str, port: int = 0) -> Host:
    """A server that is not ready yet. ``more``: arguments of its main.py; ``port``: a free one when left out."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    command = [sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
    command += ["--base-directory", str(base), "--database-url", f"sqlite:///{base}/user/comfyui.db"]
    command += ["--disable-auto-launch", "--disable-api-nodes", *more]
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", HF_HUB_OFFLINE="1", S2V_CACHE=str(base / "cache"))
    # The host must find the pack's own s2v_core and BlazePose in its models folder, not what the tests use.
    environment.pop("S2V_MODELS", None)
    environment["PYTHONPATH"] = os.environ.get("COMFY_OVERLAY", "")
    with (base / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    return Host(root, base, port, process)


def end_host(host: Host) -> None:
    """Ask it to end, and make it."""
    os.killpg(host.process.pid, signal.SIGTERM)
    try:
        host.process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(host.process.pid, signal.SIGKILL)
        host.process.wait(10)


def wait_until_ready(host: Host) -> None:
    for _ in range(START_SECONDS * 4):
        if host.process.poll() is not None:
            pytest.fail(f"the host ended with {host.process.returncode}:\n{host.log()[-4000:]}")
        try:
            host.get("/system_stats")
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"the host does not answer after {START_SECONDS} s:\n{host.log()[-4000:]}")


@pytest.fixture
def cell_hashes(host: Host) -> Callable[[str], dict[str, str]]:
    """The finished cells of a sweep: id -> sha256 and time of the clip file."""

    def read(name: str) -> dict[str, str]:
        cells = host.base / "output" / "skeleton2video" / name / "cells"
        return {file.parent.name: f"{sha256_file(file)} {file.stat().st_mtime_ns}" for file in cells.glob("*/clip.mkv")}

    return read

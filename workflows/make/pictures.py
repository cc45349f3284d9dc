"""Pictures out of real runs: thumbnails of the workflows, pictures of the help, the moving picture of the README."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .graph import Graph
from .hosts import RunningHost
from .scenes import POSE_FILE, SCENES, graph_of, shown
from .schemas import PREFIX, ROOT, Schema
from .stage import DANCER, staged
from .thumbnails import thumbnail, write_thumbnail

WORKFLOWS = ROOT / "workflows"
HELP = ROOT / "nodes" / "web" / "docs" / "images"
MOVING = ROOT / "docs" / "quick_look.webp"
HELP_BYTES = 40_000
MOVING_BYTES = 1_500_000


def prepare(host: RunningHost) -> None:
    """What the scenes read besides the models and clips: a saved pose."""
    from s2v_core.nano.world import HELD_OUT, render, scene
    from s2v_core.pose.pose_file import save_pose

    made = scene(DANCER, held=HELD_OUT)
    file = host.base / "input" / POSE_FILE
    if not file.is_file():
        save_pose(render(made.character, made.motion, seed=made.seed).track, file)


def make_thumbnail(host: RunningHost, name: str) -> Path:
    """Run a workflow with the nano model, and make its thumbnail out of what it gives."""
    prompt = staged(json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8")))
    return write_thumbnail(thumbnail(prompt, host.run(prompt), host.base), name)


def make_moving_picture(host: RunningHost) -> None:
    """The README's moving picture: the newest grid of ``quick_look``, without the settings that it carries."""
    grid = sorted((host.base / "output" / "skeleton2video" / "quick_look").glob("grid_*.webp"))[-1]
    picture = without_metadata(grid.read_bytes())
    if len(picture) > MOVING_BYTES:
        raise ValueError(f"The moving picture has {len(picture)} bytes, more than {MOVING_BYTES}.")
    MOVING.write_bytes(picture)


def without_metadata(webp: bytes) -> bytes:
    """An animated WebP without its EXIF and XMP chunks, which name files of this machine; the frames stay as they are.

    Source: WebP Container Specification (RIFF chunks; flags of VP8X: 0x08 EXIF, 0x04 XMP).
    """
    if webp[:4] != b"RIFF" or webp[8:12] != b"WEBP":
        raise ValueError("This is no WebP.")
    kept, at = b"", 12
    while at + 8 <= len(webp):
        name, size = webp[at : at + 4], int.from_bytes(webp[at + 4 : at + 8], "little")
        chunk = webp[at : at + 8 + size + size % 2]
        at += len(chunk)
        if name == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~0x0C]) + chunk[9:]
        if name not in (b"EXIF", b"XMP "):
            kept += chunk
    return b"RIFF" + (len(kept) + 4).to_bytes(4, "little") + b"WEBP" + kept


def shoot(browser: Any, graph: Graph, runs: bool) -> bytes:
    """Open a scene in the browser, run it and take a picture of the nodes that it shows: PNG."""
    drawn = {**graph.drawn(), "groups": []}
    wanted = {node.id for node in shown(graph)}
    browser.close()  # what an earlier scene may have left open
    browser.resize(width=1600, height=1700)
    browser.load(graph=drawn, name=graph.name)
    if runs:
        done = browser.run(timeout=3600)
        if done["status"] != "success":
            raise RuntimeError(f"{graph.name}: {done}")
    browser.close()
    boxes = [(*node["pos"], *node["size"]) for node in browser.nodes() if node["id"] in wanted]
    left, top = min(box[0] for box in boxes) - 12, min(box[1] for box in boxes) - 58
    right, bottom = max(box[0] + box[2] for box in boxes) + 12, max(box[1] + box[3] for box in boxes) + 12
    box = [left, top, right - left, bottom - top]
    browser.view(box=box, scale=1.0, margin=0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.png"
        browser.shot(file=str(file), clip=browser.where(box=box))
        return file.read_bytes()


def small_webp(picture: bytes, most: int = HELP_BYTES, widest: int = 800) -> bytes:
    """The picture in at most so many bytes: as wide and as good as that allows."""
    from PIL import Image

    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    for width in (widest, 640, 480, 400, 320):
        size = (min(width, whole.width), round(whole.height * min(1, width / whole.width)))
        shrunk = whole.resize(size, Image.Resampling.LANCZOS)
        for quality in (80, 65, 50):
            written = io.BytesIO()
            shrunk.save(written, "WEBP", quality=quality, method=6)
            if written.tell() <= most:
                return written.getvalue()
    raise ValueError(f"The picture of {whole.size} does not fit into {most} bytes.")


def help_picture(browser: Any, schemas: Mapping[str, Schema], node: str) -> None:
    """Make the picture of a node's help page."""
    HELP.mkdir(parents=True, exist_ok=True)
    picture = shoot(browser, graph_of(node, schemas), SCENES[node].runs)
    (HELP / f"{PREFIX}{node}.webp").write_bytes(small_webp(picture))

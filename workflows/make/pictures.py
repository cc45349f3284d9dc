"""Pictures out of real runs: thumbnails of the workflows, pictures of the help, the moving picture of the README."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .graph import Graph
from .hosts import RunningHost
from .scenes import POSE_FILE, SCENES, graph_of
from .schemas import PREFIX, ROOT, Schema
from .stage import DANCER, staged

WORKFLOWS = ROOT / "workflows"
HELP = ROOT / "nodes" / "web" / "docs" / "images"
MOVING = ROOT / "docs" / "quick_look.webp"
HELP_BYTES = 40_000
MOVING_BYTES = 1_500_000
THUMBNAIL = (640, 400)
BACKGROUND = (24, 26, 30)


def prepare(host: RunningHost) -> None:
    """What the scenes read besides the models and clips: a saved pose."""
    from s2v_core.nano.world import HELD_OUT, render, scene
    from s2v_core.pose.pose_file import save_pose

    made = scene(DANCER, held=HELD_OUT)
    file = host.base / "input" / POSE_FILE
    if not file.is_file():
        save_pose(render(made.character, made.motion, seed=made.seed).track, file)


def run_workflow(host: RunningHost, name: str) -> list[Path]:
    """Run a workflow with the nano model; the pictures and videos that it saved or shows, the largest last."""
    prompt = staged(json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8")))
    outputs = host.run(prompt)
    found = []
    for output in outputs.values():
        for file in output.get("images", []):
            found.append(host.base / file["type"] / file["subfolder"] / file["filename"])
    return sorted(found, key=lambda path: path.stat().st_size)


def shoot(browser: Any, graph: Graph, shows: Iterable[str], runs: bool) -> bytes:
    """Open a scene in the browser, run it and take a picture of these nodes (all when none are named): WebP."""
    browser.resize(width=2600, height=1700)
    browser.load(graph={**graph.drawn(), "groups": []}, name=graph.name)
    if runs:
        browser.view(scale=0.5)
        done = browser.run(timeout=1800)
        if done["status"] != "success":
            raise RuntimeError(f"{graph.name}: {done}")
    browser.close()
    wanted = set(shows)
    boxes = [(*node["pos"], *node["size"]) for node in browser.nodes() if not wanted or node["title"] in wanted]
    left, top = min(box[0] for box in boxes) - 16, min(box[1] for box in boxes) - 60
    right, bottom = max(box[0] + box[2] for box in boxes) + 16, max(box[1] + box[3] for box in boxes) + 16
    box = [left, top, right - left, bottom - top]
    browser.view(box=box, scale=1.0, margin=0)
    file = ROOT / ".cache" / "scene.png"
    browser.shot(file=str(file), clip=browser.where(box=box))
    return file.read_bytes()


def small_webp(picture: bytes, most: int = HELP_BYTES, widest: int = 900) -> bytes:
    """The picture in at most so many bytes: as wide and as good as that allows."""
    from PIL import Image

    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    for width in (widest, 800, 720, 640, 560, 480):
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
    scene = SCENES[node]
    HELP.mkdir(parents=True, exist_ok=True)
    picture = shoot(browser, graph_of(node, schemas), scene.shows, scene.runs)
    (HELP / f"{PREFIX}{node}.webp").write_bytes(small_webp(picture))

"""How fast poses are found and drawn: ``python benchmarks/pose.py [--json] [--wheel MEDIAPIPE_WHEEL]``.

The clip is a real dancer out of the package comfyui-workflow-templates-media-assets-01; the nets are looked for in the
model folders, or taken from a mediapipe wheel into a temporary folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from s2v_core.errors import S2VError  # noqa: E402
from s2v_core.models import BLAZEPOSE, find_model, install_blazepose  # noqa: E402
from s2v_core.pose.draw import draw_pose  # noqa: E402
from s2v_core.pose.extract import extract_pose  # noqa: E402
from s2v_core.video.clip import Clip  # noqa: E402

CLIP = "video_minimax_h3_fun_controlnet_union-2"


def real_clip() -> Clip:
    spec = importlib.util.find_spec("comfyui_workflow_templates_media_assets_01")
    if spec is None or spec.origin is None:
        sys.exit("Run: python -m pip install --no-deps comfyui-workflow-templates-media-assets-01==0.1.48")
    with Image.open(Path(spec.origin).parent / "templates" / f"{CLIP}.webp") as picture:
        frames = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])
    return Clip(frames, Fraction(15))


def seconds(action: Callable[[], Any], rounds: int) -> float:
    """Median of several rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def result(name: str, value: float, unit: str, goal: float, higher: bool, peer: str = "") -> dict[str, Any]:
    holds = bool(value >= goal if higher else value <= goal)
    sign = ">=" if higher else "<="
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "goal": f"{sign} {goal}",
        "peer": peer,
        "holds": holds,
    }


def measure(rounds: int) -> list[dict[str, Any]]:
    clip = real_clip()
    track = extract_pose(clip).track
    count = len(clip)
    size = f"{clip.width}x{clip.height}"
    finding = count / seconds(lambda: extract_pose(clip), rounds)
    drawing = seconds(lambda: draw_pose(track, size=(1280, 720)), rounds) / count * 1000
    return [
        result(f"BlazePose, {size}", finding, "frames/s", 20, higher=True),
        result("BlazePose, frames found", 100 * float(track.found.mean()), "%", 93, higher=True),
        result("drawing, 1280x720", drawing, "ms/frame", 10, higher=False),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--wheel", help="a mediapipe wheel to take the nets from")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = options.wheel or next(iter(sorted((ROOT / ".cache" / "wheels").glob("mediapipe-*.whl"))), None)
            if options.wheel or (wheel and not all(find_model(entry.name) for entry in BLAZEPOSE)):
                install_blazepose(wheel, folder)
                os.environ["S2V_MODELS"] = folder
            results = measure(options.rounds)
        except S2VError as error:
            sys.exit(str(error))
    if options.json:
        print(json.dumps({"results": results}))
    else:
        for row in results:
            mark = "ok  " if row["holds"] else "MISS"
            print(f"{mark} {row['name']:<40} {row['value']:>8} {row['unit']:<9} goal {row['goal']}")
    return 0 if all(row["holds"] for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())

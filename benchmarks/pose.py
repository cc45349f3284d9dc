"""Pose: how fast the points are found and drawn, on a real clip of the packages that the tests use.

DWPose's real weights cannot be redistributed, so its two nets are random-weight ONNX files of the true graphs (the same
layers, sizes and names; tests/pose/dwpose_graphs.py), which always find one person: the times are those of the real
files, the points are not. Following people between detections is compared with detecting in every frame, one crop at
a time, in one run with alternating order.
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
from s2v_core.get_blazepose import install_blazepose  # noqa: E402
from s2v_core.models import BLAZEPOSE, BLAZEPOSE_FACE, BLAZEPOSE_HANDS, find_model  # noqa: E402
from s2v_core.onnxnet import OnnxNet  # noqa: E402
from s2v_core.pose.draw import draw_pose  # noqa: E402
from s2v_core.pose.dwpose import Nets, extract_dwpose  # noqa: E402
from s2v_core.pose.extract import extract_pose  # noqa: E402
from s2v_core.pose.settings import DwposeSettings, ExtractSettings  # noqa: E402
from s2v_core.video.clip import Clip  # noqa: E402

CLIP = "video_minimax_h3_fun_controlnet_union-2"
FRAMES = 81
FRESH = ExtractSettings("blazepose", keep=False, hands=False, face=False)
WHOLE = ExtractSettings("blazepose", keep=False)


def real_clip() -> Clip:
    spec = importlib.util.find_spec("comfyui_workflow_templates_media_assets_01")
    if spec is None or spec.origin is None:
        sys.exit("Run: python -m pip install --no-deps comfyui-workflow-templates-media-assets-01==0.1.48")
    with Image.open(Path(spec.origin).parent / "templates" / f"{CLIP}.webp") as picture:
        frames = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])
    return Clip(frames, Fraction(15))


def longer(clip: Clip, frames: int) -> Clip:
    """The clip to and fro until it is as long."""
    order = np.concatenate([np.arange(len(clip)), np.arange(len(clip))[::-1]])
    return clip.with_frames(clip.frames[np.resize(order, frames)])


def dwpose_nets(folder: Path) -> Nets:
    """The two graphs at full size, made once and kept in ``folder``."""
    from tests.pose.dwpose_graphs import DETECTOR, POSE, write_both

    if not all((folder / name).is_file() for name in (DETECTOR, POSE)):
        print(f"Making two ONNX files of 354 MB in {folder} ...", file=sys.stderr)
        write_both(folder)
    return Nets(OnnxNet(folder / DETECTOR), OnnxNet(folder / POSE))


def timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def seconds(action: Callable[[], Any], rounds: int) -> float:
    """Median of several rounds, after one that does not count."""
    return statistics.median([timed(action) for _ in range(rounds + 1)][1:])


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


def measure_dwpose(folder: Path, rounds: int) -> list[dict[str, Any]]:
    nets, clip = dwpose_nets(folder), longer(real_clip(), FRAMES)
    ways = {
        "followed": DwposeSettings(),
        "frame by frame": DwposeSettings(detect_every=1, batch=1),
    }
    extract_dwpose(clip.with_frames(clip.frames[:1]), nets=nets)  # the first run is slower
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in sorted(ways, reverse=bool(turn % 2)):
            times[name].append(timed(lambda name=name: extract_dwpose(clip, ways[name], nets=nets)))  # type: ignore[misc]
    followed, naive = (statistics.median(times[name]) for name in ways)
    _, report = extract_dwpose(clip, nets=nets)
    said = (
        f"{naive:.1f} s frame by frame, {followed:.1f} s followed ({FRAMES / followed:.2f} frames/s, {report.provider})"
    )
    if report.detections != len(range(0, FRAMES, DwposeSettings.detect_every)):
        sys.exit(f"The nets lost their person: {report.detections} detections. This measures something else.")
    return [result(f"DWPose, {FRAMES} frames, gain by following", naive / followed, "x", 5, higher=True, peer=said)]


def measure_blazepose(rounds: int) -> list[dict[str, Any]]:
    clip = real_clip()
    track = extract_pose(clip, FRESH).track
    count = len(clip)
    size = f"{clip.width}x{clip.height}"
    finding = count / seconds(lambda: extract_pose(clip, FRESH), rounds)
    whole = count / seconds(lambda: extract_pose(clip, WHOLE), rounds)
    drawing = seconds(lambda: draw_pose(track, size=(1280, 720)), rounds) / count * 1000
    return [
        result(
            f"BlazePose, body, {size}", finding, "frames/s", 20, higher=True, peer=f"{whole:.1f} with hands and face"
        ),
        result("BlazePose, frames found", 100 * float(track.found.mean()), "%", 93, higher=True),
        result("drawing, 1280x720", drawing, "ms/frame", 10, higher=False),
    ]


def measure_cache(folder: Path) -> list[dict[str, Any]]:
    """A second extraction of 81 frames of 720p."""
    os.environ["S2V_CACHE"] = str(folder)
    clip = real_clip()
    rows, columns = np.arange(720) * clip.height // 720, np.arange(1280) * clip.width // 1280
    large = longer(clip.with_frames(np.ascontiguousarray(clip.frames[:, rows][:, :, columns])), FRAMES)
    extract_pose(large, "blazepose")
    again = timed(lambda: extract_pose(large, "blazepose"))
    return [result("second extraction, 81 frames 1280x720", again, "s", 1, higher=False)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--wheel", help="a mediapipe wheel to take the nets from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dwpose-rounds", type=int, default=2, help="each takes minutes; 0 leaves DWPose out")
    parser.add_argument("--onnx", type=Path, default=ROOT / ".cache" / "onnx", help="where the two graphs are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = options.wheel or next(iter(sorted((ROOT / ".cache" / "wheels").glob("mediapipe-*.whl"))), None)
            if options.wheel or (
                wheel and not all(find_model(entry.name) for entry in (*BLAZEPOSE, *BLAZEPOSE_HANDS, *BLAZEPOSE_FACE))
            ):
                install_blazepose(wheel, folder)
                os.environ["S2V_MODELS"] = folder
            results = measure_blazepose(options.rounds)
            if options.dwpose_rounds:
                results += measure_dwpose(options.onnx, options.dwpose_rounds)
            results += measure_cache(Path(folder) / "cache")
        except S2VError as error:
            sys.exit(str(error))
    if options.json:
        print(json.dumps({"results": results}))
    else:
        for row in results:
            mark = "ok  " if row["holds"] else "MISS"
            print(f"{mark} {row['name']:<40} {row['value']:>8} {row['unit']:<9} goal {row['goal']} {row['peer']}")
    return 0 if all(row["holds"] for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())

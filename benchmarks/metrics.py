"""How long the metrics of one clip take, and how far they move for known changes.

    python benchmarks/metrics.py [--json] [--frames 81] [--size 832x480] [--clip FILE] [--curves]

The clip is a real dancer (comfyui-workflow-templates-media-assets-01, or --clip), enlarged to the size of Wan's videos.
Points are found anew in every run; nothing comes out of the pose cache. --curves adds the curves of the known answers
on the toy world's clips (docs/metrics.md).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s2v_core.arguments import parse_size
from s2v_core.metrics import registry
from s2v_core.metrics.inputs import as_clip, gather
from s2v_core.metrics.subject import Subject
from s2v_core.pose.draw import draw_pose
from s2v_core.pose.extract import extract_pose
from s2v_core.pose.settings import ExtractSettings
from s2v_core.video.clip import Clip
from s2v_core.video.fit import fit_clip
from s2v_core.video.read import read_clip

MEDIA = "comfyui_workflow_templates_media_assets_01"
DANCER, OTHER = "video_minimax_h3_fun_controlnet_union-2", "video_wan_animate2_distilled-1"


def real_clip(given: Path | None, name: str, frames: int, size: tuple[int, int]) -> Clip:
    spec = importlib.util.find_spec(MEDIA)
    path = given or (Path(spec.origin).parent / "templates" / f"{name}.webp" if spec and spec.origin else None)
    if path is None or not path.is_file():
        raise SystemExit(f"No clip: install {MEDIA.replace('_', '-')}, or name one with --clip.")
    return fit_clip(read_clip(path, frames=frames, short="loop"), size, "crop")


def timed(clip: Clip, training: list[Clip]) -> dict[str, Any]:
    """Seconds of each metric of one cell, in the order of the registry: the first one that needs points pays for them.

    What the libraries need once, at their first call, is paid before. ``first`` is a sweep's first cell, which also
    works out what all cells share; ``next`` is any other.
    """
    track = extract_pose(clip, ExtractSettings(keep=False, hands=False, face=False)).track
    control = draw_pose(track)
    found: dict[str, Any] = {}
    registry.score_clip(clip.frames[:3, ::4, ::4])
    # Another clip of the same dance, so that nothing of the first is known of the second.
    noisy = np.clip(clip.frames + np.random.default_rng(0).normal(0, 3, clip.frames.shape), 0, 255).astype(np.uint8)
    for name, frames in (("first", clip.frames), ("next", noisy)):
        inputs = gather(
            control=control,
            reference=clip.frames[0],
            training=training,
            driving=clip,
            provenance={"seconds": 1.0, "peak_memory": 1},
            detector=None,
        )
        subject = Subject(as_clip(frames), inputs)
        parts = {}
        wall, cpu = time.perf_counter(), time.process_time()
        for metric in registry.chosen_metrics(None):
            start = time.perf_counter()
            score = registry._measure(metric, subject)
            parts[metric.name] = {
                "seconds": round(time.perf_counter() - start, 3),
                "value": score.value,
                "how": score.how or score.reason,
            }
        found[name] = {
            "seconds": round(time.perf_counter() - wall, 2),
            "cpu seconds": round(time.process_time() - cpu, 2),
            "metrics": parts,
        }
    return found


def curves() -> dict[str, Any]:
    """Every metric against the strength of each known change, on one clip of the toy world."""
    from s2v_core.nano.world import AIST_LIKE, reference, render, scene
    from tests.metrics import changes

    made = scene(7)
    made = replace(made, character=replace(made.character, wall="blue", floor="brown", trousers="yellow", shirt="red"))
    clip = render(made.character, made.motion, seed=made.seed).clip
    track = render(made.character, made.motion, seed=made.seed).track
    picture = reference(made.character, made.motion, seed=made.seed)
    training = [
        render(one.character, one.motion, seed=one.seed, frames=3).clip
        for one in (scene(number, fixed=AIST_LIKE) for number in range(4))
    ]

    def variant(**parts: str) -> Any:
        return render(replace(made.character, **parts), made.motion, seed=made.seed).clip.frames

    biased, clothes, place = variant(**AIST_LIKE), variant(shirt="blue", trousers="green"), variant(wall="green")
    shares = (0.25, 0.5, 0.75, 1)
    plans: dict[str, tuple[Any, tuple[float, ...]]] = {
        "shift (pixels)": (changes.shifted, (1, 2, 4, 8)),
        "slower (times)": (changes.slower, (2, 4)),
        "noise (levels)": (changes.noised, (4, 8, 16, 32)),
        "blur (pixels)": (changes.blurred, (0.5, 1, 2)),
        "JPEG (100 - quality)": (changes.compressed, (50, 80, 95)),
        "flicker (levels)": (changes.flickering, (5, 10, 20)),
        "other clothes (share)": (lambda frames, share: changes.mixed(frames, clothes, share), shares),
        "other wall (share)": (lambda frames, share: changes.mixed(frames, place, share), shares),
        "training set (share)": (lambda frames, share: changes.mixed(frames, biased, share), shares),
        "mirrored": (lambda frames, _: changes.mirrored(frames), (1,)),
        "reversed": (lambda frames, _: changes.reversed_(frames), (1,)),
    }
    names = [name for name in registry.METRICS if registry.METRICS[name].default][:12]

    def row(frames: Any) -> dict[str, float | None]:
        card = registry.score_clip(
            clip.with_frames(frames),
            control=track,
            reference=picture,
            training=training,
            driving=clip,
            metrics=names,
        )
        return {name: card.value(name) for name in names}

    found: dict[str, Any] = {"unchanged": {"0": row(clip.frames)}}
    for name, (change, strengths) in plans.items():
        found[name] = {f"{strength:g}": row(change(clip.frames, strength)) for strength in strengths}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--curves", action="store_true")
    given = parser.parse_args()
    size = parse_size(given.size) or (832, 480)
    clip = real_clip(given.clip, DANCER, given.frames, size)
    training = [real_clip(None, OTHER, 5, size)]
    with tempfile.TemporaryDirectory() as cache:
        models = Path(os.environ.get("S2V_CACHE", "")) / "models"
        os.environ.setdefault("S2V_MODELS", str(models))
        os.environ["S2V_CACHE"] = cache
        found: dict[str, Any] = {
            "frames": len(clip),
            "size": given.size,
            "processors": os.cpu_count(),
            **timed(clip, training),
        }
    if given.curves:
        found["curves"] = curves()
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for name in ("first", "next"):
        print(f"{name} cell: {found[name]['seconds']} s ({found[name]['cpu seconds']} s of CPU)")
        for metric, said in found[name]["metrics"].items():
            print(f"  {metric:18s} {said['seconds']:7.3f} s  {said['value']}  {said['how']}")
    for change, rows in found.get("curves", {}).items():
        print(change)
        for strength, row in rows.items():
            print(f"  {strength:>5s} " + " ".join(f"{k} {v:.3g}" for k, v in row.items() if v is not None))


if __name__ == "__main__":
    main()

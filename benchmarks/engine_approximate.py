"""What the approximate ways to be quicker cost: each beside the exact rendering, with the nano model.

Held-out scenes of the toy world are rendered exactly (30 steps of Euler, guidance 3 in all of them) and then with step
caching, with guidance in a part of the steps only, and as drafts; 16 steps of UniPC with step caching only. Seconds are
those of the sampling, which at real sizes is all but a few percent of a rendering; they are taken by turns, and a ratio
is the median over the scenes. All else is a mean over the scenes, PSNR also a minimum. "another seed" says what an
altogether other rendering of the same scene is like.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from engine_models import Place, Result

from s2v_core.nano.detect import find_toy_dancer
from s2v_core.nano.measure import dancer, iou, psnr, silhouette
from s2v_core.nano.world import HELD_OUT, caption, reference, render, scene
from s2v_core.pose.draw import draw_pose
from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.halving import Round, draft_settings
from s2v_core.sweeps.trail import trail
from s2v_core.video.clip import Clip
from s2v_core.video.fit import resize
from s2v_core.wan.embedded import nano_files
from s2v_core.wan.engine import load_engine
from s2v_core.wan.render import Renderer
from s2v_core.wan.sampler import decode
from s2v_core.wan.settings import SampleSettings

SCENES = 8
EXACT = SampleSettings(steps=30, guidance=3.0, width=96, height=96, frames=17)
SHORTER = replace(EXACT, steps=16, solver="unipc")
THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
SURE = 0.3  # points of a lower score are not compared
NAME = "exact"


@dataclass(frozen=True, eq=False)
class Stage:
    """A held-out scene. ``truth``: where the dancer is, bool [T, H, W]."""

    seed: int
    prompt: Prompt
    renderer: Renderer
    truth: np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Made:
    """A rendering: ``latents``, the clip at the exact one's size, seconds of the sampling, and forwards."""

    latents: Any
    clip: Clip
    seconds: float
    forwards: int


def ways() -> Mapping[str, SampleSettings]:
    """The approximations by name."""
    steps = EXACT.steps
    windows = {
        "guidance in the first half": {"guidance_to": steps // 2},
        "guidance in the second half": {"guidance_from": steps // 2},
        "guidance from a fifth to four fifths": {"guidance_from": steps // 5, "guidance_to": steps * 4 // 5},
    }
    rounds = {
        "draft, half of the steps": Round(0.5),
        "draft, a third of the steps": Round(1 / 3),
        "draft, a fifth of the steps": Round(0.2),
        "draft, two thirds of the sides": Round(1.0, 2 / 3),
    }
    return {
        **cached(EXACT),
        **{name: replace(EXACT, **changes) for name, changes in windows.items()},
        **{name: draft_settings(EXACT, one) for name, one in rounds.items()},
    }


def cached(exact: SampleSettings) -> dict[str, SampleSettings]:
    """Step caching by name."""
    return {f"step_cache {threshold:g}": replace(exact, step_cache=threshold) for threshold in THRESHOLDS}


def compare(place: Place) -> list[Result]:
    """One row a way."""
    engine = load_engine(nano_files(), device=place.device, dtype="float32")
    stages = [_stage(engine, number) for number in range(SCENES)]
    shorter = _compare(place, stages, SHORTER, cached(SHORTER), "UniPC, 16 steps: ")
    return [*_compare(place, stages, EXACT, ways(), ""), *shorter]


def _compare(
    place: Place, stages: list[Stage], best: SampleSettings, others: Mapping[str, SampleSettings], before: str
) -> list[Result]:
    all_ways = {NAME: best, **others}
    made: dict[str, list[Made]] = {name: [] for name in all_ways}
    reseeded = []
    for number, stage in enumerate(stages):
        for settings in all_ways.values():
            # Encodes pictures and texts, and is not counted.
            _make(place, stage, replace(settings, steps=1, guidance_from=0, guidance_to=EXACT.guidance_to))
        for name in reversed(all_ways) if number % 2 else all_ways:
            made[name].append(_make(place, stage, all_ways[name]))
        reseeded.append(_make(place, replace(stage, seed=stage.seed + 1000), best))
    exact = made.pop(NAME)
    made["another seed"] = reseeded
    return [_row(f"{before}{name}", found, exact, stages) for name, found in made.items()]


def _stage(engine: Any, number: int) -> Stage:
    held = scene(number, held=HELD_OUT)
    take = render(held.character, held.motion, seed=held.seed)
    picture = reference(held.character, held.motion, seed=held.seed)
    renderer = Renderer(engine, draw_pose(take.track), picture)
    return Stage(number, caption(held.character, held.motion), renderer, dancer(take.labels))


def _make(place: Place, stage: Stage, settings: SampleSettings) -> Made:
    settings = replace(settings, seed=stage.seed)
    begin = place.now()
    latents, conditioning = stage.renderer.sample(stage.prompt, settings)
    seconds = place.now() - begin
    clip = decode(stage.renderer.engine, latents, conditioning, settings)
    if (clip.width, clip.height) != (EXACT.width, EXACT.height):
        clip = clip.with_frames(np.stack([resize(frame, (EXACT.width, EXACT.height)) for frame in clip.frames]))
    left_out = stage.renderer.estimated.forwards if stage.renderer.estimated else 0
    return Made(latents, clip, seconds, trail(stage.prompt, settings, {}, str).forwards - left_out)


def _row(name: str, found: list[Made], exact: list[Made], stages: list[Stage]) -> Result:
    pairs = list(zip(found, exact, strict=True))
    noise = [psnr(one.clip.frames, right.clip.frames) for one, right in pairs]
    shapes = [(silhouette(one.clip.frames), silhouette(right.clip.frames)) for one, right in pairs]
    gained = [iou(one, at.truth) - iou(right, at.truth) for (one, right), at in zip(shapes, stages, strict=True)]
    errors = [_apart(one.latents, right.latents) for one, right in pairs if one.latents.shape == right.latents.shape]
    return {
        "name": name,
        "seconds": round(statistics.median(one.seconds / right.seconds for one, right in pairs), 3),
        "forwards": round(sum(one.forwards for one in found) / sum(right.forwards for right in exact), 3),
        "relative error of the latents": round(statistics.mean(errors), 4) if errors else None,
        "PSNR": _decibels(statistics.mean(noise)),
        "lowest PSNR": _decibels(min(noise)),
        "IoU with the exact silhouette": round(statistics.mean(iou(*shape) for shape in shapes), 4),
        "IoU with the true silhouette, more than exact": round(statistics.mean(gained), 4),
        "points moved by pixels": round(statistics.mean(_moved(one.clip, right.clip) for one, right in pairs), 2),
    }


def _decibels(value: float) -> float | None:
    """None where no pixel differs: JSON knows no infinity."""
    return round(value, 1) if math.isfinite(value) else None


def _apart(one: Any, other: Any) -> float:
    return float((one - other).norm() / other.norm())


def _moved(one: Clip, other: Clip) -> float:
    """The mean distance of the dancers' points that are seen in both."""
    first, second = find_toy_dancer(one), find_toy_dancer(other)
    both = (first.scores > SURE) & (second.scores > SURE)
    return float(np.linalg.norm(first.points - second.points, axis=-1)[both].mean())

"""Scores of a LoRA of the nano model while it is trained: ``s2v train lora --score s2v_core.nano.score:scores``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .measure import dancer, distance, iou, leakage, off, silhouette
from .palette import rgb
from .world import AIST_LIKE, HELD_OUT, Scene, Take, caption, reference, render, scene

if TYPE_CHECKING:
    from ..wan.render import Renderer

BIAS = {part: AIST_LIKE[part] for part in ("trousers", "wall")}
_FAR = 60.0  # levels: colours of a case that are nearer to the training set's would show no leakage


def cases(count: int, held: tuple[str, ...] = HELD_OUT) -> list[tuple[Scene, Take]]:
    """Held-out scenes whose trousers and wall are far from the training set's, with their true clips."""
    found: list[tuple[Scene, Take]] = []
    number = 0
    while len(found) < count:
        made = scene(number, held=held)
        number += 1
        if all(
            distance(rgb(part, getattr(made.character, part)), rgb(part, name)) > _FAR for part, name in BIAS.items()
        ):
            found.append((made, render(made.character, made.motion, seed=made.seed)))
    return found


def judge(frames: np.ndarray[Any, Any], take: Take) -> dict[str, float]:
    """Leakage towards the training set, identity (1: shirt, skin and hair have their colours) and pose (IoU)."""
    truth = take.clip.frames
    leaked = leakage(frames, truth, take.labels, BIAS)
    offs = [off(frames, truth, take.labels, part) for part in ("shirt", "skin", "hair")]
    return {
        "leakage": 0.0 if leaked is None else leaked,
        "identity": 1 - float(np.mean([one for one in offs if one is not None])) / 255,
        "pose": iou(silhouette(frames), dancer(take.labels)),
    }


def scores(step: int, file: str) -> Mapping[str, float]:
    """The means over a few held-out people who dance with the LoRA at strength 1; the same noise at every step."""
    from ..wan.settings import LoraUse, SampleSettings

    settings = SampleSettings(steps=8, guidance=3.0, width=96, height=96, frames=17, loras=(LoraUse(str(file)),))
    found = []
    for made, take, renderer in _stage():
        prompt = caption(made.character, made.motion)
        found.append(judge(renderer.render(prompt, replace(settings, seed=made.seed)).frames, take))
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


@lru_cache(maxsize=1)
def _stage(count: int = 4) -> list[tuple[Scene, Take, Renderer]]:
    from ..pose.draw import draw_pose
    from ..wan.embedded import nano_files
    from ..wan.engine import load_engine
    from ..wan.render import Renderer

    engine = load_engine(nano_files(), device="cpu", dtype="float32")
    return [
        (
            made,
            take,
            Renderer(
                engine, draw_pose(take.track, stick="fixed"), reference(made.character, made.motion, seed=made.seed)
            ),
        )
        for made, take in cases(count)
    ]

"""A cheap renderer for tests: plain numpy pictures that depend on every setting. It has nothing to do with Wan."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from s2v_core.errors import Interrupted
from s2v_core.files import sha256_file
from s2v_core.prompts.prompt import Prompt
from s2v_core.video.clip import Clip
from s2v_core.wan.settings import SampleSettings


@dataclass
class PictureStep:
    index: int
    total: int
    frame: np.ndarray

    def preview(self) -> np.ndarray:
        return self.frame


@dataclass
class PictureRenderer:
    """``rendered`` collects what was asked; ``fails(prompt, settings)`` may raise; ``log`` gets a line a render."""

    fingerprint: dict[str, str] = field(default_factory=lambda: {"model": "pictures", "device": "cpu"})
    seconds_a_step: float = 0.0
    fails: Callable[[Prompt, SampleSettings], None] | None = None
    log: Path | None = None
    rendered: list[tuple[Prompt, SampleSettings]] = field(default_factory=list)

    def lora_sha256(self, file: str) -> str:
        return sha256_file(file)

    def render(
        self,
        prompt: Prompt,
        settings: SampleSettings,
        *,
        on_step: Callable[[Any], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Clip:
        self.rendered.append((prompt, settings))
        if self.log:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(f"{settings.guidance:g} {settings.seed}\n")
        if self.fails:
            self.fails(prompt, settings)
        clip = picture(prompt, settings)
        for step in range(settings.steps):
            if should_stop and should_stop():
                raise Interrupted("stopped")
            time.sleep(self.seconds_a_step)
            if on_step:
                on_step(PictureStep(step, settings.steps, clip.frames[0]))
        return clip


def picture(prompt: Prompt, settings: SampleSettings) -> Clip:
    """A disc that circles on a ground; hue, speed, size and grain come from the settings."""
    text = f"{prompt.text}|{prompt.negative}|{settings}"
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    height, width, frames = settings.height, settings.width, settings.frames
    ground, disc = random.integers(30, 120, 3), random.integers(130, 255, 3)
    y, x = np.mgrid[:height, :width]
    pictures = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        angle = 2 * np.pi * t / frames * (1 + settings.seed % 3)
        at_x, at_y = width * (0.5 + 0.3 * np.cos(angle)), height * (0.5 + 0.3 * np.sin(angle))
        inside = (x - at_x) ** 2 + (y - at_y) ** 2 < (min(width, height) * 0.16) ** 2
        pictures[t] = np.where(inside[..., None], disc, ground + (x[..., None] * 40 // width))
    return Clip(pictures, Fraction(16))

"""``Renderer``: one engine with one pose video and one reference, ready for many renderings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..prompts.prompt import Prompt
from ..video.clip import Clip
from .engine import Engine
from .lora_file import lora_sha256
from .sampler import Step, decode, sample
from .settings import SampleSettings
from .vace import ControlContext, encode_pictures, join

Image = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(eq=False)
class Renderer:
    """Renders prompts and settings with the same pictures; what they share is encoded once and kept.

    ``control``: the pose video, or None. ``reference``: uint8 [H, W, 3], or None. ``notes`` says, after a rendering,
    what was fitted or cut. ``on_hash(path, done, size)`` hears how far the reading of a model file for its sha256 is.
    """

    engine: Engine
    control: Clip | None = None
    reference: Image | None = None
    on_hash: Callable[[str, int, int], None] | None = None
    notes: tuple[str, ...] = ()
    _pictures: dict[tuple[Any, ...], ControlContext] = field(default_factory=dict, repr=False)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Everything but prompt and settings that decides the pixels: files, pictures, type, device, versions."""
        found = self.engine.identity(self.on_hash)
        found["control"] = self.control.sha256() if self.control else ""
        found["reference"] = _image_sha256(self.reference) if self.reference is not None else ""
        return found

    def lora_sha256(self, file: str) -> str:
        """The sha256 of a LoRA file; raises ``LoraError`` when it is missing or no LoRA."""
        self.engine.lora(file)
        return lora_sha256(file)

    def render(
        self,
        prompt: Prompt,
        settings: SampleSettings,
        *,
        on_step: Callable[[Step], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Clip:
        """One clip. Raises what ``condition``, ``sample`` and ``decode`` raise."""
        pictures = self._encode(settings)
        positive = self.engine.text_states(prompt.text)
        # At guidance 1 the negative prompt plays no part: the positive one stands in, unused.
        negative = positive if settings.guidance == 1.0 else self.engine.text_states(prompt.negative)
        conditioning = join(positive, negative, pictures, settings)
        latents = sample(self.engine, conditioning, settings, on_step=on_step, should_stop=should_stop)
        return decode(self.engine, latents, conditioning, settings)

    def _encode(self, settings: SampleSettings) -> ControlContext:
        key = (settings.width, settings.height, settings.frames, settings.fit, settings.tiling)
        if key not in self._pictures:
            self._pictures[key] = encode_pictures(self.engine, settings, self.control, self.reference)
        self.notes = self._pictures[key].notes
        return self._pictures[key]


def _image_sha256(image: Image) -> str:
    digest = hashlib.sha256(f"{image.dtype} {list(image.shape)}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()

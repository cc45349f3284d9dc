"""``Renderer``: one engine with one pose video and one reference, ready for many renderings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..prompts.prompt import Prompt
from ..video.clip import Clip
from .decoding import Frames, decode
from .engine import Engine
from .flops import NetSizes
from .lora_file import lora_sha256
from .masks import as_mask
from .pictures import References, array_sha256, as_references
from .sampler import Step, sample
from .schedule import needs_negative
from .settings import SampleSettings
from .shared import Shared
from .step_cache import Estimated
from .vace import Conditioning, ControlContext, encode_pictures, join

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Renderer:
    """Renders prompts and settings with the same pictures; what they share is encoded once and kept.

    ``control``: the pose video, or None. ``reference``: uint8 [H, W, 3], several of them in their order, or None.
    ``mask``: what ``as_mask`` takes; where it is black the control video is kept. ``start``: the clip to begin from
    when ``denoise`` is below 1. ``notes`` says, after a rendering, what was fitted or cut, which part of a LoRA was
    left out, and when memory ran out. ``estimated``: what step caching left out of the last rendering, None where it
    was off. ``on_hash(path, done, size)`` hears how far the reading of a model file for its sha256 is. ``awaited``:
    texts of the renderings that are to come.
    """

    engine: Engine
    control: Clip | None = None
    reference: References = None
    on_hash: Callable[[str, int, int], None] | None = None
    mask: Any = None
    start: Clip | None = None
    notes: tuple[str, ...] = ()
    estimated: Estimated | None = None
    awaited: list[str] = field(default_factory=list, repr=False)
    _pictures: dict[tuple[Any, ...], ControlContext] = field(default_factory=dict, repr=False)

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Everything but prompt and settings that decides the pixels: files, pictures, type, device, versions."""
        pictures = picture_fingerprint(self.control, self.reference, self.mask, self.start)
        return self.engine.identity(self.on_hash) | pictures

    @cached_property
    def net_sizes(self) -> NetSizes:
        """How large the nets are, which says how long they take."""
        return NetSizes.of(self.engine.files)

    @property
    def shares_steps(self) -> bool:
        """``render`` can take steps from other renderings."""
        return True

    @property
    def gives_latents(self) -> bool:
        """``render`` can hand out the latents of the finished clip."""
        return True

    def expect(self, wanted: Iterable[tuple[Prompt, SampleSettings]]) -> None:
        """Hear what is going to be rendered, so that the text encoder encodes all of its texts at once."""
        self.awaited[:] = needed_texts(wanted)

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
        shared: Shared | None = None,
        on_latents: Callable[[torch.Tensor], None] | None = None,
        on_frames: Callable[[Frames], None] | None = None,
    ) -> Clip:
        """One clip, the same whatever is ``shared``. Raises what ``condition``, ``sample`` and ``decode`` raise.

        ``on_latents`` gets the finished latents [1, 16, T, h, w], without those of references, before they are decoded;
        ``on_frames`` the frames, as they are decoded.
        """
        falls = len(self.engine.residence.falls)
        latents, conditioning = self.sample(prompt, settings, on_step=on_step, should_stop=should_stop, shared=shared)
        if on_latents:
            on_latents(latents)
        clip = decode(self.engine, latents, conditioning, settings, on_frames=on_frames, should_stop=should_stop)
        self.notes = (*self.notes, *self.engine.residence.falls[falls:])
        return clip

    def sample(
        self,
        prompt: Prompt,
        settings: SampleSettings,
        *,
        states: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None),
        noise: Callable[[tuple[int, ...]], torch.Tensor] | None = None,
        on_step: Callable[[Step], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        shared: Shared | None = None,
    ) -> tuple[torch.Tensor, Conditioning]:
        """The latents of ``render`` (see ``sampler.sample``), and what steered them.

        ``states``: text states in place of those of the prompt's text and negative text (see ``text.fit_states``).
        ``noise(latent shape)``: starting noise in place of what the seed draws. Neither is in the fingerprint.
        """
        self.engine.expected = settings
        self.estimated = None
        pictures = self._encode(settings)
        positive = self.engine.text_states(prompt.text, should_stop) if states[0] is None else states[0]
        # Without guidance the negative prompt plays no part: the positive one stands in, unused.
        negative = positive
        if needs_negative(settings):
            negative = self.engine.text_states(prompt.negative, should_stop) if states[1] is None else states[1]
        self.awaited[:] = [text for text in self.awaited if text not in (prompt.text, prompt.negative)]
        self.engine.finish_texts(self.awaited, should_stop)
        conditioning = join(positive, negative, pictures, settings)
        if noise:
            conditioning = replace(conditioning, noise=noise(conditioning.latent_shape))
        self.notes = conditioning.notes
        told: list[str] = []
        estimated: list[Estimated] = []
        latents = sample(
            self.engine,
            conditioning,
            settings,
            on_step=on_step,
            on_note=told.append,
            should_stop=should_stop,
            shared=shared,
            on_estimated=estimated.append,
        )
        self.estimated = estimated[0] if estimated else None
        self.notes = (*conditioning.notes, *told, *(report.say() for report in estimated))
        return latents, conditioning

    def _encode(self, settings: SampleSettings) -> ControlContext:
        names = ("width", "height", "frames", "fit", "tiling", "mask_edge", "precision")
        key = (*(getattr(settings, name) for name in names), settings.denoise == 1.0)
        if key not in self._pictures:
            self._pictures[key] = encode_pictures(
                self.engine, settings, self.control, self.reference, self.mask, self.start
            )
        return self._pictures[key]


def needed_texts(wanted: Iterable[tuple[Prompt, SampleSettings]]) -> list[str]:
    """The texts that renderings need, each once, in their order."""
    pairs = [(prompt.text, *([prompt.negative] if needs_negative(settings) else [])) for prompt, settings in wanted]
    return list(dict.fromkeys(text for pair in pairs for text in pair))


def picture_fingerprint(control: Clip | None, reference: References, mask: Any, start: Clip | None) -> dict[str, str]:
    """The sha256 of each picture that steers a rendering; see ``Renderer`` for what they are."""
    found = {
        "control": control.sha256() if control else "",
        "reference": " ".join(array_sha256(picture) for picture in as_references(reference)),
    }
    # Named only when they are there: what was rendered without them before is still found.
    if (shares := as_mask(mask)) is not None:
        found["mask"] = array_sha256(shares)
    if start is not None:
        found["start"] = start.sha256()
    return found

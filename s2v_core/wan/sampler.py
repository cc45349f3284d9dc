"""The sampling loop, from noise to latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..errors import Interrupted, SettingsError
from . import transformer
from .engine import Engine
from .guidance import guide
from .lora import applied
from .lora_file import Lora
from .pictures import TIME_STRIDE
from .preview import preview
from .schedule import TRAIN_TIMESTEPS, guidance_scales, needs_negative, sigmas, strengths
from .settings import SampleSettings
from .shared import Shared, State
from .solvers import make_solver
from .step_cache import Estimated, StepCache
from .transformer import Constants
from .vace import Conditioning
from .windows import Window, blend, plan_windows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Step:
    """One finished step. ``index`` counts from 0; ``sigma`` is the noise level before it."""

    index: int
    total: int
    sigma: float
    _clean: torch.Tensor = field(repr=False)
    _colours: Callable[[], torch.Tensor] = field(repr=False)

    def preview(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The middle frame of what the clip will be by this step's guess: uint8 [H/8, W/8, 3]."""
        return preview(self._clean, self._colours())


def sample(
    engine: Engine,
    conditioning: Conditioning,
    settings: SampleSettings,
    *,
    on_step: Callable[[Step], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    shared: Shared | None = None,
    on_estimated: Callable[[Estimated], None] | None = None,
) -> torch.Tensor:
    """Latents [1, 16, T, H/8, W/8] of one rendering, without the reference's latent frames.

    With ``precision="diffsynth"`` they are those of DiffSynth's pipeline, bit for bit. ``should_stop`` is asked before
    every step, and before every window of a long clip. ``on_note`` hears, in sentences, what of a LoRA is not used.
    ``shared``: steps and predictions of other renderings that begin like this one; the result is the same, bit for bit.
    ``on_estimated`` hears at the end what step caching left out, where it is on.
    Where the device's memory runs out, the next memory plan is taken up and the prediction that failed is computed
    again (``Engine.within_memory``); the result is the same.
    Raises ``Interrupted``; ``DeviceMemoryError``; ``LoraError`` for a LoRA that does not fit; ``SettingsError`` for
    settings of another size than the conditioning, or that need a start clip which it lacks.
    """
    import torch

    _check_same_size(conditioning, settings)
    kind = engine.dtype if settings.precision == "diffsynth" else torch.float32
    levels = sigmas(settings.steps, settings.shift, settings.solver, settings.denoise)
    # What step caching remembers is in no state, so that such a rendering goes its whole way.
    known = shared.latest() if shared and not settings.step_cache else None
    advance = make_solver(settings.solver, levels)
    if known:
        latents = known.latents.to(engine.device)
        advance.resume(known.done, {name: tensor.to(engine.device) for name, tensor in known.memory.items()})
    else:
        latents = begin(conditioning, settings, levels[0], engine.device, kind)
    first = known.done if known else 0
    scales, hints = guidance_scales(settings), strengths(settings)
    windows = plan_windows(
        latents.shape[2] - conditioning.references,
        (settings.window_frames - 1) // TIME_STRIDE + 1,
        settings.window_overlap // TIME_STRIDE,
    )
    cache = StepCache(settings, levels, len(windows)) if settings.step_cache else None
    loras = [(engine.lora(use.file), use) for use in settings.loras]
    contexts = {"positive": conditioning.positive}
    if needs_negative(settings):
        contexts["negative"] = conditioning.negative
    steered = any(control or (reference and conditioning.references) for control, reference in hints)
    vace_context = conditioning.vace_context if steered else None

    def steering(index: int) -> tuple[float, ...]:
        """The strengths of what is there."""
        if vace_context is None:
            return ()
        return hints[index] if conditioning.references else hints[index][:1]

    def check_stop(index: int) -> None:
        if should_stop and should_stop():
            raise Interrupted(f"Stopped before step {index + 1} of {settings.steps}.")

    def predict(side: str, index: int, latents: torch.Tensor) -> torch.Tensor:
        def made() -> torch.Tensor:
            found: torch.Tensor = engine.within_memory(("dit", "vace"), lambda: compute(side, index, latents))
            return found

        return shared.prediction(index, side, made).to(engine.device) if shared else made()

    def compute(side: str, index: int, latents: torch.Tensor) -> torch.Tensor:
        timestep = (levels[index] * TRAIN_TIMESTEPS).unsqueeze(0).to(device=engine.device, dtype=kind)

        def one(number: int, part: torch.Tensor) -> torch.Tensor:
            if number:
                check_stop(index)
            return transformer.predict(dit, vace, constants[number], side, part, timestep, *hints[index])

        return blend(windows, conditioning.references, latents, one).to(kind)

    dit, vace = engine.use("dit", "vace")
    with torch.no_grad(), applied((dit, vace), loras) as active:
        for index, scale in list(enumerate(scales))[first:]:
            check_stop(index)
            # The constants hold for one state of the LoRAs.
            changed = active.set_step(index, settings.steps)
            if cache and (changed or (index and steering(index) != steering(index - 1))):
                cache.forget()
            if changed or index == first:
                given = (contexts, vace_context, tuple(latents.shape), conditioning.references)
                acting = [(lora, (use.strength_at(index, settings.steps), use.scope)) for lora, use in loras]
                whole = _prepared(engine, (dit, vace), given, settings.precision == "diffsynth", acting)
                constants = _narrowed(whole, windows)
            if on_note and index == first:
                for note in active.notes:
                    on_note(note)
            if index < settings.zero_init_steps:
                velocity = torch.zeros_like(latents)
            else:
                sides = ("positive", "negative") if scale != 1.0 else ("positive",)
                made = cache.estimate(index, sides) if cache else None
                if made is None:
                    made = {side: predict(side, index, latents) for side in sides}
                    if cache:
                        cache.keep(index, made)
                velocity = made["positive"]
                if scale != 1.0:
                    other = made["negative"]
                    velocity = guide(
                        velocity, other, scale, cfg_zero=settings.cfg_zero, rescale=settings.guidance_rescale
                    )
            before, latents = latents, advance(latents, velocity)
            if shared and shared.wants(index + 1):
                memory = {name: tensor.cpu() for name, tensor in advance.memory().items()}
                shared.keep(State(index + 1, latents.cpu(), memory))
            if on_step:
                clean = (before - velocity * levels[index])[:, :, conditioning.references :]
                on_step(Step(index, settings.steps, float(levels[index]), clean, engine.preview_colours))
    if cache and on_estimated:
        on_estimated(cache.report())
    return latents[:, :, conditioning.references :]


def _prepared(
    engine: Engine, nets: tuple[Any, Any], given: tuple[Any, ...], exact: bool, loras: Sequence[tuple[Lora, Any]]
) -> Constants:
    """``transformer.prepare``, or what the rendering before this one prepared from the very same things.

    They are kept where all nets stay: a guidance axis computes them once.
    """
    contexts, vace_context, shape, references = given
    # Objects, compared by what they are and not by what they hold; being kept, none of them can be another one later.
    things = (*nets, *contexts.values(), vace_context, *(lora for lora, _ in loras))
    values = (tuple(contexts), shape, references, exact, *(how for _, how in loras))
    if engine.constants:
        (old_things, old_values), known = engine.constants
        if old_values == values and all(one is other for one, other in zip(things, old_things, strict=True)):
            return cast(Constants, known)

    def prepare() -> Constants:
        return transformer.prepare(*nets, contexts, vace_context, shape, references, exact, engine.form)

    made: Constants = engine.within_memory(("dit", "vace"), prepare)
    engine.constants = ((things, values), made) if engine.settled else None
    return made


def _narrowed(whole: Constants, windows: tuple[Window, ...]) -> list[Constants]:
    """The transformer's constants for each window."""
    if len(windows) == 1:
        return [whole]
    return [whole.narrowed(window.start, window.stop) for window in windows]


def begin(
    conditioning: Conditioning, settings: SampleSettings, level: torch.Tensor, device: str, kind: torch.dtype
) -> torch.Tensor:
    """The latents before the first step, at the noise level ``level``: noise, or the start clip with noise on it."""
    drawn = noise(conditioning, settings.seed).to(device=device, dtype=kind)
    if settings.denoise == 1.0:
        return drawn
    if conditioning.start is None:
        raise SettingsError(
            f"The conditioning holds no clip for denoise {settings.denoise}.",
            expected="a conditioning that was made with a start clip and denoise below 1",
            got="none",
            remedy="Encode the start clip again with these settings, or set denoise to 1.",
        )
    return (1 - level) * conditioning.start.to(device=device, dtype=kind) + level * drawn


def noise(conditioning: Conditioning, seed: int) -> torch.Tensor:
    """Starting noise, float32, drawn on the CPU so that a seed means the same on every device.

    The reference's frames take the noise that was drawn last: the video's own noise is then the same with and
    without a reference (as in DiffSynth). Noise that the conditioning brings along is taken as it is. Raises
    ``SettingsError`` when that has another shape.
    """
    import torch

    if (given := conditioning.noise) is not None:
        if tuple(given.shape) != conditioning.latent_shape:
            raise SettingsError(
                "The starting noise has another shape than the latents.",
                expected=f"{list(conditioning.latent_shape)}",
                got=f"{list(given.shape)}",
                remedy="Make it for this size and length, with one latent frame more for each reference.",
            )
        return given.float()
    drawn = torch.randn(conditioning.latent_shape, generator=torch.Generator("cpu").manual_seed(seed))
    if not conditioning.references:
        return drawn
    return torch.concat((drawn[:, :, -conditioning.references :], drawn[:, :, : -conditioning.references]), dim=2)


def _check_same_size(conditioning: Conditioning, settings: SampleSettings) -> None:
    width, height = conditioning.size
    if (width, height, conditioning.frames) != (settings.width, settings.height, settings.frames):
        raise SettingsError(
            "The conditioning was made for another size.",
            expected=f"{settings.width} x {settings.height}, {settings.frames} frames",
            got=f"{width} x {height}, {conditioning.frames} frames",
            remedy="Encode the control video and the reference again for this size.",
        )

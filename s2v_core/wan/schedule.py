"""What changes from step to step: noise levels, guidance, and the strengths of pose video and reference."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from .scales import parse_scales, say_scales
from .settings import ADVANCED, SampleSettings
from .step_cache import estimable

if TYPE_CHECKING:
    import torch

TRAIN_TIMESTEPS = 1000

# The unshifted level at which each solver begins. The multistep solvers work with log((1 - sigma) / sigma), which has
# no value at 1: Wan's UniPC (wan/utils/fm_solvers_unipc.py) and diffusers' flow sigmas of DPM++ begin one training
# timestep below it.
_TOP = {"euler": 1.0, "unipc": 1.0 - 1.0 / TRAIN_TIMESTEPS, "dpm++": 1.0 - 1.0 / TRAIN_TIMESTEPS}


def sigmas(steps: int, shift: float, solver: str = "euler", denoise: float = 1.0) -> torch.Tensor:
    """The noise level before each step and after the last: float32 [steps + 1], falling to 0.

    Evenly spaced levels s, moved towards noise by ``shift``: shift * s / (1 + (shift - 1) * s) (Esser et al. 2024,
    arXiv 2403.03206, eq. 23; the same as Wan's own schedule). They begin at ``denoise``, at 1 for pure noise; for the
    multistep solvers at 0.999 at most.
    """
    import torch

    even = torch.linspace(min(denoise, _TOP[solver]), 0.0, steps + 1)
    shifted: torch.Tensor = shift * even[:-1] / (1 + (shift - 1) * even[:-1])
    return torch.cat([shifted, even[-1:]])


def guidance_scales(settings: SampleSettings) -> tuple[float, ...]:
    """The guidance scale of each step; 1, which needs no negative prompt, outside of the window.

    Steps that stand still (``zero_init_steps``) need no prediction at all and are 1 too.
    """
    # Any bounds do: the settings have checked the list.
    listed = parse_scales(settings.guidance_schedule, 0.0, float("inf")) or (settings.guidance,)
    scales = (*listed, *[listed[-1]] * (settings.steps - len(listed)))
    first = max(settings.guidance_from, settings.zero_init_steps)
    return tuple(
        scale if first <= step < settings.guidance_to else 1.0 for step, scale in enumerate(scales[: settings.steps])
    )


def needs_negative(settings: SampleSettings) -> bool:
    """Whether any step compares with the negative prompt."""
    return any(scale != 1.0 for scale in guidance_scales(settings))


def strengths(settings: SampleSettings) -> tuple[tuple[float, float], ...]:
    """(control strength, reference strength) of each step; 0 outside of the windows."""

    def used(strength: float, first: int, behind: int) -> list[float]:
        return [strength if first <= step < behind else 0.0 for step in range(settings.steps)]

    control = used(settings.control_strength, settings.control_from, settings.control_to)
    reference = used(settings.reference_strength, settings.reference_from, settings.reference_to)
    return tuple(zip(control, reference, strict=True))


def plainest(
    settings: SampleSettings, *, control: bool = True, reference: bool = True, mask: bool = True
) -> SampleSettings:
    """The settings that give the same pixels with as much as possible at its default.

    What says the same in two ways becomes one: a window over all steps, a list of equal numbers, a rescaling without
    guidance, windows that are longer than the video, step caching in too few steps. ``control``, ``reference`` and
    ``mask``: whether there is one; the settings of what is not there become plain too.
    """
    changes: dict[str, Any] = {}
    scales = guidance_scales(settings)
    if len(set(scales)) == 1:
        changes |= {"guidance": scales[0], "guidance_schedule": ""}
    else:
        # Step by step, so that a window and a list that mean the same are the same.
        changes |= {"guidance": _DEFAULTS["guidance"], "guidance_schedule": say_scales(scales)}
    changes |= {"guidance_from": 0, "guidance_to": _DEFAULTS["guidance_to"]}
    if set(scales) == {1.0}:
        changes |= {"cfg_zero": False, "guidance_rescale": 0.0}
    for name, used in zip(("control", "reference"), zip(*strengths(settings), strict=True), strict=True):
        changes |= _plain_window(settings, name, used)
    unused = [] if estimable(settings) else ["step_cache"]
    if settings.frames <= settings.window_frames:
        unused += ["window_frames", "window_overlap"]
    if not mask:
        unused += ["mask_edge"]
    if not reference:
        unused += ["reference_from", "reference_to"]
        changes["reference_strength"] = changes.get("control_strength", settings.control_strength)
        if not control:
            unused += ["control_strength", "control_from", "control_to", "reference_strength"]
    return replace(settings, **changes | {name: _DEFAULTS[name] for name in unused})


def _plain_window(settings: SampleSettings, name: str, used: tuple[float, ...]) -> dict[str, Any]:
    """One strength and its window, from what each step uses."""
    open_end = _DEFAULTS[f"{name}_to"]
    if len(set(used)) == 1:
        return {f"{name}_strength": used[0], f"{name}_from": 0, f"{name}_to": open_end}
    behind = getattr(settings, f"{name}_to")
    return {f"{name}_to": open_end if behind >= settings.steps else behind}


_DEFAULTS = {entry.name: entry.default for entry in fields(SampleSettings)}


def counted(settings: SampleSettings) -> dict[str, Any]:
    """The settings that decide pixels, for a cell's id: those of the first release, and of later ones those in use.

    Reference strength counts where it is not the control strength: the two were one setting. Call it with
    ``plainest`` settings.
    """
    neutral = {**_DEFAULTS, "reference_strength": settings.control_strength}
    return {
        name: getattr(settings, name)
        for name in _DEFAULTS
        if name not in ADVANCED or getattr(settings, name) != neutral[name]
    }

"""The solvers that carry latents from one noise level to the next. The multistep ones are those of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import MissingPackageError

if TYPE_CHECKING:
    import torch

    Advance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_solver(name: str, levels: torch.Tensor) -> Advance:
    """A function of (latents, velocity) at the next level in turn that gives the latents at the level after it.

    ``name``: "euler", "unipc" (Zhao et al. 2023, arXiv 2302.04867, second order with corrector) or "dpm++" (Lu et al.
    2022, arXiv 2211.01095, 2M). ``levels``: what ``sigmas`` gives, [steps + 1]; the function may be called steps times.
    A multistep solver remembers the steps before, so each rendering needs its own.
    """
    return _euler(levels) if name == "euler" else _multistep(name, levels)


def _euler(levels: torch.Tensor) -> Advance:
    widths = iter(levels[1:] - levels[:-1])

    def advance(latents: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        return latents + velocity * next(widths)

    return advance


def _multistep(name: str, levels: torch.Tensor) -> Advance:
    scheduler = _scheduler(name)
    steps = len(levels) - 1
    scheduler.set_timesteps(steps)
    # The schedule is ours. Timesteps serve diffusers only to find the step; ours may be closer than the whole numbers
    # that it makes of them.
    scheduler.sigmas = levels
    scheduler.timesteps = levels[:-1]
    scheduler.set_begin_index(0)

    def advance(latents: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        at = scheduler.timesteps[scheduler.step_index or 0]
        moved: torch.Tensor = scheduler.step(velocity, at, latents, return_dict=False)[0]
        return moved

    return advance


def _scheduler(name: str) -> Any:
    try:
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
        from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
    except ImportError as error:
        raise MissingPackageError(
            f"The solver {name} needs diffusers.",
            expected="diffusers 0.32 or newer",
            got=str(error),
            remedy="Install it (pip install -U diffusers), or choose the solver euler.",
        ) from error
    kind = {"unipc": UniPCMultistepScheduler, "dpm++": DPMSolverMultistepScheduler}[name]
    return kind(prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2)

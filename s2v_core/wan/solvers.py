"""The solvers that carry latents from one noise level to the next. The multistep ones are those of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MissingPackageError

if TYPE_CHECKING:
    import torch


class Solver(Protocol):
    """Called with (latents, velocity) at the next level in turn, it gives the latents at the level after it.

    It may be called once for each step. A multistep solver remembers steps, so each rendering needs its own.
    """

    def __call__(self, latents: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """One step."""
        ...

    def memory(self) -> dict[str, torch.Tensor]:
        """What it remembers of the steps so far, besides their number; empty for a solver without a history."""
        ...

    def resume(self, done: int, memory: Mapping[str, torch.Tensor]) -> None:
        """Go on as if ``done`` steps had been made, with what was remembered after them; before the first call."""
        ...


def make_solver(name: str, levels: torch.Tensor) -> Solver:
    """A solver over these levels.

    ``name``: "euler", "unipc" (Zhao et al. 2023, arXiv 2302.04867, second order with corrector) or "dpm++" (Lu et al.
    2022, arXiv 2211.01095, 2M). ``levels``: what ``sigmas`` gives, [steps + 1].
    """
    return _Euler(levels) if name == "euler" else _Multistep(name, levels)


class _Euler:
    def __init__(self, levels: torch.Tensor) -> None:
        self._widths = levels[1:] - levels[:-1]
        self._done = 0

    def __call__(self, latents: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        width = self._widths[self._done]
        self._done += 1
        return latents + velocity * width

    def memory(self) -> dict[str, torch.Tensor]:
        return {}

    def resume(self, done: int, memory: Mapping[str, torch.Tensor]) -> None:
        self._done = done


class _Multistep:
    def __init__(self, name: str, levels: torch.Tensor) -> None:
        self._scheduler = _scheduler(name)
        self._scheduler.set_timesteps(len(levels) - 1)
        # The schedule is ours. Timesteps serve diffusers only to find the step; ours may be closer than the whole
        # numbers that it makes of them.
        self._scheduler.sigmas = levels
        self._scheduler.timesteps = levels[:-1]
        self._scheduler.set_begin_index(0)
        self._done = 0

    def __call__(self, latents: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        at = self._scheduler.timesteps[self._done]
        self._done += 1
        moved: torch.Tensor = self._scheduler.step(velocity, at, latents, return_dict=False)[0]
        return moved

    def memory(self) -> dict[str, torch.Tensor]:
        import torch

        scheduler = self._scheduler
        found = {f"output {at}": kept for at, kept in enumerate(scheduler.model_outputs) if kept is not None}
        # UniPC also remembers the corrected sample, and the order in which it made the last step.
        if (sample := getattr(scheduler, "last_sample", None)) is not None:
            found["sample"] = sample
        orders = (scheduler.lower_order_nums, getattr(scheduler, "this_order", 0))
        return {**found, "orders": torch.tensor(orders)}

    def resume(self, done: int, memory: Mapping[str, torch.Tensor]) -> None:
        scheduler = self._scheduler
        scheduler.set_begin_index(done)
        self._done = done
        for at in range(len(scheduler.model_outputs)):
            scheduler.model_outputs[at] = memory.get(f"output {at}")
        if "sample" in memory:
            scheduler.last_sample = memory["sample"]
        scheduler.lower_order_nums, order = (int(number) for number in memory["orders"])
        if order:
            scheduler.this_order = order


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

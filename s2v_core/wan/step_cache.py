"""Steps without forwards: a prediction that is estimated from those before it. Approximate, and off by default.

The idea is TeaCache's (Liu et al. 2024, arXiv 2411.19108): what the net would change is estimated without running it,
added up over the steps, and while the sum stays below a threshold the net does not run, neither its transformer blocks
nor its VACE blocks. Three things are done otherwise.

- TeaCache estimates from the time embedding by a polynomial that was fitted for each model. Here the rate is measured
  while rendering, between the last two computed predictions (as in EasyCache, Zhou et al. 2025, arXiv 2507.02860): any
  model, any LoRA, no fitting.
- TeaCache adds the blocks' old residual to the new input. Here the velocity itself goes on along the straight line
  through the last two computed ones over the noise level (the first order of TaylorSeer, Liu et al. 2025, arXiv
  2503.06923). It needs a few latents of memory where residuals take hundreds of megabytes.
- The prompt's prediction decides for the negative prompt too, and all windows of a long clip are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from .settings import SampleSettings

LEADING = 10  # the first step in so many is always computed: there motion and layout are decided
NEEDED = 2  # computed predictions that an estimated one is made of
MOST_IN_A_ROW = 3  # further away a straight line says little
_LEAST = 1e-12  # keeps a division by an empty prediction finite


@dataclass(frozen=True)
class Estimated:
    """What step caching did to one rendering.

    ``steps``: those, from 0, whose predictions were estimated, of ``total``. ``forwards``: of the transformer that were
    left out, of ``forwards_total``. ``off_by``: the measured error. After estimated steps the next one is computed; how
    far the line that those steps followed is from it there, relative (L1), at most; None where none was computed after.
    """

    steps: tuple[int, ...]
    total: int
    forwards: int
    forwards_total: int
    off_by: float | None

    def say(self) -> str:
        """A sentence or two for people."""
        if not self.steps:
            return "step_cache estimated no step: this is the exact result."
        measured = "" if self.off_by is None else f" Where it ran again they were off by up to {self.off_by:.1%}."
        return (
            f"Approximate: step_cache estimated the predictions of {len(self.steps)} of {self.total} steps; "
            f"{self.forwards} of {self.forwards_total} forwards of the model were left out.{measured}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "steps estimated": list(self.steps),
            "steps": self.total,
            "forwards left out": self.forwards,
            "forwards in full": self.forwards_total,
            "off by": None if self.off_by is None else round(self.off_by, 5),
        }


def estimable(settings: SampleSettings) -> range:
    """The steps that may be estimated at all: not the first tenth, nor the first two that predict, nor the last."""
    first = max(-(-settings.steps // LEADING), settings.zero_init_steps + NEEDED)
    return range(first, settings.steps - 1)


class StepCache:
    """The computed predictions of one rendering, and which step may do without new ones.

    ``levels``: noise levels [steps + 1]. ``forwards``: that one prediction costs, the number of windows.
    """

    def __init__(self, settings: SampleSettings, levels: torch.Tensor, forwards: int) -> None:
        self._threshold = settings.step_cache
        self._allowed = estimable(settings)
        self._levels: list[float] = levels.tolist()
        self._forwards = forwards
        self._known: list[tuple[int, Mapping[str, torch.Tensor]]] = []
        self._sum = 0.0
        self._row = 0
        self._steps: list[int] = []
        self._left_out = 0
        self._total = 0
        self._off_by: float | None = None

    def estimate(self, index: int, sides: Sequence[str]) -> dict[str, torch.Tensor] | None:
        """The predictions of step ``index`` for these prompts, the positive one first; None when they must be computed.

        Ask once for each step that predicts.
        """
        self._total += self._forwards * len(sides)
        if index not in self._allowed or self._row >= MOST_IN_A_ROW or not self._knows(sides):
            return None
        change = self._change(index)
        if not self._sum + change < self._threshold:
            return None
        self._sum += change
        self._row += 1
        self._steps.append(index)
        self._left_out += self._forwards * len(sides)
        return {side: self._line(index, side) for side in sides}

    def keep(self, index: int, made: Mapping[str, torch.Tensor]) -> None:
        """Take the computed predictions of step ``index``."""
        if self._row and self._knows(list(made)):
            wanted, line = made["positive"].float(), self._line(index, "positive").float()
            off = float((line - wanted).abs().mean() / (wanted.abs().mean() + _LEAST))
            self._off_by = max(off, self._off_by or 0.0)
        self._known = [*self._known, (index, made)][-NEEDED:]
        self._sum, self._row = 0.0, 0

    def forget(self) -> None:
        """What was predicted does not hold any more: LoRAs, or the strength of a hint, have changed."""
        self._known.clear()
        self._sum, self._row = 0.0, 0

    def report(self) -> Estimated:
        """What it did so far."""
        return Estimated(tuple(self._steps), len(self._levels) - 1, self._left_out, self._total, self._off_by)

    def _knows(self, sides: Sequence[str]) -> bool:
        return len(self._known) == NEEDED and all(side in made for _, made in self._known for side in sides)

    def _change(self, index: int) -> float:
        """By how much, relative (L1), the positive prediction changes from the step before to this one."""
        (before, older), (last, newer) = self._known
        one, other = older["positive"].float(), newer["positive"].float()
        rate = float((other - one).abs().mean() / (other.abs().mean() + _LEAST))
        levels = self._levels
        return rate * abs((levels[index] - levels[index - 1]) / (levels[last] - levels[before]))

    def _line(self, index: int, side: str) -> torch.Tensor:
        (before, older), (last, newer) = self._known
        levels = self._levels
        share = (levels[index] - levels[last]) / (levels[last] - levels[before])
        return newer[side] + (newer[side] - older[side]) * share

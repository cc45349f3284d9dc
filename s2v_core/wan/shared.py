"""What renderings that begin alike can have of each other: latents after a number of steps, and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class State:
    """A rendering after ``done`` steps.

    ``latents``: [1, 16, T, h, w] with the references' frames in front. ``memory``: what the solver remembers.
    """

    done: int
    latents: torch.Tensor
    memory: Mapping[str, torch.Tensor]


class Shared(Protocol):
    """What one rendering takes from others and leaves to them. Whoever makes it answers for its being the same bits.

    All tensors are in the type of the rendering's latents. States are on the CPU; a prediction may be anywhere.
    """

    def latest(self) -> State | None:
        """The state after the most steps that is known; None to begin with the noise."""
        ...

    def wants(self, done: int) -> bool:
        """Whether the state after ``done`` steps is to be kept."""
        ...

    def keep(self, state: State) -> None:
        """Keep a state that is wanted."""
        ...

    def prediction(self, index: int, side: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The velocity of step ``index`` under the prompt ``side``: one that is known, or what ``compute`` gives."""
        ...

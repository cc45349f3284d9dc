"""One process or several, each with a GPU, as ``accelerate launch`` starts them. Several GPUs were not run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch


@dataclass(frozen=True)
class Processes:
    """Which process this is (``index`` from 0) of how many (``count``), and Accelerate's object when there are several.

    The clips of a step are shared out, and the gradients added up: the LoRA is small, so that needs no wrapping of the
    nets.
    """

    index: int = 0
    count: int = 1
    accelerator: Any = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.index == 0

    @property
    def device(self) -> str:
        """The device of this process; empty when it is the only one, which may choose."""
        if not self.accelerator:
            return ""
        own = self.accelerator.device
        return "cpu" if own.type == "cpu" else str(own)  # Accelerate numbers CPUs, which readers of files do not know

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.accelerator:
            self.accelerator.wait_for_everyone()

    def add_up(self, gradients: Iterable[torch.Tensor]) -> None:
        """Replace each gradient by the sum over the processes."""
        if self.accelerator:
            for gradient in gradients:
                gradient.copy_(self.accelerator.reduce(gradient, reduction="sum"))

    def total(self, number: float) -> float:
        """The sum of a number over the processes."""
        if not self.accelerator:
            return number
        import torch

        told = torch.tensor(number, dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.reduce(told, reduction="sum"))

    def any(self, answer: bool) -> bool:
        """Whether one of the processes says yes."""
        return self.total(float(answer)) > 0


def find_processes(device: str = "auto") -> Processes:
    """What ``accelerate launch`` or ``torchrun`` says in the environment; one process without them.

    ``device``: "cpu" keeps them all off the GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Processes()
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingPackageError(
            "Training in several processes needs Accelerate.",
            expected="the package accelerate",
            got=str(error),
            remedy="pip install accelerate, or start one process.",
        ) from error
    accelerator = Accelerator(cpu=device == "cpu")
    return Processes(accelerator.process_index, accelerator.num_processes, accelerator)

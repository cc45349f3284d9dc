"""Layers that come to the device while the layer before them computes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .memory_plan import available_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_PINNED_SHARE = 0.5  # of the main memory that is free


class Ahead(Protocol):
    """How tensors are brought ahead of their use."""

    def start(self, homes: Sequence[torch.Tensor]) -> Any:
        """Begin to copy them to the device, and do not wait."""
        ...

    def take(self, begun: Any) -> list[torch.Tensor]:
        """The copies, for use by what is computed from now on."""
        ...

    def prepare(self, homes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The same numbers at a place in main memory that copies quickest, if there is one."""
        ...


class SideStream:
    """``Ahead`` on an NVIDIA GPU: copies run on a stream of their own, beside the arithmetic.

    They only do so from pinned memory, which the system cannot page out: layers are copied there once, up to half of
    the main memory that is free. From other memory the copy is as exact, and the arithmetic waits for it.
    """

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)
        self._stream = torch.cuda.Stream(self._device)
        self._left = int(available_memory() * _PINNED_SHARE)

    def start(self, homes: Sequence[torch.Tensor]) -> Any:
        """Begin to copy."""
        import torch

        with torch.cuda.stream(self._stream):
            copies = [home.to(self._device, non_blocking=True) for home in homes]
            done = torch.cuda.Event()
            done.record(self._stream)
        return copies, done

    def take(self, begun: Any) -> list[torch.Tensor]:
        """The copies; what is computed next waits for them, on the device."""
        import torch

        copies: list[torch.Tensor]
        copies, done = begun
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(done)
        for copy in copies:
            # Their memory is the side stream's: it must not be used again there while they are read here.
            copy.record_stream(stream)
        return copies

    def prepare(self, homes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The same tensors in pinned memory, as long as there is enough."""
        size = sum(home.nbytes for home in homes)
        if size > self._left:
            return list(homes)
        try:
            pinned = [home.pin_memory() for home in homes]
        except RuntimeError as error:  # the system's limit on memory that cannot be paged out
            log.info("Layers are copied from ordinary memory: %s", str(error).splitlines()[0])
            self._left = 0
            return list(homes)
        self._left -= size
        return pinned

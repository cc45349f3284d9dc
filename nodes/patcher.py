"""An engine's nets as the host knows models.

In a file of its own, for the host's ``model_patcher`` takes seconds to import where the host has not done so yet.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import comfy.model_management as management
from comfy.model_patcher import ModelPatcher

from ..s2v_core.wan.engine import NETS, Engine
from ..s2v_core.wan.placement import Placement

if TYPE_CHECKING:
    import torch

# What the host's log calls them.
_NAMES = {"transformer": "WanVaceTransformer", "vae": "WanVaceVAE", "text_encoder": "WanVaceTextEncoder"}


class EngineNet(ModelPatcher):  # type: ignore[misc, unused-ignore]
    """One weight file's parts of an engine, as the host knows models.

    On a device of its own they are copies of what stays in main memory (``Placement``), all of them or as many as the
    host allows. On the CPU they have no other place: the host then lets go of them, and the next use reads the file.
    """

    def __init__(self, engine: Engine, net: str, device: torch.device) -> None:
        import torch

        cpu = torch.device("cpu")
        # A module of our own around them, for the host writes attributes of its own into it.
        holder = _holder(net)({name: engine.parts[name] for name in NETS[net]})
        self.placement = None if device == cpu else Placement(holder, device)
        size = self.placement.size if self.placement else management.module_size(holder)
        super().__init__(holder, load_device=device, offload_device=cpu, size=size)
        self._engine = weakref.ref(engine)
        self._net = net
        self._here = False

    def holds(self, engine: Engine) -> bool:
        """Whether these are still the engine's parts."""
        return all(engine.parts.get(name) is part for name, part in self.model.items())

    def loaded_size(self) -> int:
        """Bytes on the device."""
        if self.placement:
            return self.placement.loaded
        return int(self.size) if self._here else 0

    def current_loaded_device(self) -> torch.device:
        """Where the parts compute now."""
        found: torch.device = self.load_device if self.loaded_size() else self.offload_device
        return found

    def partially_load(
        self, device_to: torch.device, extra_memory: float = 0, force_patch_weights: bool = False
    ) -> int:
        """Bring what fits into so many more bytes; gives how many it took."""
        if self.placement:
            return self.placement.bring(extra_memory)
        before, self._here = self.loaded_size(), True
        return self.loaded_size() - before

    def partially_unload(
        self, device_to: torch.device, memory_to_free: float = 0, force_patch_weights: bool = False
    ) -> int:
        """Free so many bytes, if that can be done in part; gives how many are free."""
        return self.placement.send_home(memory_to_free) if self.placement else 0

    def detach(self, unpatch_all: bool = True) -> torch.nn.Module:
        """Leave the device. The host calls it with False to mean only its own patches, of which there are none."""
        if unpatch_all:
            engine = self._engine()
            if self.placement:
                self.placement.send_home()
            elif engine is not None and self.holds(engine):
                engine.release(*NETS[self._net])
                _give_back()
            self._here = False
        found: torch.nn.Module = self.model
        return found


@cache
def _holder(net: str) -> type[torch.nn.ModuleDict]:
    import torch

    return type(_NAMES[net], (torch.nn.ModuleDict,), {})


def _give_back() -> None:
    """Have the C library give freed memory back to the system: glibc keeps it, for the process's next needs."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # other C libraries have no such function
            ctypes.CDLL(None).malloc_trim(0)

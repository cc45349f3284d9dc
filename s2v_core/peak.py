"""How much memory was taken at most: on the GPU where torch computes on one, else by the whole process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Counts from its making on. On CUDA it counts torch's own allocations, weights with them; there it is one count
    for the process, and whoever begins last resets it for all.
    """

    def __init__(self) -> None:
        self._cuda = _cuda()
        self._known = True
        if self._cuda:
            self._cuda.reset_peak_memory_stats()
            return
        try:
            _RESET.write_text("5")
        except OSError:  # not Linux, or not allowed: the highest ever would be another rendering's
            self._known = False

    def bytes(self) -> int | None:
        """The most so far; None where nothing can tell."""
        if self._cuda:
            return int(self._cuda.max_memory_allocated())
        if not self._known:
            return None
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        return None


def _cuda() -> Any:
    """``torch.cuda`` where this process computes on it, else None; torch is not imported for it."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_available() and torch.cuda.is_initialized() else None

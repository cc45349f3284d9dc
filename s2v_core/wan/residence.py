"""The nets of one engine on its device, as a memory plan says; and what follows where memory runs out."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DeviceMemoryError
from .memory_plan import PLANS, MemoryPlan, NetNeed, free_memory, gigabytes, plan_memory, stays
from .prefetch import Ahead, SideStream
from .room import LARGE

if TYPE_CHECKING:
    import torch

    from .placement import Placement

log = logging.getLogger(__name__)

NETS = {"transformer": ("dit", "vace"), "vae": ("vae",), "text_encoder": ("text_encoder",)}
"""The parts that each file holds."""

_REMEDIES = {
    "transformer": "Choose a smaller size or fewer frames (longer clips go in windows: window_frames), "
    "or the memory plan fp8.",
    "vae": "Set tiling, which takes more time and gives slightly other pixels, or choose a smaller size.",
    "text_encoder": "Close other programs that use this device, or choose an 8-bit text encoder.",
}
_SHORT = ("out of memory",)  # how Apple's MPS says it, in a RuntimeError


class Residence:
    """Brings nets to ``device`` and home.

    ``asked``: one of ``memory_plan.CHOICES``. ``free``: gives the bytes that may be taken there now. ``copy``,
    ``ahead``, ``large``: as for ``Placement``. ``falls``: what was said when memory ran out, in sentences.
    """

    def __init__(
        self,
        asked: str,
        device: str,
        *,
        free: Callable[[], int | None] | None = None,
        copy: Callable[[torch.Tensor], torch.Tensor] | None = None,
        ahead: Ahead | None = None,
        large: int = LARGE,
    ) -> None:
        self.asked, self.device = asked, device
        self.plan: MemoryPlan | None = None
        self.falls: list[str] = []
        self._free = free or (lambda: free_memory(device))
        self._copy = copy
        self._large = large
        self._ahead = ahead
        self._floor = "resident"
        self._placed: dict[str, Placement] = {}
        self._worked: dict[str, tuple[str, int]] = {}

    def expect(self, nets: Mapping[str, NetNeed]) -> MemoryPlan:
        """The plan for what comes, which the log says when it is another one. What is loaded counts as free."""
        free = self._free()
        if free is not None:
            free += sum(placed.loaded for placed in self._placed.values())
        before, self.plan = self.plan, plan_memory(self.asked, self.device, nets, free, self._floor)
        if before is None or before.name != self.plan.name:
            # A plan that may not be enough is worth a warning.
            log.log(logging.INFO if self.plan.fits else logging.WARNING, "Memory plan %s", self.plan)
        return self.plan

    def bring(self, parts: Mapping[str, Any], names: tuple[str, ...]) -> None:
        """Have these parts compute on the device; no names mean that none is in use. Where memory runs out, the next
        plan is tried. Raises ``DeviceMemoryError`` behind the last one.
        """
        wanted = [net for net, own in NETS.items() if set(own) & set(names)]
        while True:
            try:
                self._arrange(parts, wanted)
                return
            except Exception as error:
                reason = self.short(error)
                if reason is None:
                    raise
            self.fall(reason, wanted)

    def short(self, error: Exception) -> str | None:
        """Why there was no memory, in a line; None for any other error. What the failed attempt had is let go of."""
        import torch

        said = str(error)
        if not (isinstance(error, torch.OutOfMemoryError) or any(words in said for words in _SHORT)):
            return None
        traceback.clear_frames(error.__traceback__)
        return next(iter(said.splitlines()), "")

    def fall(self, reason: str, nets: list[str]) -> None:
        """Go on to the plan after the present one, and say so. Raises ``DeviceMemoryError`` where there is none."""
        assert self.plan is not None
        order = list(PLANS)
        number = order.index(self.plan.name) + 1
        for placed in self._placed.values():
            placed.send_home()
        self._worked.clear()
        empty_cache(self.device)
        what = " and ".join(net.replace("_", " ") for net in nets)
        if number == len(order):
            raise DeviceMemoryError(
                f"The memory of {self.device} is not enough for the {what}.",
                expected=f"about {gigabytes(self.plan.need)} free, with each large layer there only while it computes",
                got=reason,
                remedy=" ".join(_REMEDIES[net] for net in nets),
            )
        old = self.plan
        self._floor = order[number]
        self.plan = plan_memory(self.asked, self.device, old.nets, old.free, self._floor)
        self.falls.append(
            f"The memory of {self.device} ran out in the {what}: from the plan {old.name} to {self.plan.name} "
            f"({PLANS[self.plan.name]}). What was finished is kept, and the pixels are the same."
        )
        log.warning("%s (%s)", self.falls[-1], reason)

    def leave(self, *nets: str) -> None:
        """Have these nets (all without a name) leave the device and be forgotten: their tensors may then end."""
        gone = [self._placed.pop(net) for net in nets or tuple(self._placed) if net in self._placed]
        for placed in gone:
            placed.send_home()
        for net in set(self._worked) - set(self._placed):
            del self._worked[net]
        if gone:
            empty_cache(self.device)

    def _arrange(self, parts: Mapping[str, Any], wanted: list[str]) -> None:
        assert self.plan is not None
        kept = stays(self.plan.name)
        for net, placed in self._placed.items():
            if net not in wanted and (net not in kept or not wanted):
                placed.send_home()
                self._worked.pop(net, None)
        for net in wanted:
            need = self.plan.nets[net]
            state = (self.plan.name, need.working)
            if self._worked.get(net) == state:
                continue
            placed = self._place(net, parts)
            if self.plan.name == "sequential":
                placed.send_home()
                placed.bring(0)
            elif net in kept or (self.plan.name == "offload" and net != "text_encoder"):
                placed.bring(float("inf"))
            else:
                self._fit(placed, need.working)
            self._worked[net] = state

    def _fit(self, placed: Placement, working: int) -> None:
        """Have as many layers on the device as leave room for the work."""
        free = self._free()
        room = float("inf") if free is None else free - working
        if room < 0:
            placed.send_home(-room)
        placed.bring(max(0.0, room))

    def _place(self, net: str, parts: Mapping[str, Any]) -> Placement:
        if net not in self._placed:
            import torch

            from .placement import Placement

            holder = torch.nn.ModuleDict({name: parts[name] for name in NETS[net]})
            if self._ahead is None and torch.device(self.device).type == "cuda":
                self._ahead = SideStream(self.device)
            # Weights that are read once a prompt are not worth the pinned memory.
            ahead = self._ahead if net == "transformer" else None
            self._placed[net] = Placement(holder, self.device, large=self._large, copy=self._copy, ahead=ahead)
        return self._placed[net]


def empty_cache(device: str) -> None:
    """Give memory that torch keeps for later tensors back to the device."""
    import torch

    gc.collect()
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()

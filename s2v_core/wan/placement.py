"""Where the weights of a net are: at home in main memory, with copies on a device for what computes there.

Weights are never written, so taking them off the device drops the copies and moves nothing. Where the device has no
room for all of them, large layers stay at home and are copied for the moment in which they compute: slower, with the
same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

if TYPE_CHECKING:
    import torch

LARGE = 1 << 20  # bytes; smaller layers are always on the device
# What only reads its weights while it is called. (An 8-bit weight lies in a list of parametrizations, see ``fp8``.)
_CALLED = (nn.Linear, nn.Embedding, ParametrizationList)


@dataclass(eq=False)
class _Layer:
    """Tensors that go to the device together. ``homes``: where each came from. Nothing here refers to a module: hooks
    of modules refer to this.
    """

    tensors: list[torch.Tensor]
    homes: list[torch.Tensor] = field(init=False)
    size: int = field(init=False)
    here: bool = False
    hooks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.homes = [tensor.data for tensor in self.tensors]
        self.size = sum(home.nbytes for home in self.homes)

    def fetch(self, copy: Callable[[torch.Tensor], torch.Tensor]) -> None:
        for tensor, home in zip(self.tensors, self.homes, strict=True):
            tensor.data = copy(home)

    def drop(self) -> None:
        for tensor, home in zip(self.tensors, self.homes, strict=True):
            tensor.data = home

    def pass_through(self, module: nn.Module, copy: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Be on the device only while ``module`` computes."""
        if self.hooks:
            return

        def before(*_: Any) -> None:
            self.fetch(copy)

        def after(*_: Any) -> None:
            self.drop()

        # ``always_call``: also when the module fails, for want of memory for example.
        self.hooks = [
            module.register_forward_pre_hook(before, prepend=True),
            module.register_forward_hook(after, prepend=True, always_call=True),
        ]

    def stay(self) -> None:
        while self.hooks:
            self.hooks.pop().remove()


class Placement:
    """The weights of one net between main memory, where they must be at first, and ``device``.

    ``size``: bytes of all weights; ``loaded``: bytes of those that are on the device now. ``large``: from how many
    bytes on a layer may stay at home. Make a new one where the net's tensors are replaced.
    """

    def __init__(
        self,
        net: nn.Module,
        device: torch.device | str,
        *,
        large: int = LARGE,
        copy: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self._copy = copy or (lambda tensor: tensor.to(device))
        small: list[torch.Tensor] = []
        self._layers: list[tuple[nn.Module, _Layer]] = []
        for module in net.modules():
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            if isinstance(module, _CALLED) and sum(tensor.nbytes for tensor in own) >= large:
                self._layers.append((module, _Layer(own)))
            else:
                small += own
        self._small = _Layer(small)
        self.size = self._small.size + sum(layer.size for _, layer in self._layers)

    @property
    def loaded(self) -> int:
        """Bytes on the device, without those of layers that are there only while they compute."""
        return sum(layer.size for layer in (self._small, *(layer for _, layer in self._layers)) if layer.here)

    def bring(self, room: float) -> int:
        """Bring what fits into ``room`` more bytes to the device, and let the rest compute there by turns.

        Small layers come at any rate. Gives the bytes that are there now and were not before.
        """
        import torch

        before = self.loaded
        room = self.size if room >= self.size - before else room + before
        # A layer that comes and goes needs room too.
        spare = 0 if room >= self.size else max((layer.size for _, layer in self._layers), default=0)
        # Tensors that are made in the host's inference mode could not be used outside it.
        with torch.inference_mode(False), torch.no_grad():
            self._keep(self._small)
            there = self.loaded
            for module, layer in self._layers:
                if layer.here:
                    continue
                if there + layer.size + spare <= room:
                    layer.stay()
                    self._keep(layer)
                    there += layer.size
                else:
                    layer.pass_through(module, self._copy)
        return self.loaded - before

    def send_home(self, wanted: float = float("inf")) -> int:
        """Take layers off the device, the last ones first, until ``wanted`` bytes are free; gives the bytes that are.

        As long as anything is left on it, the net can be used as before. With less on it than wanted all goes home, and
        nothing can be used before the next ``bring``.
        """
        before = self.loaded
        everything = wanted >= before
        for module, layer in reversed(self._layers):
            if not everything and before - self.loaded >= wanted:
                break
            if layer.here:
                layer.drop()
                layer.here = False
            if everything:
                layer.stay()
            else:
                layer.pass_through(module, self._copy)
        if everything and self._small.here:
            self._small.drop()
            self._small.here = False
        return before - self.loaded

    def _keep(self, layer: _Layer) -> None:
        if not layer.here:
            layer.fetch(self._copy)
            layer.here = True

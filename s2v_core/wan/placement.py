"""Where the weights of a net are: at home in main memory, with copies on a device for what computes there.

Weights are never written, so taking them off the device drops the copies and moves nothing. Where the device has no
room for all of them, large layers stay at home and are copied for the moment in which they compute: slower, with the
same numbers. With ``Ahead`` the copy of each is made while the one before it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from .room import LARGE

if TYPE_CHECKING:
    import torch

    from .prefetch import Ahead

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
        self.put([copy(home) for home in self.homes])

    def put(self, copies: list[torch.Tensor]) -> None:
        for tensor, made in zip(self.tensors, copies, strict=True):
            tensor.data = made

    def drop(self) -> None:
        for tensor, home in zip(self.tensors, self.homes, strict=True):
            tensor.data = home

    def pass_through(self, module: nn.Module, arrivals: _Arrivals) -> None:
        """Be on the device only while ``module`` computes."""
        if self.hooks:
            return
        arrivals.prepare(self)

        def before(*_: Any) -> None:
            arrivals.come(self)

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


class _Arrivals:
    """The coming of layers, one after the other: each begins the coming of the one that followed it the last time.

    The order is learned, for it is not that of the modules, and goes forward only: the last layer of a pass brings
    none, so that nothing is left on the device after it.
    """

    def __init__(self, copy: Callable[[torch.Tensor], torch.Tensor], ahead: Ahead | None) -> None:
        self._copy, self._ahead = copy, ahead
        self._prepared: set[_Layer] = set()
        self._place: dict[_Layer, int] = {}  # in the order of their first coming
        self._next: dict[_Layer, _Layer] = {}
        self._last: _Layer | None = None
        self._coming: tuple[_Layer, Any] | None = None

    def prepare(self, layer: _Layer) -> None:
        """A layer is to come more than once."""
        if self._ahead and layer not in self._prepared:
            self._prepared.add(layer)
            homes = self._ahead.prepare(layer.homes)
            if not layer.here:
                layer.put(homes)
            layer.homes = homes

    def come(self, layer: _Layer) -> None:
        """Bring a layer now."""
        coming, self._coming = self._coming, None
        if self._ahead and coming and coming[0] is layer:
            layer.put(self._ahead.take(coming[1]))
        else:
            del coming
            layer.fetch(self._copy)
        if self._ahead:
            self._look_ahead(layer, self._ahead)

    def forget(self) -> None:
        """Nothing is coming any more."""
        self._coming = self._last = None

    def _look_ahead(self, layer: _Layer, ahead: Ahead) -> None:
        import torch

        self._place.setdefault(layer, len(self._place))
        last, self._last = self._last, layer
        if last is not None and last is not layer:
            self._next[last] = layer
        following = self._next.get(layer)
        if following and following.hooks and self._place[following] > self._place[layer]:
            try:
                self._coming = following, ahead.start(following.homes)
            except torch.OutOfMemoryError:
                self._ahead = None  # without room for two each comes when it is needed


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
        ahead: Ahead | None = None,
    ) -> None:
        self._copy = copy or (lambda tensor: tensor.to(device))
        self._arrivals = _Arrivals(self._copy, ahead)
        self._at_once = 2 if ahead else 1
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
    def largest(self) -> int:
        """Bytes of the largest layer that may stay at home."""
        return max((layer.size for _, layer in self._layers), default=0)

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
        self._arrivals.forget()
        room = self.size if room >= self.size - before else room + before
        # A layer that comes and goes needs room too.
        spare = 0 if room >= self.size else self._at_once * self.largest
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
                    layer.pass_through(module, self._arrivals)
        return self.loaded - before

    def send_home(self, wanted: float = float("inf")) -> int:
        """Take layers off the device, the last ones first, until ``wanted`` bytes are free; gives the bytes that are.

        As long as anything is left on it, the net can be used as before. With less on it than wanted all goes home, and
        nothing can be used before the next ``bring``.
        """
        before = self.loaded
        everything = wanted >= before
        self._arrivals.forget()
        for module, layer in reversed(self._layers):
            if not everything and before - self.loaded >= wanted:
                break
            if layer.here:
                layer.drop()
                layer.here = False
            if everything:
                layer.stay()
            else:
                layer.pass_through(module, self._arrivals)
        if everything and self._small.here:
            self._small.drop()
            self._small.here = False
        return before - self.loaded

    def _keep(self, layer: _Layer) -> None:
        if not layer.here:
            layer.fetch(self._copy)
            layer.here = True

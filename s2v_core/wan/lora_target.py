"""How one layer computes with LoRAs, without a number of its own being written.

A linear layer or a convolution adds to its output what the changes make of its input: ``x A^T B^T`` with A scaled by
the strength, ``x dW^T`` for a whole change, and the bias's change. (With A in the model's own type and nothing else,
these are the numbers of DiffSynth's hot-loaded LoRAs, bit for bit.) Norms and modulations hold one number a channel:
they compute with W + s dW, in float32, in place of their own tensor, which is put back afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .lora_file import Change
from .lora_names import Layer

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Part:
    """What one LoRA does to one layer. ``use``: its number among the LoRAs; ``factor``: what its scope says here."""

    change: Change
    use: int
    factor: float
    strength: float = 0.0
    _ready: tuple[Any, ...] = ()

    def set(self, strength: float) -> bool:
        """Take a strength; True when it is another one."""
        if strength == self.strength:
            return False
        self.strength, self._ready = strength, ()
        return True

    def delta(self, module: Any, x: torch.Tensor) -> torch.Tensor:
        """What the change adds to the output of a linear layer or a convolution for the input ``x``."""
        import torch

        down, up, diff, bias = self._scaled(x)
        flat = isinstance(module, torch.nn.Linear)
        multiply = _multiply if flat else _convolve
        found = []
        if down is not None and up is not None:
            found.append(multiply(module, x, down, up))
        if diff is not None:
            found.append(multiply(module, x, diff))
        if bias is not None:
            found.append(bias if flat else bias.view(-1, 1, 1, 1))
        total = found[0]
        for one in found[1:]:
            total = total + one
        return total

    def _scaled(self, x: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The tensors in the type and on the device of ``x``, with the strength in them; kept until it changes."""
        if not self._ready or self._ready[:2] != (x.dtype, x.device):
            import torch

            change, strength = self.change, self.strength
            down, up = (None if one is None else one.to(x.device, x.dtype) for one in (change.down, change.up))
            if down is not None:
                down = down * (change.scale * strength)
            whole = [
                None if one is None else (one.to(x.device, torch.float32) * strength).to(x.dtype)
                for one in (change.diff, change.bias)
            ]
            self._ready = (x.dtype, x.device, down, up, *whole)
        return self._ready[2:]


@dataclass(eq=False)
class Target:
    """A layer with everything that changes it."""

    layer: Layer
    parts: list[Part] = field(default_factory=list)
    _handles: list[Any] = field(default_factory=list)
    _own: dict[str, torch.nn.Parameter] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether the layer computes anything else than the base model now."""
        return any(part.strength for part in self.parts)

    def set(self, strengths: Sequence[float]) -> bool:
        """Take the strength of each LoRA; True when one of this layer's has changed."""
        changed = [part.set(strengths[part.use] * part.factor) for part in self.parts]
        if not any(changed):
            return False
        self.release()
        if self.changed:
            if self.layer.multiplies:
                self._handles.append(self.layer.module.register_forward_hook(self._add))
            else:
                self._replace()
        return True

    def release(self) -> None:
        """Leave the layer as it was."""
        while self._handles:
            self._handles.pop().remove()
        while self._own:
            setattr(self.layer.module, *self._own.popitem())

    def _add(self, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            if part.strength:
                output = output + part.delta(module, inputs[0])
        return output

    def _replace(self) -> None:
        import torch

        module, parameter = self.layer.module, self.layer.parameter
        # A norm computes all in one type: its weight and its bias become float32 together.
        for name, kind in ((parameter, "diff"), *([("bias", "bias")] if parameter == "weight" else [])):
            own = getattr(module, name, None)
            if own is None:
                continue
            total = own.detach().to(torch.promote_types(own.dtype, torch.float32))
            for part in self.parts:
                tensor = getattr(part.change, kind)
                if part.strength and tensor is not None:
                    total = total + tensor.to(total) * part.strength
            self._own[name] = own
            setattr(module, name, torch.nn.Parameter(total, requires_grad=False))
        if parameter == "weight" and self._own["weight"].dtype.itemsize < torch.float32.itemsize:
            self._handles += _in_float32(module)


def _multiply(module: Any, x: torch.Tensor, first: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
    """``x`` times one or two matrices, as a linear layer without bias."""
    x = x @ first.flatten(1).T
    return x if second is None else x @ second.flatten(1).T


def _convolve(module: Any, x: torch.Tensor, first: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
    """The convolution of ``module`` with another kernel and no bias, and then one of single pixels."""
    from torch.nn.functional import conv3d

    kernel = first.reshape(-1, *module.weight.shape[1:])
    x = conv3d(x, kernel, None, module.stride, module.padding, module.dilation, module.groups)
    return x if second is None else conv3d(x, second.reshape(*second.shape[:2], 1, 1, 1))


def _in_float32(module: torch.nn.Module) -> list[Any]:
    """Let a norm compute in float32 and round once, to the type of its input. Gives the handles of the hooks."""
    kinds: list[torch.dtype] = []

    def widen(module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        kinds.append(inputs[0].dtype)
        return (inputs[0].float(), *inputs[1:])

    def narrow(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output.to(kinds.pop())

    return [module.register_forward_pre_hook(widen), module.register_forward_hook(narrow)]

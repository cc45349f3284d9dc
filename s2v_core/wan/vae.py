"""DiffSynth's VAE on a CPU in other operations: bit for bit, or the same arithmetic, equal but for rounding.

Torch hands a 3-D convolution of a small picture (by the sizes of its first four axes) to a kernel that is 2 to 12 times
slower than oneDNN's. The slow one lays the picture out for a product of matrices; laid out by torch's own copy the same
product gives the same bits in half of the time. ``torch.nn.functional.normalize`` takes the norm over channels by a
reduction that a CPU does badly. On a GPU the classes' own ways stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch

_TINY = 1e-24  # torch.nn.functional.normalize's 1e-12, squared


Block: TypeAlias = Callable[[], AbstractContextManager[None]]


def fast_vae(vae: Any, exact: bool = False) -> AbstractContextManager[None]:
    """While the block runs, the layers of ``WanVideoVAE`` take faster forms, where it is float32 on a CPU.

    ``exact``: only those that give the same bits.
    """
    return fast_blocks(vae, exact)()


def fast_blocks(vae: Any, exact: bool = False, layers: Iterable[Any] | None = None) -> Block:
    """What gives ``fast_vae``'s block again and again, for work in parts: finding the layers costs as much as small
    parts do. It knows the layers of now; ask for a new one for the next video. ``layers``: those that will compute, all
    if not given.
    """
    from diffsynth.models.wan_video_vae import CausalConv3d, RMS_norm

    forms = []
    for module in vae.model.modules() if layers is None else layers:
        if isinstance(module, CausalConv3d):
            forms.append((vars(module), True, partial(_same_bits if exact else _convolve, module)))
        elif isinstance(module, RMS_norm) and module.channel_first and not exact:
            forms.append((vars(module), False, partial(_norm, module)))
    return partial(_taken, vae.model, forms)


@contextmanager
def _taken(model: Any, forms: Sequence[tuple[dict[str, Any], bool, Callable[..., Any]]]) -> Iterator[None]:
    """``forms``: a module's attributes, whether it convolves, and its faster form."""
    import torch

    # Asked each time: running out of memory moves a net between two parts.
    weight = next(model.parameters())
    convolves = torch.backends.mkldnn.is_available()
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        forms = ()
    changed = []
    try:
        for attributes, convolution, form in forms:
            if convolves or not convolution:
                # Not by Module's own way to set an attribute, which takes longer than a small layer.
                attributes["forward"] = form
                changed.append(attributes)
        yield
    finally:
        for attributes in changed:
            del attributes["forward"]


def _convolve(module: Any, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    """``CausalConv3d.forward``: what is missing in front in time comes from ``cache_x`` [B, C, T, H, W], then zeros."""
    import torch

    side, _, rows, _, before, _ = module._padding
    if cache_x is not None and before:
        x = torch.cat([cache_x, x], dim=2)
        before -= cache_x.shape[2]
    if before:
        x = torch.nn.functional.pad(x, (0, 0, 0, 0, before, 0))
    made: torch.Tensor = torch.ops.aten.mkldnn_convolution(
        x, module.weight, module.bias, [0, rows, side], module.stride, module.dilation, module.groups
    )
    return made


def _same_bits(module: Any, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    """``CausalConv3d.forward``; where torch would take its slow kernel, by that kernel's own product of matrices."""
    import torch

    padding = list(module._padding)
    if cache_x is not None and padding[4] > 0:
        x = torch.cat([cache_x, x], dim=2)
        padding[4] -= cache_x.shape[2]
    x = torch.nn.functional.pad(x, padding)
    given = (module.stride, module.padding, module.dilation)
    kind = torch._C._select_conv_backend(x, module.weight, module.bias, *given, False, (0, 0, 0), module.groups)
    backends = vars(torch._C)["_ConvBackend"]  # torch's type stubs call it otherwise
    if kind != backends.Slow3d or x.shape[0] != 1:
        return torch.nn.functional.conv3d(x, module.weight, module.bias, *given, module.groups)
    kernel, steps = module.weight.shape[2:], module.stride
    sizes = [(size - taps) // step + 1 for size, taps, step in zip(x.shape[2:], kernel, steps, strict=True)]
    _, channel, *places = x.stride()
    jumps = (step * place for step, place in zip(steps, places, strict=True))
    columns = x.as_strided((x.shape[1], *kernel, *sizes), (channel, *places, *jumps))
    weight = module.weight.flatten(1)
    made = torch.addmm(module.bias[:, None], weight, columns.reshape(weight.shape[1], -1))
    return made.view(1, len(weight), *sizes)


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    """``RMS_norm.forward`` for x [B, C, ...]."""
    import torch

    inverse = torch.rsqrt(x.square().sum(dim=1, keepdim=True).clamp_min_(_TINY)).mul_(module.scale)
    y = (x * inverse).mul_(module.gamma)
    return y + module.bias if isinstance(module.bias, torch.Tensor) else y

"""The transformer's and the VACE blocks' arithmetic between their layers, compiled by torch.

``torch.compile`` over whole blocks does not see hooks that are set afterwards, which LoRAs are, and would compile anew
for every strength. What it speeds up, though, are norms, modulation and rotation; linear layers and attention are
library kernels either way. So these parts alone are compiled, once for all blocks, sizes and LoRAs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..files import cache_dir
from . import block
from .block import Form

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
_TOKENS = 64  # any number: the compiled code takes all


def compile_form(form: Form, dit: Any, device: str, dtype: torch.dtype) -> Form:
    """The same form in compiled code. The log says how many seconds it took.

    The code is kept in the project's cache folder, unless ``TORCHINDUCTOR_CACHE_DIR`` names another; the next time it
    is ready in seconds. Raises ``SettingsError`` where torch cannot compile, as on a CPU without a C++ compiler.
    """
    import torch

    os.environ.setdefault(_FOLDER, str(cache_dir() / "inductor"))
    begin = time.monotonic()
    enter, turn = (torch.compile(function, dynamic=None) for function in (_enter, _turn))
    try:
        with torch.inference_mode(False), torch.no_grad():
            _run_once(enter, turn, dit, device, dtype)
    except Exception as error:  # torch's compilers raise of every kind
        raise SettingsError(
            "torch cannot compile here.",
            expected="a C++ compiler for the CPU, or Triton for the GPU",
            got=f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}",
            remedy="Install it (Linux: the package g++), or load the model without compiling.",
        ) from error
    log.info("Compiled in %.1f s (kept in %s)", time.monotonic() - begin, os.environ[_FOLDER])
    return replace(form, enter=_Enter(enter), turn=_Turn(turn))


def _run_once(enter: Callable[..., Any], turn: Callable[..., Any], dit: Any, device: str, dtype: torch.dtype) -> None:
    """Compile for any number of tokens, by the first call."""
    import torch

    norm = dit.blocks[0].self_attn.norm_q
    size = dit.freqs[0].shape[1] + dit.freqs[1].shape[1] + dit.freqs[2].shape[1]
    x = torch.zeros(1, _TOKENS, dit.dim, device=device, dtype=dtype)
    # As the blocks' own: the code is made for how tensors lie in memory, and tells parameters from other tensors.
    shift, scale, *_ = torch.zeros(1, 6, dit.dim, device=device, dtype=dtype).chunk(6, dim=1)
    weight = torch.nn.Parameter(torch.ones(dit.dim, device=device, dtype=dtype), requires_grad=False)
    table = torch.zeros(_TOKENS, 1, size, 2, device=device)
    for tensor, axis in ((x, 1), (table, 0)):
        torch._dynamo.mark_dynamic(tensor, axis)
    enter(x, shift, scale, dit.blocks[0].norm1.eps)
    turn(x, weight, norm.eps, table)


class _Enter:
    """``block.enter``."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self._function = function

    def __call__(self, norm: Any, x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self._function(x, shift, scale, norm.eps)


class _Turn:
    """``block.turn``; where a LoRA has changed the norm's type, the norm itself comes first."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self._function = function

    def __call__(self, norm: Any, x: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
        import torch

        if block.is_touched(norm, x):
            return block.turn(norm, x, freqs)
        return self._function(x, norm.weight, norm.eps, torch.view_as_real(freqs))


def _enter(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, eps: float) -> torch.Tensor:
    from torch.nn.functional import layer_norm

    return layer_norm(x, x.shape[-1:], None, None, eps) * (1 + scale) + shift


def _turn(x: torch.Tensor, weight: torch.Tensor, eps: float, table: torch.Tensor) -> torch.Tensor:
    """``table``: cosines and sines, float32 [tokens, 1, size / 2, 2]."""
    import torch

    y = torch.nn.functional.rms_norm(x, weight.shape, weight, eps)
    one, other = y.float().unflatten(2, (-1, table.shape[2], 2)).unbind(-1)
    cosine, sine = table.unbind(-1)
    turned = torch.stack((one * cosine - other * sine, one * sine + other * cosine), dim=-1)
    return turned.flatten(2).to(x.dtype)

"""Which kernel computes attention: one that has a name, that the user can choose, and that cells remember.

DiffSynth takes whichever package happens to be installed, on any device. Here torch's own is the rule; flash-attn's
takes its place where it can run, and SageAttention, which rounds queries and keys to 8 bits, only when asked for.
What is computed bit for bit as DiffSynth does (``block.exact``) keeps DiffSynth's choice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

KERNELS = ("auto", "sdpa", "flash", "sage")
_FLASH_3, _FLASH_2, _SAGE = "flash_attn_interface", "flash_attn", "sageattention"
_INSTALL = {"flash": "pip install flash-attn", "sage": "pip install sageattention"}
_HOPPER = 9  # the compute capability that flash-attn 3 is written for


@dataclass(frozen=True)
class Kernel:
    """``name``: one of ``KERNELS`` but "auto". ``package``: the module that computes it, "" for torch's."""

    name: str = "sdpa"
    package: str = ""

    def __call__(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attention of q [B, tokens, dim] over k and v. ``bias``: added to the logits; for torch's kernel alone."""
        import torch

        q, k, v = (x.unflatten(2, (heads, -1)) for x in (q, k, v))
        if self.name == "flash":
            mixed = import_module(self.package).flash_attn_func(q, k, v)
            mixed = mixed[0] if isinstance(mixed, tuple) else mixed  # some give the logits' sums too
        elif self.name == "sage":
            mixed = import_module(self.package).sageattn(q, k, v, tensor_layout="NHD")
        else:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)
        found: torch.Tensor = mixed.flatten(2)
        return found

    def identity(self) -> dict[str, str]:
        """What an engine's identity says of it; nothing for torch's kernel, as long as DiffSynth uses that too."""
        found = {"attention": f"{self.package} {_version(self.package)}"} if self.package else {}
        if theirs := diffsynth_package():
            found["attention of DiffSynth"] = f"{theirs} {_version(theirs)}"
        return found


SDPA = Kernel()


def pick_attention(name: str, device: str, dtype: torch.dtype) -> Kernel:
    """The kernel for tensors of this type on this device.

    "auto": flash-attn's where it is installed and can run, else torch's. Raises ``SettingsError`` for a kernel that is
    not installed or cannot run here: nothing else is taken in its place.
    """
    import torch

    if name not in KERNELS:
        raise SettingsError(f"There is no attention {name!r}.", expected=f"one of {', '.join(KERNELS)}")
    if name == "sdpa":
        return SDPA
    wanted = "flash" if name == "auto" else name
    place = torch.device(device)
    reason = ""
    if place.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        reason = f"{str(dtype).removeprefix('torch.')} on {place.type}"
        expected = "float16 or bfloat16 on an NVIDIA GPU"
    else:
        expected = f"an installed {' or '.join(_packages(wanted, place))}"
        for package in _packages(wanted, place):
            try:
                import_module(package)
            except (ImportError, OSError, RuntimeError) as error:  # also one that was built for another torch
                reason = reason or f"{type(error).__name__}: {error}"
                continue
            kernel = Kernel(wanted, package)
            log.info("Attention is computed by %s %s", package, _version(package))
            return kernel
    if name == "auto":
        log.info("Attention is computed by torch (%s)", reason)
        return SDPA
    raise SettingsError(
        f"The attention {name} cannot run here.",
        expected=expected,
        got=reason.splitlines()[0],
        remedy=f"Choose sdpa, or install it on a machine with such a GPU: {_INSTALL[name]}",
    )


def diffsynth_package() -> str:
    """The package that DiffSynth's ``flash_attention`` takes, or "" for torch's kernel."""
    return next((name for name in (_FLASH_3, _FLASH_2, _SAGE) if find_spec(name)), "")


def _packages(name: str, place: torch.device) -> tuple[str, ...]:
    import torch

    if name == "sage":
        return (_SAGE,)
    newest: Any = torch.cuda.get_device_capability(place)[0] == _HOPPER
    return (_FLASH_3, _FLASH_2) if newest else (_FLASH_2,)


@cache
def _version(package: str) -> str:
    from importlib.metadata import packages_distributions, version

    return next((version(name) for name in packages_distributions().get(package, ())), "of unknown version")

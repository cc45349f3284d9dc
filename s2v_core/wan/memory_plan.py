"""Which weights are on the device when: the plans for little memory, what each needs, and the choice among them.

All plans give the same bits: weights are copied to the device, whole or layer by layer, and everything is computed
there. Storing weights in 8 bits changes bits, so ``fp8`` is never chosen by itself, and is in the engine's identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .contents import EIGHT_BIT, FileContents, inspect_file
from .room import LARGE, TEXT, transformer_memory, vae_memory
from .sizes import transformer_sizes, vae_sizes

if TYPE_CHECKING:
    import torch

    from .engine import ModelFiles
    from .settings import SampleSettings

PLANS = {
    "resident": "all nets stay on the device",
    "text_offload": "transformer and VAE stay on the device; the text encoder comes for its prompts",
    "offload": "one net at a time is on the device",
    "streaming": "one net at a time, and of it what fits; the other layers come while the ones before them compute",
    "sequential": "one net at a time, and each of its large layers only while it computes",
}
"""The plans, from the quickest to the one that needs least."""
AUTO, FP8 = "auto", "fp8"
CHOICES = (AUTO, *PLANS, FP8)

_STAYING = ("transformer", "vae")
_AT_ONCE = 2  # streamed layers: the one that computes and the next
# What is left alone of the free memory: what a GPU's libraries take for themselves, and gaps between tensors.
_RESERVE = 512 << 20
_EMBEDDINGS = ("token_embedding.weight", "pos_embedding.embedding.weight")  # never kept in 8 bits


@dataclass(frozen=True)
class NetNeed:
    """Bytes of one net: all ``weights``, those of ``small`` layers, which always stay, the ``largest`` layer, and what
    it takes while it computes (``working``).
    """

    weights: int
    small: int
    largest: int
    working: int

    @property
    def whole(self) -> int:
        """Bytes with all weights on the device."""
        return self.weights + self.working

    @property
    def least(self) -> int:
        """Bytes with each large layer there only while it computes."""
        return min(self.weights, self.small + _AT_ONCE * self.largest) + self.working


@dataclass(frozen=True)
class MemoryPlan:
    """The plan ``name`` for a ``device``. ``free``: bytes that it may take there, None where that is not known.

    ``needs``: bytes that each plan needs at its peak. ``nets``: what they are made of. ``asked``: one of ``CHOICES``.
    """

    name: str
    asked: str
    device: str
    free: int | None
    needs: Mapping[str, int]
    nets: Mapping[str, NetNeed]

    @property
    def need(self) -> int:
        """Bytes that it needs at its peak; ``streaming`` takes more where there is more."""
        return self.needs[self.name]

    @property
    def fits(self) -> bool:
        """Whether there is room for it, as far as is known."""
        return self.free is None or self.need <= self.free

    def to_dict(self) -> dict[str, Any]:
        """For programs; all sizes in bytes."""
        return {
            "plan": self.name,
            "asked": self.asked,
            "device": self.device,
            "free": self.free,
            "need": self.need,
            "fits": self.fits,
            "weights": {name: net.weights for name, net in self.nets.items()},
            "working": {name: net.working for name, net in self.nets.items()},
            "needs": dict(self.needs),
        }

    def __str__(self) -> str:
        """For people, in one sentence."""
        free = "an unknown amount" if self.free is None else gigabytes(self.free)
        parts = ", ".join(
            f"{name.replace('_', ' ')} {gigabytes(net.weights)} + {gigabytes(net.working)}"
            for name, net in self.nets.items()
        )
        eight = ", weights of the transformer's blocks in 8 bits" if self.asked == FP8 else ""
        short = "" if self.fits else "; this may not be enough"
        what = PLANS[self.name] if self.device != "cpu" else "everything is computed in main memory"
        return (
            f"{self.name} ({what}{eight}): about {gigabytes(self.need)} of {free} on {self.device}{short}. "
            f"Weights + work: {parts}"
        )


def plan_memory(
    asked: str, device: str, nets: Mapping[str, NetNeed], free: int | None, least: str = "resident"
) -> MemoryPlan:
    """The first plan, from ``least`` on, for which there is room; the last one where there is for none.

    A plan that is asked for by name is taken whatever is free. Where nothing is known of the memory, one net at a time
    is. On the CPU there is nothing to choose: weights have no other place.
    """
    needs = plan_needs(nets)
    order = list(PLANS)
    allowed = order[order.index(least) :]
    if device == "cpu":
        name = "resident"
    elif asked in PLANS:
        name = allowed[max(0, order.index(asked) - order.index(least))]
    elif free is None:
        name = max("offload", least, key=order.index)
    else:
        name = next((one for one in allowed if needs[one] <= free), order[-1])
    return MemoryPlan(name, asked, device, free, needs, nets)


def check_memory(asked: str, device: str) -> None:
    """Raise ``SettingsError`` for a plan that does not exist, or not on this device."""
    import torch

    if asked not in CHOICES:
        raise SettingsError(f"There is no memory plan {asked!r}.", expected=f"one of {', '.join(CHOICES)}")
    kind = torch.device(device).type
    if kind == "cpu" and asked in PLANS and asked != "resident":
        raise SettingsError(
            f"The memory plan {asked} is for a device with a memory of its own.",
            expected="auto, resident or fp8 on the CPU",
            got=asked,
            remedy="Leave it at auto.",
        )
    if kind == "mps" and asked == FP8:
        raise SettingsError("Apple's MPS has no 8-bit floating point.", expected="another memory plan", got=asked)


def plan_needs(nets: Mapping[str, NetNeed]) -> dict[str, int]:
    """Bytes that each plan needs at its peak."""
    work = max(net.working for net in nets.values())
    staying = sum(nets[name].weights for name in _STAYING)
    others = [net for name, net in nets.items() if name not in _STAYING]
    coming = max((net.least for net in others), default=0)
    least = max(net.least for net in nets.values())
    return {
        "resident": sum(net.weights for net in nets.values()) + work,
        "text_offload": staying + max(work, coming),
        "offload": max(coming, *(nets[name].whole for name in _STAYING)),
        "streaming": least,
        "sequential": least,
    }


def stays(plan: str) -> tuple[str, ...]:
    """The nets that stay on the device while others compute."""
    return {"resident": (*_STAYING, "text_encoder"), "text_offload": _STAYING}.get(plan, ())


def net_needs(
    files: ModelFiles, settings: SampleSettings | None, dtype: torch.dtype, *, eight_bit: bool = False
) -> dict[str, NetNeed]:
    """What each net needs for a rendering with these settings, or with the defaults; only headers are read.

    ``eight_bit``: with the weights of the transformer's blocks stored in 8 bits. Raises ``ModelFileError``.
    """
    from .settings import SampleSettings

    settings = settings or SampleSettings()
    contents = {net: inspect_file(path, net) for net, path in files.weights().items()}
    sizes = transformer_sizes(contents["transformer"])["dit"]
    working = {
        "transformer": transformer_memory(sizes["dim"], sizes["ffn_dim"], settings, dtype.itemsize),
        "vae": vae_memory(vae_sizes(contents["vae"])["decoder_dim"], settings, dtype.itemsize),
        "text_encoder": TEXT,
    }
    return {net: _need(one, working[net], dtype, eight_bit and net == "transformer") for net, one in contents.items()}


def in_8_bits(key: str, shape: tuple[int, ...]) -> bool:
    """Whether ``fp8`` stores this weight in 8 bits: the matrices of the transformer's and the VACE blocks."""
    return key.startswith(("blocks.", "vace_blocks.")) and key.endswith(".weight") and len(shape) == 2


def _need(contents: FileContents, working: int, dtype: torch.dtype, eight_bit: bool) -> NetNeed:
    assert contents.weights is not None
    layers: dict[str, int] = {}
    small = unpacked = 0
    for key, shape in contents.shapes.items():
        count = math.prod(shape)
        kind = contents.weights.tensors[contents.names[key]].dtype
        matrix = key.endswith(".weight") and len(shape) == 2
        own = kind in EIGHT_BIT and matrix and not key.endswith(_EMBEDDINGS)
        if own or (eight_bit and in_8_bits(key, shape)):
            small += 4 * (shape[0] if not own else 1)
            unpacked = max(unpacked, count * (4 + dtype.itemsize))  # turned into numbers while it computes
            size = count
        else:
            size = count * dtype.itemsize
        if matrix and size >= LARGE:
            layers[key] = size
        else:
            small += size
    large = sum(layers.values())
    return NetNeed(small + large, small, max(layers.values(), default=0), working + unpacked)


def free_memory(device: str) -> int | None:
    """Bytes that a rendering may take on a device; None where torch cannot say. On the CPU those of main memory."""
    import torch

    place = torch.device(device)
    if place.type == "cuda":
        free, _ = torch.cuda.mem_get_info(place)
        # What torch holds and does not use is free to it.
        unused = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        return max(0, free + unused - _RESERVE)
    if place.type == "mps":
        most = getattr(torch.mps, "recommended_max_memory", None)
        return max(0, most() - torch.mps.current_allocated_memory() - _RESERVE) if most else None
    return available_memory() if place.type == "cpu" else None


def available_memory() -> int:
    """Bytes of main memory that programs can take without others being paged out."""
    import psutil

    return int(psutil.virtual_memory().available)


def gigabytes(size: float) -> str:
    """A size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"

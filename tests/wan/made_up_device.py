"""A device with a memory of its own, made up on the CPU: whatever tensor is made while it is open lies on it.

Weights that were there before are at home; to come here they are cloned. Views take nothing. What would go beyond the
limit raises torch's own error. So the plans, the moves, the engine and the nets are real; the arithmetic is the CPU's,
tensors of the host's side are counted too, and there are no streams.
"""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from s2v_core.wan.engine import load_engine
from s2v_core.wan.residence import Residence

NAME = "cpu:0"  # torch's other name of the CPU: to the engine another device than "cpu"
LARGE = 4000  # bytes: most of the tiny net's layers are larger


class MadeUpDevice(TorchDispatchMode):
    """``limit``: bytes. ``used``: bytes that are taken now, ``peak``: the most so far."""

    def __init__(self, limit=float("inf")):
        super().__init__()
        self.limit = limit
        self.used = self.peak = self.refused = 0
        self._known = set()

    def free(self):
        return int(min(self.limit - self.used, 1 << 60))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given | self._known:
                self._take(tensor.untyped_storage())
        if self.used > self.limit:
            self.refused += 1
            del made, tensor
            raise torch.OutOfMemoryError(f"CUDA out of memory. ({self.limit - self.used} bytes)\nMore of it.")
        self.peak = max(self.peak, self.used)
        return made

    def _take(self, storage):
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.used += size

        def give_back():
            self._known.discard(key)
            self.used -= size

        weakref.finalize(storage, give_back)


class Ahead:
    """Prefetching without a stream: copies are made when they begin. Counts what was used and what was not."""

    def __init__(self):
        self.begun = self.taken = 0
        self.prepared = []

    def start(self, homes):
        copies = [home.clone() for home in homes]
        self.begun += 1
        return copies

    def take(self, begun):
        self.taken += 1
        return begun

    def prepare(self, homes):
        self.prepared += homes
        return homes


def engine_on(device, files, memory="auto", ahead=None):
    """An engine whose nets come to the made-up device. Called with the device closed: its weights are at home."""
    engine = load_engine(files, device="cpu", dtype="float32", memory="fp8" if memory == "fp8" else "auto")
    engine.read_again()
    engine.device, engine.offload, engine.memory, engine.text_encoder = NAME, True, memory, "keep"
    engine.residence = Residence(
        memory, NAME, free=device.free, copy=lambda home: home.clone(), ahead=ahead, large=LARGE
    )
    return engine

"""The engine's nets in the host's memory management: the host makes room for them, and takes them off its device.

What is known to it is one ``EngineNet`` for each weight file. The host's own rules decide how much of a net is on the
device (``--lowvram``, ``--novram``, ``--highvram``, ``--reserve-vram``) and when it has to leave (another model's
needs, ``unload_all_models``, ``/free``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.model_management as management
import torch
from comfy.model_patcher import ModelPatcher

from ..s2v_core.wan import engine as engine_module
from ..s2v_core.wan.engine import NETS, Engine, ModelFiles
from ..s2v_core.wan.placement import Placement
from ..s2v_core.wan.room import working_memory
from .work import Progress, interruptible

_CPU = torch.device("cpu")
# What the host's log calls them.
_NAMES = {"transformer": "WanVaceTransformer", "vae": "WanVaceVAE", "text_encoder": "WanVaceTextEncoder"}


class EngineNet(ModelPatcher):  # type: ignore[misc, unused-ignore]
    """One weight file's parts of an engine, as the host knows models.

    On a device of its own they are copies of what stays in main memory (``Placement``), all of them or as many as the
    host allows. On the CPU they have no other place: the host then lets go of them, and the next use reads the file.
    """

    def __init__(self, engine: Engine, net: str, placement: Placement | None = None) -> None:
        # A module of our own around them, for the host writes attributes of its own into it.
        own = type(_NAMES[net], (torch.nn.ModuleDict,), {})
        holder = own({name: engine.parts[name] for name in NETS[net]})
        device = device_of(engine)
        self.placement = placement or (None if device == _CPU else Placement(holder, device))
        size = self.placement.size if self.placement else management.module_size(holder)
        super().__init__(holder, load_device=device, offload_device=_CPU, size=size)
        self._engine = weakref.ref(engine)
        self._net = net
        self._here = False

    def holds(self, engine: Engine) -> bool:
        """Whether these are still the engine's parts."""
        return all(engine.parts.get(name) is part for name, part in self.model.items())

    def loaded_size(self) -> int:
        """Bytes on the device."""
        if self.placement:
            return self.placement.loaded
        return int(self.size) if self._here else 0

    def current_loaded_device(self) -> torch.device:
        """Where the parts compute now."""
        found: torch.device = self.load_device if self.loaded_size() else self.offload_device
        return found

    def partially_load(
        self, device_to: torch.device, extra_memory: float = 0, force_patch_weights: bool = False
    ) -> int:
        """Bring what fits into so many more bytes; gives how many it took."""
        if self.placement:
            return self.placement.bring(extra_memory)
        before, self._here = self.loaded_size(), True
        return self.loaded_size() - before

    def partially_unload(
        self, device_to: torch.device, memory_to_free: float = 0, force_patch_weights: bool = False
    ) -> int:
        """Free so many bytes, if that can be done in part; gives how many are free."""
        return self.placement.send_home(memory_to_free) if self.placement else 0

    def detach(self, unpatch_all: bool = True) -> torch.nn.Module:
        """Leave the device. The host calls it with False to mean only its own patches, of which there are none."""
        if unpatch_all:
            engine = self._engine()
            if self.placement:
                self.placement.send_home()
            elif engine is not None and self.holds(engine):
                engine.release(*NETS[self._net])
            self._here = False
        found: torch.nn.Module = self.model
        return found


# The nets of each engine that is known to the host. Nothing in a net refers to its engine, so both end together.
_KNOWN: weakref.WeakKeyDictionary[Engine, dict[str, EngineNet]] = weakref.WeakKeyDictionary()


def device_of(engine: Engine) -> torch.device:
    """The engine's device by the host's own name, for "cuda" and "cuda:0" are two names to it."""
    device = torch.device(engine.device)
    own: torch.device = management.get_torch_device()
    return own if device.index is None and device.type == own.type else device


def adopt(engine: Engine) -> Engine:
    """Let the host decide where the engine's nets are, from now on. The engine itself is given back."""
    engine.mover = move
    if device_of(engine) == _CPU:
        # They are where they compute, so they count from now on.
        move(engine, tuple(engine.parts))
    return engine


def move(engine: Engine, names: tuple[str, ...]) -> None:
    """Have the host bring these parts to the device and make the room that they need; without names: leave it."""
    nets = [known_net(engine, net) for net, parts in NETS.items() if set(parts) & set(names)]
    if nets:
        need = working_memory(engine.parts, names, engine.expected, engine.dtype)
        management.load_models_gpu(nets, memory_required=need)
    elif not names:
        leave(engine)


def known_net(engine: Engine, net: str) -> EngineNet:
    """What the host knows of a net of this engine."""
    known = _KNOWN.setdefault(engine, {})
    if net not in known or not known[net].holds(engine):
        known[net] = EngineNet(engine, net)
    return known[net]


def leave(engine: Engine) -> None:
    """Take the engine off its device; from the CPU, where nothing would be gained, it does not go."""
    if device_of(engine) == _CPU:
        return
    ours = set(_KNOWN.get(engine, {}).values())
    loaded_models = management.current_loaded_models
    for loaded in [loaded for loaded in loaded_models if loaded.model in ours]:
        loaded.model_unload()
        loaded_models.remove(loaded)
    management.soft_empty_cache()


def finished(engine: Engine) -> None:
    """After a rendering: the nets stay where the host wants them, and what they computed with is given back."""
    engine.expected = None
    if management.DISABLE_SMART_MEMORY:
        leave(engine)
    management.soft_empty_cache()


def make_room(size: float, device: str) -> None:
    """Have the host's models leave the device until ``size`` bytes are free, if they can."""
    management.free_memory(size, torch.device(device))


@contextmanager
def guest(size: int, device: str) -> Iterator[None]:
    """Around a model that is not the host's to keep: it makes room for ``size`` bytes, and gets them back at the end.

    The model must be gone when the block ends.
    """
    if torch.device(device).type != "cpu":
        make_room(size + management.minimum_inference_memory(), device)
    try:
        yield
    finally:
        management.soft_empty_cache()


def torch_device() -> str:
    """The device that the host computes on, as torch writes it."""
    return str(management.get_torch_device())


def load_engine(files: ModelFiles, *, device: str = "auto", dtype: str = "auto") -> Engine:
    """``wan.engine.load_engine`` with the host's device for "auto", its progress bar and its memory management."""
    from ..s2v_core.wan.contents import weights_size

    where = torch_device() if device == "auto" else device
    if where == "cpu":  # to any other device they come later, part by part
        make_room(sum(weights_size(path, net) for net, path in files.weights().items()), where)
    progress = Progress(1)
    with interruptible() as should_stop:
        engine = engine_module.load_engine(
            files,
            device=where,
            dtype=dtype,
            on_progress=lambda done, total, what: progress(done, total),
            should_stop=should_stop,
        )
    return adopt(engine)


@contextmanager
def rendering(engine: Engine) -> Iterator[Callable[[], bool]]:
    """Around work with an engine: gives ``should_stop``; the host's models make room, and get it back.

    What the host let go of meanwhile is read again. The host runs nodes in torch's inference mode, whose tensors cannot
    be used outside it. In here that mode is off, so that what the engine remembers can be used anywhere.
    """
    bar: list[Progress] = []

    def show(done: int, total: int, what: str) -> None:
        bar[:] = bar or [Progress(total)]
        bar[0](done, total)

    try:
        with interruptible() as should_stop, torch.inference_mode(False), torch.no_grad():
            engine.read_again(on_progress=show, should_stop=should_stop)
            adopt(engine)
            yield should_stop
    finally:
        with torch.inference_mode(False), torch.no_grad():
            finished(engine)

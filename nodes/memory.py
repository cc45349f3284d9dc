"""The engine's nets in the host's memory management: the host makes room for them, and takes them off its device.

What is known to it is one ``EngineNet`` for each weight file. The host's own rules decide how much of a net is on the
device (``--lowvram``, ``--novram``, ``--highvram``, ``--reserve-vram``) and when it has to leave (another model's
needs, ``unload_all_models``, ``/free``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import comfy.model_management as management

from ..s2v_core.wan import engine as engine_module
from ..s2v_core.wan.engine import NETS, Engine, ModelFiles
from ..s2v_core.wan.room import working_memory
from .work import Progress, interruptible

if TYPE_CHECKING:
    import torch

    from .patcher import EngineNet


# The nets of each engine that is known to the host. Nothing in a net refers to its engine, so both end together.
_KNOWN: weakref.WeakKeyDictionary[Engine, dict[str, EngineNet]] = weakref.WeakKeyDictionary()


def device_of(engine: Engine) -> torch.device:
    """The engine's device by the host's own name, for "cuda" and "cuda:0" are two names to it."""
    import torch

    device = torch.device(engine.device)
    own: torch.device = management.get_torch_device()
    return own if device.index is None and device.type == own.type else device


def adopt(engine: Engine) -> Engine:
    """Let the host decide where the engine's nets are, from now on. The engine itself is given back."""
    engine.mover, engine.reader = move, read
    if device_of(engine).type == "cpu":
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


def read(engine: Engine, names: tuple[str, ...]) -> None:
    """Read parts that are not loaded, with the host's progress bar and stop button; on the CPU in room it makes."""
    import torch

    from ..s2v_core.wan.contents import weights_size

    if device_of(engine).type == "cpu":
        paths, ours = engine.files.weights(), set(_KNOWN.get(engine, {}).values())
        size = sum(weights_size(paths[net], net) for net, parts in NETS.items() if set(parts) & set(names))
        # What the same rendering needs stays: it would only be read again.
        stays = [loaded for loaded in management.current_loaded_models if loaded.model in ours]
        management.free_memory(size, torch.device("cpu"), keep_loaded=stays)
    with interruptible() as should_stop:
        engine.read_again(*names, on_progress=_bar(), should_stop=should_stop)


def known_net(engine: Engine, net: str) -> EngineNet:
    """What the host knows of a net of this engine."""
    from .patcher import EngineNet

    known = _KNOWN.setdefault(engine, {})
    if net not in known or not known[net].holds(engine):
        known[net] = EngineNet(engine, net, device_of(engine))
    return known[net]


def leave(engine: Engine) -> None:
    """Take the engine off its device; from the CPU, where nothing would be gained, it does not go."""
    if device_of(engine).type == "cpu":
        return
    _unload(set(_KNOWN.get(engine, {}).values()))
    management.soft_empty_cache()


def _unload(nets: set[EngineNet]) -> None:
    loaded_models = management.current_loaded_models
    for loaded in [loaded for loaded in loaded_models if loaded.model in nets]:
        loaded.model_unload()
        loaded_models.remove(loaded)


def finished(engine: Engine) -> None:
    """After a rendering: the nets stay where the host wants them, and what they computed with is given back."""
    engine.expected = None
    known = _KNOWN.get(engine, {})
    let_go = {name: net for name, net in known.items() if not net.holds(engine)}
    _unload(set(let_go.values()))
    for name in let_go:
        del known[name]
    if management.DISABLE_SMART_MEMORY:
        leave(engine)
    management.soft_empty_cache()


def make_room(size: float, device: str) -> None:
    """Have the host's models leave the device until ``size`` bytes are free, if they can."""
    import torch

    management.free_memory(size, torch.device(device))


@contextmanager
def guest(size: int) -> Iterator[str]:
    """Around a model that the host does not keep: gives the device that it should use, with ``size`` bytes free on it.

    That is the host's CUDA device, or else the CPU. The model must be gone when the block ends.
    """
    device = management.get_torch_device()
    if device.type == "cuda":
        make_room(size + management.minimum_inference_memory(), str(device))
    try:
        yield str(device) if device.type == "cuda" else "cpu"
    finally:
        management.soft_empty_cache()


def torch_device() -> str:
    """The device that the host computes on, as torch writes it."""
    return str(management.get_torch_device())


def load_engine(files: ModelFiles, *, device: str = "auto", dtype: str = "auto") -> Engine:
    """``wan.engine.load_engine`` with the host's device for "auto", its progress bar and its memory management."""
    from ..s2v_core.wan.contents import weights_size
    from ..s2v_core.wan.kept import open_kept

    where = torch_device() if device == "auto" else device
    if where == "cpu":  # to any other device they come later, part by part, as the text encoder does at any rate
        paths = files.weights()
        make_room(sum(weights_size(paths[net], net) for net in ("transformer", "vae")), where)
    progress = Progress(1)
    with interruptible() as should_stop:
        engine = engine_module.load_engine(
            files,
            device=where,
            dtype=dtype,
            kept=open_kept(),
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
    import torch

    if engine.kept:
        # A file's sha256 is asked for once; a large one takes a minute.
        show = _bar()
        engine.kept.on_hash = lambda path, done, size: show(done, size, path)
    try:
        with interruptible() as should_stop, torch.inference_mode(False), torch.no_grad():
            # The text encoder is read when it is needed.
            engine.read_again("dit", "vace", "vae", on_progress=_bar(), should_stop=should_stop)
            adopt(engine)
            yield should_stop
    finally:
        with torch.inference_mode(False), torch.no_grad():
            finished(engine)


def _bar() -> Callable[[int, int, str], None]:
    """Shows how far reading is, on a bar that is made when it is needed."""
    bar: list[Progress] = []

    def show(done: int, total: int, what: str) -> None:
        bar[:] = bar or [Progress(total)]
        bar[0](done, total)

    return show

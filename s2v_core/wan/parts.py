"""The nets of a model, read from its files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .checkpoints import Reading, load_text_encoder, load_transformer, load_vae
from .contents import weights_size, weights_stamp
from .memory_plan import in_8_bits

if TYPE_CHECKING:
    import torch

    from .engine import ModelFiles


def stamps_of(files: ModelFiles, nets: list[str]) -> dict[str, Any]:
    """The ``weights_stamp`` of each net's files, which changes when they do."""
    return {net: weights_stamp(files.weights()[net], net) for net in nets}


def read_parts(
    files: ModelFiles,
    nets: list[str],
    where: tuple[str, torch.dtype, bool],
    on_progress: Callable[[int, int, str], None] | None,
    should_stop: Callable[[], bool] | None,
    eight_bit: bool = False,
) -> dict[str, Any]:
    """The parts of these nets, of ``residence.NETS``.

    ``where``: the engine's ``device``, ``dtype`` and ``offload``. ``eight_bit``: the transformer's blocks stored in
    8 bits. ``on_progress(done, total, what)`` counts bytes. Raises ``ModelFileError`` for a file that is missing,
    damaged or of another kind; ``Interrupted`` when ``should_stop`` says so.
    """
    import torch

    device, kind, offload = where
    paths = files.weights()
    total = sum(weights_size(paths[net], net) for net in nets)
    done = 0

    def reading(what: str) -> Reading:
        def count(size: int) -> None:
            nonlocal done
            done += size
            say(what)

        say(what)
        # MPS has no 8-bit floating point.
        eight = torch.device(device).type != "mps"
        return Reading(mapped=offload, keep_8bit=eight, on_bytes=count, should_stop=should_stop)

    def say(what: str) -> None:
        if on_progress:
            on_progress(min(done, total), total, what)

    parts: dict[str, Any] = {}
    how: dict[str, Any] = {"device": "cpu" if offload else device, "dtype": kind}
    # The host runs nodes in inference mode; weights made there could not be moved or used outside it.
    with torch.inference_mode(False), torch.no_grad():
        if "transformer" in nets:
            read = reading("transformer")
            parts["dit"], parts["vace"] = load_transformer(files.transformer, **how, reading=read)
            if eight_bit:
                from .fp8 import store_in_8_bits

                for name in ("dit", "vace"):
                    store_in_8_bits(parts[name], kind, in_8_bits)
        if "vae" in nets:
            parts["vae"] = load_vae(files.vae, **how, reading=reading("VAE"))
        if "text_encoder" in nets:
            parts["text_encoder"] = load_text_encoder(files.text_encoder, **how, reading=reading("text encoder"))
    done = total
    say("done")
    return parts

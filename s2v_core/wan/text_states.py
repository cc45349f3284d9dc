"""The text states of an engine: computed, or kept from earlier runs; and how long the text encoder stays for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..errors import Interrupted, SettingsError
from .text import encode_text, pad_states, prompt_tokens

if TYPE_CHECKING:
    import torch

    from .engine import Engine

POLICIES = ("auto", "keep", "release")
_log = logging.getLogger(__name__)
_sizes: WeakKeyDictionary[torch.nn.Module, int] = WeakKeyDictionary()


def encode_states(engine: Engine, text: str, should_stop: Callable[[], bool] | None = None) -> torch.Tensor:
    """``encode_text`` of an engine, or what is ``kept`` of it: [1, 512, text dim] on the CPU.

    The text encoder is read when it must be. Raises what ``Engine.use`` and ``encode_text`` raise, and ``Interrupted``.
    """
    tokens = prompt_tokens(engine.tokenizer, text)

    def make() -> torch.Tensor:
        if engine.reader is None:
            engine.read_again("text_encoder", should_stop=should_stop)
        (encoder,) = engine.use("text_encoder")
        made: torch.Tensor = engine.within_memory(
            ("text_encoder",), lambda: encode_text(encoder, engine.tokenizer, text, engine.device)
        )
        return made

    if engine.kept is None:
        return make().cpu()
    content = {"tokens": tokens, "padding": engine.tokenizer.pad_token_id}
    return pad_states(engine.kept.tensor(engine, "text_encoder", content, lambda: make()[:, : len(tokens)]))


def finish_texts(engine: Engine, awaited: list[str], most: int, should_stop: Callable[[], bool] | None = None) -> None:
    """All texts of a rendering are encoded: what becomes of the text encoder, where it is loaded.

    It encodes the texts that are ``awaited`` by the next renderings, and takes them from the list; when none is left it
    is let go, unless it ``may_stay``. Of more than ``most`` the first would be forgotten before they are used, where
    nothing is ``kept``: then it stays until fewer are left. Raises ``Interrupted`` between two texts.
    """
    if "text_encoder" not in engine.parts or (len(awaited) > most and engine.kept is None):
        return
    while awaited:
        if should_stop and should_stop():
            raise Interrupted("Stopped while texts were encoded; those that are finished are remembered.")
        with suppress(SettingsError):  # too long: this is said when its turn comes
            engine.text_states(awaited[0])
        del awaited[0]
    net = engine.parts["text_encoder"]
    size = _size(net)
    if not may_stay(engine.text_encoder, size, engine.mover is not None):
        _log.info("The text encoder (%.1f GB) is released: all texts are encoded.", size / 1e9)
        engine.let_go("text_encoder")


def _size(net: torch.nn.Module) -> int:
    if net not in _sizes:
        _sizes[net] = sum(value.nbytes for value in (*net.parameters(), *net.buffers()))
    return _sizes[net]


def may_stay(policy: str, size: int, hosted: bool) -> bool:
    """Whether a text encoder of ``size`` bytes stays loaded when no text is left for it to encode.

    ``policy``: one of ``POLICIES``. "auto" lets it stay where the machine has as much memory available besides it: a
    person who tries prompts then waits for no file to be read again. Where a host manages the memory (``hosted``), it
    is the host that decides: it takes the encoder off its device, or lets go of it, when it wants the room.
    """
    import psutil

    if policy != "auto":
        return policy == "keep"
    return hosted or int(psutil.virtual_memory().available) >= size


def check_policy(policy: str) -> None:
    """Raise ``SettingsError`` for a policy that does not exist."""
    if policy not in POLICIES:
        raise SettingsError(
            f"The text encoder cannot be treated so: {policy!r}.", expected=f"one of {', '.join(POLICIES)}"
        )

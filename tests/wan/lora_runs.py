"""What the tests of LoRAs share: a use, a LoRA in memory, and one prediction of the tiny transformer."""

from __future__ import annotations

import torch

from s2v_core.wan import transformer
from s2v_core.wan.lora_file import parse_lora
from s2v_core.wan.settings import LoraUse
from tests.wan.lora_files import STYLES

GENERATOR = torch.Generator()


def nets(engine):
    return engine.parts["dit"], engine.parts["vace"]


def use(strength=1.0, scope="", **values):
    return LoraUse("style.safetensors", strength, scope, **values)


def lora_of(changes, style="ComfyUI"):
    return parse_lora("style.safetensors", STYLES[style](changes))


def run(both, inputs, state=None):
    """The transformer's prediction; ``state`` gives constants that were made before."""
    latents, _, _, time = inputs
    kind = both[0].head.head.weight.dtype
    with torch.no_grad():
        constants = state or prepare(both, inputs)
        return transformer.predict(*both, constants, "positive", latents.to(kind), time.to(kind))


def prepare(both, inputs):
    latents, contexts, control, _ = inputs
    with torch.no_grad():
        return transformer.prepare(*both, contexts, control, tuple(latents.shape))


def identities(both):
    """Which tensor object each parameter is, and where its numbers lie."""
    return {name: (id(value), value.data_ptr()) for net in both for name, value in net.named_parameters()}

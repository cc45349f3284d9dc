"""From a sweep to its cells. A cell's id is made of everything that decides its pixels, and of nothing else."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from functools import cache

from ..files import sha256_json
from ..prompts.prompt import Prompt
from ..wan.schedule import counted, needs_negative, plainest
from ..wan.settings import SampleSettings
from .axes import Base, Cell, Sweep, apply_axes
from .scene import Scene

# Raised by hand whenever the same inputs begin to give other pixels: old cells are then no longer found.
RENDER_VERSION = "1"


Fingerprint = Mapping[str, str]


def plan(
    sweep: Sweep,
    fingerprint: Fingerprint | Callable[[Scene, SampleSettings], Fingerprint],
    lora_sha256: Callable[[str], str],
) -> tuple[Cell, ...]:
    """The cells of a sweep in row-major order: the last axis runs fastest.

    ``fingerprint``: what the renderer brings (sha256 of model files, control and reference; type, device, versions),
    one for all cells, or a function that gives it for a scene and settings.
    ``lora_sha256(file)``: the content hash of a LoRA file; asked once a file, and only for strengths other than 0.
    Two cells with equal ids have the same pixels and are computed once. Raises what ``lora_sha256`` raises.
    """
    content = cache(lora_sha256)
    cells = []
    for index in itertools.product(*(range(len(axis)) for axis in sweep.axes)):
        places = tuple(zip(sweep.axes, index, strict=True))
        picks = {name: pick for axis, at in places for name, pick in axis.picks(at).items()}
        prompt, settings, scene = apply_axes(Base(sweep.prompt, sweep.settings, sweep.scene), picks)
        brought = fingerprint(scene, settings) if callable(fingerprint) else fingerprint
        labels = tuple(axis.labels[at] for axis, at in places)
        cells.append(Cell(cell_id(prompt, settings, brought, content), prompt, settings, index, labels, scene))
    return tuple(cells)


def cell_id(
    prompt: Prompt, settings: SampleSettings, fingerprint: Mapping[str, str], lora_sha256: Callable[[str], str]
) -> str:
    """Hex sha256 of what decides the pixels.

    LoRA files count by content, not by path, in their order; a LoRA at strength 0 is exactly the base model and does
    not count. At guidance 1 the negative prompt is not used and does not count. Neither does any other setting or
    picture that nothing is made of, nor the prompt's variant name, facts and origins. (3 and 3.0 are one number:
    ``SampleSettings`` sees to that.)
    """
    used = decisive(settings, fingerprint)
    values = counted(used)
    values["loras"] = [[lora_sha256(use.file), *use.identity(used.steps)] for use in used.loras]
    return sha256_json(
        {
            "render": RENDER_VERSION,
            "settings": values,
            "text": prompt.text,
            "negative": prompt.negative if needs_negative(used) else None,
            "fingerprint": brought_along(used, fingerprint),
        }
    )


def decisive(settings: SampleSettings, fingerprint: Mapping[str, str]) -> SampleSettings:
    """``effective`` settings, with those of pictures that are not there at their default too."""
    # "" is a picture that is not there; a renderer that does not say is taken to have it.
    there = {name: fingerprint.get(name) != "" for name in ("control", "reference")}
    return plainest(_acting(settings), **there, mask=bool(fingerprint.get("mask")))


def brought_along(used: SampleSettings, fingerprint: Mapping[str, str]) -> dict[str, str]:
    """What of a renderer's fingerprint counts under ``decisive`` settings."""
    return {name: value for name, value in fingerprint.items() if name != "start" or used.denoise != 1.0}


def effective(settings: SampleSettings) -> SampleSettings:
    """The settings as they are rendered: the plainest ones that give the same pixels, without the LoRAs that act in no
    step, which are the base model exactly.
    """
    return plainest(_acting(settings))


def _acting(settings: SampleSettings) -> SampleSettings:
    loras = tuple(use for use in settings.loras if use.acts(settings.steps))
    return settings if len(loras) == len(settings.loras) else dataclasses.replace(settings, loras=loras)

"""What computes here, in which number type, and that nothing is downloaded meanwhile."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import ModelFileError, SettingsError
from .contents import weights_size

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

DTYPES = ("auto", "bfloat16", "float16", "float32")
_SMALL = 1 << 30  # below this a float32 copy of the weights fits any machine


def pick_device(name: str) -> str:
    """A device name that exists here. "auto": CUDA, then Apple's MPS, then the CPU (said in the log)."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        if torch.backends.mps.is_available():
            return "mps"
        log.warning("No GPU was found: rendering runs on the CPU, which is slow.")
        return "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"The device {name!r} cannot be used.",
            expected="auto, cpu, cuda or mps",
            got=str(error).strip().splitlines()[0],
            remedy="Choose auto, or install a build of torch for your GPU.",
        ) from error
    return name


def pick_dtype(name: str, device: str, transformer: str) -> torch.dtype:
    """The type of the weights; see ``load_engine``."""
    import torch

    if name not in DTYPES:
        raise SettingsError(f"The type {name!r} is unknown.", expected=f"one of {', '.join(DTYPES)}")
    if name == "auto":
        small = False
        with suppress(ModelFileError):  # loading will say what is wrong with the file
            small = bool(transformer) and weights_size(transformer, "transformer") < _SMALL
        name = "float32" if device == "cpu" and small else "bfloat16"
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def keep_off_the_network() -> None:
    """Tell DiffSynth that nothing is to be downloaded, unless the user said otherwise."""
    os.environ.setdefault("DIFFSYNTH_SKIP_DOWNLOAD", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

"""How much memory of the device a part of the model takes while it computes, besides its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from .settings import SampleSettings

# The factors are fits to the peak of what torch allocates on the CPU in bfloat16 (its profiler, at widths 256 and 512,
# hidden widths 2, 4 and 16 times that, 192 and 720 tokens): a block keeps 6 copies of its tokens and adds either two of
# the hidden layer or what the rotary embedding makes of queries and keys in double precision; 3 more are the control
# tokens and the hints.
_KEPT, _ROTARY = 9, 10
# The same for encoder and decoder: 55 times their width for each pixel; a third more for what convolutions reserve on a
# GPU.
_VAE = 75
LARGE = 1 << 20  # bytes; smaller layers are always on the device
TEXT = 256 << 20  # of the text encoder: 512 tokens, whatever the prompt
_TILE = (240, 416)  # pixels of a tile, see ``vace.TILE``


def working_memory(
    parts: Mapping[str, Any], names: tuple[str, ...], settings: SampleSettings | None, dtype: torch.dtype
) -> int:
    """Bytes that the named parts of an engine need for one rendering with these settings; an estimate.

    Without settings, those of the defaults. The host adds its own reserve to it.
    """
    from .settings import SampleSettings

    settings = settings or SampleSettings()
    found = 0
    if "text_encoder" in names:
        found = max(found, TEXT)
    if "dit" in names:
        dit = parts["dit"]
        hidden = dit.blocks[0].ffn[0].out_features
        found = max(found, transformer_memory(dit.dim, hidden, settings, dtype.itemsize))
    if "vae" in names:
        width = parts["vae"].model.decoder.head[0].gamma.numel()
        found = max(found, vae_memory(width, settings, dtype.itemsize))
    return found


def transformer_memory(dim: int, hidden: int, settings: SampleSettings, itemsize: int) -> int:
    """Of a forward of a transformer of width ``dim``, whose ffn is ``hidden`` wide."""
    return tokens(settings) * (_KEPT * dim + max(2 * hidden, _ROTARY * dim)) * itemsize


def vae_memory(width: int, settings: SampleSettings, itemsize: int) -> int:
    """Of decoding, or of encoding, a video by a VAE of this width."""
    area = settings.width * settings.height
    pixels = min(area, _TILE[0] * _TILE[1]) if settings.tiling else area
    return pixels * width * _VAE * itemsize


def tokens(settings: SampleSettings) -> int:
    """Tokens of what is computed at once: a window of the video and one reference."""
    frames = (min(settings.frames, settings.window_frames) - 1) // 4 + 2
    return frames * (settings.width // 16) * (settings.height // 16)

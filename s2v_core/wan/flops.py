"""How much arithmetic a rendering is, from the sizes of the nets and the settings alone.

FLOPs are counted as torch's ``FlopCounterMode`` counts them: a product of matrices [m, k] and [k, n] is 2 m k n, a
convolution 2 for each weight at each place of its output, attention its two products; additions, norms and the like
are free. The nets are DiffSynth's; what is computed once and what in every step is as in ``transformer``. LoRAs are
not counted: rank 32 on all linear layers adds about 1%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..prompts.length import MAX_TOKENS
from .checkpoints import inspect_file, text_encoder_sizes, transformer_sizes, vae_sizes
from .engine import ModelFiles
from .pictures import TIME_STRIDE
from .schedule import guidance_scales, needs_negative, strengths
from .settings import SampleSettings
from .vace import TILE, VAE_STRIDE
from .windows import plan_windows

_LEVELS = (1, 2, 4, 4)  # of the VAE's width, from the pixels inwards
_SHRINKS_TIME = (False, True, True)  # which of the steps between levels halve the frames too
_CHUNK = 4  # frames that the encoder takes at once, after the first one


@dataclass(frozen=True)
class NetSizes:
    """The arguments of DiffSynth's classes, as ``sizes`` reads them from a file's shapes."""

    dit: Mapping[str, Any]
    vace: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    vae: Mapping[str, int]

    @classmethod
    def of(cls, files: ModelFiles) -> NetSizes:
        """Of model files; only their headers are read. Raises ``ModelFileError``."""
        transformer = transformer_sizes(inspect_file(files.transformer, "transformer"))
        return cls(
            transformer["dit"],
            transformer["vace"],
            text_encoder_sizes(inspect_file(files.text_encoder, "text_encoder")),
            vae_sizes(inspect_file(files.vae, "vae")),
        )


@dataclass(frozen=True)
class Parts:
    """One number for each part of a rendering: FLOPs, seconds, or FLOPs a second."""

    text: float
    encode: float
    transformer: float
    decode: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.text + self.encode + self.transformer + self.decode

    def over(self, other: Parts) -> Parts:
        """Each part divided: FLOPs over seconds are rates, FLOPs over rates are seconds. 0 over 0 is 0."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in PART_NAMES)
        return Parts(**{name: mine / its if mine else 0.0 for name, mine, its in pairs})


PART_NAMES = ("text", "encode", "transformer", "decode")


def rendering(
    sizes: NetSizes,
    settings: SampleSettings,
    *,
    references: int = 1,
    control: bool = True,
    mask: bool = False,
    text_tokens: int = MAX_TOKENS,
) -> Parts:
    """FLOPs of one rendering by itself, with nothing at hand from another one.

    ``mask``: whether one is given; without it the inactive stream is a grey video, which is kept for the size.
    ``text_tokens``: what the cross attention sees of a prompt; all 512 in ``precision="diffsynth"``, else those that
    are used and one more.
    """
    where = (settings.frames, settings.height, settings.width)
    scales = guidance_scales(settings)
    prompts = 2 if needs_negative(settings) else 1
    stream = encode(sizes, *where, tiling=settings.tiling)
    picture = encode(sizes, 1, *where[1:], tiling=settings.tiling)
    steered = control or references > 0
    encoded = 0.0
    if steered:
        encoded = references * picture + stream * (2 if control else 1)
    if settings.denoise < 1.0:
        encoded += stream + references * encode(sizes, 1, *where[1:])
    plan = plan_windows(
        _latent_frames(settings.frames),
        _latent_frames(settings.window_frames),
        settings.window_overlap // TIME_STRIDE,
    )
    area = (settings.height // 16) * (settings.width // 16)
    steps = list(zip(scales, strengths(settings), strict=True))[settings.zero_init_steps :]
    work = prepare(
        sizes, (_latent_frames(settings.frames) + references) * area, prompts, text_tokens=text_tokens, steered=steered
    )
    for window in plan:
        tokens = (window.stop - window.start + references) * area
        for scale, (pose, reference) in steps:
            acts = steered and (pose != 0 or (references > 0 and reference != 0))
            work += (1 if scale == 1.0 else 2) * forward(sizes, tokens, text_tokens=text_tokens, steered=acts)
    return Parts(prompts * text(sizes), encoded, work, decode(sizes, *where, tiling=settings.tiling))


def text(sizes: NetSizes) -> float:
    """umT5 over one prompt: always 512 tokens."""
    net, length = sizes.text_encoder, MAX_TOKENS
    attention = 4 * 2 * length * net["dim"] * net["dim_attn"] + 2 * 2 * length**2 * net["dim_attn"]
    return float(net["num_layers"] * (attention + 3 * 2 * length * net["dim"] * net["dim_ffn"]))


def prepare(
    sizes: NetSizes, tokens: int, prompts: int, *, text_tokens: int = MAX_TOKENS, steered: bool = True
) -> float:
    """What all steps share: ``transformer.prepare``."""
    dim = sizes.dit["dim"]
    blocks = sizes.dit["num_layers"] + (len(sizes.vace["vace_layers"]) if steered else 0)
    texts = 2 * text_tokens * dim * (sizes.dit["text_dim"] + dim) + blocks * 2 * 2 * text_tokens * dim**2
    control = 2 * tokens * dim * (sizes.vace["vace_in_dim"] * _patch(sizes) + dim)
    return float(prompts * texts + (control if steered else 0))


def forward(sizes: NetSizes, tokens: int, *, text_tokens: int = MAX_TOKENS, steered: bool = True) -> float:
    """One prediction, without what ``prepare`` has at hand. ``steered``: whether the VACE blocks run."""
    net, dim = sizes.dit, sizes.dit["dim"]
    time = 2 * net["freq_dim"] * dim + 2 * dim**2 + 2 * dim * 6 * dim
    ends = 2 * tokens * dim * _patch(sizes) * (net["in_dim"] + net["out_dim"])
    attention = 4 * 2 * tokens * dim**2 + 4 * tokens**2 * dim
    cross = 2 * 2 * tokens * dim**2 + 4 * tokens * text_tokens * dim
    found = time + ends + net["num_layers"] * (attention + cross + 4 * tokens * dim * net["ffn_dim"])
    if steered:
        own = attention + cross + 4 * tokens * dim * sizes.vace["ffn_dim"] + 2 * tokens * dim**2
        found += len(sizes.vace["vace_layers"]) * own
    return float(found)


def encode(sizes: NetSizes, frames: int, height: int, width: int, *, tiling: bool = False) -> float:
    """The VAE's encoder over ``frames`` (4n + 1) of pixels; with ``tiling`` over each of the overlapping tiles."""
    if tiling:
        return sum(encode(sizes, frames, 8 * rows, 8 * columns) for rows, columns in tiles(height, width))
    net = sizes.vae
    base, channels = net["encoder_dim"], net["z_dim"]
    widths = [base * level for level in (1, *_LEVELS)]
    found = 0.0
    for first in (True, *[False] * (_latent_frames(frames) - 1)):
        time, area = 1 if first else _CHUNK, height * width
        found += _conv(27, 3, base) * time * area
        for level, (before, after) in enumerate(pairwise(widths)):
            for block in range(net["encoder_blocks"]):
                found += _residual(before if block == 0 else after, after) * time * area
            if level < len(_SHRINKS_TIME):
                area //= 4
                found += _conv(9, after, after) * time * area
                if _SHRINKS_TIME[level] and not first:
                    time //= 2
                    found += _conv(3, after, after) * time * area
        found += _middle(widths[-1], area) * time + _conv(27, widths[-1], 2 * channels) * time * area
    return found + _conv(1, 2 * channels, 2 * channels) * _latent_frames(frames) * height * width / VAE_STRIDE**2


def decode(sizes: NetSizes, frames: int, height: int, width: int, *, tiling: bool = False) -> float:
    """The VAE's decoder to ``frames`` (4n + 1) of pixels."""
    if tiling:
        return sum(decode(sizes, frames, 8 * rows, 8 * columns) for rows, columns in tiles(height, width))
    net = sizes.vae
    widths = [net["decoder_dim"] * level for level in (_LEVELS[-1], *reversed(_LEVELS))]
    small = height * width // VAE_STRIDE**2
    found = float(_conv(1, net["z_dim"], net["z_dim"]) * _latent_frames(frames) * small)
    for first in (True, *[False] * (_latent_frames(frames) - 1)):
        time, area = 1, small
        found += _conv(27, net["z_dim"], widths[0]) * area + _middle(widths[0], area)
        for level, (before, after) in enumerate(pairwise(widths)):
            for block in range(net["decoder_blocks"]):
                # An upsampling halves the width.
                given = after if block else (before // 2 if level else before)
                found += _residual(given, after) * time * area
            if level < len(_SHRINKS_TIME):
                if _SHRINKS_TIME[::-1][level] and not first:
                    found += _conv(3, after, 2 * after) * time * area
                    time *= 2
                area *= 4
                found += _conv(9, after, after // 2) * time * area
        found += _conv(27, widths[-1], 3) * time * area
    return found


def tiles(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width, in latent pixels, of each of the VAE's tiles over ``height`` x ``width`` pixels."""
    sides = []
    for length, size, stride in zip((height // 8, width // 8), TILE["tile_size"], TILE["tile_stride"], strict=True):
        starts = [at for at in range(0, length, stride) if at < stride or at - stride + size < length]
        sides.append([min(size, length - at) for at in starts])
    return [(rows, columns) for rows in sides[0] for columns in sides[1]]


def _latent_frames(frames: int) -> int:
    return (frames - 1) // TIME_STRIDE + 1


def _patch(sizes: NetSizes) -> int:
    time, rows, columns = sizes.dit["patch_size"]
    return int(time * rows * columns)


def _conv(taps: int, before: int, after: int) -> int:
    """Of one place of the output."""
    return 2 * taps * before * after


def _residual(before: int, after: int) -> int:
    shortcut = _conv(1, before, after) if before != after else 0
    return _conv(27, before, after) + _conv(27, after, after) + shortcut


def _middle(width: int, area: int) -> int:
    """Of one frame: two residual blocks with attention over its places between them."""
    attention = _conv(1, width, 3 * width) * area + 4 * area**2 * width + _conv(1, width, width) * area
    return 2 * _residual(width, width) * area + attention

"""DiffSynth's own classes, filled from a model file in whatever layout it is (see ``contents``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelFileError, SettingsError
from .contents import CHOOSE, EIGHT_BIT, FileContents, inspect_file, require
from .sizes import text_encoder_sizes, transformer_sizes, vae_sizes
from .weights_file import read_tensors

if TYPE_CHECKING:
    import torch

__all__ = [
    "FileContents", "Reading", "check_text_encoder", "check_together", "inspect_file", "load_text_encoder",
    "load_transformer", "load_vae",
    "text_encoder_sizes", "transformer_sizes", "vae_sizes",
]  # fmt: skip

_LINE = 64  # bytes; the arithmetic of some CPU libraries depends on where in a cache line a tensor begins


@dataclass(frozen=True)
class Reading:
    """How weights are read.

    ``mapped`` leaves weights on the CPU in the file's memory map where that is possible: the system can drop them and
    read them again. Otherwise they are placed so that the CPU's arithmetic does not depend on the file. ``keep_8bit``
    leaves 8-bit weights of linear layers as they are (see ``fp8``). ``on_bytes`` gets the size of each tensor that was
    read; ``should_stop`` is asked before each.
    """

    mapped: bool = False
    keep_8bit: bool = True
    on_bytes: Callable[[int], None] | None = None
    should_stop: Callable[[], bool] | None = None


READ = Reading()


def load_transformer(
    path: str,
    *,
    device: str,
    dtype: torch.dtype,
    reading: Reading = READ,
) -> tuple[Any, Any]:
    """DiffSynth's ``WanModel`` and ``VaceWanModel`` out of one model, as ``dtype`` on ``device``.

    Raises ``ModelFileError`` when a part is missing or the shapes are not those of a Wan-VACE net; ``Interrupted``.
    """
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel

    contents = require(path, "transformer")
    sizes = transformer_sizes(contents)
    reader = _Reader(contents, device, dtype, reading)
    vace_keys = [key for key in contents.shapes if key.startswith("vace_")]
    dit_keys = [key for key in contents.shapes if not key.startswith("vace_")]
    dit = _build(WanModel, sizes["dit"], reader, dit_keys)
    vace = _build(VaceWanModel, sizes["vace"], reader, vace_keys)
    return dit, vace


def load_text_encoder(
    path: str,
    *,
    device: str,
    dtype: torch.dtype,
    reading: Reading = READ,
) -> Any:
    """DiffSynth's ``WanTextEncoder`` (umT5); see ``load_transformer``."""
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder

    contents = require(path, "text_encoder")
    reader = _Reader(contents, device, dtype, reading)
    return _build(WanTextEncoder, text_encoder_sizes(contents), reader, list(contents.shapes))


def check_text_encoder(path: str) -> dict[str, Any]:
    """The sizes of a text encoder whose file has all that ``load_text_encoder`` wants of its header; no weight is read.

    Raises what ``load_text_encoder`` raises for keys, shapes, types, and a file that is cut short.
    """
    from diffsynth.core.vram.initialization import skip_model_initialization
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder

    contents = require(path, "text_encoder")
    sizes = text_encoder_sizes(contents)
    with skip_model_initialization():
        net = WanTextEncoder(**sizes)
    _check_fit(net, contents, list(contents.shapes))
    return sizes


def check_together(transformer: tuple[str, Any], text_encoder: tuple[str, Mapping[str, Any]], tokenizer: Any) -> None:
    """Raise ``SettingsError`` when transformer, text encoder and tokenizer do not belong together.

    ``transformer``: its path and the ``WanModel``; ``text_encoder``: its path and its sizes.
    """
    wanted, given = transformer[1].text_embedding[0].in_features, text_encoder[1]["dim"]
    if wanted != given:
        raise SettingsError(
            "The transformer and the text encoder do not belong together.",
            expected=f"text states of width {wanted} for {transformer[0]}",
            got=f"width {given} from {text_encoder[0]}",
            remedy="Choose the umT5-XXL encoder for Wan2.1 models.",
        )
    rows, tokens = text_encoder[1]["vocab"], len(tokenizer)
    # An embedding is rounded up a little from its tokenizer's size (umT5: 256,384 for 256,300), never by so much.
    if not rows // 4 <= tokens <= rows:
        raise SettingsError(
            "The tokenizer and the text encoder do not belong together.",
            expected=f"a tokenizer of about {rows:,} tokens for {text_encoder[0]}",
            got=f"{tokens:,} tokens",
            remedy="Choose the tokenizer of umT5-XXL (google/umt5-xxl in the Wan2.1 repository).",
        )


def load_vae(
    path: str,
    *,
    device: str,
    dtype: torch.dtype,
    reading: Reading = READ,
) -> Any:
    """DiffSynth's ``WanVideoVAE``, at the width that the file has; see ``load_transformer``."""
    from diffsynth.core.vram.initialization import skip_model_initialization
    from diffsynth.models.wan_video_vae import Decoder3d, Encoder3d, WanVideoVAE

    contents = require(path, "vae")
    sizes = vae_sizes(contents)
    with skip_model_initialization():
        vae = WanVideoVAE(z_dim=sizes["z_dim"])
        net, z_dim = vae.model, sizes["z_dim"]
        # The class fixes the width of the 127M net; encoder and decoder of another width come from the same classes.
        net.encoder = Encoder3d(
            sizes["encoder_dim"],
            z_dim * 2,
            net.dim_mult,
            sizes["encoder_blocks"],
            net.attn_scales,
            net.temperal_downsample,
            0.0,
        )
        net.decoder = Decoder3d(
            sizes["decoder_dim"],
            z_dim,
            net.dim_mult,
            sizes["decoder_blocks"] - 1,
            net.attn_scales,
            net.temperal_upsample,
            0.0,
        )
    _check_latent_scale(contents, vae)
    _fill(net, _Reader(contents, device, dtype, reading), list(contents.shapes))
    return vae.eval().requires_grad_(False)


def _check_latent_scale(contents: FileContents, vae: Any) -> None:
    """Raise ``ModelFileError`` when the config beside a VAE wants latents at another scale than Wan2.1's."""
    import torch

    for name, own in (("latents_mean", vae.mean), ("latents_std", vae.std)):
        given = contents.config.get(name)
        if given is not None and not torch.allclose(torch.tensor(given).float(), own, atol=1e-3):
            raise ModelFileError(
                f"The VAE {contents.path} is made for another model.",
                expected=f"Wan2.1's {name} in its config.json, which begins with {own[:3].tolist()}",
                got=str(given)[:60],
                remedy=CHOOSE["vae"],
            )


@dataclass(frozen=True)
class _Reader:
    """Takes tensors out of a file, as they are to be used."""

    contents: FileContents
    device: str
    dtype: torch.dtype
    how: Reading

    def is_8bit(self, key: str) -> bool:
        """Whether the file has this weight in 8 bits."""
        weights, names = self.contents.weights, self.contents.names
        return weights is not None and key in names and weights.tensors[names[key]].dtype in EIGHT_BIT

    def read(self, keys: list[str], kept: set[str]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The tensors of these keys, and the scales of those that are ``kept`` in 8 bits."""
        from .fp8 import dequantise

        contents, how = self.contents, self.how
        assert contents.weights is not None
        scales = self._scales(keys)
        own = {contents.names[key]: key for key in keys}
        tensors = {}
        for name, raw in read_tensors(
            contents.weights, own, self.device, on_bytes=how.on_bytes, should_stop=how.should_stop
        ):
            key = own[name]
            value = raw if key in kept else dequantise(raw, scales.pop(key, None), self.dtype)
            placed = how.mapped or value.device.type != "cpu" or value.data_ptr() % _LINE == 0
            tensors[key] = value if placed else value.clone()
        return tensors, scales

    def _scales(self, keys: list[str]) -> dict[str, torch.Tensor]:
        from .fp8 import row_scale

        contents = self.contents
        assert contents.weights is not None
        own = {contents.scales[key]: key for key in keys if key in contents.scales}
        scales = {}
        for name, raw in read_tensors(contents.weights, own, self.device):
            key = own[name]
            try:
                scales[key] = row_scale(raw, contents.shapes[key])
            except ValueError as error:
                raise ModelFileError(
                    f"The 8-bit weights in {contents.path} cannot be scaled.",
                    expected="one scale for a tensor, or one for each of its rows",
                    got=f"{error}, {key}",
                    remedy="Choose a version in fp16, bf16 or scaled fp8.",
                ) from error
        return scales


def _build(kind: type, sizes: Mapping[str, Any], reader: _Reader, keys: list[str]) -> Any:
    from diffsynth.core.vram.initialization import skip_model_initialization

    with skip_model_initialization():
        net = kind(**sizes)
    _fill(net, reader, keys)
    return net.eval().requires_grad_(False)


def _fill(net: torch.nn.Module, reader: _Reader, keys: list[str]) -> None:
    """Put the tensors in place (no copy); every key must have one, with its shape."""
    import torch

    from .fp8 import keep_quantised

    _check_fit(net, reader.contents, keys)
    kept = {
        f"{name}.weight": module
        for name, module in net.named_modules()
        if isinstance(module, torch.nn.Linear) and reader.how.keep_8bit and reader.is_8bit(f"{name}.weight")
    }
    tensors, scales = reader.read(keys, set(kept))
    net.load_state_dict(tensors, strict=True, assign=True)
    net.requires_grad_(False)
    for key, module in kept.items():
        keep_quantised(module, scales.get(key), reader.dtype)


def _check_fit(net: torch.nn.Module, contents: FileContents, keys: list[str]) -> None:
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    given = {key: contents.shapes[key] for key in keys}
    missing = sorted(set(wanted) - set(given))
    spare = sorted(set(given) - set(wanted))
    other = sorted(key for key in set(wanted) & set(given) if wanted[key] != given[key])
    if not (missing or spare or other):
        return
    found = []
    if missing:
        found.append(f"{len(missing)} tensors missing (first: {missing[0]})")
    if spare:
        found.append(f"{len(spare)} tensors without a place (first: {spare[0]})")
    if other:
        key = other[0]
        found.append(f"{len(other)} of another shape (first: {key}, {list(given[key])} not {wanted[key]})")
    raise ModelFileError(
        f"{contents.path} does not fit the net that its shapes describe.",
        expected=f"{len(wanted)} tensors of {type(net).__name__}",
        got="; ".join(found),
        remedy="Download the file again, or use the checkpoint of the model that this place is for.",
    )

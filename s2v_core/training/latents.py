"""A training set as latents and text states: encoded once, kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, S2VError, SettingsError
from ..files import atomic_path, cache_dir, remembered_sha256, sha256_json
from ..prompts.length import MAX_TOKENS
from ..video.clip import Clip
from ..video.read import read_clip
from ..video.still import read_mask, read_reference
from ..wan.checkpoints import Reading, load_text_encoder, load_vae
from ..wan.contents import weights_sha256
from ..wan.engine import Engine, ModelFiles
from ..wan.pictures import FPS, TIME_STRIDE
from ..wan.settings import SampleSettings
from ..wan.text import encode_text, find_tokenizer, load_tokenizer, tokenizer_files
from ..wan.vace import encode_pictures
from .manifest import Manifest, Row
from .settings import TrainSettings

if TYPE_CHECKING:
    import torch

_VERSION = 1  # of the kept files
_STRIDE = 16  # pixels that width and height are multiples of


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip as the training takes it.

    ``latents``: float32 [1, 16, references + T, H/8, W/8], the reference's latent in front, as DiffSynth trains VACE.
    ``vace_context``: [1, 96, references + T, H/8, W/8]. ``context``: text states [1, 512, text dim].
    """

    latents: torch.Tensor
    vace_context: torch.Tensor
    context: torch.Tensor
    references: int

    def without_reference(self) -> Sample:
        """The same clip with nothing but the pose video."""
        front = self.references
        return Sample(self.latents[:, :, front:], self.vace_context[:, :, front:], self.context, 0)

    def to(self, device: str) -> Sample:
        """On another device."""
        return Sample(self.latents.to(device), self.vace_context.to(device), self.context.to(device), self.references)


@dataclass(frozen=True)
class Latents:
    """Where the encoded clips of a training set are, in the order of its rows.

    ``pictures``, ``texts``: the files with latents and with text states. ``notes``: what was done to the pictures.
    """

    pictures: tuple[Path, ...]
    texts: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def load(self, index: int) -> Sample:
        """One clip, on the CPU."""
        import torch

        read, states = _read(self.pictures[index]), _read(self.texts[index])["context"]
        context = torch.zeros((1, MAX_TOKENS, states.shape[2]), dtype=states.dtype)
        context[:, : states.shape[1]] = states
        return Sample(read["latents"].float(), read["vace_context"], context, int(read["references"]))


def picture_settings(manifest: Manifest, settings: TrainSettings) -> SampleSettings:
    """Size, length and fit of the clips; where the settings leave them open, those of the first clip."""
    width, height, frames = settings.width, settings.height, settings.frames
    if not (width and frames):
        first = read_clip(manifest.rows[0].video, fps=FPS, frames=frames or None)
        frames = frames or (len(first) - 1) // TIME_STRIDE * TIME_STRIDE + 1
        if not width:
            width, height = first.width, first.height
            if width % _STRIDE or height % _STRIDE:
                raise SettingsError(
                    f"The first clip, {manifest.rows[0].video.name}, has a size that cannot be trained.",
                    expected=f"width and height in multiples of {_STRIDE}",
                    got=f"{width} x {height}",
                    remedy="Set width and height: all clips are fitted to them.",
                )
    return SampleSettings(
        width=width,
        height=height,
        frames=frames,
        fit=settings.fit,
        tiling=settings.tiling,
        # Below 1, so that the clip itself is encoded too.
        denoise=0.5,
        # Latents are DiffSynth's own.
        precision="diffsynth",
    )


def encode_set(
    manifest: Manifest,
    files: ModelFiles,
    pictures: SampleSettings,
    *,
    device: str,
    dtype: torch.dtype,
    on_progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Latents:
    """Encode what is not in the cache yet (``training`` in the cache folder): all texts, then all clips.

    The text encoder and the VAE are loaded only when something is missing, one after the other.
    ``on_progress(what, done, total)`` counts "texts" and "clips". Raises what reading and encoding raise, with the row,
    and ``Interrupted``: what was encoded is kept.
    """

    def encode(what: str, recipe: dict[str, Any], load: Callable[..., Engine], one: Callable[..., None]) -> list[Path]:
        engine: Engine | None = None
        found: list[Path] = []
        for row in manifest.rows:
            if should_stop and should_stop():
                raise Interrupted(f"Stopped after {len(found)} of {len(manifest.rows)} {what}; they are kept.")
            if on_progress:
                on_progress(what, len(found), len(manifest.rows))
            own = row.hashes() if what == "clips" else {"prompt": row.prompt}
            path = cache_dir() / "training" / f"{sha256_json({**recipe, **own})}.safetensors"
            if not _is_whole(path):
                engine = engine or load(files, device=device, dtype=dtype, should_stop=should_stop)
                with _named(row):
                    one(engine, row, pictures, path)
            found.append(path)
        if on_progress:
            on_progress(what, len(found), len(manifest.rows))
        return found

    texts = encode("texts", _text_recipe(files, device, dtype), _load_text, _encode_text)
    clips = encode("clips", _picture_recipe(files, pictures, device, dtype), _load_vae, _encode_pictures)
    notes = [
        f"{row.video.name}: {note}" for row, path in zip(manifest.rows, clips, strict=True) for note in _notes(path)
    ]
    return Latents(tuple(clips), tuple(texts), tuple(notes))


def _load_text(files: ModelFiles, *, device: str, dtype: torch.dtype, should_stop: Callable[[], bool] | None) -> Engine:
    """An engine of the text encoder alone."""
    import torch

    eight = torch.device(device).type != "mps"
    reading = Reading(keep_8bit=eight, should_stop=should_stop)
    with torch.inference_mode(False), torch.no_grad():
        encoder = load_text_encoder(files.text_encoder, device=device, dtype=dtype, reading=reading)
        tokenizer = load_tokenizer(find_tokenizer(files.text_encoder, files.tokenizer))
    return Engine(files, {"text_encoder": encoder}, tokenizer, device, dtype)


def _load_vae(files: ModelFiles, *, device: str, dtype: torch.dtype, should_stop: Callable[[], bool] | None) -> Engine:
    """An engine of the VAE alone."""
    import torch

    with torch.inference_mode(False), torch.no_grad():
        vae = load_vae(files.vae, device=device, dtype=dtype, reading=Reading(should_stop=should_stop))
    return Engine(files, {"vae": vae}, None, device, dtype)


def _text_recipe(files: ModelFiles, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """What decides text states besides the prompt."""
    tokenizer = tokenizer_files(find_tokenizer(files.text_encoder, files.tokenizer))
    return {
        "text encoder": weights_sha256(files.text_encoder, "text_encoder"),
        "tokenizer": [remembered_sha256(file) for file in tokenizer],
        **_computer(device, dtype),
    }


def _picture_recipe(files: ModelFiles, pictures: SampleSettings, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """What decides latents besides the row."""
    names = ("width", "height", "frames", "fit", "tiling", "mask_edge")
    return {
        "vae": weights_sha256(files.vae, "vae"),
        "pictures": [getattr(pictures, name) for name in names],
        **_computer(device, dtype),
    }


def _computer(device: str, dtype: torch.dtype) -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    return {
        "version": _VERSION,
        "dtype": str(dtype),
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device,
        "versions": [torch.__version__, version("diffsynth")],
    }


def _encode_text(engine: Engine, row: Row, pictures: SampleSettings, path: Path) -> None:
    (encoder,) = engine.use("text_encoder")
    states = encode_text(encoder, engine.tokenizer, row.prompt, engine.device)
    tokens = int(states[0].any(dim=1).nonzero().max()) + 1  # what follows is zero
    _write(path, {"context": states[:, :tokens]})


def _encode_pictures(engine: Engine, row: Row, pictures: SampleSettings, path: Path) -> None:
    import torch

    control = _video(row.control, pictures) if row.control else None
    reference = [read_reference(row.reference)] if row.reference else None
    mask = read_mask(row.mask) if row.mask else None
    made = encode_pictures(engine, pictures, control, reference, mask, _video(row.video, pictures))
    assert made.vace_context is not None
    assert made.start is not None
    tensors = {"latents": made.start, "vace_context": made.vace_context, "references": torch.tensor(made.references)}
    _write(path, tensors, made.notes)


def _video(path: Path, pictures: SampleSettings) -> Clip:
    return read_clip(path, fps=FPS, frames=pictures.frames)


def _write(path: Path, tensors: dict[str, torch.Tensor], notes: tuple[str, ...] = ()) -> None:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        plain = {name: value.cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, os.fspath(temporary), {"notes": "\n".join(notes)})


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    # Copies: a mapped file's numbers lie elsewhere in a cache line, which the arithmetic of some CPUs shows.
    return {name: value.clone() for name, value in load_file(path).items()}


def _is_whole(path: Path) -> bool:
    """Whether a file of the cache is there and not cut short."""
    from safetensors import SafetensorError, safe_open

    with suppress(OSError, SafetensorError), safe_open(path, framework="pt"):
        return True
    return False


def _notes(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return [note for note in (file.metadata() or {}).get("notes", "").split("\n") if note]


@contextmanager
def _named(row: Row) -> Iterator[None]:
    """Say of an error which row it belongs to."""
    try:
        yield
    except S2VError as error:
        where = f"Row {row.number} of the training set ({row.video.name}): {error.problem}"
        raise type(error)(where, expected=error.expected, got=error.got, remedy=error.remedy) from error

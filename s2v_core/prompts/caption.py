"""Captions of pictures: Florence-2, or a text that the user gives. Each picture is described once and remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Interrupted, ModelFileError, SettingsError
from ..files import cache_dir, sha256_json, write_text_atomic
from .language import find_language_model, generate, load_parts, model_identity, place

if TYPE_CHECKING:
    import numpy as np

TASK = "<MORE_DETAILED_CAPTION>"
MAX_NEW_TOKENS = 160
BEAMS = 3


class Captioner(Protocol):
    """Whatever describes pictures. ``identity``: what its captions depend on besides the picture; "" is not kept.

    One that takes long calls ``on_token(tokens so far, tokens at most)`` and asks ``should_stop`` on its way, and
    raises ``Interrupted`` when that says so.
    """

    @property
    def identity(self) -> str:
        """Names the captioner, with its weights and settings."""

    def describe(
        self,
        images: Sequence[np.ndarray],
        *,
        on_token: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[str]:
        """One caption for each uint8 [H, W, 3] RGB picture."""


@dataclass(frozen=True)
class GivenCaption:
    """The same text for every picture."""

    text: str
    identity: str = ""

    def describe(
        self,
        images: Sequence[np.ndarray],
        *,
        on_token: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[str]:
        """The text, once a picture."""
        return [self.text] * len(images)


@dataclass(frozen=True)
class Florence:
    """A loaded Florence-2: beam search without chance, so the same picture gives the same caption."""

    model: Any
    processor: Any
    identity: str

    def describe(
        self,
        images: Sequence[np.ndarray],
        *,
        on_token: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[str]:
        """All pictures in one batch."""
        from PIL import Image

        pictures = [Image.fromarray(image) for image in images]
        batch = self.processor(text=[TASK] * len(pictures), images=pictures, return_tensors="pt", padding=True)
        batch = batch.to(self.model.device, self.model.dtype)
        made = generate(self.model, batch, MAX_NEW_TOKENS, on_token=on_token, should_stop=should_stop, num_beams=BEAMS)
        texts = self.processor.batch_decode(made, skip_special_tokens=False)
        return [
            str(self.processor.post_process_generation(text=text, task=TASK, image_size=picture.size)[TASK]).strip()
            for text, picture in zip(texts, pictures, strict=True)
        ]


def load_captioner(model: str = "florence-2-base", device: str = "auto", dtype: str = "auto") -> Florence:
    """Florence-2 out of a local folder, or by its name. Raises ``ModelFileError``."""
    folder = find_language_model(model)
    device, kind = place(device, dtype)

    def load(path: str, options: dict[str, Any]) -> tuple[Any, Any]:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        net: Any = AutoModelForImageTextToText.from_pretrained(path, dtype=kind, use_safetensors=True, **options)
        return net.to(device).eval(), AutoProcessor.from_pretrained(path, **options)

    net, processor = load_parts(folder, load)
    if not hasattr(processor, "post_process_generation") or type(net).__name__ != "Florence2ForConditionalGeneration":
        raise ModelFileError(
            f"{folder} does not hold a Florence-2.",
            expected="Florence2ForConditionalGeneration with its processor",
            got=f"{type(net).__name__} with {type(processor).__name__}",
            remedy="Take florence-community/Florence-2-base; microsoft/Florence-2-base needs code of its own.",
        )
    settings = [model_identity(folder), TASK, MAX_NEW_TOKENS, BEAMS, str(kind), device.split(":")[0]]
    return Florence(net, processor, sha256_json(settings))


def caption_images(
    images: Sequence[np.ndarray],
    captioner: Captioner,
    *,
    batch: int = 4,
    on_progress: Callable[[int, int], None] | None = None,
    on_token: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[str]:
    """A caption for each uint8 [H, W, 3] RGB picture, ``batch`` at a time; those that are remembered are not made anew.

    ``on_progress(pictures done, pictures in all)``; ``on_token(tokens so far, tokens at most)`` within a batch. Raises
    ``Interrupted``, also within a batch; what was finished is remembered.
    """
    if batch < 1:
        raise SettingsError("The batch is too small.", expected="1 or more", got=str(batch))
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype.name != "uint8" or not image.size:
            raise SettingsError(
                "A picture has another form.", expected="uint8 [H, W, 3]", got=f"{image.dtype} {list(image.shape)}"
            )
    # Pictures that are the same, and captioners that are not remembered, are told apart by these keys.
    files = [_file(image, captioner.identity) for image in images]
    keys = [str(file) if file else str(number) for number, file in enumerate(files)]
    said = {
        key: text for key, file in zip(keys, files, strict=True) if file and (text := _remembered(file)) is not None
    }
    todo = [number for number, key in enumerate(keys) if key not in said and keys.index(key) == number]
    for start in range(0, len(todo), batch):
        if should_stop and should_stop():
            raise Interrupted(f"Stopped after {start} of {len(todo)} captions; they are kept.")
        numbers = todo[start : start + batch]
        texts = captioner.describe([images[number] for number in numbers], on_token=on_token, should_stop=should_stop)
        for number, text in zip(numbers, texts, strict=True):
            said[keys[number]] = text
            if file := files[number]:
                write_text_atomic(file, json.dumps({"caption": text}, ensure_ascii=False))
        if on_progress:
            on_progress(len(images) - len(todo) + start + len(numbers), len(images))
    return [said[key] for key in keys]


def _file(image: np.ndarray, identity: str) -> Path | None:
    if not identity:
        return None
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    return cache_dir() / "captions" / f"{sha256_json([digest, list(image.shape), identity])}.json"


def _remembered(file: Path) -> str | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        text = json.loads(file.read_text(encoding="utf-8"))["caption"]
        return text if isinstance(text, str) else None
    return None

"""Prompts to text states: umT5 and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelFileError, SettingsError
from ..prompts.length import MAX_TOKENS

if TYPE_CHECKING:
    import torch

_BESIDE = ("google/umt5-xxl", "umt5-xxl", "tokenizer", ".")
_FILES = ("tokenizer.json", "spiece.model")


def find_tokenizer(text_encoder: str, folder: str = "") -> str:
    """The tokenizer's folder: the one that was given, or the one beside the text encoder's file.

    Raises ``ModelFileError`` when there is none.
    """
    beside = Path(text_encoder).parent
    tried = [Path(folder)] if folder else [beside / name for name in _BESIDE]
    for path in tried:
        if any((path / name).is_file() for name in _FILES):
            return str(path)
    raise ModelFileError(
        "The tokenizer of the text encoder was not found.",
        expected=f"a folder with {' or '.join(_FILES)}",
        got=f"none of them in {', '.join(str(path) for path in tried)}",
        remedy=f"Put the folder google/umt5-xxl of the Wan2.1 repository beside {Path(text_encoder).name}, or name it.",
    )


def load_tokenizer(folder: str) -> Any:
    """DiffSynth's tokenizer wrapper over a local folder; nothing is fetched."""
    from diffsynth.models.wan_video_text_encoder import HuggingfaceTokenizer

    try:
        return HuggingfaceTokenizer(name=folder, seq_len=MAX_TOKENS, clean="whitespace", local_files_only=True)
    except Exception as error:  # transformers raises whatever its parser stumbles over, a KeyError for example
        raise ModelFileError(
            f"The tokenizer in {folder} cannot be loaded.",
            expected="a Hugging Face tokenizer folder with tokenizer.json",
            got=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            remedy="Copy the whole folder google/umt5-xxl of the Wan2.1 repository.",
        ) from error


def encode_text(encoder: Any, tokenizer: Any, text: str, device: str) -> torch.Tensor:
    """Text states [1, 512, text dim] of one text, zero behind its last token.

    Each text goes alone: in a batch, the padding of one text would cut another. Raises ``SettingsError`` for a text of
    more than 512 tokens, which would otherwise lose its end unnoticed.
    """
    import torch

    length = len(tokenizer.tokenizer(tokenizer._clean(text)).input_ids)
    if length > MAX_TOKENS:
        raise SettingsError(
            f"The prompt that begins with {text[:40]!r} is too long.",
            expected=f"at most {MAX_TOKENS} tokens (about 350 English words)",
            got=f"{length} tokens",
            remedy="Shorten it.",
        )
    with torch.no_grad():
        ids, mask = tokenizer(text, return_mask=True, add_special_tokens=True)
        ids, mask = ids.to(device), mask.to(device)
        states = encoder(ids, mask)
        states[:, int(mask.gt(0).sum()) :] = 0
    return states

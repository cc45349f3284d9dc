"""The nano Wan-VACE that comes with the project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelFileError

if TYPE_CHECKING:
    from .engine import ModelFiles

NANO = "nano"  # its name in sweep files and on the command line
WEIGHTS = Path(__file__).parents[1] / "nano" / "weights"


def nano_files() -> ModelFiles:
    """The files of the shipped weights: transformer with VACE, VAE, text encoder and tokenizer.

    Raises ModelFileError when they are missing, as in a copy of the project without them.
    """
    from .tiny import tiny_files

    files = tiny_files(WEIGHTS)
    missing = [
        Path(file).name for file in (files.transformer, files.vae, files.text_encoder) if not Path(file).is_file()
    ]
    if missing:
        raise ModelFileError(
            "The weights of the nano model are missing.",
            expected=f"the files of {WEIGHTS}",
            got=f"no {', '.join(missing)}",
            remedy="Install the project anew, or train them: s2v nano train",
        )
    return files


def nano_lora(preset: str, weights: Path | None = None) -> Path:
    """The LoRA that was trained with this preset on the biased set: "article" or "self-attention".

    Raises ModelFileError when it is missing.
    """
    file = (weights or WEIGHTS) / "loras" / f"aist-like-{preset}.safetensors"
    if not file.is_file():
        raise ModelFileError(
            f"The nano model has no LoRA of the preset {preset!r}.",
            expected="one of " + (", ".join(sorted(one.name for one in file.parent.glob("*.safetensors"))) or "none"),
            got=file.name,
        )
    return file

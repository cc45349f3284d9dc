"""What a person types on the command line, as values."""

from __future__ import annotations

from pathlib import Path

from .errors import SettingsError
from .wan.settings import LoraUse


def parse_size(text: str) -> tuple[int, int] | None:
    """``"832x480"`` as (width, height) in pixels; an empty text is None. Raises ``SettingsError``."""
    if not text:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise SettingsError(f"{text!r} is not a size.", expected="width x height, for example 832x480", got=text)
    return int(parts[0]), int(parts[1])


def parse_lora_use(text: str) -> LoraUse:
    """``"file.safetensors"`` or ``"file.safetensors:0.5"``. A colon that is part of an existing path stays in it."""
    file, colon, strength = text.rpartition(":")
    if colon and not Path(text).exists():
        try:
            return LoraUse(file, float(strength))
        except ValueError:
            return LoraUse(text)
    return LoraUse(text)

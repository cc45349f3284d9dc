"""What a person types on the command line, as values."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .wan.settings import LoraUse, Option, option, options


def parse_size(text: str) -> tuple[int, int] | None:
    """``"832x480"`` as (width, height) in pixels; an empty text is None. Raises ``SettingsError``."""
    if not text:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise SettingsError(f"{text!r} is not a size.", expected="width x height, for example 832x480", got=text)
    return int(parts[0]), int(parts[1])


def parse_lora_use(text: str) -> LoraUse:
    """``"file.safetensors"``, ``"file.safetensors:0.5"``, and behind either ``";name=value"`` for each other setting.

    For example ``"dance.safetensors:0.8;scope=only self_attn;from_step=5;ramp_in=3"``; the names are the fields of
    ``LoraUse``. Colons and semicolons that are part of an existing path stay in it. Raises ``SettingsError``.
    """
    if Path(text).exists():
        return LoraUse(text)
    names = [entry.name for entry in options(LoraUse)]
    head, *rest = text.split(";")
    file, colon, strength = head.rpartition(":")
    values: dict[str, Any] = {"file": head}
    if colon and not Path(head).exists():
        with suppress(ValueError):
            values = {"file": file, "strength": float(strength)}
    for entry in filter(str.strip, rest):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or name in values or name not in names:
            raise SettingsError(
                f"{entry.strip()!r} cannot be set for a LoRA.",
                expected=f"name=value, each name once: {', '.join(names)}",
                got=entry.strip(),
                remedy='Write for example "dance.safetensors:0.8;scope=only self_attn;from_step=5".',
            )
        values[name] = _typed(option(LoraUse, name), value)
    return LoraUse(**values)


def _typed(entry: Option, text: str) -> Any:
    """A text in the option's own type; what cannot be read stays a text, for the option's own check to refuse."""
    if isinstance(entry.default, bool):
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    if isinstance(entry.default, (int, float)):
        with suppress(ValueError):
            return type(entry.default)(text)
    return text

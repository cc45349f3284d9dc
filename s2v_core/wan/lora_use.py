"""``LoraUse``: which LoRA file, how strongly, where in the model, and in which steps."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..options import flag, number, settle, text
from .lora_scope import StrengthMap, parse_map
from .scales import MOST_STEPS, say_number


def _scope_text(value: Any) -> str:
    return str(parse_map(value))


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file at a strength. The weights of the model are never changed by it.

    ``file``: path of the safetensors file, kept as text. ``scope``: a strength map (see ``lora_scope``), as text or as
    an object; kept as text in its one true form. The steps are counted from 0. Raises ``SettingsError``; numbers take
    their field's type, so that 1 and 1.0 are the same use.
    """

    file: str
    strength: float = number(1.0, "Multiplier of the LoRA's change; 0 is exactly the base model.", -4.0, 4.0, 0.05)
    scope: str = text(
        "",
        "Where it acts, as places with factors of the strength: self_attn=0.5, blocks 20-29=0 or only vace. Places: "
        "dit, vace, self_attn, cross_attn, ffn, other, outside, blocks 0-9, vace_blocks 0-4. Empty: everywhere.",
        _scope_text,
    )
    from_step: int = number(0, "First step with this LoRA, counted from 0.", 0, MOST_STEPS, 1)
    to_step: int = number(MOST_STEPS, f"First step without this LoRA again; {MOST_STEPS} is never.", 0, MOST_STEPS, 1)
    ramp_in: int = number(
        0, "Steps over which the strength rises in a straight line before it is full.", 0, MOST_STEPS, 1
    )
    ramp_out: int = number(
        0, "Steps over which it falls in a straight line before its last step or the end.", 0, MOST_STEPS, 1
    )
    allow_unmatched: bool = flag(
        False, "Use a LoRA although some of its layers have no place in this model; they are left out and named."
    )

    def __post_init__(self) -> None:
        path = os.fspath(self.file) if isinstance(self.file, os.PathLike) else self.file
        if not isinstance(path, str) or not path.strip():
            raise SettingsError(
                "A LoRA needs a file.",
                expected="the path of a safetensors file",
                got=repr(self.file),
                remedy="Write file: my_lora.safetensors, and a strength if it is not 1.",
            )
        object.__setattr__(self, "file", path)
        settle(self)
        if self.map.is_silent():
            raise SettingsError(
                f"The scope {self.scope!r} leaves no layer to the LoRA.",
                expected="a factor other than 0 somewhere",
                got=self.scope,
                remedy="For the base model set the strength to 0.",
            )
        if self.from_step >= self.to_step:
            raise SettingsError(
                "The LoRA has no step to act in.",
                expected="from_step below to_step",
                got=f"from step {self.from_step} to step {self.to_step}",
                remedy=f"Exchange them, or set to_step to {MOST_STEPS} for the end.",
            )

    @property
    def map(self) -> StrengthMap:
        """The scope as a strength map."""
        return parse_map(self.scope)

    @property
    def scheduled(self) -> bool:
        """Whether the strength is not the same in all steps."""
        return any(getattr(self, name) != _DEFAULTS[name] for name in ("from_step", "to_step", "ramp_in", "ramp_out"))

    def strength_at(self, index: int, steps: int) -> float:
        """The strength in step ``index`` (from 0) of ``steps``, before the scope's factors.

        Over ``ramp_in`` steps it rises from 1 / (ramp_in + 1) of the strength in equal parts, and is full in the step
        after them; over the last ``ramp_out`` steps before ``to_step``, or before the end of the rendering where that
        comes first, it falls in the same way. Where both meet, the smaller one holds.
        """
        return self.strength * self._share(index, steps)

    def say(self, unsaid: Collection[str] = ()) -> str:
        """The use in a few words, for labels: ``dance at 0.8 (only ffn; from step 5)``. ``unsaid``: fields left out."""
        strength = "" if "strength" in unsaid else f" at {say_number(self.strength)}"
        more = [] if "scope" in unsaid or not self.scope else [self.scope]
        for name in ("from_step", "to_step", "ramp_in", "ramp_out"):
            value = getattr(self, name)
            if name not in unsaid and value != _DEFAULTS[name]:
                more.append(f"{name.replace('_', ' ')} {value}")
        return f"{Path(self.file).stem}{strength}" + (f" ({'; '.join(more)})" if more else "")

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary of file, strength and what is not at its default; ``from_value`` is its inverse."""
        others = {name: getattr(self, name) for name in _DEFAULTS if name != "strength"}
        changed = {name: value for name, value in others.items() if value != _DEFAULTS[name]}
        return {"file": self.file, "strength": self.strength, **changed}

    def acts(self, steps: int) -> bool:
        """Whether it changes anything in a rendering of ``steps`` steps; if not, the result is the base model's."""
        return any(self.strength_at(index, steps) for index in range(steps))

    def identity(self, steps: int) -> tuple[Any, ...]:
        """What decides the pixels of a rendering of ``steps`` steps besides the file's content, JSON-ready.

        The strength, and where they count the scope and the share of the strength in each step. Two uses that are
        written differently but do the same have the same identity.
        """
        more: dict[str, Any] = {"scope": self.scope} if self.scope else {}
        shares = [self._share(index, steps) for index in range(steps)]
        if set(shares) != {1.0}:
            more["shares"] = shares
        return (self.strength, more) if more else (self.strength,)

    @classmethod
    def from_value(cls, value: Any) -> LoraUse:
        """A use out of ``{"file": ..., "strength": ...}`` and what else it has, as ``to_dict`` and users write it."""
        if isinstance(value, LoraUse):
            return value
        if not isinstance(value, Mapping) or "file" not in value or set(value) - {"file", *_DEFAULTS}:
            raise SettingsError(
                f"The setting loras cannot hold {value!r}.",
                expected=f"for each LoRA a file and, if they are not at their default, {', '.join(_DEFAULTS)}",
                got=f"{', '.join(map(repr, value)) or 'nothing'}" if isinstance(value, Mapping) else repr(value),
                remedy="Write loras: [{file: my_lora.safetensors, strength: 0.8}].",
            )
        return cls(**value)

    def _share(self, index: int, steps: int) -> float:
        end = min(self.to_step, steps)
        if not self.from_step <= index < end:
            return 0.0
        rise = (index - self.from_step + 1) / (self.ramp_in + 1)
        fall = (end - index) / (self.ramp_out + 1)
        return min(1.0, rise, fall)


_DEFAULTS: dict[str, Any] = {entry.name: entry.default for entry in dataclasses.fields(LoraUse)[1:]}

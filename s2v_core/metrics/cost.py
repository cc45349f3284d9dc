"""What a rendering cost, as it was noted while it ran."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .missing import Missing
from .scorecard import Score
from .subject import Subject

GIB = 1 << 30


def measure_seconds(subject: Subject) -> Score:
    """``seconds`` of the provenance. Raises Missing when nobody noted them."""
    value = _noted(subject, "seconds")
    forwards = subject.inputs.provenance.get("forwards")
    device = _device(subject)
    own = f"{forwards} forwards of its own" if isinstance(forwards, int) else "noted by the run"
    return Score(value, how=f"{own}{device}")


def measure_peak_memory(subject: Subject) -> Score:
    """``peak_memory`` of the provenance, in bytes there. Raises Missing when nobody noted it."""
    return Score(_noted(subject, "peak_memory") / GIB, how=f"noted by the run{_device(subject)}")


def _noted(subject: Subject, key: str) -> float:
    value: Any = subject.inputs.provenance.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise Missing(f"Nobody noted {key} while the clip was rendered." if value is None else f"{key} is {value!r}.")
    return float(value)


def _device(subject: Subject) -> str:
    fingerprint = subject.inputs.provenance.get("fingerprint")
    device = fingerprint.get("device") if isinstance(fingerprint, Mapping) else None
    return f", on {device}" if device else ""

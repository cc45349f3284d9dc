"""How well the frames fit the prompt, as CLIP sees them."""

from __future__ import annotations

from collections.abc import Mapping

from .frames import mean_score
from .missing import Missing
from .scorecard import Score
from .subject import Subject
from .vision import load_vision, spread


def measure(subject: Subject) -> Score:
    """The mean cosine of CLIP's vectors of frame and prompt (CLIPScore without its factor, Hessel et al. 2021).

    The prompt is the provenance's. Raises Missing without a prompt or a model.
    """
    said = subject.inputs.provenance.get("prompt")
    text = said.get("text") if isinstance(said, Mapping) else said
    if not isinstance(text, str) or not text.strip():
        raise Missing("No prompt is known.")
    clip = load_vision("clip")
    frames = [subject.clip.frames[t] for t in spread(len(subject.clip))]
    values, cut = clip.likeness(frames, text)
    return mean_score(values, f"{clip.name}, {len(frames)} frames{'; the prompt was cut' if cut else ''}")

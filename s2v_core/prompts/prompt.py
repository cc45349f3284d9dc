"""``Prompt``: the text that travels to the sampler, with what it was made from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """A positive and a negative text.

    ``variant`` names the recipe ("template", "custom"...). ``facts`` are the facts that the text states.
    ``origins`` pairs each sentence of ``text`` with where it came from ("file name", "user", "template").
    """

    text: str
    negative: str = ""
    variant: str = "custom"
    facts: tuple[str, ...] = ()
    origins: tuple[tuple[str, str], ...] = ()

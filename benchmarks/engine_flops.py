"""The seconds of text encoder, VAE and transformer at three sizes, two of them predicted from the first.

Each part's rate (FLOPs a second) is measured at the middle size; the FLOP model (``s2v_core.wan.flops``) then says what
the other two take. The nets are wide enough, and the sizes large enough, that arithmetic is most of the work: at
smaller ones a CPU spends its time on calls and copies, and no count of FLOPs predicts that. On a CPU the seconds are
those of the processor, all threads together, so that other programs do not count.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine_models import PROMPT, Place, Result, pictures, random_model
from sweep import Clock

from s2v_core.wan.flops import PART_NAMES, NetSizes, Parts, rendering
from s2v_core.wan.settings import SampleSettings

MOST_APART = 0.2
ROUNDS = 3
MIDDLE = SampleSettings(steps=1, guidance=3.0, width=160, height=160, frames=17)
SIZES = {
    "smaller": replace(MIDDLE, width=128, height=128, frames=9),
    "middle": MIDDLE,
    "larger": replace(MIDDLE, width=224, height=176, frames=21),
}


def compare(folder: Path, place: Place) -> list[Result]:
    """A row for each size: shares of the time as they were measured and predicted."""
    from s2v_core.wan.engine import load_engine

    files = random_model(
        folder / "model",
        dim=384, heads=3, layers=4, vace_layers=(0, 2), ffn=2048, freq=256, vocab=512, text_dim=512, text_ffn=1280,
        text_heads=8, text_layers=6, encoder_dim=24, encoder_blocks=1, decoder_dim=24, decoder_blocks=0,
    )  # fmt: skip
    sizes = NetSizes.of(files)
    engine = load_engine(files, device=place.device, dtype=place.dtype)
    measure(engine, place, SIZES["smaller"])  # not counted: the first call gets everything ready
    work = {name: work_of(engine, sizes, settings) for name, settings in SIZES.items()}
    turns = [{name: measure(engine, place, settings) for name, settings in SIZES.items()} for _ in range(ROUNDS)]
    seconds = {name: middle([turn[name] for turn in turns]) for name in SIZES}
    rates = work["middle"].over(seconds["middle"])
    rows = []
    for name, settings in SIZES.items():
        told, found = work[name].over(rates), seconds[name]
        shares = {part: (getattr(told, part) / told.total, getattr(found, part) / found.total) for part in PART_NAMES}
        off = {part: getattr(told, part) / getattr(found, part) - 1 for part in PART_NAMES}
        rows.append(
            {
                "name": f"FLOP model, {name}: {settings.width} x {settings.height}, {settings.frames} frames",
                "GFLOP": {part: round(getattr(work[name], part) / 1e9, 1) for part in PART_NAMES},
                "seconds": {part: round(getattr(found, part), 3) for part in PART_NAMES},
                "shares predicted, measured": {part: tuple(round(x, 3) for x in pair) for part, pair in shares.items()},
                "predicted seconds off by": {part: round(value, 3) for part, value in off.items()},
                "total off by": round(told.total / found.total - 1, 3),
            }
        )
        if name != "middle":
            worst = max(abs(value) for value in off.values())
            rows[-1] |= {"worst": round(worst, 3), "goal": MOST_APART, "reached": worst <= MOST_APART}
    return rows


def work_of(engine: Any, sizes: NetSizes, settings: SampleSettings) -> Parts:
    """FLOPs; the cross attention sees only the tokens of a text that are used, and one more."""
    from s2v_core.wan.text import token_ids

    used = [len(token_ids(engine.tokenizer, text)) + 1 for text in (PROMPT.text, PROMPT.negative)]
    return rendering(sizes, settings, text_tokens=sum(used) // 2)


class Busy(Clock):
    """Of the processor's seconds where it is the processor that computes."""

    def now(self) -> float:
        return time.process_time() if self._device == "cpu" else super().now()


def middle(found: list[Parts]) -> Parts:
    return Parts(**{name: statistics.median(getattr(one, name) for one in found) for name in PART_NAMES})


def measure(engine: Any, place: Place, settings: SampleSettings) -> Parts:
    """Seconds of one rendering by itself, in the nets alone."""
    from s2v_core.wan import text_states, transformer
    from s2v_core.wan.render import Renderer

    engine._texts.clear()
    engine.grey.clear()
    engine.constants = None
    control, reference = pictures(settings)
    clock, vae = Busy(place.device), engine.parts["vae"].model
    nets = {
        "text": [(text_states, "encode_text")],
        "encode": [(vae.encoder, "forward")],
        "transformer": [(transformer, "predict"), (transformer, "prepare")],
        "decode": [(vae.decoder, "forward")],
    }
    with clock.timing(nets):
        Renderer(engine, control, reference).render(PROMPT, settings)
    return Parts(**{name: clock.seconds[name] for name in PART_NAMES})

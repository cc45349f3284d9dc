"""What a plan costs beside the work that it cannot avoid, on the article's five experiments.

    python benchmarks/sweep.py [--json] [--model nano|tiny|FOLDER] [--lora FILE] [--steps 50] [--size 96x96]
                               [--frames 17] [--device auto] [--alone]

The unavoidable work is the sum of the transformer's forwards (with what they prepare for all steps), the encodes and
the decodes, each timed where it happens. Everything else of the run is overhead: planning, hashing, the store,
reading and writing shared latents. Cells are written beside the work, which is said apart. The goal is below 3%.
``--alone`` also renders every named cell by itself, compares the pixels, and gives the speed-up. Nothing that an
earlier run encoded is used (the engine has no ``kept``). Small models at small sizes show more overhead than real
ones: writing a clip costs the same for both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s2v_core.prompts.prompt import Prompt
from s2v_core.sweeps.axes import Sweep, make_axis
from s2v_core.sweeps.estimate import estimate
from s2v_core.sweeps.prefixes import FOLDER, Prefixes
from s2v_core.sweeps.run import run_work
from s2v_core.sweeps.store import CellStore
from s2v_core.sweeps.work import plan_work
from s2v_core.sweeps.writer import Writer
from s2v_core.video.clip import Clip
from s2v_core.video.write import write_clip
from s2v_core.wan import render, text_states, transformer
from s2v_core.wan.embedded import nano_files, nano_lora
from s2v_core.wan.engine import ModelFiles, load_engine
from s2v_core.wan.settings import LoraUse, SampleSettings
from s2v_core.wan.tiny import build_tiny, build_tiny_lora

GOAL = 0.03
PROMPTS = [
    Prompt("A man dances on a stage, full body, sharp and detailed.", "blurry", variant="detailed"),
    Prompt("A man dances in soft, even light, high quality.", "blurry", variant="light and quality"),
    Prompt("The same man from the first to the last frame: black hair, white shirt.", "blurry", variant="identity"),
]


def experiments(settings: SampleSettings) -> list[Sweep]:
    """The article's four grids for the base model and with the LoRA, and the LoRA from a later and later step on."""
    both = make_axis("lora_on", [False, True])
    steps = settings.steps
    fifths = sorted({max(1, steps * fifth // 5) for fifth in range(1, 6)})
    tenths = sorted({steps * tenth // 10 for tenth in range(1, 10)} - {0})
    axes = {
        "guidance": (both, make_axis("guidance", range(1, 8))),
        "steps": (both, make_axis("steps", fifths)),
        "prompts": (both, make_axis("prompt", PROMPTS)),
        "LoRA strength": (make_axis("lora_strength", [0, 0.25, 0.5, 0.75, 1]),),
        "LoRA from step": (make_axis("lora_from_step", tenths),),
    }
    return [Sweep(PROMPTS[0], settings, one, name=name) for name, one in axes.items()]


class Clock:
    """Sums the time in functions while it is open, on the GPU too. What is called inside another counts there.

    ``seconds``: in the thread that opened it. ``beside``: in other threads meanwhile.
    """

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.beside: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._device = device
        self._inside = False

    @contextmanager
    def timing(self, places: dict[str, list[tuple[Any, str]]]) -> Iterator[None]:
        self._thread = threading.get_ident()
        old = [(module, name, getattr(module, name)) for found in places.values() for module, name in found]
        for kind, found in places.items():
            for module, name in found:
                setattr(module, name, self._timed(kind, getattr(module, name)))
        try:
            yield
        finally:
            for module, name, function in old:
                setattr(module, name, function)

    def now(self) -> float:
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if threading.get_ident() != self._thread:
                begin = time.perf_counter()
                try:
                    return function(*args, **more)
                finally:
                    self.beside[kind] += time.perf_counter() - begin
            if self._inside:
                return function(*args, **more)
            self._inside = True
            begin = self.now()
            try:
                return function(*args, **more)
            finally:
                self.seconds[kind] += self.now() - begin
                self.calls[kind] += 1
                self._inside = False

        return call


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    files, lora = model(given, folder)
    width, height = (int(part) for part in given.size.split("x"))
    settings = SampleSettings(
        steps=given.steps, width=width, height=height, frames=given.frames, loras=(LoraUse(str(lora)),)
    )
    engine = load_engine(files, device=given.device)
    # A ball that wanders: as easy to compress as a pose video, unlike noise.
    frames = np.zeros((given.frames, height, width, 3), np.uint8)
    for at, frame in enumerate(frames):
        frame[height // 4 : height // 2, (at * 3) % width : (at * 3) % width + width // 8] = (200, 90, 40)
    renderer = render.Renderer(engine, Clip(frames, Fraction(16)), frames[0])
    # In a real run the driving clip was read before, with the same library that writes cells.
    write_clip(Clip(frames, Fraction(16)), folder / "driving.mkv", lossless=True)
    warm = render.Renderer(engine, Clip(frames, Fraction(16)), frames[0])
    warm.render(PROMPTS[0], SampleSettings(steps=1, width=width, height=height, frames=given.frames))
    engine.identity()
    store = CellStore(folder / "cells")
    clock = Clock(engine.device)
    places = {
        "forwards": [(transformer, "predict"), (transformer, "prepare")],
        "encodes": [(render, "encode_pictures"), (text_states, "encode_text")],
        "decodes": [(render, "decode")],
        # What is written beside the rendering is waited for at the end at least.
        "store": [(store, "put"), (store, "has"), (Writer, "put"), (Writer, "wait")],
        "shared latents": [(Prefixes, "read"), (Prefixes, "write"), (Prefixes, "remove")],
    }
    sweeps = experiments(settings)
    with clock.timing(places):
        begin = clock.now()
        work = plan_work(sweeps, renderer, store.has, Prefixes(store.folder / FOLDER))
        planning = clock.now() - begin
        results = run_work(work, store)
        total = clock.now() - begin
    if failed := {id: reason for result in results for id, reason in result.failed.items()}:
        sys.exit(f"Cells failed: {failed}")
    plain = sum(clock.seconds[kind] for kind in ("forwards", "encodes", "decodes"))
    told = estimate(work)
    found: dict[str, Any] = {
        "device": engine.device,
        "model": given.model,
        "settings": {name: getattr(settings, name) for name in ("steps", "width", "height", "frames")},
        "cells": told.cells,
        "distinct": told.distinct,
        "forwards alone": told.forwards_alone,
        "forwards shared": told.forwards_shared,
        "forwards saved": round(told.saved, 4),
        "seconds": round(total, 3),
        "seconds of work": {kind: round(clock.seconds[kind], 3) for kind in ("forwards", "encodes", "decodes")},
        "seconds of overhead": {
            "planning": round(planning, 3),
            **{kind: round(clock.seconds[kind], 3) for kind in ("store", "shared latents")},
        },
        "seconds of the store beside the work": round(clock.beside["store"], 3),
        "overhead": round((total - plain) / plain, 4),
        "goal": GOAL,
        "reached": (total - plain) / plain < GOAL,
    }
    if given.alone:
        begin = clock.now()
        different = 0
        for result in results:
            for cell in result.cells:
                lone = render.Renderer(engine, renderer.control, renderer.reference).render(cell.prompt, cell.settings)
                different += not np.array_equal(lone.frames, result.clip(cell).frames)
        found |= {"seconds alone": round(clock.now() - begin, 3), "cells that differ": different}
        found["speed-up"] = round(found["seconds alone"] / total, 3)
    return found


def model(given: argparse.Namespace, folder: Path) -> tuple[ModelFiles, Path]:
    if given.model == "tiny":
        files = build_tiny(folder / "model")
        return files, build_tiny_lora(files, folder / "lora.safetensors", size=2.0)
    if given.model == "nano":
        return nano_files(), Path(given.lora) if given.lora else nano_lora("article")
    if not given.lora:
        sys.exit("Name a LoRA for this model with --lora.")
    return ModelFiles(given.model, given.model, given.model), Path(given.lora)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--model", default="nano", help="nano, tiny (random weights), or the folder of a whole model")
    parser.add_argument("--lora", help="a LoRA for the model; the nano and tiny models bring theirs")
    parser.add_argument("--steps", type=int, default=50, help="steps of most cells (default: 50, as in the article)")
    parser.add_argument("--size", default="96x96", help="width x height")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--alone", action="store_true", help="also render each named cell alone, and compare")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given, Path(folder))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()

"""What the engine's benchmarks share: the device, the clock, the mid model and its pictures."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from s2v_core.prompts.prompt import Prompt  # noqa: E402
from s2v_core.video.clip import Clip  # noqa: E402
from s2v_core.wan.settings import SampleSettings  # noqa: E402

Result = dict[str, Any]
PROMPT = Prompt("A man dances house on a stage, full body, fixed camera.", "blurry, low quality")
MID = SampleSettings(steps=4, guidance=5.0, width=96, height=96, frames=17)
GUIDANCE = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)


@dataclass(frozen=True)
class Place:
    """Where the benchmark runs. On a GPU every reading of the clock waits for what was queued."""

    device: str = "cpu"

    @property
    def dtype(self) -> str:
        return "float32" if self.device == "cpu" else "bfloat16"

    def now(self) -> float:
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def mid_model(folder: Path) -> Any:
    """Files of the mid model."""
    return random_model(
        folder,
        dim=512, heads=4, layers=8, vace_layers=(0, 2, 4, 6), ffn=2048, freq=256, vocab=512, text_dim=512,
        text_ffn=1280, text_heads=8, text_layers=8, encoder_dim=8, encoder_blocks=1, decoder_dim=8, decoder_blocks=1,
    )  # fmt: skip


def random_model(folder: Path, **sizes: Any) -> Any:
    """Files of a model with random weights, at the scale that keeps signals of size 1. ``sizes``: of ``NanoSizes``."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    from s2v_core.nano.nets import NanoSizes, build_nets, save_nets
    from s2v_core.wan import tiny

    files = save_nets(build_nets(NanoSizes(**sizes)), folder, dtype="float32")
    with torch.no_grad():
        # The head and the hints of new nets are zero: they would make every prediction zero.
        tensors = load_file(files.transformer)
        with safe_open(files.transformer, "pt") as opened:
            metadata = opened.metadata()
        made = torch.Generator().manual_seed(1)
        for key, value in tensors.items():
            if key == "head.head.weight" or ".after_proj.weight" in key:
                tensors[key] = torch.randn(value.shape, generator=made) / value.shape[1] ** 0.5
        save_file(tensors, files.transformer, metadata)
    tiny._write_tokenizer(Path(files.tokenizer))
    return files


def pictures(settings: SampleSettings) -> tuple[Clip, np.ndarray]:
    """A bright block that wanders over a dark ground, and its first frame as the reference."""
    frames = np.zeros((settings.frames, settings.height, settings.width, 3), np.uint8)
    for at, frame in enumerate(frames):
        left = at * 3 % settings.width
        frame[settings.height // 4 : settings.height // 2, left : left + settings.width // 8] = (200, 90, 40)
    return Clip(frames, Fraction(16)), frames[0]


def medians(place: Place, rounds: int, calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, called in turn, forwards and backwards by turns; call them once before."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls) if turn % 2 else reversed(list(calls)):
            begin = place.now()
            calls[name]()
            spent[name].append(place.now() - begin)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def compared(name: str, goal: float | None, ours: float, peer: float) -> Result:
    """A row of two numbers of which the smaller is the better."""
    ratio = ours / peer
    row = {"name": name, "ours": _short(ours), "peer": _short(peer), "ratio": round(ratio, 3)}
    return row | ({} if goal is None else {"goal": goal, "reached": ratio <= goal})


def _short(value: float) -> float:
    return round(value, 4) if isinstance(value, float) else value


def load(place: Place, folder: Path, **how: Any) -> Any:
    """The mid model as an engine."""
    from s2v_core.wan.engine import load_engine

    # Nothing of an earlier run: the peers have nothing of it either.
    return load_engine(mid_model(folder), device=place.device, dtype=place.dtype, kept=None, **how)


def inputs(engine: Any) -> tuple[Any, Any, Any]:
    """Latents, VACE context and text states of the mid size."""
    import torch

    from s2v_core.wan.vace import condition

    control, reference = pictures(MID)
    given = condition(engine, PROMPT, MID, control=control, reference=reference)
    latents = torch.randn(given.latent_shape, generator=torch.Generator().manual_seed(0))
    return tuple(tensor.to(engine.device, engine.dtype) for tensor in (latents, given.vace_context, given.positive))

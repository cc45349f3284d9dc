"""The engine beside DiffSynth's pipeline and ComfyUI's own nets, on one mid-size model with random weights.

    python benchmarks/engine.py [--json] [--rounds 5] [--only cells,forward,memory,times,comfy,growth] [--device cpu]
                                [--full]

Pairs are timed in one run in alternating order; the ratio is that of the medians. The mid model: width 512, 8 layers, 4
VACE layers, heads of 128, a VAE 8 wide; 17 frames of 96 x 96 with a reference picture, float32.

- cells: 8 guidance values x 4 steps as one sweep, beside 8 plain calls of ``WanVideoPipeline``.
- forward: one forward of the transformer, beside ``model_fn_wan_video``, with what all steps share computed before.
- comfy: the same beside ComfyUI's ``VaceWanModel`` (``COMFY_ROOT`` names a ComfyUI).
- memory: the peak of one forward over 8k tokens with 15 VACE layers, beside DiffSynth's, by the growth of the process.
- times: where the time of a sweep goes.
- growth: 100 samples in a row, and a cancelled one.

``--full`` loads the true 1.3B shapes with random bfloat16 weights and makes one step at a small size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
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


def mid_model(folder: Path) -> Any:
    """Files of the mid model: random weights at the scale that keeps signals of size 1."""
    import torch
    from safetensors.torch import load_file, save_file

    from s2v_core.nano.nets import NanoSizes, build_nets, save_nets
    from s2v_core.wan import tiny

    sizes = NanoSizes(
        dim=512, heads=4, layers=8, vace_layers=(0, 2, 4, 6), ffn=2048, freq=256, vocab=512, text_dim=512,
        text_ffn=1280, text_heads=8, text_layers=8, encoder_dim=8, encoder_blocks=1, decoder_dim=8, decoder_blocks=1,
    )  # fmt: skip
    files = save_nets(build_nets(sizes), folder, dtype="float32")
    with torch.no_grad():
        # The head and the hints of new nets are zero: they would make every prediction zero.
        tensors = load_file(files.transformer)
        metadata = {"skeleton2video": ""}
        from safetensors import safe_open

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


def pairs(rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of both, called in alternating order after one call of each that is not counted."""
    ours(), theirs()
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(rounds):
        for name, call in sorted({"ours": ours, "theirs": theirs}.items(), reverse=bool(turn % 2)):
            begin = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - begin)
    return statistics.median(spent["ours"]), statistics.median(spent["theirs"])


def pair(name: str, goal: float, rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> Result:
    mine, peer = pairs(rounds, ours, theirs)
    ratio = mine / peer
    return {
        "name": name,
        "ours": round(mine, 4),
        "peer": round(peer, 4),
        "ratio": round(ratio, 3),
        "goal": goal,
        "reached": ratio <= goal,
    }


def cells(folder: Path, rounds: int) -> list[Result]:
    """8 guidance cells of 4 steps: one sweep of ours, and 8 plain calls of the pipeline; with the bits compared."""
    import torch

    from s2v_core.sweeps.axes import Sweep, make_axis
    from s2v_core.sweeps.run import run_sweep
    from s2v_core.sweeps.store import CellStore
    from s2v_core.wan.engine import load_engine
    from s2v_core.wan.render import Renderer
    from tests.wan.pipeline_twin import load_pipeline, run_pipeline

    files = mid_model(folder / "mid")
    engine = load_engine(files, device="cpu", dtype="float32")
    pipe = load_pipeline(files)
    control, reference = pictures(MID)
    engine.identity()
    found = []
    for precision, goal in (("diffsynth", 0.55), ("float32", 0.50)):
        settings = replace(MID, precision=precision)
        sweep = Sweep(PROMPT, settings, (make_axis("guidance", GUIDANCE),))
        clips: list[np.ndarray] = []

        def ours(sweep: Sweep = sweep, clips: list[np.ndarray] = clips) -> None:
            engine._texts.clear()
            with tempfile.TemporaryDirectory() as place:
                result = run_sweep(sweep, Renderer(engine, control, reference), CellStore(place))
                if result.failed:
                    sys.exit(str(result.failed))
                clips[:] = [result.clip(cell).frames for cell in result.cells]

        peer: list[np.ndarray] = []

        def theirs(settings: SampleSettings = settings, peer: list[np.ndarray] = peer) -> None:
            peer[:] = [
                run_pipeline(pipe, PROMPT, replace(settings, guidance=scale), control, reference)[1]
                for scale in GUIDANCE
            ]

        with torch.no_grad():
            row = pair(f"8 guidance cells x 4 steps, {precision}", goal, rounds, ours, theirs)
        apart = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(clips, peer, strict=True))
        found.append(row | {"largest difference of pixels": apart})
        if precision == "diffsynth":
            found[-1]["reached"] = row["reached"] and apart == 0
    return found


def forward(folder: Path, rounds: int) -> list[Result]:
    """One forward with what our loop has at hand, and DiffSynth's ``model_fn``."""
    import torch
    from diffsynth.pipelines.wan_video import model_fn_wan_video

    from s2v_core.wan import transformer
    from s2v_core.wan.engine import load_engine

    engine = load_engine(mid_model(folder / "mid"), device="cpu", dtype="float32")
    dit, vace = engine.use("dit", "vace")
    latents, context, text = inputs(engine)
    time_of = torch.tensor([700.0])
    with torch.no_grad():
        constants = transformer.prepare(dit, vace, {"positive": text}, context, tuple(latents.shape), 1)

        def theirs() -> torch.Tensor:
            given = {"latents": latents, "timestep": time_of, "context": text, "vace_context": context}
            return model_fn_wan_video(dit=dit, vace=vace, **given)

        found = []
        for exact, goal in ((True, None), (False, 0.85)):
            made = replace(constants, exact=exact)

            def ours(made: Any = made) -> torch.Tensor:
                return transformer.predict(dit, vace, made, "positive", latents, time_of)

            name = "one forward, bit for bit" if exact else "one forward"
            row = pair(name, goal or 1.0, 4 * rounds, ours, theirs)
            apart = float((ours() - theirs()).abs().max() / theirs().abs().max())
            found.append(row | {"largest relative difference": apart})
    return found


def inputs(engine: Any) -> tuple[Any, Any, Any]:
    """Latents, VACE context and text states of the mid size."""
    import torch

    from s2v_core.wan.vace import condition

    control, reference = pictures(MID)
    given = condition(engine, PROMPT, MID, control=control, reference=reference)
    latents = torch.randn(given.latent_shape, generator=torch.Generator().manual_seed(0))
    return latents, given.vace_context, given.positive


PARTS: dict[str, Callable[[Path, int], list[Result]]] = {"cells": cells, "forward": forward}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}, parted by commas")
    given = parser.parse_args()
    results: list[Result] = []
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            results += PARTS[name](Path(folder), given.rounds)
    if given.json:
        print(json.dumps({"results": results}, indent=2))
        return
    for row in results:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()

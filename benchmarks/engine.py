"""The engine beside DiffSynth's pipeline and ComfyUI's own nets, on models with random weights.

    python benchmarks/engine.py [--json] [--rounds 5] [--only cells,forward,comfy,memory,times,growth,flops,
                                approximations] [--device cpu|cuda] [--full]

Pairs are timed in one run by turns; the ratio is that of the medians. The mid model: width 512, 8 layers, 4 VACE
layers, heads of 128, a VAE 8 wide; 17 frames of 96 x 96 with a reference picture. float32 on a CPU, bfloat16 on a GPU.

- cells: 8 guidance values x 4 steps as one sweep, beside 8 plain calls of ``WanVideoPipeline``.
- forward: one forward of the transformer, beside ``model_fn_wan_video``, with what all steps share computed before.
- comfy: the same beside ComfyUI's ``VaceWanModel`` (``COMFY_ROOT`` names a ComfyUI), in a process of its own.
- memory: the peak of one forward over 8k tokens with 15 VACE layers, beside DiffSynth's, each in a process of its own.
- times: where the time of a sweep goes. "Outside of the nets" is all that the rendering thread spends there or waits;
  cells are written beside it, which takes time of the cores that is not seen there.
- growth: 100 samples in a row, and a cancelled one.
- flops: the seconds of each part at three sizes, two of them predicted by arithmetic from the first.
- approximations: step caching, guidance in a window and drafts beside the exact result, by the trained nano model; only
  when it is named.

No engine here keeps or uses anything on disk (``load_engine`` without ``kept``): what is compared is encoded by both.

``--full`` does another thing: it writes the true 1.3B shapes with random bfloat16 weights (16 GB, removed afterwards),
loads them and makes one step at a small size, where there is room for it. Without it all takes less than five minutes
on two cores that have nothing else to do. What cannot run is named with its reason under "not run".
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from engine_models import GUIDANCE, MID, PROMPT, Place, Result, compared, inputs, load, medians, mid_model, pictures

HERE = Path(__file__).resolve().parent
MOST_OUTSIDE = 0.02
_SLOW_ROUNDS = 2  # of the cells, where one round takes most of a minute


class NotRun(Exception):
    """A part that cannot run here; the text says why."""


def cells(folder: Path, place: Place, rounds: int) -> list[Result]:
    """8 guidance cells of 4 steps: one sweep of ours, and 8 plain calls of the pipeline; with the pixels compared."""
    import torch

    from s2v_core.sweeps.axes import Sweep, make_axis
    from s2v_core.sweeps.run import run_sweep
    from s2v_core.sweeps.store import CellStore
    from s2v_core.wan.render import Renderer
    from tests.wan.pipeline_twin import load_pipeline, run_pipeline

    engine = load(place, folder / "mid")
    pipe = load_pipeline(engine.files, engine.dtype)
    if place.device != "cpu":
        pipe.to(place.device)
    control, reference = pictures(MID)
    engine.identity()
    clips: dict[str, list[np.ndarray]] = {}

    def ours(precision: str, guidance: tuple[float, ...] = GUIDANCE) -> None:
        engine._texts.clear()
        sweep = Sweep(PROMPT, replace(MID, precision=precision), (make_axis("guidance", guidance),))
        with tempfile.TemporaryDirectory() as store:
            result = run_sweep(sweep, Renderer(engine, control, reference), CellStore(store))
            if result.failed:
                sys.exit(str(result.failed))
            clips[precision] = [result.clip(cell).frames for cell in result.cells]

    def theirs(guidance: tuple[float, ...] = GUIDANCE) -> None:
        clips["peer"] = [
            run_pipeline(pipe, PROMPT, replace(MID, guidance=scale), control, reference)[1] for scale in guidance
        ]

    with torch.no_grad():
        # The first call of each is not counted; a single cell is enough to get everything ready.
        ours("diffsynth", GUIDANCE[:1]), ours("float32", GUIDANCE[:1]), theirs(GUIDANCE[:1])
        calls = {"diffsynth": lambda: ours("diffsynth"), "float32": lambda: ours("float32"), "peer": theirs}
        seconds = medians(place, min(rounds, _SLOW_ROUNDS), calls)
    found = []
    for precision, goal in (("diffsynth", 0.55), ("float32", 0.50)):
        row = compared(f"8 guidance cells x 4 steps, {precision}", goal, seconds[precision], seconds["peer"])
        apart = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(clips[precision], clips["peer"], strict=True))
        found.append(row | {"largest difference of pixels": apart})
    found[0]["reached"] = found[0]["reached"] and found[0]["largest difference of pixels"] == 0
    return found


def forward(folder: Path, place: Place, rounds: int) -> list[Result]:
    """One forward with what our loop has at hand, and DiffSynth's ``model_fn``."""
    import torch
    from diffsynth.pipelines.wan_video import model_fn_wan_video

    from s2v_core.wan import transformer

    engine = load(place, folder / "mid")
    dit, vace = engine.use("dit", "vace")
    latents, context, text = inputs(engine)
    moment = torch.tensor([700.0], device=engine.device, dtype=engine.dtype)

    def theirs() -> torch.Tensor:
        given = {"latents": latents, "timestep": moment, "context": text, "vace_context": context}
        return model_fn_wan_video(dit=dit, vace=vace, **given)

    with torch.no_grad():
        ready = {
            exact: transformer.prepare(dit, vace, {"positive": text}, context, tuple(latents.shape), 1, exact)
            for exact in (True, False)
        }

        def ours(exact: bool) -> torch.Tensor:
            return transformer.predict(dit, vace, ready[exact], "positive", latents, moment)

        peer = theirs()
        apart = {exact: float((ours(exact) - peer).abs().max() / peer.abs().max()) for exact in ready}
        calls = {"exact": lambda: ours(True), "fast": lambda: ours(False), "peer": theirs}
        seconds = medians(place, 4 * rounds, calls)
    return [
        compared(name, goal, seconds[key], seconds["peer"]) | {"largest relative difference": apart[key == "exact"]}
        for name, goal, key in (("one forward, bit for bit", None, "exact"), ("one forward", 0.85, "fast"))
    ]


def comfy(folder: Path, place: Place, rounds: int) -> list[Result]:
    """One forward and ComfyUI's ``VaceWanModel`` with the same weights, in one process."""
    root = Path(os.environ.get("COMFY_ROOT", ""))
    if not (root / "comfy" / "ldm" / "wan" / "model.py").is_file():
        raise NotRun("COMFY_ROOT names no ComfyUI")
    mid_model(folder / "mid")
    told = _own_process("engine_comfy.py", str(root), str(folder), place.device, str(4 * rounds), cwd=root)
    return [
        compared("one forward beside ComfyUI's VaceWanModel", 0.95, told["ours"], told["peer"])
        | {"largest relative difference": told["apart"], "ComfyUI": told["version"]}
    ]


def memory(folder: Path, place: Place, rounds: int) -> list[Result]:
    """The peak of one forward over 8k tokens with 15 VACE layers."""
    peaks = {
        who: _own_process("engine_memory.py", "forward", who, place.device)["bytes"] for who in ("ours", "diffsynth")
    }
    row = compared("peak bytes of one forward, 8k tokens, 15 VACE layers", 0.6, peaks["ours"], peaks["diffsynth"])
    return [row]


def growth(folder: Path, place: Place, rounds: int) -> list[Result]:
    """What 100 samples and a cancelled one leave behind."""
    from s2v_core.wan.tiny import build_tiny

    build_tiny(folder / "tiny")
    told = _own_process("engine_memory.py", "growth", str(folder / "tiny"), place.device)
    return [
        {"name": f"bytes that {what} leave behind", "bytes": left, "goal": goal, "reached": left <= goal}
        for what, left, goal in (
            ("100 samples in a row", told["samples"], 50_000_000),
            ("the tensors of a cancelled run", told["cancelled"], 0),
        )
    ]


def times(folder: Path, place: Place, rounds: int) -> list[Result]:
    """Where the time of a sweep of 8 guidance cells goes."""
    from sweep import Clock

    from s2v_core.sweeps.axes import Sweep, make_axis
    from s2v_core.sweeps.run import run_sweep
    from s2v_core.sweeps.store import CellStore
    from s2v_core.sweeps.writer import Writer
    from s2v_core.video.write import write_clip
    from s2v_core.wan import text_states, transformer
    from s2v_core.wan.render import Renderer

    engine = load(place, folder / "mid")
    control, reference = pictures(MID)
    Renderer(engine, control, reference).render(PROMPT, replace(MID, steps=1))
    engine.identity()
    engine._texts.clear()
    engine.grey.clear()
    engine.constants = None
    # In a real run the driving clip was read before, with the same library that writes cells.
    write_clip(control, folder / "driving.mkv", lossless=True)
    store = CellStore(folder / "cells")
    clock, vae = Clock(place.device), engine.parts["vae"].model
    nets = {
        "transformer": [(transformer, "predict"), (transformer, "prepare")],
        "VAE": [(part, "forward") for part in (vae.encoder, vae.conv1, vae.conv2, vae.decoder)],
        "text encoder": [(text_states, "encode_text")],
    }
    others = {
        "the store": [(store, "put"), (store, "has")],
        "waiting for the store": [(Writer, "wait"), (Writer, "put")],
    }
    with clock.timing(nets | others):
        begin = clock.now()
        result = run_sweep(
            Sweep(PROMPT, MID, (make_axis("guidance", GUIDANCE),)), Renderer(engine, control, reference), store
        )
        total = clock.now() - begin
    if result.failed:
        sys.exit(str(result.failed))
    outside = total - sum(clock.seconds[name] for name in nets)
    spent = {**clock.seconds, "the store, beside them": clock.beside["the store"], "outside of the nets": outside}
    spent["all"] = total
    rows = [
        {
            "name": f"time of a sweep: {name}",
            "seconds": round(spent.get(name, 0.0), 3),
            "share": round(spent.get(name, 0.0) / total, 4),
        }
        for name in ("all", *nets, *others, "the store, beside them", "outside of the nets")
    ]
    rows[-1] |= {"goal": MOST_OUTSIDE, "reached": outside / total < MOST_OUTSIDE}
    return rows


def flops(folder: Path, place: Place, rounds: int) -> list[Result]:
    """See ``engine_flops``."""
    from engine_flops import compare

    return compare(folder, place)


def approximations(folder: Path, place: Place, rounds: int) -> list[Result]:
    """See ``engine_approximate``."""
    from engine_approximate import compare

    return compare(place)


def full(folder: Path, place: Place, rounds: int) -> list[Result]:
    """The true sizes; see ``engine_full``."""
    told = _own_process("engine_full.py", str(folder))
    if "not run" in told:
        raise NotRun(told["not run"])
    return [told]


def _own_process(script: str, *arguments: str, cwd: Path | None = None) -> dict[str, Any]:
    """What a script prints as JSON on its last line."""
    # Without PYTHONPATH: ComfyUI has top-level modules with names such as ours.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # glibc gives tensors of a megabyte and more back at once, so that a process takes what its tensors take.
    environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if "not run" in told and script != "engine_full.py":
        raise NotRun(told["not run"])
    return told


PARTS: dict[str, Callable[[Path, Place, int], list[Result]]] = {
    "cells": cells,
    "forward": forward,
    "comfy": comfy,
    "memory": memory,
    "times": times,
    "growth": growth,
    "flops": flops,
    "approximations": approximations,
}
# These take their time for errors, not for speed.
NAMED_ONLY = ("approximations",)


def check_device(device: str) -> Place:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("There is no CUDA here: --device cuda was not run.")
    return Place(device)


def machine(place: Place) -> dict[str, Any]:
    """What the figures were taken on."""
    import torch

    name = (
        torch.cuda.get_device_name(place.device) if place.device != "cpu" else torch.backends.cpu.get_cpu_capability()
    )
    return {
        "device": f"{place.device} ({name})",
        "dtype": place.dtype,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--rounds", type=int, default=5)
    usual = ",".join(name for name in PARTS if name not in NAMED_ONLY)
    parser.add_argument("--only", default=usual, help=f"some of {', '.join(PARTS)}, parted by commas")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--full", action="store_true", help="the true 1.3B shapes, and nothing else")
    given = parser.parse_args()
    place = check_device(given.device)
    parts = {"full": full} if given.full else {name: PARTS[name] for name in given.only.split(",")}
    about = machine(place)
    results: list[Result] = []
    seconds: dict[str, float] = {}
    left: dict[str, str] = {} if place.device != "cpu" else {"cuda": "--device cpu"}
    for name, part in parts.items():
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                results += part(Path(folder), place, given.rounds)
            except NotRun as reason:
                left[name] = str(reason)
        seconds[name] = round(time.perf_counter() - begin, 1)
    if given.json:
        found = {"machine": about, "results": results, "not run": left, "seconds": seconds}
        print(json.dumps(found, indent=2))
        return
    for row in (about, *results, {"not run": left}, {"seconds": seconds}):
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()

"""Run by ``engine.py`` in processes of their own: how much memory a forward takes, and what samples leave behind.

``python engine_memory.py forward ours|diffsynth DEVICE`` or ``growth FOLDER DEVICE``. Prints JSON with bytes.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine_models import PROMPT, pictures

from s2v_core.errors import Interrupted
from s2v_core.wan.settings import SampleSettings

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# 8 latent frames of 512 x 512 pixels: 8,192 tokens. Of the true net's proportions, but one head wide.
LATENTS = (1, 16, 8, 64, 64)
SHARED = {"has_image_input": False, "patch_size": (1, 2, 2), "dim": 128, "num_heads": 1, "ffn_dim": 768, "eps": 1e-6}
LAYERS = 15
SAMPLES = 100


def resident(kind: str = "VmRSS") -> int:
    """Bytes of this process in memory, now or ("VmHWM") at most since the last reset."""
    return next(int(line.split()[1]) << 10 for line in STATUS.read_text().splitlines() if line.startswith(kind + ":"))


def settle() -> None:
    """Give back what nobody uses, so that only what is used is counted."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def grown(call: Callable[[], Any], device: str) -> int:
    """Bytes by which the peak during a call is above what was taken before."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    settle()
    RESET.write_text("5")
    before = resident()
    call()
    return resident("VmHWM") - before


def forward(who: str, device: str) -> dict[str, int]:
    import torch
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_vace import VaceWanModel
    from diffsynth.pipelines.wan_video import model_fn_wan_video

    from s2v_core.wan import transformer

    torch.manual_seed(0)
    moment, text = torch.tensor([700.0], device=device), torch.randn(1, 64, 64, device=device)

    def nets(layers: int) -> tuple[Any, Any]:
        dit = WanModel(in_dim=16, out_dim=16, freq_dim=256, text_dim=64, num_layers=layers, **SHARED)
        vace = VaceWanModel(vace_layers=tuple(range(layers)), vace_in_dim=96, **SHARED)
        return dit.to(device), vace.to(device)

    def once(dit: Any, vace: Any) -> None:
        latents, context = torch.randn(LATENTS, device=device), torch.randn(1, 96, *LATENTS[2:], device=device)
        if who == "diffsynth":
            given = {"latents": latents, "timestep": moment, "context": text, "vace_context": context}
            model_fn_wan_video(dit=dit, vace=vace, **given)
            return
        constants = transformer.prepare(dit, vace, {"positive": text}, context, LATENTS, 0, False)
        transformer.predict(dit, vace, constants, "positive", latents, moment)

    with torch.no_grad():
        once(*nets(1))  # libraries take their own memory at the first call
        loaded = nets(LAYERS)
        return {"bytes": grown(lambda: once(*loaded), device)}


def growth(folder: str, device: str) -> dict[str, int]:
    from s2v_core.wan.engine import load_engine
    from s2v_core.wan.render import Renderer
    from s2v_core.wan.tiny import tiny_files

    engine = load_engine(tiny_files(folder), device=device, dtype="float32")
    settings = SampleSettings(steps=2, guidance=3.0, width=64, height=64, frames=9)
    control, reference = pictures(settings)

    def samples(count: int) -> None:
        for seed in range(count):
            # New conditioning and constants by turns, as in sweeps over more than one axis.
            own = replace(settings, seed=seed, guidance=1.5 + seed % 4, tiling=seed % 5 == 0)
            Renderer(engine, control, reference).render(PROMPT, own)

    samples(SAMPLES // 10)
    settle()
    before = resident()
    samples(SAMPLES)
    settle()
    after = resident()

    large = replace(settings, width=128, height=128, frames=33)
    wide, picture = pictures(large)
    renderer = Renderer(engine, wide, picture)
    renderer.render(PROMPT, large)
    alive = tensors()
    asked = []

    def stop() -> bool:
        asked.append(tensors())
        return len(asked) > 1

    # Outside of the handler: while an error is handled, its trace keeps what the functions on it had.
    with suppress(Interrupted):
        renderer.render(PROMPT, replace(large, seed=1), should_stop=stop)
        sys.exit("the run was not cancelled")
    return {"samples": after - before, "cancelled": tensors() - alive, "taken": max(asked) - alive}


def tensors() -> int:
    """Bytes of all tensors that are alive."""
    import torch

    gc.collect()
    # Not isinstance: it would wake lazy modules.
    alive = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    stores = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in alive}
    return sum(stores.values())


if __name__ == "__main__":
    kind, what, where = sys.argv[1:4]
    if where == "cpu" and not STATUS.is_file():
        print(json.dumps({"not run": "the memory of a process is read where Linux shows it"}))
    else:
        print(json.dumps(forward(what, where) if kind == "forward" else growth(what, where)))

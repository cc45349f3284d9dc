"""ComfyUI with the pack: what its import costs, what many runs and ``/free`` do to the server's memory.

    python benchmarks/host.py [--json] [--runs 50] [--root COMFYUI]

Starts the real server on the CPU with a wider tiny model (80 MB of random weights), queues runs with ever new seeds and
reads the process's resident memory from inside. The peer is the host's own Wan-VACE (WanVaceToVideo, KSampler, VAE
Decode) on the same weights, in the same server. Memory is read after glibc gave back what was freed (``malloc_trim``),
but for "as it is", where nothing was done. ``COMFY_ROOT`` and ``COMFY_OVERLAY`` are those of the tests.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from s2v_core.wan import tiny  # noqa: E402
from tests.host.conftest import PACK, Host, comfy_root, running  # noqa: E402
from tests.wan import other_layouts  # noqa: E402

WIDER = {"dim": 384, "ffn_dim": 1536, "num_heads": 32, "num_layers": 6}
SIZE = {"width": 64, "height": 64}
FILES = {
    "diffusion_models": "wide.safetensors",
    "vae": "vae.safetensors",
    "text_encoders": "umt5.safetensors",
}
WARM = 5  # runs before memory is compared: caches and pools fill
MIB = 1 << 20


def prepare(base: Path) -> int:
    """The host's folders; gives the bytes of the transformer."""
    for folder in ("input", "output", "temp", "user", "custom_nodes", *(f"models/{name}" for name in FILES)):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    (base / "custom_nodes" / "tiny_nodes.py").symlink_to(ROOT / "tests" / "host" / "tiny_nodes.py")
    tiny._DIT.update(WIDER)
    made = tiny.build_tiny(base / "tiny")
    transformer = Path(made.transformer).rename(base / "models" / "diffusion_models" / FILES["diffusion_models"])
    Path(made.vae).rename(base / "models" / "vae" / FILES["vae"])
    umt5 = other_layouts.randomise(other_layouts.hugging_face_umt5(), 4)
    other_layouts.write_comfyui_umt5(base / "models" / "text_encoders" / FILES["text_encoders"], umt5)
    return transformer.stat().st_size


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def ours(seed: int, name: str = "run") -> dict[str, Any]:
    files = {"diffusion_model": FILES["diffusion_models"], "vae": FILES["vae"], "text_encoder": FILES["text_encoders"]}
    settings = {"steps": 2, "guidance": 3.0, "shift": 5.0, "seed": seed, **SIZE, "frames": 5, "control_strength": 1.0}
    settings |= {"fit": "crop", "solver": "euler", "precision": "float32", "tiling": False}
    load = {**files, "dtype": "float32", "device": "auto", "tokenizer": "beside the text encoder"}
    return {
        "1": node("Skeleton2Video_LoadWanVace", **load),
        "2": node("Skeleton2Video_TextToPrompt", text="A man dances.", negative="blurry"),
        "3": node("Skeleton2Video_WanVaceSampler", model=["1", 0], prompt=["2", 0], **settings),
        "4": node("TestDump", name=name, image=["3", 0]),
    }


def native(seed: int, name: str = "native") -> dict[str, Any]:
    names = {"transformer": FILES["diffusion_models"], "text_encoder": FILES["text_encoders"], "vae": FILES["vae"]}
    texts = {"positive": ["3", 0], "negative": ["3", 1]}
    return {
        "0": node("TestTinyWan", **names),
        "1": node("CLIPTextEncode", clip=["0", 1], text="A man dances."),
        "2": node("CLIPTextEncode", clip=["0", 1], text="blurry"),
        "3": node("WanVaceToVideo", positive=["1", 0], negative=["2", 0], vae=["0", 2], **SIZE, length=5, batch_size=1,
                  strength=1.0),
        "4": node("KSampler", model=["0", 0], **texts, latent_image=["3", 2], seed=seed, steps=2, cfg=3.0,
                  sampler_name="euler", scheduler="simple", denoise=1.0),
        "5": node("VAEDecode", samples=["4", 0], vae=["0", 2]),
        "6": node("TestDump", name=name, image=["5", 0]),
    }  # fmt: skip


def memory(host: Host, trim: bool = True) -> int:
    return int(host.get(f"/test/memory{'?trim=1' if trim else ''}")["rss"])


def run(host: Host, prompt: dict[str, Any]) -> None:
    done = host.run(prompt)
    if done.ended != "execution_success":
        sys.exit(f"a run ended with {done.ended}: {done.error}")


def growth(host: Host, make: Callable[..., dict[str, Any]], runs: int, report: Callable[[str], None]) -> float:
    """MiB that the server takes more after ``runs`` runs than after the first ``WARM`` of them."""
    for seed in range(WARM):
        run(host, make(seed))
    before = memory(host)
    for seed in range(WARM, runs):
        run(host, make(seed))
    after = memory(host)
    report(f"{make.__name__}: {before / MIB:.0f} MiB after {WARM} runs, {after / MIB:.0f} MiB after {runs}")
    return (after - before) / MIB


def free(host: Host, **what: bool) -> None:
    """/free, again and again: the host misses it while it collects the garbage of the prompt before."""
    for _ in range(30):
        host.post("/free", what)
        time.sleep(1)
        if not host.get("/test/memory")["models"]:
            break
    time.sleep(1)  # the host collects garbage after it


def released(host: Host, make: Callable[..., dict[str, Any]], trim: bool, **what: bool) -> float:
    """MiB that ``/free`` gives back after a run."""
    run(host, make(1000 + time.time_ns() % 10**9))
    before = memory(host, trim)
    free(host, **what)
    return (before - memory(host, trim)) / MIB


def dumped(host: Host, name: str) -> bytes:
    return (host.base / "output" / f"{name}.safetensors").read_bytes()


def import_seconds(host: Host) -> float:
    """What the host's own log says of the pack, with the one decimal that it prints."""
    found = re.search(rf"([\d.]+) seconds[^:\n]*: .*{PACK}", host.log())
    return float(found[1]) if found else float("nan")


def measure(root: Path, base: Path, runs: int, report: Callable[[str], None]) -> list[dict[str, object]]:
    weights = prepare(base) / MIB
    with running(root, base) as host:
        seconds = import_seconds(host)
        mine, theirs = growth(host, ours, runs, report), growth(host, native, runs, report)
        run(host, ours(1, "first"))
        freed = {
            "of the models": {"unload_models": True},
            "of models and cache": {"unload_models": True, "free_memory": True},
        }
        rows = [
            row("import of the pack", seconds, "s", "below 0.5", 0.0, seconds < 0.5),
            row(f"growth over {runs} runs", round(mine, 1), "MiB", "below 16", round(theirs, 1), mine < 16),
        ]
        for name, what in freed.items():
            gives = [round(released(host, make, True, **what), 1) for make in (ours, native)]
            as_it_is = round(released(host, ours, False, **what), 1)
            report(f"/free {name}: {gives[0]} of {weights:.0f} MiB, as it is {as_it_is}; native {gives[1]}")
            rows.append(row(f"/free {name}", gives[0], "MiB", "80 % of weights", gives[1], gives[0] > 0.8 * weights))
            rows.append(row(f"/free {name}, as it is", as_it_is, "MiB", "80 % of weights", gives[1],
                            as_it_is > 0.8 * weights))  # fmt: skip
        run(host, ours(1, "again"))
        same = int(dumped(host, "first") == dumped(host, "again"))
        rows.append(row("the run after /free is the same", same, "", "1", 1, bool(same)))
    return rows


def row(name: str, value: float, unit: str, goal: str, peer: float, holds: bool) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "peer": peer, "holds": holds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--runs", type=int, default=50, help="runs of each sampler, more than 5")
    parser.add_argument("--root", type=Path, help="a ComfyUI checkout (default: COMFY_ROOT)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(
            given.root or comfy_root(), Path(folder) / "base", given.runs, lambda text: print(text, file=sys.stderr)
        )
    if given.json:
        print(json.dumps({"results": results}))
        return
    print(f"{'':34} {'ours':>8} {'native':>8}  {'unit':4} goal")
    for entry in results:
        holds = "holds" if entry["holds"] else "MISSED"
        print(f"{entry['name']:34} {entry['value']:>8} {entry['peer']:>8}  {entry['unit']:4} {entry['goal']}: {holds}")


if __name__ == "__main__":
    main()

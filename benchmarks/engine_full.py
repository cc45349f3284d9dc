"""Run by ``engine.py --full`` in a process of its own: the true 1.3B shapes, loaded, and one step at a small size.

``python engine_full.py FOLDER``: the files are written there, 16 GB. Prints JSON; under "not run" where memory or disk
do not suffice. Files are written tensor by tensor, and nothing is ever in memory twice.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine_memory import STATUS, resident
from engine_models import PROMPT, pictures

from s2v_core.wan.engine import ModelFiles, keep_off_the_network, load_engine
from s2v_core.wan.settings import SampleSettings
from s2v_core.wan.tiny import tiny_files

LIMIT = 24 << 30
NEEDED = 19 << 30  # 16.3 GiB of weights, and what loading and a step take besides
DISK = 20 << 30
SMALL = SampleSettings(steps=1, guidance=1.0, width=64, height=64, frames=5)
_POOL = 1 << 22  # random numbers, used again and again


def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Of the 1.3B transformer with VACE, umT5-XXL and the VAE: the defaults of DiffSynth's classes."""
    import torch
    from diffsynth.models.wan_video_dit import WanModel
    from diffsynth.models.wan_video_text_encoder import WanTextEncoder
    from diffsynth.models.wan_video_vace import VaceWanModel
    from diffsynth.models.wan_video_vae import VideoVAE_

    with torch.device("meta"):
        dit = WanModel(
            dim=1536, in_dim=16, ffn_dim=8960, out_dim=16, text_dim=4096, freq_dim=256, eps=1e-6, patch_size=(1, 2, 2),
            num_heads=12, num_layers=30, has_image_input=False,
        )  # fmt: skip
        nets = {
            "transformer": {**dit.state_dict(), **VaceWanModel().state_dict()},
            "text_encoder": WanTextEncoder().state_dict(),
            "vae": VideoVAE_().state_dict(),
        }
    return {name: {key: tuple(value.shape) for key, value in net.items()} for name, net in nets.items()}


def write(path: str, table: dict[str, tuple[int, ...]]) -> int:
    """A safetensors file of random bfloat16 tensors at the scale that keeps signals of size 1; gives its bytes."""
    import torch

    header: dict[str, Any] = {}
    at = 0
    for key, shape in table.items():
        size = 2 * math.prod(shape)
        header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": (at, at + size)}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64 + 56)  # the tensors begin at a multiple of 64
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0))
    with Path(path).open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for key, shape in table.items():
            matrix = len(shape) >= 2 and not key.endswith("gamma")
            scale = 1 / math.sqrt(math.prod(shape[1:])) if matrix else 0.02
            made = pool * scale if matrix or key.endswith("bias") else torch.ones_like(pool)
            piece = made.to(torch.bfloat16).view(torch.int16).numpy().tobytes()
            left = 2 * math.prod(shape)
            while left > 0:
                file.write(piece[:left])
                left -= len(piece)
    return at


def write_tokenizer(folder: Path) -> None:
    """Of umT5's kind and size: single letters, and words that nobody says."""
    import string

    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -4.0)]
    pieces += [(letter, -9.0) for letter in string.printable.strip()]
    pieces += [(f"▁~{number}", -12.0) for number in range(256_300 - len(pieces))]
    made = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True)
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


class Watch:
    """The most memory that this process alone took: without pages of files, which the system can drop at any time."""

    def __init__(self) -> None:
        self.most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, resident("RssAnon"))

    def end(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.most


def room(folder: Path) -> str:
    """Why there is not enough of it, or nothing."""
    if not STATUS.is_file():
        return "the memory of a process is read where Linux shows it"
    table = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) << 10 for line in table if line.startswith("MemAvailable:"))
    disk = shutil.disk_usage(folder).free
    for what, there, needed in (("memory", free, NEEDED), ("disk", disk, DISK)):
        if there < needed:
            return f"{there / 2**30:.1f} GiB of {what} are free, {needed / 2**30:.0f} are needed"
    return ""


def run(folder: Path) -> dict[str, Any]:
    import numpy as np

    from s2v_core.wan.render import Renderer

    if reason := room(folder):
        return {"not run": reason}
    keep_off_the_network()
    files: ModelFiles = tiny_files(folder / "full")
    Path(files.vae).parent.mkdir(parents=True)
    write_tokenizer(Path(files.tokenizer))
    written = sum(write(files.weights()[name], table) for name, table in shapes().items())
    watch = Watch()
    begin = time.perf_counter()
    engine = load_engine(files, device="cpu", dtype="bfloat16")
    loading = time.perf_counter() - begin
    control, reference = pictures(SMALL)
    begin = time.perf_counter()
    clip = Renderer(engine, control, reference).render(PROMPT, SMALL)
    step = time.perf_counter() - begin
    peak, whole = watch.end(), resident("VmHWM")
    return {
        "name": "the true 1.3B shapes, bfloat16: loaded, and one step at 64 x 64, 5 frames",
        "bytes of weights": written,
        "peak bytes": peak,
        "peak bytes with mapped files": whole,
        "goal": LIMIT,
        "reached": peak <= LIMIT,
        "seconds to load": round(loading, 1),
        "seconds of text, step and VAE": round(step, 1),
        "frames": list(clip.frames.shape),
        "frames differ": bool(np.ptp(clip.frames) > 0),
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))

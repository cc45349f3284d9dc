"""Text states and latents of pictures, kept on disk between runs under what decides their bits.

    <cache folder>/kept/<key>.safetensors    one result (see ``tensorfiles``), with what it was made of in its metadata

A key is the sha256 of the contents that a result was made of, of the net's weights, and of what computes. Nothing here
is needed for good: what is missing is computed, what is damaged is removed and computed again.
"""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..files import cache_dir, canonical_json, sha256_json
from ..tensorfiles import SUFFIX, drop_oldest, drop_unfinished, read_tensors, write_tensors
from .contents import weights_sha256, weights_stamp

if TYPE_CHECKING:
    import torch

    from .engine import Engine

SIZE = "S2V_KEPT_GB"  # the environment variable that sets the limit; 0 keeps nothing
_LIMIT = 2_000_000_000  # bytes: about 1,000 prompts, or 400 videos of 81 frames at 832 x 480, in bfloat16
_log = logging.getLogger(__name__)


class Kept:
    """A folder of results. Several processes may use one.

    ``limit``: bytes; beyond it goes what was used longest ago. ``on_hash(path, done, size)`` hears how far the reading
    of a model file for its sha256 is.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limit: int = _LIMIT,
        on_hash: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.on_hash = on_hash
        self._full = False
        drop_unfinished(self.folder)

    def tensor(
        self, engine: Engine, net: str, content: Mapping[str, Any], make: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """What ``make`` gives, on the CPU: read from the disk, or made now and kept.

        ``net``: the one of ``engine.NETS`` that makes it. ``content``: all else that decides it, as JSON. What is not
        finite is not kept, nor what a net made whose file was changed meanwhile.
        """
        weights = engine.files.weights()[net]
        sha256, stamp = weights_sha256(weights, net, self.on_hash), weights_stamp(weights, net)
        if engine.stamps.get(net, stamp) != stamp:
            return _plain(make())
        made_of = {"net": net, "weights": sha256, **computer(engine), "content": dict(content)}
        path = self.folder / f"{sha256_json(made_of)}{SUFFIX}"
        found = self._read(path, canonical_json(made_of))
        if found is None:
            found = _plain(make())
            if engine.stamps.get(net) == stamp and bool(found.isfinite().all()):
                self._write(path, found, canonical_json(made_of))
        return found

    def _read(self, path: Path, made_of: str) -> torch.Tensor | None:
        try:
            tensors, facts = read_tensors(path)
            if facts.get("made of") != made_of:
                raise ValueError("it is of something else")
            return tensors["result"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError) as error:
            _log.warning("%s is damaged (%s): it is removed and computed again.", path, error)
            with suppress(OSError):
                path.unlink()
            return None

    def _write(self, path: Path, result: torch.Tensor, made_of: str) -> None:
        if self._full:
            return
        try:
            write_tensors(path, {"result": result}, {"made of": made_of})
        except OSError as error:
            self._full = True
            _log.warning("Nothing more is kept in %s for the next run (%s).", self.folder, error)
            return
        drop_oldest(self.folder, self.limit, path)


def open_kept() -> Kept | None:
    """The folder ``kept`` of the cache folder, or None when ``S2V_KEPT_GB`` is 0.

    Raises ``SettingsError`` when that is no number.
    """
    said = os.environ.get(SIZE, "").strip()
    try:
        limit = float(said) * 1e9 if said else float(_LIMIT)
        if not 0 <= limit < math.inf:
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"The environment variable {SIZE} cannot be used.",
            expected="how many GB of text states and latents are kept, such as 2; 0 keeps nothing",
            got=repr(said),
        ) from None
    return Kept(cache_dir() / "kept", int(limit)) if limit else None


def computer(engine: Engine) -> dict[str, Any]:
    """What computes, as far as it decides the last bits of what text encoder and VAE give."""
    import torch

    from .engine import computing

    found: dict[str, Any] = computing(engine.device, engine.dtype)
    if torch.device(engine.device).type == "cuda":
        found["cuda"] = _cuda()
    else:
        # A cache folder may be shared by machines. MKL_CBWR chooses MKL's kernels.
        found["processor"] = [_processor(), torch.get_num_threads(), os.environ.get("MKL_CBWR", "")]
    return found


def _cuda() -> dict[str, str]:
    """What is set for the kernels of a GPU; hosts set some of it."""
    import torch

    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    asked: dict[str, Callable[[], Any]] = {
        "versions": lambda: (torch.version.cuda, torch.version.hip, cudnn.version()),
        "attention": lambda: (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cuda.cudnn_sdp_enabled(),
        ),
        "cudnn": lambda: (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "cudnn tf32": lambda: cudnn.allow_tf32,
        "float32": torch.get_float32_matmul_precision,
        "float32, by type": lambda: (matmul.fp32_precision, cudnn.conv.fp32_precision),
        "float16": lambda: (matmul.allow_fp16_reduced_precision_reduction, matmul.allow_fp16_accumulation),
        "bfloat16": lambda: matmul.allow_bf16_reduced_precision_reduction,
    }
    found = {}
    for name, ask in asked.items():
        # torch from 2.9 on refuses the older of two names for one thing once the newer was used; older ones lack some.
        with suppress(RuntimeError, AttributeError):
            found[name] = str(ask())
    return found


@cache
def _processor() -> str:
    """The processor's name, and what torch uses of it."""
    import torch

    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):  # Linux says no more than "x86_64" otherwise
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _plain(made: torch.Tensor) -> torch.Tensor:
    """As it is read from a file, so that what follows computes alike."""
    return made.detach().cpu().contiguous()

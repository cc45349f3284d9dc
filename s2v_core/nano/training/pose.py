"""Training of the toy world's pose nets: ``python -m s2v_core.nano.training.pose dancers FOLDER``.

``dancers`` finds the points of drawn dancers, ``drawings`` those of thin skeletons; both take minutes on one core.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...files import atomic_path
from ..detect import load_pose_net
from ..pose_net import CELL, SIDE, PoseNet, as_tensor, decode
from .pose_samples import Samples, dancers, drawings

Array = np.ndarray[Any, Any]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseTraining:
    """How the net is trained. ``scenes``: drawn once, ``looks`` of them also by way of the VAE; ``steps`` of ``batch``
    pictures; ``rate``: the highest; ``average``: how slowly the weights that are kept follow."""

    scenes: int = 4000
    looks: int = 160
    steps: int = 1600
    batch: int = 16
    rate: float = 3e-3
    weight_decay: float = 0.02
    average: float = 0.995
    seed: int = 1


KINDS: Mapping[str, PoseTraining] = {"dancers": PoseTraining(), "drawings": PoseTraining(steps=800)}


def train(samples: Samples, how: PoseTraining, path: Path) -> Path:
    """Train a net, and write its weights to ``path``, also on the way."""
    torch.manual_seed(how.seed)
    chance = np.random.default_rng(how.seed)
    net = PoseNet().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(how.average), use_buffers=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=how.rate, weight_decay=how.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.rate, total_steps=how.steps, pct_start=0.1)
    start, seen = time.monotonic(), 0.0
    for step in range(how.steps):
        pictures, points = samples(chance, how.batch)
        loss = -(net(as_tensor(pictures)).log_softmax(dim=2) * _targets(points)).sum(dim=2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        average.update_parameters(net)
        seen = loss.item() if not step else 0.98 * seen + 0.02 * loss.item()
        if step % 100 == 99:
            _log.info("step %d, loss %.3f, %.0f s", step + 1, seen, time.monotonic() - start)
            _save(average.module, path)
    return _save(average.module, path)


def _targets(points: Array) -> torch.Tensor:
    """What the net should believe, [N, 24, 48 * 48 + 1]: a hill of one cell's deviation around each point."""
    cells = SIDE // CELL
    place = torch.from_numpy(points / CELL - 0.5).float()
    out = ((points < 0) | (points > SIDE) | ~np.isfinite(points)).any(axis=-1)
    place[torch.from_numpy(out)] = 0
    steps = torch.arange(cells)
    hills = [torch.exp(-((steps - place[..., axis, None]) ** 2) / 2 / 0.8**2) for axis in (1, 0)]
    maps = (hills[0][..., :, None] * hills[1][..., None, :]).flatten(2)
    maps = maps / maps.sum(dim=2, keepdim=True)
    absent = torch.from_numpy(out).float()
    return torch.cat([maps * (1 - absent)[..., None], absent[..., None]], dim=2)


def _save(net: Any, path: Path) -> Path:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        half = {
            key: value.detach().half().contiguous() if value.is_floating_point() else value
            for key, value in net.state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
        save_file(half, str(temporary))
    return path


def _main(arguments: list[str]) -> Iterator[str]:
    what, folder = arguments[0], Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    how = KINDS[what]
    samples = dancers(folder, how.scenes, how.looks) if what == "dancers" else drawings(folder, how.scenes)
    path = train(samples, how, folder / f"{what}.safetensors")
    pictures, points = samples(np.random.default_rng(how.seed + 1), 256)
    with torch.no_grad():
        found, _ = decode(load_pose_net(path)(as_tensor(pictures)))
    away = np.linalg.norm(found - points, axis=-1)
    yield f"{path}: {np.nanmean(away):.2f} pixels off on average"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for line in _main(sys.argv[1:]):
        sys.stdout.write(line + "\n")

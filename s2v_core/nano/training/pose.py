"""Training of the toy world's pose net: ``python -m s2v_core.nano.training.pose FOLDER``.

Scenes of training only (nothing held out), one frame each, seen a little moved, scaled, turned, recoloured, blurred,
noisy, compressed, or by way of the nano model's VAE, whose look all its videos have; one in sixteen without a dancer.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...files import atomic_path
from ..body import KNOWN
from ..pose_net import CELL, SIDE, PoseNet, decode
from ..world import HELD_OUT, render, scene

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


def draw_scenes(count: int, held: tuple[str, ...] = ()) -> tuple[Array, Array, Array]:
    """One frame of each scene, uint8 [N, 96, 96, 3]; its points [N, 24, 2]; what is behind the dancer, like frames."""
    pictures, points, places = [], [], []
    for number in range(count):
        made = scene(number, held=held)
        take = render(made.character, made.motion, frames=1, seed=made.seed)
        pictures.append(take.clip.frames[0])
        points.append(take.track.points[0, 0, KNOWN])
        # The outer column has no dancer in it, and the toy world's places have one colour in a row.
        places.append(np.broadcast_to(take.clip.frames[0][:, :1], take.clip.frames[0].shape))
    return np.stack(pictures), np.stack(points), np.stack(places)


def train(folder: Path, how: PoseTraining | None = None) -> Path:
    """Train, and write ``pose.safetensors``. What was drawn is kept in ``folder`` for the next run."""
    how = how or PoseTraining()
    torch.manual_seed(how.seed)
    chance = np.random.default_rng(how.seed)
    pictures, points, places = _drawn(folder, how.scenes)
    looks = np.concatenate([_looks(folder, pictures[: how.looks]), pictures[how.looks :]])
    net = PoseNet().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(how.average), use_buffers=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=how.rate, weight_decay=how.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.rate, total_steps=how.steps, pct_start=0.1)
    start, seen = time.monotonic(), 0.0
    for step in range(how.steps):
        # A quarter of those that there are looks of, so that these are seen often enough.
        chosen = chance.integers(0, np.where(np.arange(how.batch) % 4, len(pictures), how.looks))
        batch = [_sample(chance, pictures[i], points[i], places[i], looks[i]) for i in chosen]
        logits = net(_tensor(np.stack([picture for picture, _ in batch])))
        loss = -(logits.log_softmax(dim=2) * _targets(np.stack([at for _, at in batch]))).sum(dim=2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        average.update_parameters(net)
        seen = loss.item() if not step else 0.98 * seen + 0.02 * loss.item()
        if step % 100 == 99:
            _log.info("step %d, loss %.3f, %.0f s", step + 1, seen, time.monotonic() - start)
            _save(average.module, folder / "pose.safetensors")
    return _save(average.module, folder / "pose.safetensors")


def examine(net: PoseNet, pictures: Array, points: Array) -> tuple[float, float]:
    """Mean distance in pixels, and the share of points within a tenth of the torso (2.1 pixels)."""
    with torch.no_grad():
        found, _ = decode(net.eval()(_tensor(pictures)))
    away = np.linalg.norm(found - points, axis=-1)
    return float(away.mean()), float((away < 2.1).mean())


def _drawn(folder: Path, count: int) -> tuple[Array, Array, Array]:
    path = folder / f"scenes-{count}.npz"
    if not path.exists():
        with atomic_path(path) as temporary:
            np.savez(temporary, *draw_scenes(count))
    with np.load(path) as kept:
        return kept["arr_0"], kept["arr_1"], kept["arr_2"]


def _looks(folder: Path, pictures: Array) -> Array:
    """The pictures as the nano model's VAE gives them back, like ``pictures``."""
    path = folder / f"looks-{len(pictures)}.npy"
    if not path.exists():
        from ...wan.embedded import nano_files
        from ...wan.engine import load_engine

        (vae,) = load_engine(nano_files(), device="cpu", dtype="float32").use("vae")
        made = []
        with torch.no_grad():
            for batch in np.array_split(pictures, math.ceil(len(pictures) / 16)):
                video = _tensor(batch)[:, :, None] * 2 - 1
                back = vae.model.decode(vae.model.encode(video, vae.scale), vae.scale)[:, :, 0]
                made.append(((back.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
        with atomic_path(path) as temporary:
            np.save(temporary, np.concatenate(made))
    return np.asarray(np.load(path))


def _sample(
    chance: np.random.Generator, picture: Array, points: Array, place: Array, look: Array
) -> tuple[Array, Array]:
    """One picture uint8 [96, 96, 3] as the net sees it, and its points; points without a dancer are not finite."""
    if chance.random() < 1 / 16:
        picture, points = place, np.full_like(points, np.nan)
    elif chance.random() < 0.6:
        picture = look
    turn, scale = chance.normal(0, 4), math.exp(chance.normal(0, 0.10))
    shift = chance.uniform(-10, 10, 2) * (chance.random() < 0.8)
    matrix: Array = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), turn, scale)
    matrix[:, 2] += shift
    moved = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out = moved.astype(np.float32)
    if chance.random() < 0.5:
        out = out * chance.uniform(0.7, 1.25) + chance.uniform(-25, 25)
    if chance.random() < 0.4:
        mix = np.eye(3) * 0.85 + chance.normal(0, 0.12, (3, 3)) + 0.05
        out = out @ mix.astype(np.float32)
    if chance.random() < 0.5:
        out = cv2.GaussianBlur(out, (0, 0), chance.uniform(0.3, 1.8))
    if chance.random() < 0.4:
        out = out + chance.normal(0, chance.uniform(2, 25), out.shape)
    out = np.clip(out, 0, 255).astype(np.uint8)
    if chance.random() < 0.2:
        _, packed = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(15, 80))])
        out = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return out, points @ matrix[:, :2].T + matrix[:, 2]


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


def _tensor(pictures: Array) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return tensor.contiguous(memory_format=torch.channels_last)


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
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    path = train(folder)
    from ..detect import load_pose_net

    for name, held in (("training", ()), ("held out", HELD_OUT)):
        pictures, points, _ = draw_scenes(200, held)
        away, share = examine(load_pose_net(path), pictures, points)
        yield f"{name}: {away:.2f} pixels on average, {share:.1%} within 2.1"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for line in _main(sys.argv[1:]):
        sys.stdout.write(line + "\n")

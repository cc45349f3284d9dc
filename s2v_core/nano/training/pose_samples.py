"""What the toy world's pose nets learn from: pictures of dancers, and thin drawings of skeletons, with their points."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch

from ...files import atomic_path
from ...pose.draw import draw_pose
from ...pose.track import BODY, FACE, POINTS, PoseTrack
from ..body import KNOWN
from ..pose_net import SIDE, as_tensor
from ..world import render, scene

Array = np.ndarray[Any, Any]
# A batch of so many: uint8 [N, 96, 96, 3], and points [N, 24, 2], not finite where they are not in the picture.
Samples: TypeAlias = Callable[[np.random.Generator, int], tuple[Array, Array]]


def dancers(folder: Path, scenes: int, looks: int) -> Samples:
    """Scenes of training only, one frame each, seen a little moved, scaled, turned, recoloured, blurred, noisy,
    compressed, or by way of the nano model's VAE, whose look all its videos have; one in sixteen without a dancer.

    What was drawn is kept in ``folder`` for the next run.
    """
    pictures, points, places = _drawn(folder, scenes)
    seen = np.concatenate([_looks(folder, pictures[:looks]), pictures[looks:]])

    def batch(chance: np.random.Generator, count: int) -> tuple[Array, Array]:
        # A quarter of those that there are looks of, so that these are seen often enough.
        chosen = chance.integers(0, np.where(np.arange(count) % 4, len(pictures), looks))
        made = [_sample(chance, pictures[i], points[i], places[i], seen[i]) for i in chosen]
        return np.stack([picture for picture, _ in made]), np.stack([at for _, at in made])

    return batch


def drawings(folder: Path, scenes: int) -> Samples:
    """The same dances drawn as skeletons with thin lines, in DWPose's colours, moved, scaled, turned, mirrored, with
    points missing and others trembling."""
    _, points, _ = _drawn(folder, scenes)

    def batch(chance: np.random.Generator, count: int) -> tuple[Array, Array]:
        made = np.stack([_moved(chance, points[chance.integers(0, len(points))]) for _ in range(count)])
        track = np.zeros((count, 1, POINTS, 2), np.float32)
        scores = np.zeros((count, 1, POINTS), np.float32)
        known = np.isfinite(made[..., 0])
        track[:, 0, KNOWN], scores[:, 0, KNOWN] = np.nan_to_num(made), known
        faces = chance.random(count) < 0.5
        spots = chance.normal(0, 1.2, (count, FACE.stop - FACE.start, 2))
        track[:, 0, FACE], scores[:, 0, FACE] = track[:, 0, :1] + spots, faces[:, None] * scores[:, 0, :1]
        drawn = draw_pose(
            PoseTrack(track, scores, (SIDE, SIDE), Fraction(16), "", ("",) * count), palette="openpose", stick="vace"
        )
        made[:, BODY.stop :] = np.nan  # feet are not drawn
        return np.stack([_worn(chance, frame) for frame in drawn.frames]), made

    return batch


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
                video = as_tensor(batch)[:, :, None] * 2 - 1
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
    out: Array = moved.astype(np.float32)
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
        out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return out, points @ matrix[:, :2].T + matrix[:, 2]


def _moved(chance: np.random.Generator, points: Array) -> Array:
    """Points [24, 2] as another skeleton somewhere else; those that are left out or outside are not finite."""
    turn, scale = chance.normal(0, 12), math.exp(chance.normal(-0.05, 0.2))
    matrix: Array = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), turn, scale)
    made = points @ matrix[:, :2].T + matrix[:, 2] + chance.uniform(-12, 12, 2) + chance.normal(0, 1, points.shape)
    if chance.random() < 0.5:
        made = made * [-1, 1] + [SIDE, 0]  # seen from behind: left and right keep their colours
    made[chance.random(len(made)) < 0.3 * (chance.random() < 0.3)] = np.nan
    made[((made < 0) | (made > SIDE)).any(axis=-1)] = np.nan
    return np.asarray(made)


def _worn(chance: np.random.Generator, frame: Array) -> Array:
    """A drawing after compression, or with other contrast."""
    if chance.random() < 0.3:
        _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(40, 96))])
        frame = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    out = frame * chance.uniform(0.8, 1.15) + chance.normal(0, chance.uniform(0, 6), frame.shape)
    return np.clip(out, 0, 255).astype(np.uint8)

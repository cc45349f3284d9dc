"""Small dance videos under AIST names, with AIST++ keypoints beside them: what datasets in tests are made of."""

from __future__ import annotations

import hashlib
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from s2v_core.aist.names import GENRE_DANCERS, ClipName
from s2v_core.dataset.settings import PrepareSettings
from s2v_core.video.clip import Clip
from s2v_core.video.write import write_clip

SMALL: dict[str, Any] = {"size": "64x48", "frames": 17, "pose": "aistpp", "tidy": False}
# COCO's 17 points of somebody who stands, as shares of the picture's height around their middle.
STANDING = np.array(
    [
        *([0, -0.38], [0.02, -0.4], [-0.02, -0.4], [0.04, -0.39], [-0.04, -0.39], [0.1, -0.27], [-0.1, -0.27]),
        *([0.13, -0.12], [-0.13, -0.12], [0.14, 0.02], [-0.14, 0.02], [0.07, 0.02], [-0.07, 0.02]),
        *([0.07, 0.2], [-0.07, 0.2], [0.07, 0.38], [-0.07, 0.38]),
    ]
)


def settings(**more: Any) -> PrepareSettings:
    return PrepareSettings(**{**SMALL, **more})


def names(count: int, camera: str = "c01") -> list[ClipName]:
    """Different sequences of basic dances."""
    found = [
        ClipName(genre, "sBM", camera, (dancer,), f"m{genre[1:]}{piece}", f"ch{number:02d}")
        for number in range(1, 11)
        for piece in range(4)
        for genre, dancers in GENRE_DANCERS.items()
        for dancer in dancers[:1]
    ]
    return found[:count]


def frames_of(text: str, count: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A figure that sways over a ground, both of a colour of their own."""
    lot = hashlib.sha256(text.encode()).digest()
    width, height = size
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = [160 + lot[index] // 4 for index in range(3)]
    for index in range(count):
        left = width // 2 + round(width * 0.2 * np.sin(index * (1 + lot[3] / 255) / 4)) - width // 16
        frames[index, height // 8 : -height // 8, left : left + width // 8] = [lot[index] // 4 for index in (4, 5, 6)]
    return frames


def write_videos(folder: Path, chosen: list[ClipName], *, frames: int = 40, fps: Fraction = Fraction(24)) -> Path:
    """``NAME.mp4`` for each name in ``folder``, and its keypoints in ``folder/keypoints2d``."""
    (folder / "keypoints2d").mkdir(parents=True, exist_ok=True)
    for name in chosen:
        write_clip(Clip(frames_of(str(name), frames), fps), folder / f"{name}.mp4")
        write_keypoints(folder / "keypoints2d" / f"{name.sequence}.pkl", round(frames / fps * 60))
    return folder


def write_keypoints(path: Path, count: int) -> Path:
    points = np.zeros((9, count, 17, 3), np.float32)
    points[..., :2] = STANDING * 1080 + [960, 540]
    points[..., 0] += 200 * np.sin(np.arange(count) / 20)[:, None]
    points[..., 2] = 0.9
    content = {
        "keypoints2d": points,
        "det_scores": np.ones((9, count)),
        "timestamps": np.arange(count) * 16667,
    }
    path.write_bytes(pickle.dumps(content))
    return path


def contents(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with the sha256 of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

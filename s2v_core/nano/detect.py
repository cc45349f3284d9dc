"""Points of the toy world's dancers in any clip, which no detector of real people can see, and of thin drawings.
Light to import."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelFileError
from ..video.clip import Clip

if TYPE_CHECKING:
    from ..pose.track import PoseTrack

_WEIGHTS = Path(__file__).parent / "pose_weights"
DANCERS, DRAWINGS = _WEIGHTS / "dancers.safetensors", _WEIGHTS / "drawings.safetensors"
TOY_BACKEND, THIN_BACKEND = "toy pose net", "read back from a thin drawing by a net"
_LEAST = 0.3  # of a point's score: as everywhere, what scores more is drawn
_FEWEST = 6  # points of a dancer who is there
_BATCH = 32


def find_toy_dancer(clip: Clip) -> PoseTrack:
    """The points of body and feet of the one dancer in each frame, whatever the clip's size; scores from 0 to 1.

    Frames of another shape than a square are taken as they lie: scaled to 96 x 96. Raises ModelFileError when the net's
    weights are missing, as in a copy of the project without them.
    """
    return _find(clip, DANCERS, TOY_BACKEND)


def read_thin_drawing(control: Clip) -> PoseTrack:
    """The points of the body of one dancer in a pose video with thin lines, in DWPose's colours or with red and blue
    exchanged; for pictures that are too small to be read joint by joint. Raises ModelFileError.
    """
    side = max(control.height, control.width)
    below, right = side - control.height, side - control.width
    square = np.pad(control.frames, ((0, 0), (0, below), (0, right), (0, 0)))
    both = [
        _find(control.with_frames(np.ascontiguousarray(frames)), DRAWINGS, THIN_BACKEND)
        for frames in (square, square[..., ::-1])
    ]
    best = max(both, key=lambda track: float(track.scores.sum()))
    return replace(best, canvas=(control.height, control.width))


def _find(clip: Clip, weights: Path, backend: str) -> PoseTrack:
    import torch

    from ..pose.track import POINTS, PoseTrack
    from ..video.fit import resize
    from .body import KNOWN
    from .pose_net import SIDE, as_tensor, decode

    net = load_pose_net(weights)
    found, belief = [], []
    with torch.inference_mode():
        for start in range(0, len(clip), _BATCH):
            small = np.stack([resize(frame, (SIDE, SIDE)) for frame in clip.frames[start : start + _BATCH]])
            at, scores = decode(net(as_tensor(small)))
            found.append(at)
            belief.append(scores)
    points = np.zeros((len(clip), 1, POINTS, 2), np.float32)
    scores = np.zeros((len(clip), 1, POINTS), np.float32)
    points[:, 0, KNOWN] = np.concatenate(found) * (np.float32(clip.width / SIDE), np.float32(clip.height / SIDE))
    scores[:, 0, KNOWN] = np.concatenate(belief)
    nobody = (scores > _LEAST).sum(axis=(1, 2)) < _FEWEST
    scores[nobody] = 0
    notes = tuple("no person found" if one else "" for one in nobody)
    return PoseTrack(points, scores, (clip.height, clip.width), clip.fps, backend, notes)


@lru_cache(maxsize=2)
def load_pose_net(path: Path) -> Any:
    """The net with these weights, for looking only. Raises ModelFileError when they are missing."""
    if not path.is_file():
        raise ModelFileError(
            "The weights of one of the toy world's pose nets are missing.",
            expected=str(path),
            got="no such file",
            remedy="Install the project anew, or train them: python -m s2v_core.nano.training.pose dancers FOLDER",
        )
    from safetensors.torch import load_file

    from .pose_net import PoseNet

    net = PoseNet()
    net.load_state_dict({key: value.float() for key, value in load_file(str(path)).items()}, strict=False)
    return net.eval()

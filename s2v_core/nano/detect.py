"""Where the toy world's dancers have their points, in any clip: what a detector of real people cannot see. Light to
import."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelFileError
from ..video.clip import Clip

if TYPE_CHECKING:
    from ..pose.track import PoseTrack

POSE_WEIGHTS = Path(__file__).parent / "weights" / "pose.safetensors"
TOY_BACKEND = "toy pose net"
_LEAST = 0.3  # of a point's score: as everywhere, what scores more is drawn
_FEWEST = 6  # points of a dancer who is there


def find_toy_dancer(clip: Clip) -> PoseTrack:
    """The points of body and feet of the one dancer in each frame, whatever the clip's size; scores from 0 to 1.

    Frames of another shape than a square are taken as they lie: scaled to 96 x 96. Raises ModelFileError when the net's
    weights are missing, as in a copy of the project without them.
    """
    import torch

    from ..pose.track import POINTS, PoseTrack
    from ..video.fit import resize
    from .body import KNOWN
    from .pose_net import SIDE, decode

    net = load_pose_net()
    small = np.stack([resize(frame, (SIDE, SIDE)) for frame in clip.frames])
    found, belief = [], []
    with torch.inference_mode():
        for batch in np.array_split(small, max(1, len(small) // 32)):
            tensor = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
            at, scores = decode(net(tensor))
            found.append(at)
            belief.append(scores)
    points = np.zeros((len(clip), 1, POINTS, 2), np.float32)
    scores = np.zeros((len(clip), 1, POINTS), np.float32)
    points[:, 0, KNOWN] = np.concatenate(found) * (np.float32(clip.width / SIDE), np.float32(clip.height / SIDE))
    scores[:, 0, KNOWN] = np.concatenate(belief)
    nobody = (scores > _LEAST).sum(axis=(1, 2)) < _FEWEST
    scores[nobody] = 0
    notes = tuple("no person found" if one else "" for one in nobody)
    return PoseTrack(points, scores, (clip.height, clip.width), clip.fps, TOY_BACKEND, notes)


@lru_cache(maxsize=2)
def load_pose_net(path: Path = POSE_WEIGHTS) -> Any:
    """The net with its weights, for looking only. Raises ModelFileError when they are missing."""
    if not path.is_file():
        raise ModelFileError(
            "The weights of the toy world's pose net are missing.",
            expected=str(path),
            got="no such file",
            remedy="Install the project anew, or train them: python -m s2v_core.nano.training.pose FOLDER",
        )
    from safetensors.torch import load_file

    from .pose_net import PoseNet

    net = PoseNet()
    net.load_state_dict({key: value.float() for key, value in load_file(str(path)).items()}, strict=False)
    return net.eval()

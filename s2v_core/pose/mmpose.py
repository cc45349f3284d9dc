"""DWPose as the package controlnet-aux runs it: by mmpose, frame by frame. For who has mmpose installed.

The package fetches its weights from the network when none are named; here they are looked for on this machine only.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Interrupted, MissingPackageError, ModelFileError
from ..models import model_folders
from ..video.clip import Clip
from .between import LOWEST_QUALITY, Seen
from .people import link
from .track import POINTS, PoseTrack

_PACKAGES = ("mmcv", "mmdet", "mmpose")
DETECTOR = "yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth"  # download.openmmlab.com
POSE = "dw-ll_ucoco_384.pth"  # huggingface.co/wanghaofan/dw-ll_ucoco_384


def extract_controlnet_aux(
    clip: Clip,
    device: str = "auto",
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> PoseTrack:
    """Find the points of everybody by controlnet-aux's ``DWposeDetector``. ``device``: as torch names it, or auto.

    When its detector sees nobody, that class guesses a person in the whole picture; such a guess is taken only when its
    score is as good as a person's. Raises MissingPackageError (with what is missing), ModelFileError and Interrupted.
    """
    estimate, device = _load(device)
    people: list[list[Seen]] = []
    said = []
    for index, frame in enumerate(clip.frames):
        if should_stop and should_stop():
            raise Interrupted(f"stopped after {index} of {len(clip)} frames")
        points, scores = estimate(np.ascontiguousarray(frame[..., ::-1]))
        found = [Seen(*person, np.zeros(4)) for person in zip(points, scores, strict=True)]
        best = max((person.quality for person in found), default=0.0)
        found = [person for person in found if person.quality >= LOWEST_QUALITY]
        people.append(found)
        said.append("" if found else f"low score {best:.2f}")
        if on_progress:
            on_progress(index + 1, len(clip))
    slots = max(1, *map(len, people))
    points = np.zeros((len(clip), slots, POINTS, 2), np.float32)
    scores = np.zeros((len(clip), slots, POINTS), np.float32)
    for index, found in enumerate(people):
        for slot, person in enumerate(found):
            points[index, slot], scores[index, slot] = person.points, person.scores
    backend = f"controlnet-aux (mmpose, {device})"
    return link(PoseTrack(points, scores, (clip.height, clip.width), clip.fps, backend, tuple(said)))


def missing_packages() -> list[str]:
    """What controlnet-aux's detector needs and this Python does not have."""
    return [name for name in ("controlnet_aux", *_PACKAGES) if importlib.util.find_spec(name) is None]


def _load(device: str) -> tuple[Callable[[Any], tuple[Any, Any]], str]:
    if missing := missing_packages():
        raise MissingPackageError(
            "The backend controlnet-aux cannot run: its detector is made of mmpose's parts.",
            expected=f"the packages controlnet-aux, {', '.join(_PACKAGES)}",
            got=f"not installed: {', '.join(missing)}",
            remedy="Use the backend dwpose: the same nets by onnxruntime, without these packages.",
        )
    detector, pose = _weights(DETECTOR), _weights(POSE)
    import torch

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        kind = importlib.import_module("controlnet_aux.dwpose").DWposeDetector
        return kind(det_ckpt=str(detector), pose_ckpt=str(pose), device=chosen).pose_estimation, chosen
    except (ImportError, NameError) as error:
        # The package swallows a failing import of mmpose and stumbles over the missing name later.
        raise MissingPackageError(
            "controlnet-aux could not load its DWPose detector.",
            expected="mmcv, mmdet and mmpose in versions that work together",
            got=f"{type(error).__name__}: {error}",
            remedy="Use the backend dwpose: the same nets by onnxruntime, without these packages.",
        ) from error


def _weights(file: str) -> Path:
    torch_home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    folders = [*model_folders(), torch_home / "hub" / "checkpoints"]
    path = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if path is None:
        raise ModelFileError(
            f"The model file {file} of the backend controlnet-aux is missing.",
            expected=f"{file} in one of: {', '.join(map(str, folders))}",
            got="no such file there",
            remedy="Put it there, or use the backend dwpose.",
        )
    return path

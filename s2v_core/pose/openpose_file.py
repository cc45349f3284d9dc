"""OpenPose's JSON files: one of a whole clip, as ComfyUI's Save Pose Keypoints writes it, or a folder of frames."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import Interrupted, SettingsError
from ..files import atomic_folder, write_text_atomic
from .draw import THRESHOLD
from .openpose import from_pose_keypoint, to_body_25, to_pose_keypoint
from .track import PoseTrack

_NUMBER = re.compile(r"(\d+)\D*$")


def save_openpose(track: PoseTrack, path: str | os.PathLike[str], *, threshold: float = THRESHOLD) -> Path:
    """Write the track and return its path: a file when ``path`` ends in ``.json``, otherwise a folder.

    The file holds ``to_pose_keypoint(track, threshold=threshold)``, the list that comfyui_controlnet_aux's nodes take.
    The folder, which is made and must be empty or new, holds one ``<name>_000000000000_keypoints.json`` a frame in
    OpenPose's own form (BODY_25, scores as confidences). ``load_openpose`` gives the same track back from either.
    Raises SettingsError for a folder that holds something.
    """
    target = Path(path)
    if target.suffix.lower() == ".json":
        write_text_atomic(target, json.dumps(to_pose_keypoint(track, threshold=threshold), allow_nan=False))
        return target
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise SettingsError(
            f"The poses cannot be written into {target}.",
            expected="a new or an empty folder, or a file name that ends in .json",
            got="a file" if target.is_file() else "a folder that holds something",
        )
    if target.is_dir():
        target.rmdir()
    with atomic_folder(target) as temporary:
        for index, frame in enumerate(to_body_25(track)):
            text = json.dumps(frame, allow_nan=False)
            (temporary / f"{target.name}_{index:012d}_keypoints.json").write_text(text, encoding="utf-8")
    return target


def is_one_of_many(path: str | os.PathLike[str]) -> bool:
    """Whether this is a single frame's file, as OpenPose names them, of a folder with more of them."""
    file = Path(path)
    return file.name.endswith("_keypoints.json") and len(list(file.parent.glob("*_keypoints.json"))) > 1


def load_openpose(
    path: str | os.PathLike[str],
    fps: int | float | Fraction | None = None,
    *,
    canvas: tuple[int, int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> PoseTrack:
    """Read a JSON file of one clip, or a folder with one numbered JSON file a frame.

    What may be in them, ``fps`` and ``canvas``: see ``from_pose_keypoint``; a file by OpenPose itself names neither.
    The numbers in the files' names put a folder's frames in order and must be evenly spaced. ``on_progress(files read,
    files in all)``. Raises SettingsError that names the file and the place in it, Interrupted when ``should_stop()``.
    """
    source = Path(path)
    if not source.is_dir():
        return from_pose_keypoint(_read(source), fps, canvas=canvas, where=str(source))
    files = _in_order(source)
    frames = []
    for index, file in enumerate(files):
        if should_stop and should_stop():
            raise Interrupted(f"Stopped after {index} of {len(files)} files.")
        frame = _read(file)
        frame = frame[0] if isinstance(frame, list) and len(frame) == 1 else frame
        if not isinstance(frame, dict):
            raise SettingsError(
                f"{file} is not one frame's pose.",
                expected="one frame, since it is one of a folder of numbered files",
                got=f"a list of {len(frame)} frames" if isinstance(frame, list) else type(frame).__name__,
                remedy="Give this file itself when it holds a whole clip.",
            )
        frames.append(frame)
        if on_progress:
            on_progress(index + 1, len(files))
    return from_pose_keypoint(frames, fps, canvas=canvas, where=str(source), names=[file.name for file in files])


def _in_order(folder: Path) -> list[Path]:
    numbered: dict[int, Path] = {}
    for file in sorted(folder.glob("*.json")):
        found = _NUMBER.search(file.stem)
        number = int(found[1]) if found else None
        if number is None or number in numbered:
            raise SettingsError(
                f"The file {file} has no place among the frames of its folder.",
                expected="a number of its own at the end of its name, like dance_000000000012_keypoints.json",
                got="no number" if number is None else f"the number of {numbered[number].name}",
            )
        numbered[number] = file
    if not numbered:
        raise SettingsError(f"The folder {folder} holds no poses.", expected="one .json file a frame", got="none")
    numbers = sorted(numbered)
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    for number, step in zip(numbers, steps, strict=False):
        if step != min(steps):
            raise SettingsError(
                f"Frames are missing in the folder {folder}.",
                expected=f"a file with the number {number + min(steps)} after {numbered[number].name}",
                got=numbered[number + step].name,
                remedy="Put the missing files back: without them the pose would run ahead of the video.",
            )
    return [numbered[number] for number in numbers]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{file} does not exist.", expected="a .json file, or a folder of them") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{file} is not JSON that can be read.", expected="OpenPose keypoints as JSON", got=str(error)
        ) from error

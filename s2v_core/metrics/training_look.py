"""What a training set looks like: the mean colours of its clothes and of its places."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import S2VError, SettingsError
from ..files import canonical_json
from ..pose.track import PoseTrack
from ..video.clip import Clip
from .colours import average
from .detect import Found, given
from .inputs import FPS, Inputs, remembered
from .missing import Missing, reason

Array = np.ndarray[Any, Any]

MOST_CLIPS = 24  # evenly spread over the set
FRAMES = 5  # of each clip, evenly spread
_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif", ".webp", ".png", ".jpg", ".jpeg")
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class TrainingLook:
    """``looks``: region -> mean look [13, 8]. ``clips``: so many were looked at, of ``of``. ``how``: in words."""

    looks: Mapping[str, Array]
    clips: int
    of: int
    how: str


@dataclass(frozen=True)
class _Member:
    """One clip of the set: frames, and its points where they are known. ``load`` gives both."""

    clip: Path | Clip
    track: Path | None = None


def training_look(inputs: Inputs) -> TrainingLook:
    """The look of the set that the inputs name, worked out once while its files stay as they are. Raises Missing."""
    key, members = _set(inputs)
    return remembered(("training", key, inputs.detector), lambda: _look(members, inputs))


def training_pictures(inputs: Inputs) -> tuple[Hashable, Callable[[], list[Array]]]:
    """What identifies the set, and a function that gives a picture of the middle of its clips. Raises Missing."""
    key, members = _set(inputs)

    def pictures() -> list[Array]:
        clips = (one.clip if isinstance(one.clip, Clip) else _read(one.clip) for one in _chosen(members))
        return [np.asarray(clip.frames[len(clip) // 2]) for clip in clips]

    return key, pictures


def _set(inputs: Inputs) -> tuple[Hashable, list[_Member]]:
    if inputs.training is None:
        raise Missing("No training set was given.")
    if isinstance(inputs.training, Path):
        members = _members(inputs.training)
        files = [one.clip for one in members if isinstance(one.clip, Path)]
        return canonical_json([[str(file), *_stamp(file)] for file in files]), members
    return tuple(clip.sha256() for clip in inputs.training), [_Member(clip) for clip in inputs.training]


def _chosen(members: list[_Member]) -> list[_Member]:
    picked = np.linspace(0, len(members) - 1, min(MOST_CLIPS, len(members))).round().astype(int)
    return [members[i] for i in np.unique(picked)]


def _look(members: list[_Member], inputs: Inputs) -> TrainingLook:
    from .subject import looks_of

    found: dict[str, list[Array]] = {}
    hows: dict[str, None] = {}
    failed = ""
    used = 0
    for member in _chosen(members):
        try:
            clip, people = _seen(member, inputs)
        except Missing as missing:
            failed = str(missing)
            continue
        used += 1
        hows.setdefault(people.how)
        for region, looks in looks_of(clip, people, FRAMES).items():
            found.setdefault(region, []).append(average(looks))
    if not used:
        raise Missing(f"In the training set nobody was found: {failed}")
    means = {region: average(np.stack(of)) for region, of in found.items()}
    return TrainingLook(means, used, len(members), " and ".join(hows))


def _seen(member: _Member, inputs: Inputs) -> tuple[Clip, Found]:
    """The chosen frames of a member and the people in them."""
    try:
        clip = member.clip if isinstance(member.clip, Clip) else _read(member.clip)
        index = np.unique(np.linspace(0, len(clip) - 1, min(FRAMES, len(clip))).round().astype(int))
        part = clip.with_frames(clip.frames[index])
        if member.track is not None and (track := _kept_track(member.track, clip)) is not None:
            from .pose import replace_frames

            people = given(replace_frames(track, index), "the training set's own points")
        else:
            people = inputs.detect(part)
    except SettingsError:
        raise
    except S2VError as error:
        raise Missing(reason(error)) from error
    if not people.people.any():
        raise Missing(people.how)
    return part, people


def _kept_track(path: Path, clip: Clip) -> PoseTrack | None:
    from ..pose.track_file import load_track

    track = load_track(path)
    return track if len(track) == len(clip) and track.canvas == (clip.height, clip.width) else None


def _read(path: Path) -> Clip:
    if path.suffix.lower() in _PICTURES:
        from ..video.still import read_reference

        return Clip(read_reference(path)[None], FPS)
    from ..video.read import read_clip

    return read_clip(path, frames=None)


def _members(folder: Path) -> list[_Member]:
    """The clips of a prepared set, or all videos and pictures of a folder. Raises Missing."""
    from ..training.manifest import TABLE, read_manifest

    try:
        if (folder / TABLE).is_file() or folder.suffix.lower() == ".csv":
            root = folder if folder.is_dir() else folder.parent
            tracks = {path.stem: path for path in sorted(root.glob("poses/*.npz"))}
            return [_Member(row.video, tracks.get(row.video.stem)) for row in read_manifest(folder).rows]
    except SettingsError as error:
        raise Missing(reason(error)) from error
    files = list(_files(folder))
    if not files:
        raise Missing(f"There are no clips or pictures in {folder}.")
    return [_Member(path) for path in files]


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES)
    elif folder.is_file():
        yield folder


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns

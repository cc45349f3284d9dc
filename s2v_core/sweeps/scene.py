"""The scene of a cell: which model renders it, and from which dance and reference pictures.

A sweep has one scene of its own; the axes ``model``, ``pose`` and ``reference`` put others in its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..wan.engine import ModelFiles

NONE = "none"
DRAWN = "pose:"  # in front of the file of a finished pose video


@dataclass(frozen=True)
class PoseSource:
    """Where a pose video comes from: a dance clip, or with ``drawn`` a finished pose video. ``start``: in seconds.

    An empty ``file`` is no pose video at all.
    """

    file: str
    start: float = 0.0
    drawn: bool = False

    def say(self) -> str:
        """For labels: the file's name without its ending."""
        begin = f" from {self.start:g} s" if self.start else ""
        return f"{PurePath(self.file).stem}{begin}" if self.file else NONE


@dataclass(frozen=True)
class Scene:
    """``None`` means whatever the one renderer has. ``reference``: paths in their order, () for no reference.
    ``mask``, ``start_clip``: paths, or "" for none.
    """

    model: ModelFiles | None = None
    pose: PoseSource | None = None
    reference: tuple[str, ...] | None = None
    mask: str | None = None
    start_clip: str | None = None


OWN = Scene()


def accept_model(value: Any) -> Any:
    """Model files as they are, "nano", or one path that stands for all parts."""
    from ..wan.engine import ModelFiles

    if isinstance(value, ModelFiles):
        return value
    path = _path("model", value, 'the folder of a whole model, or "nano"')
    if path == "nano":
        from ..wan.embedded import nano_files

        return nano_files()
    return ModelFiles(path, path, path)


def say_model(value: ModelFiles) -> str:
    """The name of the transformer's file or, where all are called the same, of its folder."""
    path = PurePath(value.transformer)
    return path.parent.name if path.stem == "diffusion_pytorch_model" else path.stem


def accept_pose(value: Any) -> PoseSource:
    """A source as it is, the path of a dance clip, "pose: PATH" of a finished pose video, or "none"."""
    if isinstance(value, PoseSource):
        if value.start < 0:
            raise SettingsError(
                "A dance cannot start before its clip.", expected="0 seconds or more", got=f"{value.start}"
            )
        return value
    path = _path("pose", value, 'a dance clip, "pose: FILE" for a finished pose video, or "none"')
    if path.startswith(DRAWN):
        return PoseSource(_path("pose", path.removeprefix(DRAWN), "a file behind pose:"), drawn=True)
    return PoseSource("" if path == NONE else path)


def accept_references(value: Any) -> tuple[str, ...]:
    """One picture, several in their order, or "none"."""
    if isinstance(value, (str, PurePath)):
        path = _path("reference", value, 'a picture, or "none"')
        return () if path == NONE else (path,)
    if not isinstance(value, Iterable):
        raise SettingsError("The axis reference needs pictures.", expected='a file, or "none"', got=repr(value))
    return tuple(_path("reference", one, "a picture") for one in value)


def say_references(value: tuple[str, ...]) -> str:
    """The names of the pictures without their endings."""
    return ", ".join(Path(path).stem for path in value) or NONE


def _path(axis: str, value: Any, expected: str) -> str:
    text = str(value).strip() if isinstance(value, (str, PurePath)) else ""
    if not text:
        raise SettingsError(f"The axis {axis} cannot have the value {value!r}.", expected=expected, got=repr(value))
    return text

"""What a person can set for a prepared dataset, with default, range and meaning in one place. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..errors import SettingsError
from ..options import choice, flag, number, settle, text
from ..pose.settings import BACKENDS, RULES
from ..prompts.template import DEFAULT_VARIANT, VARIANTS

MULTIPLE = 16  # pixels: the VAE's 8 by the transformer's patch of 2
TRIMS = ("middle", "start", "beat", "motion")
VIDEO, AISTPP = "video", "aistpp"


def _size(value: Any) -> str:
    sides = value.lower().replace("×", "x").split("x") if isinstance(value, str) else []
    good = len(sides) == 2 and all(side.strip().isascii() and side.strip().isdigit() for side in sides)
    pixels = [int(side) for side in sides] if good else []
    if not pixels or any(side < MULTIPLE or side > 4096 or side % MULTIPLE for side in pixels):
        raise SettingsError(
            f"The size cannot be {value!r}.",
            expected=f"width x height in multiples of {MULTIPLE} pixels up to 4096, for example 832x480 or 1280x720",
            got=repr(value),
        )
    return f"{pixels[0]}x{pixels[1]}"


@dataclass(frozen=True)
class PrepareSettings:
    """How each clip of a dataset is made. Raises SettingsError for values out of range."""

    size: str = text("832x480", "Width x height of the clips in pixels; 1280x720 for 720p.", _size)
    frames: int = number(81, "Frames of a clip, 4n + 1 for Wan: 81 at 16 a second are 5 seconds.", 5, 1001, 4)
    fps: float = number(16.0, "Frames a second; Wan2.1 makes 16.", 1.0, 120.0, 1.0)
    fit: str = choice(
        "crop",
        "How a video of another shape is fitted: crop fills and cuts, letterbox adds a border.",
        "crop",
        "letterbox",
    )
    trim: str = choice(
        "middle",
        "Which piece of a video: its middle, from its start, from the bar of the music that is nearest to the middle "
        "(beat: the tempo must be known), or the piece with most motion.",
        *TRIMS,
    )
    offset: float = number(0.0, "With trim start: the second at which the piece begins.", 0.0, 36000.0, 0.1)
    short: str = choice(
        "error",
        "When a video is too short: the clip fails, its last frame is held, or it begins again.",
        "error",
        "hold",
        "loop",
    )
    container: str = choice("mp4", "Kind of the clips: mp4 (H.264, small) or mkv (FFV1, lossless).", "mp4", "mkv")
    quality: int = number(90, "Of mp4 clips, from 1 (small) to 100 (good).", 1, 100, 1)
    pose: str = choice(
        VIDEO, "Where the pose comes from: found in the video, or AIST++'s keypoints (body only).", VIDEO, AISTPP
    )
    backend: str = choice(
        "auto", "The nets that find the pose in the video; auto takes dwpose when it is there.", *BACKENDS
    )
    tidy: bool = flag(True, "Fill the pose's gaps, drop what flickers, smooth its trembling.")
    person: str = choice("largest", "Whose pose is kept, with tidy.", *RULES)
    palette: str = choice("vace", "Colours of the pose: vace (as VACE was trained) or openpose.", "vace", "openpose")
    hands: bool = flag(False, "Draw hands.")
    face: bool = flag(True, "Draw the face.")
    variant: str = choice(DEFAULT_VARIANT, "Emphasis of the prompt.", *VARIANTS)

    def __post_init__(self) -> None:
        settle(self)
        if self.frames % 4 != 1:
            raise SettingsError(
                f"A clip cannot have {self.frames} frames.",
                expected="4n + 1 frames, as Wan's VAE takes them",
                got=str(self.frames),
                remedy=f"Take {self.frames // 4 * 4 + 1} or {self.frames // 4 * 4 + 5}.",
            )

    @property
    def pixels(self) -> tuple[int, int]:
        """(width, height)."""
        width, _, height = self.size.partition("x")
        return int(width), int(height)

    @property
    def rate(self) -> Fraction:
        """Frames a second, exact."""
        return Fraction(repr(self.fps))

    @property
    def span(self) -> Fraction:
        """Seconds from the first frame to the last one."""
        return (self.frames - 1) / self.rate

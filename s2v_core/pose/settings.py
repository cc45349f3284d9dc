"""What a person can set for each stage of a pose, with default, range and meaning in one place. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..onnxnet import PROVIDER_CHOICES
from ..options import choice, flag, from_mapping, number, settle

BACKENDS = ("auto", "dwpose", "blazepose", "controlnet-aux")
RULES = ("all", "largest", "central", "longest")
NUMBER = "number"  # the rule that takes ``person_number``
QUANTILE = 0.9  # of a limb's length over time
MAX_GAP_MS = 250.0
SMOOTH_MS = 300.0


@dataclass(frozen=True)
class DwposeSettings:
    """How DWPose goes over a clip. Raises SettingsError for values out of range."""

    detect_every: int = number(
        16, "Frames between detections; people are followed in between. 1 detects in every frame: slower.", 1, 240, 1
    )
    batch: int = number(8, "Crops that the pose net takes at once.", 1, 64, 1)
    max_people: int = number(6, "The most people that are followed; the surest ones are kept.", 1, 32, 1)
    provider: str = choice(
        "auto", "What computes: auto takes the fastest that onnxruntime has, and says which.", *PROVIDER_CHOICES
    )

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class ExtractSettings:
    """Which backend finds the points, and how. Raises SettingsError for what does not exist."""

    backend: str = choice(
        "auto",
        "The nets that find the points. dwpose: body, hands and face of everybody, as Wan-VACE was trained; "
        "blazepose: one person, by small nets. auto takes dwpose when its two files are there.",
        *BACKENDS,
    )
    keep: bool = flag(True, "Keep the result in the cache folder: the same clip and settings are then there at once.")
    hands: bool = flag(True, "For blazepose: find the hands too, when their nets are there.")
    face: bool = flag(True, "For blazepose: find the face's outline too, when its net is there.")
    dwpose: DwposeSettings = field(default_factory=DwposeSettings)

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class RetargetSettings:
    """How a dance is given to another body. Raises SettingsError for what lies outside range or choices."""

    place: str = choice(
        "reference",
        "Where the figure dances: around the reference's place and on its floor, where it is in the clip, or in the "
        "middle of the picture on the reference's floor.",
        "reference",
        "clip",
        "centre",
    )
    size: str = choice(
        "reference",
        "How large the figure is: as the person in the reference, as the dancer in the clip, or as the reference but "
        "smaller where it would leave the picture. The proportions are always the reference's.",
        "reference",
        "clip",
        "fit",
    )
    stay_inside: bool = flag(
        True, "Move the whole dance sideways, if it must be, so that what the clip shows stays in the picture."
    )
    plant_feet: bool = flag(True, "Keep planted feet planted. Off: the body's way is only scaled, and feet may slide.")
    sides: str = choice(
        "shared",
        "Left and right limbs share the longer one's length (the shorter one is foreshortened), or each has its own.",
        "shared",
        "each",
    )
    head: str = choice(
        "whole",
        "The head is scaled as a whole by its size, or each of its lines by its own length, which turning it changes.",
        "whole",
        "limbs",
    )
    hands: str = choice(
        "forearm", "Hands are scaled with the forearm, or by the size of the palm.", "forearm", "measured"
    )
    person: int = number(0, "Which person of the clip dances, from 0.", 0, 63, 1)
    others: str = choice(
        "drop",
        "Other people in the clip: left out, or kept with their own bodies, scaled and moved with the floor.",
        "drop",
        "keep",
    )
    quantile: float = number(
        QUANTILE, "A dancer's limb is as long as this quantile of its length over time.", 0.5, 1.0, 0.01
    )
    plausible: float = number(
        0.5,
        "A limb whose ratio is below this share of the median ratio, or above its inverse, counts as foreshortened and "
        "gets the median. 0 believes every length (cartoon figures).",
        0.0,
        1.0,
        0.05,
    )

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True)
class TidySettings:
    """How ``tidy`` treats a track. Raises SettingsError for what cannot be used."""

    person: str = choice(
        "all",
        "Whom to keep: everybody, the largest, the one nearest to the middle, the one seen longest, or a number.",
        *RULES,
        NUMBER,
    )
    person_number: int = number(
        0, "The person to keep when person is number; 0 is the one seen in most frames.", 0, 31, 1
    )
    guard: bool = flag(True, "Drop hands, faces and points that jump, blink or cannot be true; swap sides back.")
    max_gap_ms: float = number(
        MAX_GAP_MS, "Points missing for up to this many milliseconds are filled in; 0 is off.", 0.0, 2000.0, 10.0
    )
    smooth_ms: float = number(
        SMOOTH_MS,
        "Smoothing window in milliseconds; 0 is off. 300 halves the trembling and keeps 94% of a beat at 120 BPM.",
        0.0,
        2000.0,
        10.0,
    )

    def __post_init__(self) -> None:
        settle(self)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``from_dict`` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TidySettings:
        """Settings out of ``to_dict`` or a user's file. Unknown names are an error, missing ones keep their default."""
        return from_mapping(cls, values)

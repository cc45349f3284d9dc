"""The toy world: dancers whose every pixel, joint, mask and word is known.

A ``Character`` is a person and a place in named colours; a motion is named by an AIST clip name (``motion.py``). Clip,
masks, joints, reference picture and caption are pure functions of character, motion, size, frames and seed.

What is held out of training
----------------------------
Three things, independent of each other; a scene of training has none of them.

===========  ==================================================================================  ===========
held out     rule                                                                                share
===========  ==================================================================================  ===========
``people``   indices of skin, hair colour and hair style add up to a multiple of 6               10 of 60
``colours``  indices of shirt and trousers add up to a multiple of 6                             24 of 144
``motions``  the choreography's number is a multiple of 5                                        6 of 31
===========  ==================================================================================  ===========
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from ..aist.names import GENRE_DANCERS, LAST_CHOREOGRAPHY, SOLO_SITUATIONS, TEMPI, ClipName
from ..errors import SettingsError
from ..pose.track import POINTS, PoseTrack
from ..prompts.prompt import Prompt
from ..prompts.template import DEFAULT_VARIANT, build_prompt
from ..video.clip import Clip
from .body import KNOWN, Placing, joints
from .motion import cycles, poses
from .paint import HAIR_STYLES, LABELS, SLEEVES, Look, backdrop, paint
from .palette import PARTS, Rgb, names, rgb

Array = np.ndarray[Any, Any]

SIZE = (96, 96)  # width, height
FRAMES = 17
FPS = Fraction(16)
MULTIPLE = 16  # pixels: the VAE's 8 by the transformer's patch of 2
BACKEND = "toy world"
STYLE = "a simple flat illustration"
HELD_OUT = ("people", "colours", "motions")
# The bias of AIST's videos: a white-grey stage, and mostly black trousers.
AIST_LIKE: dict[str, str] = {"wall": "white", "floor": "grey", "trousers": "black"}
_MARGIN = 0.07  # of the picture's width, left free beside the joints: clothes are wider
_SHADE, _TINT = 6, 2  # levels by which a character's colours may be lighter or darker, and a channel be off


@dataclass(frozen=True)
class Character:
    """A person and the place, in names of ``palette``.

    ``height`` and ``girth``: 1 is average. ``shade``: chooses the small differences from the named colours; with 0
    there are none. Raises SettingsError for names that do not exist.
    """

    skin: str
    hair: str
    hair_style: str
    shirt: str
    sleeves: str
    trousers: str
    shoes: str
    wall: str
    floor: str
    height: float = 1.0
    girth: float = 1.0
    shade: int = 0

    def __post_init__(self) -> None:
        for part in PARTS:
            rgb(part, getattr(self, part))
        for kind, given, known in (
            ("hair style", self.hair_style, HAIR_STYLES),
            ("sleeves", self.sleeves, SLEEVES),
        ):
            if given not in known:
                raise SettingsError(
                    f"The toy world has no such {kind}.", expected=f"one of {', '.join(known)}", got=repr(given)
                )

    @property
    def colours(self) -> dict[str, Rgb]:
        """What each part is painted in: the named colour, up to 8 levels a channel away from it."""
        chance = random.Random(f"shade {self.shade}")
        found = {}
        for part in PARTS:
            named = rgb(part, getattr(self, part))
            lighter, *tint = ((2 * chance.random() - 1) * size for size in (_SHADE, _TINT, _TINT, _TINT))
            near = [round(level + lighter + off) for level, off in zip(named, tint, strict=True)]
            red, green, blue = (min(255, max(0, level)) for level in near)
            found[part] = (red, green, blue) if self.shade else named
        return found

    @property
    def look(self) -> Look:
        """What the painter needs."""
        return Look(self.colours, self.hair_style, self.sleeves, self.girth)


@dataclass(frozen=True)
class Scene:
    """Everything that decides a clip, its reference picture and its caption."""

    character: Character
    motion: ClipName
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``scene_from_dict`` is its inverse."""
        return {"character": asdict(self.character), "motion": str(self.motion), "seed": self.seed}


@dataclass(frozen=True, eq=False)
class Take:
    """A rendered scene.

    ``clip``: the frames. ``track``: the exact points of body and feet (face and hands score 0). ``labels``: uint8
    [T, H, W], indices into ``LABELS``: every pixel has exactly one.
    """

    clip: Clip
    track: PoseTrack
    labels: np.ndarray[Any, np.dtype[np.uint8]]

    def mask(self, *parts: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Bool [T, H, W]: where one of these parts is seen ("shirt", "wall", ...). Raises SettingsError for others."""
        return part_mask(self.labels, *parts)


def scene_from_dict(values: Mapping[str, Any]) -> Scene:
    """The scene that ``Scene.to_dict`` wrote. Raises SettingsError when it is none."""
    try:
        return Scene(Character(**values["character"]), ClipName.parse(values["motion"]), int(values["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError("This is not a scene.", expected="what Scene.to_dict gives", got=repr(error)) from error


def part_mask(labels: Array, *parts: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Bool, of the labels' shape: where one of these parts is seen. Raises SettingsError for unknown parts."""
    if unknown := [part for part in parts if part not in LABELS]:
        raise SettingsError("There is no such mask.", expected=f"one of {', '.join(LABELS)}", got=", ".join(unknown))
    return np.isin(labels, [LABELS.index(part) for part in parts])


def render(
    character: Character,
    motion: ClipName,
    *,
    size: tuple[int, int] = SIZE,
    frames: int = FRAMES,
    seed: int = 0,
) -> Take:
    """The clip of a character who dances a motion, with its points and masks; the same input gives the same bytes.

    ``size``: (width, height), multiples of 16. ``frames``: at 16 a second. ``seed``: when in the dance the clip
    begins, and where the dancer stands. Raises SettingsError for other sizes and for a motion without a tempo.
    """
    _check_size(size, frames)
    chance = random.Random(f"clip {seed}")
    start, share = chance.random(), chance.random()
    placing = _place(character, motion, size, share)
    time = start + cycles(motion, 1 / float(FPS)) * np.arange(frames)
    return _take(character, joints(poses(motion, time)), placing)


def reference(character: Character, motion: ClipName, *, size: tuple[int, int] = SIZE, seed: int = 0) -> Array:
    """A picture of the same person in the same place, in a pose of another dance: uint8 [H, W, 3] RGB."""
    return np.asarray(reference_take(character, motion, size=size, seed=seed).clip.frames[0])


def reference_take(character: Character, motion: ClipName, *, size: tuple[int, int] = SIZE, seed: int = 0) -> Take:
    """``reference`` as a take of one frame, with its points and masks."""
    _check_size(size, 1)
    chance = random.Random(f"reference {seed}")
    others = [genre for genre in GENRE_DANCERS if genre not in (motion.genre, "gBR")]  # nobody poses on the floor
    genre = _pick(chance, others)
    dance = ClipName(genre, "sBM", "c01", (GENRE_DANCERS[genre][0],), f"m{genre[1:]}0", f"ch{1 + seed % 4:02d}")
    pose = joints(poses(dance, np.array([chance.random()])))
    return _take(character, pose, _place(character, dance, size, chance.random()))


def describe(character: Character, *, without: Collection[str] = ()) -> tuple[str, str]:
    """The person and the place in words, for ``build_prompt``: subject and setting.

    ``without``: parts that are not mentioned. A place of which nothing is to be said is "".
    """
    said = [part for part in PARTS if part not in without]
    body = []
    if "hair" in said:
        body.append(f"{character.hair_style} {character.hair} hair")
    if "skin" in said:
        body.append(f"{character.skin} skin")
    clothes = []
    if "shirt" in said:
        clothes.append(f"a {character.sleeves}-sleeved {character.shirt} shirt")
    clothes += [f"{getattr(character, part)} {part}" for part in ("trousers", "shoes") if part in said]
    subject = "a dancer"
    if body:
        subject += f" with {_listed(body)}"
    if clothes:
        subject += f"{',' if body else ''} in {_listed(clothes)}"
    place = [f"a {getattr(character, part)} {part}" for part in ("wall", "floor") if part in said]
    return subject, f"a stage with {_listed(place)}" if place else ""


def caption(
    character: Character, motion: ClipName, *, without: Collection[str] = (), variant: str = DEFAULT_VARIANT
) -> Prompt:
    """The prompt of a clip, by the project's own prompt code. ``without``: parts of which nothing is said."""
    subject, setting = describe(character, without=without)
    return build_prompt(motion, subject, setting=setting, style=STYLE, variant=variant)


def held_out(character: Character, motion: ClipName) -> tuple[str, ...]:
    """What of this scene is held out of training: any of ``HELD_OUT``, by the rules at the top of this file."""
    person = (
        names("skin").index(character.skin)
        + names("hair").index(character.hair)
        + HAIR_STYLES.index(character.hair_style)
    )
    rules = {
        "people": person % 6 == 0,
        "colours": _held_pair(character.shirt, character.trousers),
        "motions": int(motion.choreography[2:]) % 5 == 0,
    }
    return tuple(rule for rule in HELD_OUT if rules[rule])


def scene(number: int, *, held: Collection[str] = (), fixed: Mapping[str, str] | None = None) -> Scene:
    """The scene of this number: the same number and choices always give the same scene.

    ``held``: exactly what is held out of training: () is a scene for training, ``HELD_OUT`` one in which person,
    clothes and motion are all new. ``fixed``: parts of the character that are given (``AIST_LIKE`` for the biased
    subset). The first ``len(motions(held))`` numbers have different motions, all of them. Raises SettingsError for
    unknown names, and for fixed parts that leave no such character.
    """
    wanted = _checked(held)
    given = dict(fixed or {})
    kind = f"{wanted} {sorted(given.items())}"
    known = motions("motions" in wanted)
    motion = known[_shuffled(len(known), kind)[number % len(known)]]
    return Scene(_character(random.Random(f"scene {number} {kind}"), wanted, given), motion, number)


@lru_cache(maxsize=2)
def motions(new: bool = False) -> tuple[ClipName, ...]:
    """All solo motions of AIST's names with a front camera: those of training, or the ``new`` ones held out of it."""
    return tuple(
        ClipName(genre, situation, "c01", (dancer,), f"m{genre[1:]}{piece}", f"ch{number:02d}")
        for genre, dancers in GENRE_DANCERS.items()
        for situation in SOLO_SITUATIONS
        for number in range(1, LAST_CHOREOGRAPHY[situation] + 1)
        for dancer in dancers
        for piece in range(len(TEMPI))
        if (number % 5 == 0) == new
    )


def _character(chance: random.Random, wanted: tuple[str, ...], given: dict[str, str]) -> Character:
    options: dict[str, tuple[str, ...]] = {part: names(part) for part in PARTS}
    options |= {"hair_style": HAIR_STYLES, "sleeves": SLEEVES}
    if unknown := set(given) - set(options):
        raise SettingsError(
            "A character has no such part.", expected=f"some of {', '.join(options)}", got=", ".join(sorted(unknown))
        )
    motion = motions()[0]
    for _ in range(2000):
        chosen = {part: given.get(part) or _pick(chance, known) for part, known in options.items()}
        height, girth = 0.92 + 0.14 * chance.random(), 0.90 + 0.22 * chance.random()
        character = Character(
            **chosen, height=round(height, 3), girth=round(girth, 3), shade=1 + int(chance.random() * 1_000_000)
        )
        if held_out(character, motion) == tuple(rule for rule in wanted if rule != "motions"):
            return character
    raise SettingsError(
        "There is no such character.",
        expected=f"parts that can be {'held out' if wanted else 'in training'}",
        got=", ".join(f"{part} {name}" for part, name in given.items()),
        remedy="Fix fewer parts, or choose other colours.",
    )


def _held_pair(shirt: str, trousers: str) -> bool:
    known = names("shirt")
    return (known.index(shirt) + known.index(trousers)) % 6 == 0


def _place(character: Character, motion: ClipName, size: tuple[int, int], share: float) -> Placing:
    """Near the middle (``share`` 0 to 1: from left to right), but so that the whole dance is in the picture.

    A dancer whose dance is wider than the picture stands farther away.
    """
    whole = joints(poses(motion, np.arange(24) / 24))[:, KNOWN, 0]
    unit = Placing(size, height=character.height).unit / size[0]
    height = character.height * min(1.0, (1 - 2 * _MARGIN) / (float(np.ptp(whole)) * unit))
    unit = Placing(size, height=height).unit / size[0]
    left, right = _MARGIN - whole.min() * unit, 1 - _MARGIN - whole.max() * unit
    wanted = 0.44 + 0.12 * share
    x = min(max(wanted, left), right)
    return Placing(size, float(x), height)


def _take(character: Character, points: Array, placing: Placing) -> Take:
    width, height = placing.size
    look = character.look
    behind = backdrop(placing.size, look)
    frames = np.empty((len(points), height, width, 3), np.uint8)
    labels = np.empty((len(points), height, width), np.uint8)
    for index, pose in enumerate(points):
        frames[index], labels[index] = paint(pose, placing, look, behind)
    placed = np.ascontiguousarray(placing.pixels(points)[:, None, :POINTS, :2], np.float32)
    scores = np.zeros((len(points), 1, POINTS), np.float32)
    scores[..., KNOWN] = 1
    track = PoseTrack(placed, scores, (height, width), FPS, BACKEND, ("",) * len(points))
    return Take(Clip(frames, FPS), track, labels)


def _check_size(size: tuple[int, int], frames: int) -> None:
    if any(side < MULTIPLE or side % MULTIPLE for side in size) or frames < 1:
        raise SettingsError(
            "A toy clip cannot have this size.",
            expected=f"(width, height) in multiples of {MULTIPLE}, and frames from 1",
            got=f"{size[0]} x {size[1]}, {frames} frames",
        )


def _checked(held: Collection[str]) -> tuple[str, ...]:
    if isinstance(held, str) or set(held) - set(HELD_OUT):
        raise SettingsError(
            "This cannot be held out.", expected=f"a collection of {', '.join(HELD_OUT)}", got=repr(held)
        )
    return tuple(rule for rule in HELD_OUT if rule in held)


@lru_cache(maxsize=16)
def _shuffled(count: int, kind: str) -> tuple[int, ...]:
    chance = random.Random(f"order {kind}")
    return tuple(sorted(range(count), key=[chance.random() for _ in range(count)].__getitem__))


def _pick(chance: random.Random, known: Collection[str]) -> str:
    return tuple(known)[int(chance.random() * len(known))]


def _listed(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"

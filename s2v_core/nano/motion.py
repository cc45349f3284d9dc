"""How the toy dancers move: key poses of each AIST genre, one a beat, three beats a cycle.

A motion is named by an AIST clip name. Its genre gives the key poses, its situation, dancer and choreography which of
them follow each other and how they are varied, and its music the tempo. So the same name always gives the same motion,
and what a prompt says of genre, choreography and tempo is true.

Three beats a cycle: at AIST's 80 to 135 beats a minute a clip of 17 frames at 16 a second sees 0.44 to 0.75 cycles.
Faster limbs would be blurred by a VAE that keeps every fourth frame.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from ..aist.names import HOUSE_TEMPI, TEMPI, ClipName
from ..errors import SettingsError

Array = np.ndarray[Any, Any]
Limb = tuple[float, float, float, float]

BEATS_A_CYCLE = 3
# The columns of a pose, in degrees: of each limb the upper part's lift and azimuth, then the lower part's. Lift: 0
# hangs down, 90 points away from the body's middle, 180 up. Azimuth: 0 to the side, 90 towards the viewer. Then lean
# (to the dancer's left), bend (forwards) and yaw of the body; shift (to the picture's right) and hop are shares of
# its height.
LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16)
LEAN, BEND, YAW, SHIFT, HOP = range(16, 21)
COLUMNS = 21

STAND: Limb = (9, 0, 4, 0)
# A hand on the hip, reached from below; and the same reached from above, the forearm folding over the upper arm.
_ON_HIP: Limb = (52, 0, -52, 20)
_FOLDED: Limb = (52, 0, 308, 20)


def _pose(
    left_arm: Limb, right_arm: Limb, left_leg: Limb = STAND, right_leg: Limb = STAND, *,
    lean: float = 0, bend: float = 0, yaw: float = 0, shift: float = 0, hop: float = 0,
) -> Array:  # fmt: skip
    return np.array([*left_arm, *right_arm, *left_leg, *right_leg, lean, bend, yaw, shift, hop], np.float64)


def mirror(pose: Array) -> Array:
    """The pose [..., 21] seen in a mirror: left and right limbs change places."""
    out = pose.copy()
    for one, other in ((LEFT_ARM, RIGHT_ARM), (LEFT_LEG, RIGHT_LEG)):
        out[..., one], out[..., other] = pose[..., other], pose[..., one]
    out[..., [LEAN, YAW, SHIFT]] *= -1
    return out


# Three key poses a genre; each is also used mirrored.
KEYS: dict[str, tuple[Array, Array, Array]] = {
    "gBR": (  # down on one hand, a leg thrown out
        _pose((4, 0, 4, 0), (120, 0, 135, 0), (72, 0, -45, 0), (68, 0, 72, 0), lean=56, shift=-0.06),
        _pose((38, 0, 8, 0), (38, 0, 8, 0), (84, 10, -38, 0), (84, 10, -38, 0), bend=28),
        _pose((60, 0, 20, 30), (6, 0, 6, 0), (82, 0, 55, 0), (66, 0, -50, 0), lean=-52, shift=0.04),
    ),
    "gPO": (  # straight up, arms in right angles
        _pose((90, 0, 180, 0), (88, 0, 0, 0), (10, 0, 3, 0), (10, 0, 3, 0), lean=3),
        _pose((88, 0, 92, 0), (88, 0, 178, 0), (14, 0, -6, 0), (9, 0, 4, 0), lean=-5),
        _pose((42, 0, 88, 0), (88, 0, 2, 0), (9, 0, 4, 0), (14, 0, -6, 0), lean=4, yaw=12),
    ),
    "gLO": (  # pointing up and out, wide bent knees
        _pose(_ON_HIP, (128, 0, 134, 0), (34, 0, -4, 0), (22, 0, 14, 0), lean=-10, shift=-0.03),
        _pose((72, 0, 6, 0), (72, 0, 6, 0), (48, 0, -16, 0), (48, 0, -16, 0), bend=16),
        _pose((96, 0, 98, 0), (74, 0, 150, 0), (24, 0, 16, 0), (36, 0, -6, 0), lean=12, shift=0.03),
    ),
    "gMH": (  # a low bounce, loose arms in front of the body
        _pose((36, 0, -34, 40), (52, 0, 62, 0), (40, 0, -12, 0), (26, 0, 8, 0), lean=13, bend=8, yaw=18, shift=0.05),
        _pose((34, 20, 118, 30), (34, 20, 118, 30), (20, 0, 8, 0), (20, 0, 8, 0)),
        _pose((56, 0, 66, 0), (36, 0, -34, 40), (26, 0, 8, 0), (40, 0, -12, 0), lean=-13, bend=8, yaw=-18, shift=-0.05),
    ),
    "gLH": (  # deep lunges, long arms
        _pose((100, 0, 100, 0), (68, 0, 282, 40), (58, 0, -8, 0), (34, 0, 36, 0), lean=14, shift=0.07),
        _pose((138, 0, 142, 0), (138, 0, 142, 0), (22, 0, 20, 0), (22, 0, 20, 0)),
        _pose((46, 0, 48, 0), (102, 0, 180, 0), (36, 0, 36, 0), (60, 0, -8, 0), lean=-16, shift=-0.07),
    ),
    "gHO": (  # quick feet that step out and cross, low arms
        _pose((30, 0, 66, 0), (38, 0, 12, 0), (46, 0, 40, 0), (16, 0, -14, 0), lean=-10, shift=-0.07, hop=0.01),
        _pose((26, 0, 30, 0), (26, 0, 30, 0), (-10, 20, -14, 0), (-6, -20, -14, 0), bend=5, hop=0.03),
        _pose((38, 0, 12, 0), (30, 0, 70, 0), (18, 0, -16, 0), (42, 0, 38, 0), lean=10, shift=0.07, hop=0.01),
    ),
    "gWA": (  # forearms that whirl beside the head, narrow legs
        _pose((104, 0, 206, 0), (100, 0, 96, 0), (4, 0, 2, 0), (15, 0, -4, 0), lean=8),
        _pose((112, 0, 116, 0), (108, 0, 214, 0), (10, 0, 0, 0), (10, 0, 0, 0), lean=-2, yaw=14),
        _pose((96, 0, 40, 0), (118, 0, 150, 0), (15, 0, -4, 0), (4, 0, 2, 0), lean=-9),
    ),
    "gKR": (  # a wide squat, fists up, stamping knees
        _pose((82, 0, 168, 0), (82, 0, 168, 0), (56, 0, -14, 0), (56, 0, -14, 0), bend=18),
        _pose((104, 0, 150, 0), (44, 0, -22, 20), (86, 20, -10, 0), (28, 0, -6, 0), lean=-16, bend=10),
        _pose((46, 0, 10, 20), (120, 0, 158, 0), (40, 0, -12, 0), (62, 0, -18, 0), lean=18, bend=16, shift=0.03),
    ),
    "gJS": (  # one arm high, a hand on the hip, hips to the side
        _pose((162, 0, 186, 0), _FOLDED, (2, 0, -4, 0), (27, 0, 20, 0), lean=-13, shift=-0.03),
        _pose((96, 0, 240, 20), (96, 0, 224, 20), (13, 0, 6, 0), (-8, 20, -6, 0), lean=4, yaw=20),
        _pose(_FOLDED, (156, 0, 178, 0), (34, 0, 30, 0), (4, 0, -6, 0), lean=14, shift=0.03),
    ),
    "gJB": (  # ballet's round arms, a leg drawn up or stretched out
        _pose((150, 0, 206, 0), (150, 0, 206, 0), (80, 0, -56, 0), (1, 0, 0, 0), hop=0.01),
        _pose((106, 0, 92, 0), (106, 0, 92, 0), (76, 0, 78, 0), (2, 0, 1, 0), lean=-10),
        _pose((42, 0, 4, 20), (98, 0, 108, 0), (38, 0, -28, 0), (38, 0, -28, 0)),
    ),
}  # fmt: skip
# How abruptly a pose is reached: 0 flows, 1 hits.
_SHARPNESS = {"gBR": 0.1, "gPO": 0.5, "gLO": 0.4, "gMH": 0.1, "gLH": 0.3, "gKR": 0.4}
# No hand or foot swings about its shoulder or hip by more than this share of the dancer's height from frame to frame at
# the highest tempo; a choreography that would is danced smaller.
_FASTEST = 0.13
_FRAMES_A_BEAT = 16 * 60 / max(*TEMPI, *HOUSE_TEMPI)
_REACH = 0.155  # half an arm or three tenths of a leg, in heights
_BASIC, _ADVANCED = (0.88, 6.0), (1.06, 12.0)  # of the genre's size of movement; degrees of variation


def cycles(name: ClipName, seconds: float) -> float:
    """How many cycles of three beats the motion goes through in this time. Raises SettingsError without a tempo."""
    if name.tempo_bpm is None or name.genre not in KEYS:
        raise SettingsError(
            f"{name} is not a motion of the toy world.",
            expected=f"a clip name with a genre ({', '.join(KEYS)}) and a piece of music",
            got=str(name),
            remedy="Take a name like gBR_sBM_c01_d04_mBR0_ch01.",
        )
    return seconds * name.tempo_bpm / 60 / BEATS_A_CYCLE


def choreography(name: ClipName) -> Array:
    """The motion's three key poses, float64 [3, 21] (columns as ``LEFT_ARM`` ... ``HOP``): one a beat, then again.

    The tempo and the camera do not matter: one choreography is danced to any piece of its genre.
    """
    cycles(name, 1)
    chance = random.Random(f"{name.genre} {name.situation} {name.dancers} {name.choreography}")
    keys = np.stack(KEYS[name.genre])
    turn = int(chance.random() * 3)
    keys = np.roll(keys, turn, axis=0)
    if chance.random() < 0.5:
        keys = keys[::-1]
    if chance.random() < 0.5:
        keys = mirror(keys)
    size, spread = _ADVANCED if name.situation == "sFM" else _BASIC
    middle = keys.mean(axis=0)
    keys = middle + (keys - middle) * size * (0.94 + 0.12 * chance.random())
    noise = np.array([[chance.random() * 2 - 1 for _ in range(COLUMNS)] for _ in range(len(keys))])
    scale = np.full(COLUMNS, spread)
    scale[[1, 3, 5, 7, 9, 11, 13, 15]] = spread * 0.5
    scale[[LEAN, BEND, YAW]] = spread * 0.4
    scale[SHIFT], scale[HOP] = 0.015, 0.0
    keys = keys + noise * scale
    middle = keys.mean(axis=0)
    return np.asarray(middle + (keys - middle) * min(1.0, _FASTEST / _swing(keys, name.genre)))


def _swing(keys: Array, genre: str) -> float:
    """The longest way of a hand or foot about its shoulder or hip, between two frames at the highest tempo."""
    turns = np.abs(np.deg2rad(keys - np.roll(keys, 1, axis=0)))
    lifts = [limb.start for limb in (LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG)]
    way = float((_REACH * (turns[:, lifts] + turns[:, [lift + 2 for lift in lifts]])).max())
    return way * (1.5 + 0.75 * _SHARPNESS.get(genre, 0.0)) / _FRAMES_A_BEAT  # the steepest slopes of the two easings


def poses(name: ClipName, cycle: Array) -> Array:
    """The poses [T, 21] at the times ``cycle`` [T], counted in cycles: whole numbers give the first key pose again."""
    keys = choreography(name)
    beat = np.asarray(cycle, np.float64) * BEATS_A_CYCLE
    start = np.floor(beat).astype(int)
    part = beat - start
    smooth = part * part * (3 - 2 * part)
    hit = smooth * smooth * (3 - 2 * smooth)
    eased = smooth + (hit - smooth) * _SHARPNESS.get(name.genre, 0.0)
    one, other = keys[start % BEATS_A_CYCLE], keys[(start + 1) % BEATS_A_CYCLE]
    return np.asarray(one + (other - one) * eased[:, None])

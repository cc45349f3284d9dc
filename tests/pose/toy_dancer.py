"""A dancer of known bones in three dimensions, whose feet are planted exactly, seen by an orthographic camera."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from s2v_core.pose.track import POINTS, PoseTrack

FPS = Fraction(24)


@dataclass(frozen=True)
class Body:
    """Lengths of bones in centimetres. ``torso``: from the neck to a hip; hips are wide in proportion to it."""

    neck: float = 18
    shoulder: float = 17
    upper_arm: float = 29
    forearm: float = 26
    torso: float = 54
    thigh: float = 43
    shin: float = 41
    foot: float = 18
    head: float = 1.0
    hand: float = 1.0


ADULT = Body()
# Nobody has these proportions: every limb differs by another factor.
OTHER = Body(14, 20, 24, 27, 48, 50, 37, 16.2, 1.25, 1.04)
LENGTHS = ("neck", "shoulder", "upper_arm", "forearm", "torso", "thigh", "shin")


def dance(body: Body, frames: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Points [T, 134, 3] in centimetres (x right, y up, z to the camera; the floor is y = 0), and stance [T, 2].

    Sway and bend on both feet, a step to the side, a turn of the body, a lifted leg, a jump, a landing.
    """
    t = np.linspace(0, 1, frames)

    def bump(start: float, end: float) -> np.ndarray:
        return np.sin(np.pi * np.clip((t - start) / (end - start), 0, 1)) ** 2

    def ease(start: float, end: float) -> np.ndarray:
        x = np.clip((t - start) / (end - start), 0, 1)
        return x * x * (3 - 2 * x)

    leg = body.thigh + body.shin
    yaw = np.radians(55) * bump(0.42, 0.75)
    up, side = np.array([0.0, 1, 0]), np.stack([np.cos(yaw), 0 * yaw, np.sin(yaw)], axis=-1)
    front = np.stack([-np.sin(yaw), 0 * yaw, np.cos(yaw)], axis=-1)
    ankle_height = 7.0 * body.foot / 18
    # The left foot steps 0.35 legs to the side and back; the right one is lifted; both leave the floor in the jump.
    jump = 0.22 * leg * bump(0.8, 0.92)
    left, right = np.zeros((frames, 3)), np.zeros((frames, 3))
    left[:, 0] = 0.14 * leg + 0.35 * leg * (ease(0.3, 0.37) - ease(0.82, 0.9))
    right[:, 0] = -0.14 * leg + 0.2 * leg * ease(0.82, 0.9)
    left[:, 1] = ankle_height + 0.1 * leg * bump(0.3, 0.37) + jump
    right[:, 1] = ankle_height + 0.25 * leg * bump(0.55, 0.72) + jump
    right[:, 2] = 0.1 * leg * bump(0.55, 0.72)
    moving = np.stack(
        [(t > 0.3) & (t < 0.37) | (t > 0.8) & (t < 0.92), (t > 0.55) & (t < 0.72) | (t > 0.8) & (t < 0.92)]
    )

    middle = (left + right) / 2
    middle[:, 0] += 0.12 * leg * bump(0.05, 0.25) * np.sin(8 * np.pi * t) + 0.15 * leg * bump(0.53, 0.74)
    hips_height = ankle_height + 0.94 * leg - 0.3 * leg * bump(0.08, 0.28) - 0.12 * leg * bump(0.3, 0.5) + jump
    hips_height -= 0.15 * leg * (bump(0.74, 0.82) + bump(0.9, 1.0)) + 0.04 * leg * ease(0.28, 0.36) * (
        1 - ease(0.85, 0.9)
    )
    pelvis = np.stack([middle[:, 0], hips_height, 0 * t], axis=-1)

    points = np.zeros((frames, POINTS, 3))
    half = 0.2 * body.torso
    lean = 0.15 * bump(0.1, 0.5)[:, None]
    spine = up + lean * side
    spine /= np.linalg.norm(spine, axis=-1, keepdims=True)
    across = side - (side * spine).sum(-1, keepdims=True) * spine
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    neck = points[:, 1] = pelvis + np.sqrt(body.torso**2 - half**2) * spine
    for sign, (hip, knee, ankle), feet in ((1, (11, 12, 13), (18, 19, 20)), (-1, (8, 9, 10), (21, 22, 23))):
        target = left if sign > 0 else right
        points[:, hip] = pelvis + sign * half * across
        points[:, knee] = _knee(points[:, hip], target, body, front + 0.35 * sign * side)
        points[:, ankle] = target
        for point, (ahead, out) in zip(feet, ((1.0, 0.15), (0.9, 0.4), (-0.3, 0.0)), strict=True):
            # The foot turns out and stays where it is: it does not follow the body's yaw.
            points[:, point] = target + body.foot * np.array([sign * (0.3 * ahead + out * 0.3), 0, ahead])
            points[:, point, 1] -= ankle_height
    swing = 2 * np.pi * t
    for sign, (shoulder, elbow, wrist), hand in ((1, (5, 6, 7), 92), (-1, (2, 3, 4), 113)):
        points[:, shoulder] = neck + sign * body.shoulder * across
        raised = np.pi / 2 * (0.1 + 0.9 * np.sin(swing + sign) ** 2)
        bent = raised + 1.2 * np.sin(1.5 * swing + sign) ** 2
        depth = 0.5 * np.sin(2 * swing) ** 2
        upper = _arm(raised, depth, sign, across, spine, front)
        lower = _arm(bent, 0.8 * depth, sign, across, spine, front)
        points[:, elbow] = points[:, shoulder] + body.upper_arm * upper
        points[:, wrist] = points[:, elbow] + body.forearm * lower
        for joint in range(21):
            finger, bone = (0, 0) if joint == 0 else ((joint - 1) // 4, (joint - 1) % 4 + 1)
            fan = body.hand * (lower * bone * 3.0 + spine * (finger - 2) * 2.0 * (bone > 0))
            points[:, hand + joint] = points[:, wrist] + fan

    def at_head(x: float, y: float, z: float) -> np.ndarray:
        return nose + body.head * (x * across + y * spine + z * front)

    nose = points[:, 0] = neck + body.neck * (0.97 * spine + np.sqrt(1 - 0.97**2) * front)
    for sign, eye, ear in ((1, 15, 17), (-1, 14, 16)):
        points[:, eye] = at_head(sign * 3.2, 3.5, -2.5)
        points[:, ear] = at_head(sign * 7.5, 1.5, -11)
    for number in range(68):
        angle = 2 * np.pi * number / 68
        points[:, 24 + number] = at_head(6 * np.sin(angle), -2 + 8 * np.cos(angle), -4)
    return points, ~moving.T


def still(body: Body) -> np.ndarray:
    """The body facing the camera, arms a little away from it, every limb in the picture's plane: [1, 134, 3]."""
    points = dance(body, 2)[0][:1]
    neck = points[0, 1]
    half = 0.2 * body.torso
    hips = neck - [0, np.sqrt(body.torso**2 - half**2), 0]
    for sign, hip, shoulder in ((1, 11, 5), (-1, 8, 2)):
        points[0, hip] = hips + np.array([sign * half, 0, 0])
        points[0, hip + 1] = points[0, hip] - [0, body.thigh, 0]
        new_ankle = points[0, hip + 1] - [0, body.shin, 0]
        feet = [18, 19, 20] if sign > 0 else [21, 22, 23]
        points[0, feet] += new_ankle - points[0, hip + 2]
        points[0, hip + 2] = new_ankle
        arm = np.array([sign * 0.3, -np.sqrt(1 - 0.09), 0])
        points[0, shoulder] = neck + np.array([sign * body.shoulder, 0, 0])
        points[0, shoulder + 1] = points[0, shoulder] + body.upper_arm * arm
        hand = slice(92, 113) if sign > 0 else slice(113, 134)
        new_wrist = points[0, shoulder + 1] + body.forearm * arm
        points[0, hand] += new_wrist - points[0, shoulder + 2]
        points[0, shoulder + 2] = new_wrist
    head = [0, *range(14, 18), *range(24, 92)]
    points[0, head] += neck + np.array([0, body.neck, 0]) - points[0, 0]
    return points - [0, points[0, [20, 23], 1].min(), 0]


def seen(points: np.ndarray, size: tuple[int, int] = (720, 720), scale: float = 3.0, x: float = 0.5) -> PoseTrack:
    """The track [T, 1, 134, 2] that a perfect net would find. ``size``: (width, height); ``scale``: pixels a cm.

    The floor's middle is at ``x`` of the width, 40 pixels above the lower edge; the camera looks down by 8 degrees.
    """
    width, height = size
    tilt = np.radians(8)
    vertical = points[..., 1] * np.cos(tilt) - points[..., 2] * np.sin(tilt)
    flat = np.stack([x * width + scale * points[..., 0], height - 40 - scale * vertical], axis=-1)
    scores = np.ones((len(flat), 1, POINTS), np.float32)
    return PoseTrack(flat[:, None].astype(np.float32), scores, (height, width), FPS, "perfect", ("",) * len(flat))


def _knee(hip: np.ndarray, ankle: np.ndarray, body: Body, pole: np.ndarray) -> np.ndarray:
    """Where the knee is, bent towards ``pole``."""
    reach = ankle - hip
    far = np.linalg.norm(reach, axis=-1, keepdims=True)
    assert (far < body.thigh + body.shin).all(), "the choreography must be within reach"
    along = (far**2 + body.thigh**2 - body.shin**2) / (2 * far)
    out = np.sqrt(body.thigh**2 - along**2)
    way = reach / far
    bend = pole - (pole * way).sum(-1, keepdims=True) * way
    return hip + along * way + out * bend / np.linalg.norm(bend, axis=-1, keepdims=True)


def _arm(
    raised: np.ndarray, depth: np.ndarray, sign: int, across: np.ndarray, spine: np.ndarray, front: np.ndarray
) -> np.ndarray:
    flat = sign * np.sin(raised)[:, None] * across - np.cos(raised)[:, None] * spine
    return np.cos(depth)[:, None] * flat + np.sin(depth)[:, None] * front

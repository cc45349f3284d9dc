"""One picture of skeletons: every pixel as controlnet-aux's DWPose draws it, in a fraction of the time.

Layout, widths, colours and order are OpenPose's, by way of ControlNet. ``controlnet_aux/dwpose/util.py`` dims its limbs
by multiplying the whole picture in double precision; here they are drawn in the dimmed colours at once.
tests/pose/test_draw.py holds both equal, pixel for pixel.
"""

from __future__ import annotations

import colorsys
import math
from typing import Any

import numpy as np

from .track import BODY, FACE, LEFT_HAND, RIGHT_HAND

# Two points of the body a limb; the limb has its first point's colour of the list, the joints have all 18.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
# Five fingers of four bones, each from the wrist, in the colours of the rainbow.
FINGERS = tuple(
    (0 if bone == 0 else 4 * finger + bone, 4 * finger + bone + 1) for finger in range(5) for bone in range(4)
)
FINGER_COLORS = tuple(
    tuple(round(255 * part) for part in colorsys.hsv_to_rgb(bone / len(FINGERS), 1, 1)) for bone in range(len(FINGERS))
)
HAND_JOINT, FACE_POINT = (0, 0, 255), (255, 255, 255)
DIM = 0.6  # of the limbs' light
STICK, JOINT, FINGER, DOT = 4, 4, 2, 3  # half a limb's width, a joint's radius, a finger's width, a face point's radius
FAR = 1 << 20  # pixels: OpenCV counts in 32 bits, and nothing so far away is a point of a picture

Array = np.ndarray[Any, Any]
Color = tuple[int, ...]


def draw_skeletons(
    canvas: Array,
    points: Array,
    shown: Array,
    of: tuple[int, int],
    *,
    body: bool = True,
    hands: bool = True,
    face: bool = True,
    swap: bool = False,
) -> tuple[slice, slice]:
    """Draw everybody on ``canvas``, uint8 [H, W, 3] and black, in place.

    ``points``: [P, 134, 2] in pixels of a picture ``of`` (height, width), stretched to the canvas. ``shown``: bool
    [P, 134]. ``swap``: red for blue and blue for red. Gives the rows and columns outside of which nothing was drawn.
    Points that are not finite, or more than a million pixels away, are not drawn.
    """
    height, width = canvas.shape[:2]
    with np.errstate(invalid="ignore", over="ignore"):
        # First from 0 to 1, as controlnet-aux has them: what is rounded on the way decides pixels.
        places = points.astype(np.float64) / (of[1], of[0]) * (float(width), float(height))
        shown = shown & (np.abs(places) < FAR).all(axis=-1)
    places[~shown] = -1
    pixels = places.astype(np.int64)
    order = -1 if swap else 1
    drawn = np.zeros(shown.shape[1], bool)
    if body:
        drawn[BODY] = True
        _draw_limbs(canvas, places[:, BODY].tolist(), shown[:, BODY].tolist(), order)
        _draw_joints(canvas, pixels[:, BODY].tolist(), shown[:, BODY].tolist(), order)
    # Fingers and faces are drawn right of and below the first pixel only, like controlnet-aux's.
    seen = (shown & (pixels > 0).all(axis=-1)).tolist()
    pixel_lists = pixels.tolist()
    if hands:
        for part in (LEFT_HAND, RIGHT_HAND):
            drawn[part] = True
            for person, there in zip(pixel_lists, seen, strict=True):
                _draw_hand(canvas, person[part], there[part], order)
    if face:
        drawn[FACE] = True
        _draw_dots(canvas, [p[FACE] for p in pixel_lists], [s[FACE] for s in seen])
    return _box(pixels[shown & drawn], height, width)


def _draw_limbs(canvas: Array, people: list[Any], shown: list[Any], order: int) -> None:
    import cv2

    for (first, second), color in zip(LIMBS, COLORS, strict=False):
        dimmed = tuple(int(part * DIM) for part in color[::order])
        for person, there in zip(people, shown, strict=True):
            if there[first] and there[second]:
                (x1, y1), (x2, y2) = person[first], person[second]
                middle = int((x1 + x2) / 2), int((y1 + y2) / 2)
                length = ((y1 - y2) ** 2 + (x1 - x2) ** 2) ** 0.5
                angle = math.degrees(math.atan2(y1 - y2, x1 - x2))
                outline: Any = cv2.ellipse2Poly(middle, (int(length / 2), STICK), int(angle), 0, 360, 1)
                cv2.fillConvexPoly(canvas, outline, dimmed)


def _draw_joints(canvas: Array, people: list[Any], shown: list[Any], order: int) -> None:
    import cv2

    for index, color in enumerate(COLORS):
        for person, there in zip(people, shown, strict=True):
            if there[index]:
                cv2.circle(canvas, person[index], JOINT, color[::order], thickness=-1)


def _draw_hand(canvas: Array, hand: list[Any], shown: list[bool], order: int) -> None:
    import cv2

    for (first, second), color in zip(FINGERS, FINGER_COLORS, strict=True):
        if shown[first] and shown[second]:
            cv2.line(canvas, hand[first], hand[second], color[::order], thickness=FINGER)
    for point, there in zip(hand, shown, strict=True):
        if there:
            cv2.circle(canvas, point, JOINT, HAND_JOINT[::order], thickness=-1)


def _draw_dots(canvas: Array, people: list[Any], shown: list[Any]) -> None:
    import cv2

    for person, there in zip(people, shown, strict=True):
        for point, is_there in zip(person, there, strict=True):
            if is_there:
                cv2.circle(canvas, point, DOT, FACE_POINT, thickness=-1)


def _box(pixels: Array, height: int, width: int) -> tuple[slice, slice]:
    if not len(pixels):
        return slice(0, 0), slice(0, 0)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    # A limb is turned by whole degrees about its middle: its ends are off by half its length times the sine of one.
    margin = 8 + math.ceil(math.hypot(*(high - low).tolist()) * math.sin(math.radians(1)) / 2)
    (left, top), (right, bottom) = (low - margin).tolist(), (high + margin + 1).tolist()
    return slice(max(0, top), max(0, min(height, bottom))), slice(max(0, left), max(0, min(width, right)))

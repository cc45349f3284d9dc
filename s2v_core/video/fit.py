"""Bring pictures and clips to a size, without stretching them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import VideoError
from .clip import Clip

Image = np.ndarray[Any, np.dtype[np.uint8]]
Size = tuple[int, int]

FITS = ("letterbox", "crop")


def fit_transform(src_size: Size, dst_size: Size, fit: str) -> tuple[float, float, float]:
    """``(scale, dx, dy)``: a point (x, y) of the source is at (x * scale + dx, y * scale + dy) in the fitted picture.

    Sizes are (width, height) in pixels. Points are in pixels with (0, 0) at the corner of the first pixel, whose centre
    is (0.5, 0.5). ``fit_image`` places whole pixels, so it agrees with this to within one pixel of the result.
    Raises ``VideoError`` for a size below 1 or an unknown fit.
    """
    width, height = check_size(src_size, "The size of the picture")
    new_width, new_height = check_size(dst_size)
    ratios = (new_width / width, new_height / height)
    scale = min(ratios) if check_fit(fit) == "letterbox" else max(ratios)
    return scale, (new_width - width * scale) / 2, (new_height - height * scale) / 2


def fit_image(image: Image, size: Size, fit: str = "letterbox", fill: tuple[int, int, int] = (0, 0, 0)) -> Image:
    """A picture [H, W, 3] at another size (width, height) in pixels, with its proportions kept.

    ``letterbox`` keeps all of the picture, centred on a border of the colour ``fill`` (R, G, B; 0 to 255);
    ``crop`` fills the size and cuts off what is left over on both sides equally. A picture that has the size already is
    returned as it is. Shrinking averages areas, growing is bicubic. Raises ``VideoError`` for a size below 1, an
    unknown fit, or an array that is no picture.
    """
    check_image(image)
    width, height = check_size(size)
    check_fit(fit)
    if len(fill) != 3 or not all(0 <= value <= 255 for value in fill):
        raise VideoError("The border colour cannot be used.", expected="three numbers from 0 to 255", got=repr(fill))
    if image.shape[:2] == (height, width):
        return image
    inner = inner_size((image.shape[1], image.shape[0]), (width, height), fit)
    if fit == "crop":
        resized = resize(image, inner)
        left, top = (inner[0] - width) // 2, (inner[1] - height) // 2
        return np.ascontiguousarray(resized[top : top + height, left : left + width])
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = fill
    canvas[top : top + inner[1], left : left + inner[0]] = resize(image, inner)
    return canvas


def inner_size(src_size: Size, dst_size: Size, fit: str) -> Size:
    """The (width, height) to which ``fit_image`` resizes a picture before it cuts or gets its border."""
    scale, _, _ = fit_transform(src_size, dst_size, fit)
    width, height = (max(1, round(side * scale)) for side in src_size)
    # Rounding must not leave a gap of one pixel, nor pass over the border.
    meet = max if fit == "crop" else min
    return meet(width, dst_size[0]), meet(height, dst_size[1])


def fit_clip(clip: Clip, size: Size, fit: str = "letterbox", fill: tuple[int, int, int] = (0, 0, 0)) -> Clip:
    """Every frame through ``fit_image``; the same clip when it has the size already. Rate and source are kept."""
    width, height = check_size(size)
    check_fit(fit)
    if (clip.width, clip.height) == (width, height):
        return clip
    frames = np.empty((len(clip), height, width, 3), np.uint8)
    for index, image in enumerate(clip.frames):
        frames[index] = fit_image(image, (width, height), fit, fill)
    return replace(clip, frames=frames)


def resize(image: Image, size: Size) -> Image:
    """Exactly to ``size`` (width, height): areas are averaged when shrinking, bicubic when growing."""
    import cv2

    if image.shape[:2] == (size[1], size[0]):
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def check_size(size: Any, what: str = "The size") -> Size:
    """``size`` as (width, height), or ``VideoError`` when it is not two whole numbers of at least 1."""
    try:
        width, height = size
        good = all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) for side in (width, height))
    except (TypeError, ValueError):
        good = False
    if not good or min(width, height) < 1:
        raise VideoError(
            f"{what} cannot be {size!r}.",
            expected="width and height in pixels, two whole numbers of at least 1",
            got=repr(size),
            remedy="Give a size such as (832, 480).",
        )
    return int(width), int(height)


def check_fit(fit: str) -> str:
    """``fit`` itself, or ``VideoError`` when it is not a known one."""
    if fit not in FITS:
        raise VideoError(f"The fit cannot be {fit!r}.", expected=f"one of {', '.join(FITS)}", got=repr(fit))
    return fit


def check_image(image: Any, what: str = "This array") -> Image:
    """``image`` itself, or ``VideoError`` when it is not a uint8 picture [H, W, 3]."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        came = f"{image.dtype} of shape {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise VideoError(
            f"{what} is not a picture.",
            expected="a uint8 array of shape [height, width, 3] in RGB",
            got=came,
            remedy="Convert it to RGB with 8 bits a channel (drop an alpha channel).",
        )
    if 0 in image.shape:
        raise VideoError(f"{what} is an empty picture.", expected="at least one pixel", got=str(list(image.shape)))
    return image

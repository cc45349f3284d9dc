"""A decoded frame as the RGB picture that a good player shows: colours, transparency, pixel shape and rotation."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import VideoError
from .fit import Image, Size, resize

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

_log = logging.getLogger(__name__)

# Values of FFmpeg's AVColorRange, AVColorSpace and SWS_CS_*, the same in every version of PyAV.
LIMITED, FULL = 1, 2
BT709, BT601 = 1, 5
# Unspecified, reserved, and RGB, which a YUV frame cannot be: encoders that know nothing leave it at that.
_UNKNOWN = (0, 2, 3)
# AVColorSpace (how a frame is tagged) -> SWS_CS_* (what the converter is told). BT.470BG and SMPTE 170M are BT.601.
_MATRIX = {1: BT709, 4: 4, 5: BT601, 6: BT601, 7: 7, 9: 9}
# From this height on an untagged picture is BT.709, as in most players. FFmpeg takes BT.601 for everything.
_HD_HEIGHT = 720
# Transfer curves of HDR video: PQ (SMPTE 2084) and HLG (ARIB STD-B67).
_HDR = {16: "PQ", 18: "HLG"}
# SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_ACCURATE_RND | SWS_BITEXACT. Without them swscale takes a path that is eight
# times as fast and up to 3 levels off (grey 128 of 10-bit video becomes 126).
CONVERSION = 0x2 | 0x2000 | 0x40000 | 0x80000
# The same with SWS_AREA, to shrink in the same pass: a quarter of the time of converting first and shrinking then.
_SHRINKING = 0x20 | 0x2000 | 0x40000 | 0x80000
# Pixels whose shape is nearer to square than this are taken as square, so that nothing is resampled for a rounding.
_SQUARE = Fraction(1, 100)


@dataclass(frozen=True)
class Turn:
    """How a file turns or mirrors its pictures: degrees as FFmpeg counts them, and its display matrix or None."""

    rotation: int
    matrix: bytes | None


def turn_of(frame: av.VideoFrame) -> Turn:
    """The turn of a frame. A frame that was asked stays in memory until Python looks for cycles: ask one for all."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return Turn(int(frame.rotation), None if data is None else bytes(data))


def picture_of(
    frame: av.VideoFrame,
    name: str,
    aspect: Fraction | None = None,
    converter: VideoReformatter | None = None,
    shrink: Callable[[Size], Size] | None = None,
    turn: Turn | None = None,
) -> Image:
    """RGB uint8 [H, W, 3] of a decoded frame, as it is meant to be shown.

    Untagged video is BT.709 from 720 lines on and BT.601 below, in limited range (full for JPEG and grey formats).
    Transparent parts are laid on white. Pixels of another ``aspect`` (width over height; None is unknown) are stretched
    to square ones, and the rotation or mirroring of the file is applied. ``name`` is the file's, for messages.
    ``converter``: one for all frames of a file saves setting it up anew for each. ``shrink``: the (width, height) that
    somebody wants a picture of this (width, height) to have; where it is smaller and nothing else is to be done to the
    picture, it comes out in that size, its areas averaged. Otherwise the picture has its own. ``turn``: that of the
    file's first frame, which holds for all frames of the same rotation; None asks this frame.
    Raises ``VideoError`` for a colour matrix or a rotation that cannot be converted.
    """
    from av.video.reformatter import VideoReformatter

    if turn is None or turn.rotation != frame.rotation:
        turn = turn_of(frame)
    form = frame.format
    alpha = any(part.is_alpha for part in form.components)
    target = "rgba" if alpha else "rgb24"
    if form.is_rgb or form.has_palette:
        picture = frame.to_ndarray(format=target)
    else:
        matrix = _matrix(frame, name)
        source_range = frame.color_range
        if source_range not in (LIMITED, FULL):
            source_range = FULL if form.name.startswith(("yuvj", "gray", "ya", "mono")) else LIMITED
        size = (frame.width, frame.height)
        wanted = shrink(size) if shrink and not alpha and turn.matrix is None and _is_square(aspect) else size
        smaller = wanted != size and all(new <= old for new, old in zip(wanted, size, strict=True))
        width, height = wanted if smaller else size
        picture = (
            (converter or VideoReformatter())
            .reformat(
                frame,
                width=width,
                height=height,
                format=target,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=source_range,
                dst_color_range=FULL,
                interpolation=_SHRINKING if smaller else CONVERSION,
            )
            .to_ndarray()
        )
    image = np.asarray(picture, np.uint8)
    if alpha:
        opacity = image[:, :, 3:].astype(np.uint16)
        image = ((image[:, :, :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return _turned(_squared(image, aspect), turn, name)


def warn_if_hdr(frame: av.VideoFrame, name: str) -> None:
    """Log a warning for HDR video, which is read without tone mapping."""
    if curve := _HDR.get(int(frame.color_trc)):
        _log.warning("%s is HDR video (%s): it is read without tone mapping, so its colours look flat.", name, curve)


def _matrix(frame: av.VideoFrame, name: str) -> int:
    tag = int(frame.colorspace)
    if tag in _UNKNOWN:
        return BT709 if frame.height >= _HD_HEIGHT else BT601
    if tag not in _MATRIX:
        raise VideoError(
            f"The colours of {name} are stored in a way that cannot be converted.",
            expected="BT.601, BT.709, BT.2020 or RGB",
            got=f"FFmpeg's colour space number {tag}",
            remedy=f"Encode it anew: ffmpeg -i {name} -vf scale=out_color_matrix=bt709 -colorspace bt709 new.mp4",
        )
    return _MATRIX[tag]


def _is_square(aspect: Fraction | None) -> bool:
    return not aspect or abs(aspect - 1) < _SQUARE


def _squared(image: Image, aspect: Fraction | None) -> Image:
    if not aspect or _is_square(aspect):
        return image
    return resize(image, (max(1, round(image.shape[1] * aspect)), image.shape[0]))


def _turned(image: Image, turn: Turn, name: str) -> Image:
    """Apply the display matrix (FFmpeg's libavutil/display.h): x' = a x + c y, y' = b x + d y, in 16.16 numbers."""
    if turn.matrix is None:
        return image
    a, b, _, c, d = struct.unpack("=5i", turn.matrix[:20])
    if b == c == 0 and a and d:
        x_sign, y_sign = a, d
    elif a == d == 0 and b and c:
        image, x_sign, y_sign = image.transpose(1, 0, 2), c, b
    else:
        raise VideoError(
            f"{name} asks to be shown at an angle.",
            expected="a rotation of 0, 90, 180 or 270 degrees",
            got=f"{turn.rotation} degrees",
            remedy="Turn it with a video editor and save it anew.",
        )
    return np.ascontiguousarray(image[:: 1 if y_sign > 0 else -1, :: 1 if x_sign > 0 else -1])

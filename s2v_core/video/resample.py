"""A piece of a clip that is in memory, at another rate and size: what ``read_clip`` does for files."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ..errors import VideoError
from .clip import Clip
from .fit import Size, check_fit, check_size, fit_image
from .read import SHORTS, pick_frames


def take(
    clip: Clip,
    *,
    fps: Fraction,
    frames: int,
    size: Size,
    fit: str = "crop",
    start: Fraction = Fraction(0),
    short: str = "error",
) -> Clip:
    """Frame k is the one of ``clip`` whose time is nearest to ``start + k / fps``, fitted to ``size``.

    Times, ``fit`` and ``short`` mean what they mean for ``read_clip``. Raises ``VideoError``.
    """
    check_fit(fit)
    wanted_size = check_size(size)
    if short not in SHORTS:
        raise VideoError(f"There is no way {short!r} to end a short clip.", expected=f"one of {', '.join(SHORTS)}")
    times = [k / clip.fps for k in range(len(clip))]
    moments = [start + k / fps for k in range(frames)]
    numbers = pick_frames(times, [moment for moment in moments if moment < clip.duration])
    if not numbers or (len(numbers) < frames and short == "error"):
        raise VideoError(
            f"The video is too short: it lasts {float(clip.duration):.2f} s.",
            expected=f"{frames} frames at {float(fps):g} a second from {float(start):g} s on, the last at "
            f"{float(moments[-1]):.2f} s",
            got=f"{len(numbers)} frames",
            remedy='Ask for fewer frames, start earlier, or take short="hold" (stay on the last frame) or "loop".',
        )
    found = len(numbers)
    numbers += [numbers[-1] if short == "hold" else numbers[k % found] for k in range(found, frames)]
    fitted = {number: fit_image(clip.frames[number], wanted_size, fit) for number in set(numbers)}
    return Clip(np.stack([fitted[number] for number in numbers]), fps, clip.source)

"""Read the wanted moments of a video, exactly, whatever its frame rate."""

from __future__ import annotations

import functools
import itertools
import numbers
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import Interrupted, VideoError
from ..files import sha256_file
from .clip import Clip, Source
from .decode import Frame, VideoInfo, frames_from, info_of
from .fit import Image, Size, check_fit, check_size, fit_image, inner_size

__all__ = ["VideoInfo", "pick_frames", "probe_clip", "read_clip"]

T = TypeVar("T")

SHORTS = ("error", "hold", "loop")
_MAX_FPS = 1000


def read_clip(
    path: str | Path,
    *,
    fps: int | float | Fraction = 16,
    frames: int | None = 81,
    size: Size | None = None,
    fit: str = "crop",
    start: int | float | Fraction = 0,
    short: str = "error",
    on_progress: Callable[[int, int | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Clip:
    """Frames of a video at a constant rate: frame k is the one whose time is nearest to ``start + k / fps``.

    Times are seconds since the file's first frame; of two frames that are equally near, the earlier one is taken.
    A number with a decimal point is taken as written: 59.94 is 2997/50.

    ``frames``: how many, or None for all to the end. ``size``: (width, height) in pixels to fit each frame to (``fit``:
    "crop" or "letterbox", see ``fit_image``), or None for the video's own size as shown. ``short``: what to do when the
    video ends too early: "error", "hold" the last frame, or "loop" from ``start``.

    Reads what FFmpeg reads, and animated GIF and WebP: of these the frame that is on the screen at that time, for their
    writers merge equal frames into long ones (transparent parts become white; a frame without a duration is shown for
    0.1 s, as in browsers). Rotation, mirroring and non-square pixels are applied. Untagged colours are BT.709
    from 720 lines on and BT.601 below. Only the picked frames are kept in memory.

    ``on_progress(done, total)`` counts picked frames, ``total`` is None with ``frames=None``. Raises ``VideoError`` for
    a file that is missing, no video, damaged, cut off or too short and for values out of range, and ``Interrupted``
    when ``should_stop()`` says so.
    """
    rate = _number("fps", fps, low=0, high=_MAX_FPS)
    if rate == 0:
        raise _bad_value("fps", fps, f"a number above 0 and at most {_MAX_FPS}")
    begin = _number("start", start, low=0)
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, (int, np.integer)) or frames < 1):
        raise _bad_value("frames", frames, "a whole number of at least 1, or None for all to the end")
    if short not in SHORTS:
        raise _bad_value("short", short, f"one of {', '.join(SHORTS)}")
    check_fit(fit)
    wanted_size = None if size is None else check_size(size)
    file = _existing(path)
    shrink = functools.partial(inner_size, dst_size=wanted_size, fit=fit) if wanted_size else None

    ended: list[Frame] = []
    moments = (begin + k / rate for k in (itertools.count() if frames is None else range(frames)))
    kept = _Frames(file.name, frames or 64)
    previous: Frame | None = None
    shown = _watched(frames_from(file, begin), ended, should_stop)

    def keep(frame: Frame, again: bool) -> None:
        if again:
            kept.repeat(len(kept) - 1)
            return
        picture = frame.picture(shrink=shrink)
        kept.add(fit_image(picture, wanted_size, fit) if wanted_size else picture, frame.time)

    with _Behind() as behind:
        for number, (_, frame) in enumerate(
            _pick(shown, moments, lambda frame: frame.time, lambda frame: frame.end), 1
        ):
            behind.call(keep, frame, frame is previous)
            previous = frame
            if on_progress:
                on_progress(number, frames)
    found = len(kept)
    if found < (frames or 1):
        # The picking stops early only after the last frame was seen.
        if not found or short == "error":
            raise _too_short(file, ended[-1].end, begin, rate, frames or 1)
        for k in range(found, frames or 1):
            kept.repeat(found - 1 if short == "hold" else k % found)
    return Clip(kept.array(), rate, Source(str(file), sha256_file(file), begin))


def probe_clip(path: str | Path) -> VideoInfo:
    """Size, rate, length, rotation and codec of a video. Raises ``VideoError`` when it cannot be read."""
    return info_of(_existing(path))


def pick_frames(timestamps: Iterable[Fraction], wanted: Sequence[Fraction]) -> list[int]:
    """For each wanted time (ascending) the index of the nearest timestamp (ascending); of two the earlier one."""
    endless = Fraction(10**12)
    picked = _pick(enumerate(timestamps), wanted, lambda item: item[1], lambda item: endless)
    return [index for _, (index, _) in picked]


def _pick(
    items: Iterable[T], wanted: Iterable[Fraction], time: Callable[[T], Fraction], end: Callable[[T], Fraction]
) -> Iterator[tuple[Fraction, T]]:
    """(wanted time, nearest item), looking at most one item ahead; stops at a time past the end of the last item."""
    stream = iter(items)
    before = after = next(stream, None)
    if before is None:
        return
    for moment in wanted:
        while after is not None and time(after) < moment:
            before, after = after, next(stream, None)
        if after is None:
            if moment >= end(before):
                return
            yield moment, before
        else:
            yield moment, before if moment - time(before) <= time(after) - moment else after


def _watched(frames: Iterator[Frame], ended: list[Frame], should_stop: Callable[[], bool] | None) -> Iterator[Frame]:
    """The same frames; the last one is left in ``ended`` when they run out."""
    last: list[Frame] = []
    for frame in frames:
        if should_stop and should_stop():
            raise Interrupted
        last[:] = [frame]
        yield frame
    ended[:] = last


class _Behind:
    """Runs calls one after the other in a thread of its own, a few of them behind: decoding goes on meanwhile."""

    _MOST = 4

    def __enter__(self) -> _Behind:
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        return self

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Take a call on. Raises what one of those before it raised."""
        self._waiting.append(self._pool.submit(function, *arguments))
        if len(self._waiting) > self._MOST:
            self._waiting.popleft().result()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)


class _Frames:
    """Pictures of one size, copied into one array as they come, so that nothing is held twice."""

    def __init__(self, name: str, room: int) -> None:
        self._name, self._room, self._count = name, room, 0
        self._frames = np.empty((0, 0, 0, 3), np.uint8)

    def __len__(self) -> int:
        return self._count

    def add(self, picture: Image, time: Fraction) -> None:
        if not self._count:
            self._frames = np.empty((self._room, *picture.shape), np.uint8)
        if picture.shape != self._frames.shape[1:]:
            raise VideoError(
                f"{self._name} changes its picture size at {float(time):.2f} s.",
                expected=_size_text(self._frames[0]),
                got=_size_text(picture),
                remedy="Give a size, so that every frame is fitted to it.",
            )
        if self._count == len(self._frames):
            grown = np.empty((2 * self._count, *picture.shape), np.uint8)
            grown[: self._count] = self._frames
            self._frames = grown
        self._frames[self._count] = picture
        self._count += 1

    def repeat(self, index: int) -> None:
        self.add(self._frames[index], Fraction(0))

    def array(self) -> Image:
        return self._frames[: self._count]


def _existing(path: str | Path) -> Path:
    file = Path(path)
    if file.is_dir():
        raise VideoError(
            f"{file} is a folder, not a video.",
            expected="the path of one video file",
            remedy="Give one of the files in it.",
        )
    if not file.exists():
        raise VideoError(
            f"The video {file} does not exist.",
            expected="the path of a video file",
            got=f"nothing there{'' if file.parent.is_dir() else f', and no folder {file.parent} either'}",
            remedy="Check the spelling of the path.",
        )
    try:
        with file.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise VideoError(
            f"The video {file} cannot be opened.",
            expected="a file that may be read",
            got=error.strerror or str(error),
            remedy="Check the permissions of the file.",
        ) from error
    if empty:
        raise VideoError(
            f"The video {file.name} is empty.",
            expected="a video file",
            got="0 bytes",
            remedy="Copy or download it again.",
        )
    return file


def _number(name: str, value: Any, low: int, high: int | None = None) -> Fraction:
    wanted = f"a number from {low}{'' if high is None else f' to {high}'}{' on' if high is None else ''}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _bad_value(name, value, wanted)
    if isinstance(value, numbers.Rational):
        number = Fraction(int(value.numerator), int(value.denominator))
    elif np.isfinite(float(value)):
        # The decimal as written: 3.7 is 37/10 and not the binary number beside it.
        number = Fraction(repr(float(value)))
    else:
        raise _bad_value(name, value, wanted)
    if number < low or (high is not None and number > high):
        raise _bad_value(name, value, wanted)
    return number


def _bad_value(name: str, value: Any, expected: str) -> VideoError:
    return VideoError(f"A video cannot be read with {name} = {value!r}.", expected=expected, got=repr(value))


def _size_text(image: Image) -> str:
    return f"{image.shape[1]} x {image.shape[0]} pixels"


def _too_short(file: Path, end: Fraction, begin: Fraction, rate: Fraction, frames: int) -> VideoError:
    span = (frames - 1) / rate
    fits = max(0, -((begin - end) * rate // 1))
    if begin >= end:
        return VideoError(
            f"The start at {float(begin):g} s lies beyond the end of {file.name}.",
            expected=f"a start below {_seconds_below(end)} s",
            got=f"{float(begin):g} s",
            remedy=f"Start at {_seconds_below(max(Fraction(0), end - span))} s or earlier.",
        )
    ways = [f"Ask for at most {fits} frames ({(fits - 1) // 4 * 4 + 1} where it must be 4n + 1)"]
    if end > span:
        ways.append(f"start at {_seconds_below(end - span)} s or earlier")
    ways.append('or take short="hold" (stay on the last frame) or "loop"')
    return VideoError(
        f"{file.name} is too short: it lasts {float(end):.2f} s.",
        expected=f"{frames} frames at {float(rate):g} a second from {float(begin):g} s on, the last at "
        f"{float(begin + span):.2f} s",
        got=f"{fits} frames",
        remedy=", ".join(ways) + ".",
    )


def _seconds_below(value: Fraction) -> str:
    """The largest number of milliseconds below ``value``, in seconds; 0 when there is none."""
    milliseconds = max(0, -(-value * 1000 // 1) - 1)
    return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")

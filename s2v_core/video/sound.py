"""The sound that belongs to a piece of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Interrupted, VideoError
from .animation import animation_kind
from .decode import _decoded, _open, _video_stream

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

    _Part = tuple[int, np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class Sound:
    """``samples``: float32 [channels, samples] from -1 to 1, one or two channels; ``rate``: samples a second."""

    samples: np.ndarray[Any, np.dtype[np.float32]]
    rate: int

    def piece(self, start: Fraction, seconds: Fraction) -> Sound:
        """The samples from ``start`` on, silence where there are none."""
        first, count = round(start * self.rate), round(seconds * self.rate)
        found = np.zeros((self.samples.shape[0], count), np.float32)
        part = self.samples[:, first : first + count]
        found[:, : part.shape[1]] = part
        return Sound(found, self.rate)


def read_sound(
    path: str | Path,
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Sound | None:
    """The sound of a video from ``start`` on, or None where the file has none.

    ``start``: seconds since the file's first frame, as in ``read_clip``, whose pictures it goes with. ``seconds``: how
    long, with silence where the file has no sound; None for all to its end. More than two channels are mixed down to
    two. Raises ``VideoError`` for a file that is no video or whose sound is damaged, and ``Interrupted``.
    """
    import av

    file = Path(path)
    if animation_kind(file):
        return None
    with _open(file) as container:
        video = _video_stream(container, file)
        origin = next((moment for moment, _ in _decoded(container, video, file)), Fraction(0))
        stream = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
        if stream is None:
            return None
        begin, rate = origin + start, int(stream.codec_context.sample_rate)
        layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        count = None if seconds is None else round(seconds * rate)
        try:
            parts: list[_Part] = []
            for back in (1, None):  # seconds before the piece from which to decode, None for the file's beginning
                container.seek(0 if back is None else max(0, int((begin - back) * 1_000_000)))
                parts = list(_decode(container, stream, begin, (rate, layout, count), should_stop))
                # A seek finds the next packet; a long one before it may hold the piece's beginning.
                if parts and parts[0][0] <= 0:
                    break
        except av.FFmpegError as error:
            raise VideoError(
                f"The sound of {file.name} cannot be read.",
                expected="a sound track that decodes without errors",
                got=error.strerror or str(error),
                remedy="Copy or download the file again, or save it without its sound.",
            ) from error
    return Sound(_joined(parts, count, 1 if layout == "mono" else 2), rate)


def _decode(
    container: InputContainer,
    stream: AudioStream,
    begin: Fraction,
    form: tuple[int, str, int | None],
    should_stop: Callable[[], bool] | None,
) -> Iterator[_Part]:
    """Samples with their place, counted from ``begin``. ``form``: rate, layout, and the place at which to stop."""
    import av

    rate, layout, count = form
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    for frame in container.decode(stream):
        if should_stop and should_stop():
            raise Interrupted("Stopped while the sound was read.")
        if frame.pts is None or frame.time_base is None:
            continue
        at = round((frame.pts * frame.time_base - begin) * rate)
        if count is not None and at >= count:
            return
        frame.pts = None  # the resampler would otherwise fill gaps by itself
        for made in resampler.resample(frame):
            samples = made.to_ndarray()
            yield at, samples
            at += samples.shape[1]


def _joined(parts: list[_Part], count: int | None, channels: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The samples at their places; what lies before the first place is cut off."""
    if count is None:
        count = max((at + samples.shape[1] for at, samples in parts), default=0)
    found = np.zeros((channels, max(0, count)), np.float32)
    for at, samples in parts:
        skipped = max(0, -at)
        part = samples[:, skipped : max(skipped, count - at)]
        found[:, at + skipped : at + skipped + part.shape[1]] = part
    return found

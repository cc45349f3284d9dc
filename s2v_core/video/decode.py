"""Frames out of files, one after the other, each with the second at which it is shown."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import VideoError
from .animation import animation_kind, animation_pictures, head_of
from .color import Turn, picture_of, turn_of, warn_if_hdr
from .ffv1 import checksums_hold, has_checksums
from .fit import Image

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Nearer than this to the beginning, decoding on is as quick as seeking.
_SEEK_FROM = Fraction(1)
# How many seconds before the start to look for a keyframe, one attempt after the other. An index may count decoding
# times, so that the keyframe found first can lie after the start.
_SEEK_BACK = (0, 1, 4, 16)
# A frame later than promised by this many seconds is worth a warning: Matroska drops damaged parts without a word.
_GAP = Fraction(1, 10)
# GIF counts in hundredths of a second.
_STEP = Fraction(1, 100)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One frame. ``time`` and ``end``: seconds since the file's first frame. ``picture()``: RGB uint8 [H, W, 3].

    ``picture(shrink=...)`` may come out smaller, see ``color.picture_of``.
    """

    time: Fraction
    end: Fraction
    picture: Callable[..., Image]


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of its video.

    ``width``, ``height``: pixels as shown, after rotation. ``fps``: the mean rate. ``duration``: seconds, and
    ``frames``: their number; both None where the file does not say. ``rotation``: degrees that the stored picture is
    turned clockwise to be shown (0, 90, 180, 270).
    """

    width: int
    height: int
    fps: Fraction
    duration: Fraction | None
    frames: int | None
    rotation: int
    codec: str


def frames_from(path: Path, start: Fraction) -> Iterator[Frame]:
    """The frames of a video file in the order of their times, from the one shown at ``start`` (or earlier) on.

    Raises ``VideoError`` when the file is not a video, is damaged, or breaks off.
    """
    return _animation_frames(path) if animation_kind(path) else _av_frames(path, start)


def info_of(path: Path) -> VideoInfo:
    """``VideoInfo`` of a video file, from its header and first frame."""
    if kind := animation_kind(path):
        stored = [(end, picture.shape) for _, end, picture in animation_pictures(path)]
        duration, (height, width, _) = stored[-1]
        return VideoInfo(width, height, len(stored) / duration, duration, len(stored), 0, kind)
    with _open(path) as container:
        stream = _video_stream(container, path)
        fps = stream.average_rate or stream.guessed_rate or Fraction(0)
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise _no_frame(path)
        origin, frame = first
        height, width = picture_of(frame, path.name, _aspect(stream)).shape[:2]
        length = _declared(container, stream, origin)
        if length is None and container.duration:
            length = Fraction(container.duration, 1_000_000)
        frames = stream.frames or (round(length * fps) if length else None)
        return VideoInfo(width, height, fps, length, frames, -frame.rotation % 360, stream.codec_context.name)


def _av_frames(path: Path, start: Fraction) -> Iterator[Frame]:
    with _open(path) as container:
        stream = _video_stream(container, path)
        decoded = _decoded(container, stream, path)
        first = next(decoded, None)
        if first is None:
            raise _no_frame(path)
        origin = first[0]
        warn_if_hdr(first[1], path.name)
        turn = turn_of(first[1])
        shown: Iterator[tuple[Fraction, av.VideoFrame]] | None = itertools.chain([first], decoded)
        if start > _SEEK_FROM:
            shown = _sought(container, stream, path, origin + start)
        if shown is not None:
            yield from _timed(container, stream, path, origin, shown, turn)
            return
    # A file that cannot be searched is read from its beginning.
    yield from _av_frames(path, Fraction(0))


def _timed(
    container: InputContainer,
    stream: VideoStream,
    path: Path,
    origin: Fraction,
    shown: Iterator[tuple[Fraction, av.VideoFrame]],
    turn: Turn,
) -> Iterator[Frame]:
    from av.video.reformatter import VideoReformatter

    base, aspect, converter = _time_base(stream), _aspect(stream), VideoReformatter()
    interval = 1 / (stream.average_rate or Fraction(25))
    last: Frame | None = None
    promised: Fraction | None = None
    gap = False
    for moment, frame in shown:
        time = moment - origin
        if last is not None:
            if time < last.time:
                raise VideoError(
                    f"The times of the frames in {path.name} run backwards at {float(last.time):.2f} s.",
                    got=f"a frame at {float(time):.3f} s after one at {float(last.time):.3f} s",
                    remedy=f"Encode it anew, for example: ffmpeg -i {path.name} -fps_mode vfr new.mp4",
                )
            if not gap and promised and time - last.end > max(2 * promised, _GAP):
                gap = True
                _log.warning(
                    "%s has no frames from %.2f to %.2f s: the nearest ones are taken. Was it damaged or edited there?",
                    path.name,
                    last.end,
                    time,
                )
            interval = time - last.time or interval
        promised = frame.duration * base if frame.duration else None
        duration = promised or interval
        last = Frame(
            time, time + duration, functools.partial(picture_of, frame, path.name, aspect, converter, turn=turn)
        )
        yield last
    declared = _declared(container, stream, origin)
    if last is not None and declared is not None and declared - last.end > max(2 * interval, Fraction(1, 10)):
        raise _cut_off(path, last.end, declared)


def _sought(
    container: InputContainer, stream: VideoStream, path: Path, target: Fraction
) -> Iterator[tuple[Fraction, av.VideoFrame]] | None:
    """Decode from the last usable keyframe at or before ``target``; None when there is no way to find it."""
    import av

    base = _time_base(stream)
    for back in _SEEK_BACK:
        if back > target:
            return None
        try:
            container.seek(int((target - back) / base), stream=stream)
        except av.FFmpegError:
            return None
        decoded = _decoded(container, stream, path, from_keyframe=True)
        first = next(decoded, None)
        if first is not None and first[0] <= target:
            return itertools.chain([first], decoded)
    return None


def _decoded(
    container: InputContainer, stream: VideoStream, path: Path, from_keyframe: bool = False
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """(seconds on the stream's clock, frame) in the order of showing. Damage is an error, never a patched-up picture.

    ``from_keyframe`` drops what comes before the first keyframe: after a seek those frames lack what they refer to.
    """
    import av

    base = _time_base(stream)
    bad: Fraction | None = None
    moment = Fraction(0)
    waiting = from_keyframe
    ffv1 = stream.codec_context.name == "ffv1"
    checked: bool | None = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            if ffv1 and packet.size and checked is None:
                checked = has_checksums(bytes(packet))
            wrong = checked and packet.size and not checksums_hold(bytes(packet))
            if (packet.is_corrupt or wrong) and bad is None:
                at = packet.pts if packet.pts is not None else packet.dts
                bad = moment if at is None else at * base
            frames = packet.decode()
        except av.FFmpegError as error:
            raise _damage(container, stream, path, moment, error.strerror or str(error)) from error
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamp is None:
                raise VideoError(
                    f"The frames of {path.name} carry no times, so they cannot be placed.",
                    expected="a container with timestamps, such as mp4, mov, mkv or webm",
                    remedy=f"Put it into one: ffmpeg -i {path.name} -c copy new.mp4",
                )
            if waiting and not frame.key_frame:
                continue
            waiting = False
            moment = stamp * base
            if frame.is_corrupt or (bad is not None and moment >= bad):
                raise _damage(container, stream, path, moment, "the decoder met data that do not fit together")
            yield moment, frame
    if bad is not None:
        raise _damage(container, stream, path, moment, "the last packet is incomplete")


def _open(path: Path) -> InputContainer:
    import av

    try:
        # Only local files: a playlist in disguise must not reach out to the network.
        # Titles of old files are often not UTF-8.
        return av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except av.FFmpegError as error:
        if head_of(path)[4:8] == b"ftyp":
            raise VideoError(
                f"{path.name} is an incomplete MP4 or MOV file: its index (the 'moov' part) is missing.",
                expected="a file that was copied, downloaded or recorded to its end",
                got=f"{path.stat().st_size} bytes, no index",
                remedy="Copy or download it again; a recording that was cut off cannot be read without repair.",
            ) from error
        raise VideoError(
            f"{path.name} is not a video that can be read.",
            expected="a video file such as mp4, mov, mkv, webm, avi, gif or webp",
            got=f"a file of {path.stat().st_size} bytes of another or a damaged kind ({error.strerror})",
            remedy="Check that this is the right file and that it plays in a video player.",
        ) from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    from av.stream import Disposition

    # The cover picture of a music file counts as video for FFmpeg, not for anybody else.
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise VideoError(
                    f"The video in {path.name} is of a kind that cannot be decoded.",
                    expected="a codec that FFmpeg knows, such as H.264, HEVC, VP9 or AV1",
                    got="an unknown one",
                    remedy="Copy or download it again: the file may be damaged. Otherwise encode it anew.",
                )
            stream.thread_type = "AUTO"
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise VideoError(
        f"{path.name} holds no video.",
        expected="a file with a video stream",
        got=f"only {' and '.join(kinds)}" if kinds else "no streams at all",
        remedy="Choose the file with the picture; this one may be the sound track alone.",
    )


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 1000)


def _aspect(stream: VideoStream) -> Fraction | None:
    return stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or None


def _declared(container: InputContainer, stream: VideoStream, origin: Fraction) -> Fraction | None:
    """How many seconds of video the file's header promises, or None."""
    if stream.duration:
        return stream.duration * _time_base(stream)
    # Matroska and WebM: "00:00:06.251000000", counted from 0 instead of from the first frame.
    if text := stream.metadata.get("DURATION"):
        try:
            hours, minutes, seconds = text.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds.strip("\0 ")) - origin
        except ValueError:
            return None
    return None


def _damage(container: InputContainer, stream: VideoStream, path: Path, moment: Fraction, what: str) -> VideoError:
    """The error for data that cannot be decoded: cut off when nothing whole follows, otherwise damaged."""
    import av

    start = (stream.start_time or 0) * _time_base(stream)
    seconds = max(Fraction(0), moment - start)
    try:
        following = itertools.islice(container.demux(stream), 3)
        more = any(packet.size and not packet.is_corrupt for packet in following)
    except av.FFmpegError:
        more = False
    if not more:
        return _cut_off(path, seconds, _declared(container, stream, start))
    return VideoError(
        f"{path.name} is damaged at about {float(seconds):.2f} s.",
        expected="frames that decode without errors",
        got=what,
        remedy="Copy or download it again, or choose a part before or well after that second.",
    )


def _cut_off(path: Path, end: Fraction, declared: Fraction | None) -> VideoError:
    promised = f"{float(declared):.2f} s" if declared else "more"
    return VideoError(
        f"{path.name} breaks off after {float(end):.2f} s: the rest of the file is missing.",
        expected=f"{promised} of video, as its header says",
        got=f"{float(end):.2f} s",
        remedy="Copy or download it again, or choose a part that ends before it breaks off.",
    )


def _no_frame(path: Path) -> VideoError:
    return VideoError(
        f"{path.name} has a video stream without a single frame.",
        expected="at least one frame",
        remedy="Check that it plays in a video player; the recording may have been stopped at once.",
    )


def _animation_frames(path: Path) -> Iterator[Frame]:
    """A GIF or WebP as a player shows it: a long frame comes again and again, so that the nearest is the one shown."""
    for time, end, picture in animation_pictures(path):
        shown = functools.partial(_same, picture)
        steps = max(1, int((end - time) / _STEP))
        for step in range(steps):
            at = time + step * _STEP
            yield Frame(at, end if step == steps - 1 else at + _STEP, shown)


def _same(image: Image, shrink: object = None) -> Image:
    return image

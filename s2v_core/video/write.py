"""Write clips and pictures: the whole file appears at once, or nothing does."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from ..errors import Interrupted, VideoError
from ..files import atomic_path
from .bgr0 import BGR0, threads, to_bgr0
from .clip import Clip
from .color import BT709, CONVERSION, FULL, LIMITED
from .fit import Image, Size, check_image, check_size
from .metadata import Metadata, add_to_gif, add_to_webp, as_texts, png_info

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

QUALITY = 85
# The same number of threads everywhere: x264's bytes depend on it.
_THREADS = 4
# Rates are stored as two numbers; larger ones overflow the time bases of the containers.
_RATE_LIMIT = 1_000_000
_WEBP_LIMIT = 16383
_GIF_LIMIT = 65535
_WAYS = ".mp4 (H.264), .webp (animated, lossy or lossless), .gif (256 colours a frame) or .mkv (FFV1, lossless)"


@dataclass(frozen=True)
class _Form:
    """How one kind of file is encoded."""

    container: str
    container_options: dict[str, str]
    codec: str
    pixels: str
    options: dict[str, str]


def write_clip(
    clip: Clip,
    path: str | Path,
    *,
    lossless: bool = False,
    quality: int = QUALITY,
    metadata: Metadata | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write a clip; the suffix decides the form. See ``write_stream`` for the forms, values and errors."""
    return write_stream(
        clip.frames,
        clip.fps,
        (clip.width, clip.height),
        path,
        lossless=lossless,
        quality=quality,
        metadata=metadata,
        total=len(clip),
        on_progress=on_progress,
        should_stop=should_stop,
    )


def write_stream(
    frames: Iterable[Image],
    fps: int | Fraction,
    size: Size,
    path: str | Path,
    *,
    lossless: bool = False,
    quality: int = QUALITY,
    metadata: Metadata | None = None,
    total: int | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write pictures one after the other, so that they need not be in memory together, and return the path.

    ``frames``: RGB uint8 [H, W, 3], all of ``size`` (width, height). ``fps``: frames a second, exact. Forms by suffix:

    - ``.mp4``: H.264, yuv420p, converted and tagged as BT.709, index at the front. An odd width or height is padded by
      one row of repeated edge pixels, because yuv420p has none.
    - ``.webp``: animated, endless; times in whole milliseconds. Equal neighbours may be merged into one longer frame,
      and a clip whose frames are all equal becomes a still picture, which has no length.
    - ``.gif``: 256 colours a frame, endless; times in whole hundredths of a second.
    - ``.mkv``: FFV1 in RGB, always lossless; every slice carries a checksum. Times in whole milliseconds.

    ``lossless`` asks for a form that keeps every bit (.mkv or .webp). ``quality``: 1 (small) to 100 (good), without
    meaning for lossless forms and GIF. ``metadata``: JSON-ready values by key, which ``metadata.read_metadata`` gives
    back; ComfyUI's browser finds "workflow" and "prompt" in .mp4 and .webp. ``on_progress(done, total)`` after each
    frame. The same input gives the same bytes.

    The file appears under its name only when it is whole. Raises ``VideoError`` for a suffix, size, rate or frame that
    cannot be written and when the disk refuses; ``Interrupted`` when ``should_stop()`` says so. What ``frames`` raises
    comes through. Missing folders are made.
    """
    target = Path(path)
    width, height = check_size(size, "The size of the video")
    rate = Fraction(fps)
    if rate <= 0 or max(rate.numerator, rate.denominator) > _RATE_LIMIT:
        raise VideoError(
            f"{target.name} cannot be written at {float(rate):g} frames a second.",
            expected=f"a rate above 0 whose fraction has no number above {_RATE_LIMIT}",
            got=str(rate),
            remedy="Use a rate such as 16, 25 or 30000/1001.",
        )
    form = _form(target, lossless, quality, rate, (width, height))
    texts = as_texts(metadata or {})
    padded = (width + width % 2, height + height % 2) if form.pixels == "yuv420p" else (width, height)
    done = 0
    with _whole(target) as temporary, _Encoder(target, temporary, form, rate, padded, texts) as encoder:
        for picture in frames:
            if should_stop and should_stop():
                raise Interrupted
            encoder.add(_checked(picture, (width, height), done), done)
            done += 1
            if on_progress:
                on_progress(done, total)
        if not done:
            raise VideoError(f"{target.name} has no frames to write.", expected="at least one frame", got="none")
        encoder.finish()
        with _disk_errors(target):
            if metadata and form.container in _ADDED_LATER:
                _ADDED_LATER[form.container](temporary, metadata)
    return target


def write_png(image: Image, path: str | Path, metadata: Metadata | None = None) -> Path:
    """Write one RGB picture (uint8 [H, W, 3]) as PNG, whole or not at all, and return the path.

    ``metadata``: JSON-ready values by key, as text chunks.

    Raises ``VideoError`` for another array, another suffix, or when the disk refuses.
    """
    target = Path(path)
    check_image(image)
    if target.suffix.lower() != ".png":
        raise VideoError(f"The picture {target.name} cannot be written.", expected=".png", got=_suffix_text(target))
    with _whole(target) as temporary, _disk_errors(target):
        PIL.Image.fromarray(image).save(temporary, format="PNG", pnginfo=png_info(metadata or {}))
    return target


class _Encoder:
    """An open video file: ``add`` frames in order, then ``finish``. Left without ``finish``, the file is of no use."""

    def __init__(
        self, target: Path, file: Path, form: _Form, rate: Fraction, size: Size, texts: Mapping[str, str]
    ) -> None:
        self._target, self._file, self._form, self._rate, self._size = target, file, form, rate, size
        self._texts = texts
        self._palette: _Palette | None = None

    def __enter__(self) -> _Encoder:
        import av
        from av.video.reformatter import VideoReformatter

        form = self._form
        self._converter = VideoReformatter()  # one for all frames: a new one starts threads for each
        if form.codec not in av.codecs_available:
            raise VideoError(
                f"{self._target.name} cannot be written: this PyAV has no encoder {form.codec}.",
                expected=_WAYS,
                remedy="Choose another suffix, or install PyAV's own wheel: pip install --force-reinstall av",
            )
        with _disk_errors(self._target):
            self._container = av.open(
                str(self._file), "w", format=form.container, options={"fflags": "+bitexact", **form.container_options}
            )
        if form.container not in _ADDED_LATER:
            self._container.metadata.update(self._texts)
        try:
            self._stream = self._new_stream()
        except BaseException:
            self._container.close()
            raise
        return self

    def _new_stream(self) -> VideoStream:
        form = self._form
        stream: Any = self._container.add_stream(form.codec, rate=self._rate)
        stream.width, stream.height = self._size
        stream.pix_fmt = form.pixels
        stream.options = form.options
        stream.codec_context.time_base = 1 / self._rate
        stream.codec_context.thread_count = threads(*self._size) if form.codec == "ffv1" else _THREADS
        if form.pixels == "yuv420p":
            # Two seconds between keyframes: players can jump, and the file stays small.
            stream.codec_context.gop_size = max(1, round(2 * self._rate))
            stream.codec_context.color_range = LIMITED
            stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
            stream.codec_context.color_trc = BT709
        return stream

    def add(self, picture: Image, index: int) -> None:
        width, height = self._size
        if picture.shape[:2] != (height, width):
            missing = (height - picture.shape[0], width - picture.shape[1])
            picture = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        with _disk_errors(self._target):
            self._mux(self._converted(picture, index))

    def _converted(self, picture: Image, index: int) -> av.VideoFrame:
        import av

        if self._form.pixels == BGR0:
            frame = to_bgr0(picture)
        else:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        if self._form.pixels == "yuv420p":
            frame = self._converter.reformat(
                frame,
                format="yuv420p",
                src_colorspace=BT709,
                dst_colorspace=BT709,
                src_color_range=FULL,
                dst_color_range=LIMITED,
                interpolation=CONVERSION,
            )
            frame.colorspace, frame.color_range = BT709, LIMITED
        elif self._form.pixels == "pal8":
            self._palette = self._palette or _Palette(frame, self._rate)
            frame = self._palette.convert(frame, index)
        elif self._form.pixels != BGR0:
            frame = self._converter.reformat(frame, format=self._form.pixels)
        frame.pts, frame.time_base = index, 1 / self._rate
        return frame

    def finish(self) -> None:
        with _disk_errors(self._target):
            self._mux(None)
            self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        import av

        # After an error the file is thrown away; a second error from closing it must not hide the first.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()


class _Palette:
    """Gives each frame the 256 colours that suit it best, by FFmpeg's own filters."""

    def __init__(self, frame: av.VideoFrame, rate: Fraction) -> None:
        from av.filter import Graph

        self._rate = rate
        self._graph = Graph()
        source = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=1 / rate)
        split = self._graph.add("split")
        made = self._graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        # An ordered pattern stays where it is from frame to frame; error diffusion would crawl.
        used = self._graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")
        source.link_to(split)
        split.link_to(used, 0, 0)
        split.link_to(made, 1, 0)
        made.link_to(used, 0, 1)
        used.link_to(self._graph.add("buffersink"))
        self._graph.configure()

    def convert(self, frame: av.VideoFrame, index: int) -> av.VideoFrame:
        frame.pts, frame.time_base = index, 1 / self._rate
        self._graph.push(frame)
        made: Any = self._graph.pull()
        return made


# Their containers take no keys from FFmpeg.
_ADDED_LATER: dict[str, Callable[[Path, Metadata], None]] = {"webp": add_to_webp, "gif": add_to_gif}


def _form(target: Path, lossless: bool, quality: int, rate: Fraction, size: Size) -> _Form:
    if isinstance(quality, bool) or not isinstance(quality, (int, np.integer)) or not 1 <= quality <= 100:
        raise VideoError(
            f"The quality of {target.name} cannot be {quality!r}.",
            expected="a whole number from 1 (small file) to 100 (good picture)",
            got=repr(quality),
        )
    suffix = target.suffix.lower()
    if suffix == ".mp4" and not lossless:
        # Macroblock-tree rate control reads past small pictures on AVX-512 machines (x264 core 165), and then the same
        # frames give other bytes every time.
        options = {"preset": "medium", "crf": str(round(51 - 0.4 * quality)), "x264-params": "mbtree=0"}
        return _Form("mp4", {"movflags": "+faststart+use_metadata_tags"}, "libx264", "yuv420p", options)
    if suffix == ".mkv":
        # Four slices need at least two pixels a side.
        slices = "4" if min(size) > 1 else "1"
        return _Form("matroska", {}, "ffv1", BGR0, {"level": "3", "slicecrc": "1", "slices": slices, "g": "1"})
    if suffix == ".webp":
        if max(size) > _WEBP_LIMIT:
            raise VideoError(
                f"{target.name} is too large for WebP.",
                expected=f"at most {_WEBP_LIMIT} pixels a side",
                got=f"{size[0]} x {size[1]}",
                remedy="Make it smaller, or write .mp4.",
            )
        # In lossless mode the encoder's "quality" is its effort.
        options = {"lossless": str(int(lossless)), "quality": str(70 if lossless else quality)}
        return _Form("webp", {"loop": "0"}, "libwebp_anim", "bgra", {**options, "compression_level": "4"})
    if suffix == ".gif" and not lossless:
        if max(size) > _GIF_LIMIT:
            raise VideoError(
                f"{target.name} is too large for GIF.",
                expected=f"at most {_GIF_LIMIT} pixels a side",
                got=f"{size[0]} x {size[1]}",
                remedy="Make it smaller, or write .mp4.",
            )
        return _Form("gif", {"loop": "0"}, "gif", "pal8", {})
    if suffix in (".mp4", ".gif"):
        raise VideoError(
            f"{target.name} cannot be written without loss.",
            expected="a lossless form: .mkv (FFV1) or .webp",
            got=f"{suffix}, whose colours are reduced",
            remedy="Change the suffix to .mkv, or leave lossless off.",
        )
    raise VideoError(
        f"The video {target.name} cannot be written: its suffix is not known.",
        expected=_WAYS,
        got=_suffix_text(target),
        remedy="Change the suffix.",
    )


def _checked(picture: Image, size: Size, index: int) -> Image:
    check_image(picture, f"Frame {index}")
    if picture.shape[:2] != (size[1], size[0]):
        raise VideoError(
            f"Frame {index} has another size than the video.",
            expected=f"{size[0]} x {size[1]} pixels",
            got=f"{picture.shape[1]} x {picture.shape[0]}",
            remedy="Fit the frames to one size first.",
        )
    return picture


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """``atomic_path`` whose own errors name the file. What the block raises comes through unchanged."""
    inner: BaseException | None = None
    try:
        with atomic_path(target) as temporary:
            try:
                yield temporary
            except BaseException as error:
                inner = error
                raise
    except OSError as error:
        if error is inner:
            raise
        raise _unwritable(target, error) from error


@contextlib.contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    import av

    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError | av.FFmpegError) -> VideoError:
    remedies = {
        errno.ENOSPC: "Free some space on the disk or choose another folder.",
        errno.EDQUOT: "Free some of your disk quota or choose another folder.",
        errno.EFBIG: "Choose a folder on a disk that takes larger files, or a smaller size.",
        errno.EACCES: "Choose a folder that may be written.",
        errno.EROFS: "Choose a folder that may be written.",
        errno.ENOTDIR: "Choose a path whose parts are all folders.",
        errno.EEXIST: "Choose a path whose parts are all folders.",
    }
    return VideoError(
        f"{target} could not be written; nothing of it was kept.",
        expected="a folder that may be written, enough room, and a size that the encoder takes",
        got=error.strerror or str(error),
        remedy=remedies.get(error.errno or 0, "Choose another folder, size or suffix."),
    )


def _suffix_text(target: Path) -> str:
    return target.suffix or "no suffix"

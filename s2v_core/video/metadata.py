"""What a picture or video file says of itself: settings as JSON, and the graph that made it, where ComfyUI looks.

ComfyUI's browser reads ``workflow`` and ``prompt`` from text chunks of PNG, from metadata keys of MP4 (``mdta``) and
from EXIF strings ``key:JSON`` of WebP. GIF has a comment, which it does not read. All values are JSON in ASCII.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import VideoError
from .animation import animation_kind

# The key under which this project's own facts stand; ComfyUI's are "workflow" and "prompt".
OWN = "skeleton2video"
Metadata = Mapping[str, Any]
SUFFIXES = (".png", ".mp4", ".mkv", ".webp", ".gif")
# EXIF tags of type text, in the order in which ComfyUI's own WebP writer uses them: Model for the prompt, then Make
# and the tags below it.
_PROMPT_TAG, _FIRST_TAG = 0x0110, 0x010F
_VP8X_EXIF, _VP8X_ALPHA = 0x08, 0x10
# A comment of a GIF begins with this, so that it cannot be taken for another program's.
_GIF_HEAD = b"skeleton2video metadata "
_LARGEST_CHUNK = 64 << 20


def as_texts(metadata: Metadata) -> dict[str, str]:
    """Every value as JSON in ASCII: no container changes or loses such a text. Raises ``ValueError`` for NaN."""
    return {key: json.dumps(value, allow_nan=False) for key, value in metadata.items()}


def png_info(metadata: Metadata) -> Any:
    """The text chunks for Pillow's ``save(pnginfo=...)``."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in as_texts(metadata).items():
        info.add_text(key, text)
    return info


def add_to_webp(file: Path, metadata: Metadata) -> None:
    """Append an EXIF chunk to a WebP file that has none, in place. A still picture becomes an extended file.

    Raises ``VideoError`` for a file that is not WebP.
    """
    from PIL.Image import Exif

    exif = Exif()
    tag = _FIRST_TAG
    for key, text in as_texts(metadata).items():
        if key == "prompt":
            exif[_PROMPT_TAG] = f"prompt:{text}"
        else:
            exif[tag] = f"{key}:{text}"
            tag -= 1
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    with file.open("r+b") as stream:
        if _webp_kind(stream.read(16), file) == b"VP8X":
            stream.seek(20)
            flags = stream.read(1)[0]
            stream.seek(20)
            stream.write(bytes([flags | _VP8X_EXIF]))
        else:
            stream.seek(0)
            whole = stream.read()
            stream.seek(12)
            stream.write(_extended_header(file) + whole[12:])
        stream.seek(0, 2)
        stream.write(b"EXIF" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2))
        size = stream.tell()
        stream.seek(4)
        stream.write(struct.pack("<I", size - 8))


def add_to_gif(file: Path, metadata: Metadata) -> None:
    """Put a comment before the end of a GIF file, in place. Raises ``VideoError`` when it has no end."""
    body = _GIF_HEAD + json.dumps(as_texts(metadata)).encode("ascii")
    blocks = b"".join(bytes([len(part)]) + part for part in _parts(body, 255))
    with file.open("r+b") as stream:
        stream.seek(-1, 2)
        if stream.read(1) != b";":
            raise VideoError(f"{file.name} is not a whole GIF.", expected="a file that ends in its trailer byte")
        stream.seek(-1, 2)
        stream.write(b"\x21\xfe" + blocks + b"\0;")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a file carries, by key; values that are JSON are read, others stay texts. Empty when it carries nothing.

    Raises ``VideoError`` for a file that is missing, damaged, or of a kind that carries nothing.
    """
    file = Path(path)
    if not file.is_file():
        raise VideoError(f"There is no file {file}.", expected=f"a picture or video: {', '.join(SUFFIXES)}")
    try:
        texts = _texts(file)
    except (OSError, ValueError, struct.error, SyntaxError, EOFError) as error:
        raise VideoError(
            f"{file.name} cannot be read.",
            expected=f"a whole picture or video: {', '.join(SUFFIXES)}",
            got=str(error) or type(error).__name__,
        ) from error
    return {key: _value(text) for key, text in texts.items()}


def _texts(file: Path) -> dict[str, str]:
    import av

    kind = animation_kind(file)
    if kind == "webp":
        return dict(_webp_texts(file))
    if kind == "gif":
        return _gif_texts(file)
    with file.open("rb") as stream:
        if stream.read(8) == b"\x89PNG\r\n\x1a\n":
            from PIL import Image

            with Image.open(file) as image:
                # Reads the chunks after the picture too.
                image.load()
                return {key: text for key, text in getattr(image, "text", {}).items() if isinstance(text, str)}
    try:
        with av.open(str(file)) as container:
            # Matroska shows its keys in capital letters.
            own = file.suffix.lower() == ".mkv"
            return {key.lower() if own else key: text for key, text in container.metadata.items()}
    except av.error.FFmpegError as error:
        raise ValueError(str(error)) from error


def _webp_texts(file: Path) -> Iterator[tuple[str, str]]:
    from PIL.Image import Exif

    with file.open("rb") as stream:
        stream.seek(12)
        while len(head := stream.read(8)) == 8:
            name, size = head[:4], struct.unpack("<I", head[4:])[0]
            if name != b"EXIF":
                stream.seek(size + size % 2, 1)
                continue
            if size > _LARGEST_CHUNK:
                raise ValueError(f"an EXIF chunk of {size} bytes")
            exif = Exif()
            exif.load(stream.read(size))
            for value in exif.values():
                key, colon, text = value.partition(":") if isinstance(value, str) else ("", "", "")
                if colon:
                    yield key, text


def _gif_texts(file: Path) -> dict[str, str]:
    whole = file.read_bytes()
    start = whole.rfind(b"\x21\xfe")
    while start >= 0:
        at, body = start + 2, b""
        while at < len(whole) and (length := whole[at]):
            body += whole[at + 1 : at + 1 + length]
            at += 1 + length
        if body.startswith(_GIF_HEAD):
            found = json.loads(body.removeprefix(_GIF_HEAD))
            return {str(key): str(text) for key, text in found.items()}
        start = whole.rfind(b"\x21\xfe", 0, start)
    return {}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _webp_kind(head: bytes, file: Path) -> bytes:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        raise VideoError(f"{file.name} is not WebP.", expected="a file that begins with RIFF and WEBP")
    return head[12:16]


def _extended_header(file: Path) -> bytes:
    """A VP8X chunk for a still picture."""
    from PIL import Image

    with Image.open(file) as image:
        (width, height), alpha = image.size, image.mode == "RGBA"
    flags = _VP8X_EXIF | (_VP8X_ALPHA if alpha else 0)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + sides


def _parts(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]

"""Checksums of FFV1. FFmpeg's decoder meets a wrong one, patches the picture up and tells its caller nothing."""

from __future__ import annotations

import zlib

# RFC 9043, section 4.9: a slice ends with its size (3 bytes), a status byte and a CRC (4 bytes).
_FOOTER = 8
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def has_checksums(packet: bytes) -> bool:
    """Whether a packet consists of slices with a checksum each: their sizes lead back exactly to its beginning."""
    return _slices(packet) is not None


def checksums_hold(packet: bytes) -> bool:
    """Whether every slice of a packet with checksums is as the encoder wrote it."""
    slices = _slices(packet)
    return slices is not None and all(_remainder(piece) == 0 for piece in slices)


def _slices(packet: bytes) -> list[bytes] | None:
    found = []
    end = len(packet)
    while end > 0:
        if end <= _FOOTER:
            return None
        start = end - _FOOTER - int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big")
        if start < 0:
            return None
        found.append(packet[start:end])
        end = start
    return found or None


def _remainder(data: bytes) -> int:
    """CRC-32 with the highest bit first, begun at 0; over a slice with its CRC at the end it is 0.

    zlib counts from the lowest bit and begins at all ones: with every byte mirrored and both inversions taken back it
    is the same polynomial (the result would be mirrored, which does not matter for 0).
    """
    return zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF

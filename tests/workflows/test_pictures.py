"""Pictures are made small and carry nothing of the machine that made them."""

from __future__ import annotations

import io

import numpy as np
import pytest

from workflows.make.pictures import small_webp, without_metadata
from workflows.make.thumbnails import SIDE, _axis, _place, _table, _tiled


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def webp(exif: bytes = b"") -> bytes:
    from PIL import Image

    frames = [Image.fromarray(noise(17, 23) // number) for number in (1, 2, 3)]
    written = io.BytesIO()
    more = {"exif": exif} if exif else {}
    frames[0].save(written, "WEBP", save_all=True, append_images=frames[1:], duration=60, loop=0, lossless=True, **more)
    return written.getvalue()


def test_settings_are_taken_out_of_a_moving_picture_and_its_frames_stay() -> None:
    from PIL import Image, ImageSequence

    secret = b"Exif\0\0the path of a file"
    marked = webp(secret)
    assert b"the path of a file" in marked
    clean = without_metadata(marked)
    assert b"the path of a file" not in clean and len(clean) < len(marked)
    first, second = (
        [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]
        for data in (marked, clean)
    )
    assert len(first) == len(second) == 3
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert without_metadata(clean) == clean == without_metadata(webp())
    with pytest.raises(ValueError, match="no WebP"):
        without_metadata(b"RIFF0000PNG ")


def test_a_help_picture_is_as_large_as_its_bytes_allow() -> None:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(np.kron(noise(40, 30), np.ones((20, 20, 1), np.uint8))).save(written, "PNG")
    small = small_webp(written.getvalue(), most=9_000)
    assert len(small) <= 9_000 and Image.open(io.BytesIO(small)).width in (600, 480, 400, 320)
    with pytest.raises(ValueError, match="does not fit into 500 bytes"):
        small_webp(written.getvalue(), most=500)


def test_thumbnails_are_square_whatever_the_number_of_pictures() -> None:
    for count in (1, 2, 3, 6, 9, 16):
        assert _tiled([(noise(20, 30), f"guidance {number}") for number in range(count)]).size == (SIDE, SIDE)
    assert _table([noise(9, 9)] * 12, ["a", "b", "c"], ["1", "2", "3", "4"]).size == (SIDE, SIDE)


def test_stored_cells_find_their_place_on_an_axis() -> None:
    strengths = _axis(
        {"class_type": "Skeleton2Video_SweepAxis", "inputs": {"axis": "lora_strength", "values": "0, 1.5"}}
    )
    switch = _axis({"class_type": "Skeleton2Video_SweepAxis", "inputs": {"axis": "lora_on", "values": "base, lora"}})
    words = _axis({"class_type": "Skeleton2Video_PromptVariants", "inputs": {"variants": "detailed, identity"}})
    assert strengths and switch and words and _axis({"class_type": "PreviewAny", "inputs": {}}) is None
    assert (strengths[2], switch[2], words[2]) == (["LoRA 0", "LoRA 1.5"], ["base", "LoRA"], ["detailed", "identity"])
    with_lora = {"settings": {"loras": [{"strength": 1.5}]}, "prompt": {"variant": "identity"}}
    without = {"settings": {"loras": [{"strength": 0.0}]}, "prompt": {"variant": "motion"}}
    assert [_place(with_lora, axis) for axis in (strengths, switch, words)] == [1, 1, 1]
    assert [_place(without, axis) for axis in (strengths, switch, words)] == [0, 0, None]

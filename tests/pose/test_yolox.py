"""Decoding of YOLOX's answer on numbers made by hand; tests/pose/test_against_rtmlib.py compares it with a peer's."""

from __future__ import annotations

import numpy as np
import pytest

from s2v_core.pose import yolox


def answer(*people: tuple[int, float, float, float]) -> np.ndarray:
    """The net's output with people in cells: (cell, width, height, score), each centred on its cell's corner."""
    output = np.zeros((8400, 85), np.float32)
    for cell, width, height, score in people:
        stride = yolox.cells()[1][cell, 0]
        output[cell, 2:4] = np.log([width / stride, height / stride])
        output[cell, 4], output[cell, 5] = 1, score
    return output


def test_a_box_is_put_back_into_the_frame() -> None:
    cell = 20 * 80 + 40  # column 40, row 20, stride 8: the corner is (320, 160)
    (box,) = yolox.decode(answer((cell, 100, 200, 0.8)), ratio=0.5)
    assert box == pytest.approx([540, 120, 740, 520, 0.8])


def test_scores_and_overlaps() -> None:
    column, row = 40, 20
    at = row * 80 + column
    near, far = at + 1, at + 30
    found = yolox.decode(answer((at, 100, 200, 0.6), (near, 100, 200, 0.9), (far, 100, 200, 0.31)), 1.0)
    assert found[:, 4] == pytest.approx([0.9, 0.31])  # the 0.6 lies on the 0.9
    assert len(yolox.decode(answer((at, 100, 200, 0.3)), 1.0)) == 0
    assert len(yolox.decode(answer(), 1.0)) == 0


def test_a_box_without_end_or_without_width_is_nobody() -> None:
    output = answer((0, 100, 200, 0.8), (40 * 80 + 40, 100, 200, 0.7), (10 * 80, 0.5, 200, 0.9))
    output[0, 2] = 1000.0
    found = yolox.decode(output, 1.0)
    assert found[:, 4] == pytest.approx([0.7])


def test_the_letterbox_is_at_the_top_left() -> None:
    frame = np.full((100, 320, 3), 200, np.uint8)
    square, ratio = yolox.letterbox(frame)
    assert ratio == 2
    assert (square[:200] == 200).all()
    assert (square[200:] == 114).all()

import av
import numpy as np
import pytest

from s2v_core.video.bgr0 import BGR0, from_bgr0, to_bgr0


@pytest.mark.parametrize("size", [(1, 1), (9, 7), (96, 96), (150, 33), (832, 480)])
def test_as_swscale_does_and_back(size):
    width, height = size
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    frame = to_bgr0(picture)
    assert (frame.width, frame.height, frame.format.name) == (width, height, BGR0)
    np.testing.assert_array_equal(from_bgr0(frame), picture)
    np.testing.assert_array_equal(frame.reformat(format="rgb24").to_ndarray(), picture)
    theirs = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=BGR0)
    np.testing.assert_array_equal(from_bgr0(theirs), picture)


def test_a_part_of_a_picture_and_a_copy():
    whole = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    part = whole[3:20:2, 5:50:3]
    frame = to_bgr0(part)
    came = from_bgr0(frame)
    np.testing.assert_array_equal(came, part)
    came[:] = 0
    np.testing.assert_array_equal(from_bgr0(frame), part)

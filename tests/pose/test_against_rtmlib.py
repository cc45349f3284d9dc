"""Our YOLOX and RTMPose against rtmlib's, which was written by others, on the same nets with random weights.

rtmlib is only for tests, and is installed without its dependencies (it asks for two packages that both bring cv2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

rtmlib = pytest.importorskip("rtmlib", reason="NO PEER: run: python -m pip install --no-deps rtmlib")
pytest.importorskip("onnx", reason="NO ONNX WRITER: run: python -m pip install onnx")

from s2v_core.onnxnet import OnnxNet
from s2v_core.pose import yolox
from s2v_core.pose.rtmpose import crop, crop_box, find_points, to_openpose
from s2v_core.video.clip import Clip
from tests.pose.dwpose_graphs import DETECTOR, POSE, RtmPose, Yolox, randomise, write_detector, write_pose

SIZES = [(350, 175), (480, 832), (640, 640), (720, 1280), (99, 1001)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The true graphs at an eighth of their width; the detector is unsure enough to find hundreds of things."""
    folder = tmp_path_factory.mktemp("random")
    net = randomise(Yolox(0.125, prior=-1.0), 0)
    for conv in (*net.classes, *net.objects, *net.boxes):
        conv.weight.data *= 4
    for conv in net.boxes:
        conv.bias.data[2:] += 2  # boxes of many pixels, not of fractions
    return write_detector(folder / DETECTOR, net), write_pose(folder / POSE, randomise(RtmPose(0.125), 1))


def picture(height: int, width: int, clip: Clip) -> np.ndarray:
    """A real frame at this size."""
    import cv2

    return cv2.resize(clip.frames[20], (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_boxes(files: tuple[Path, Path], dancer_clip: Clip, size: tuple[int, int]) -> None:
    frame = picture(*size, dancer_clip)
    ours = yolox.detect(OnnxNet(files[0], "cpu"), frame)
    # Before or after the suppression makes no difference to a threshold: a box is only removed by a surer one.
    peer = rtmlib.YOLOX(str(files[0]), nms_thr=0.45, score_thr=0.3, det_mode="multiclass")
    boxes, kinds = peer(np.ascontiguousarray(frame[..., ::-1]))
    theirs = boxes[kinds == yolox.PERSON]
    theirs = theirs[(theirs[:, 2:] - theirs[:, :2] >= 1).all(axis=1)]  # smaller ones are nobody to us
    assert len(ours) == len(theirs) > 3
    assert np.abs(ours[:, :4] - theirs).max() < 0.5
    assert np.abs(ours[:, :4] - theirs).max() < 1e-3 * max(size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_points(files: tuple[Path, Path], dancer_clip: Clip, size: tuple[int, int]) -> None:
    height, width = size
    frame = picture(*size, dancer_clip)
    generator = np.random.default_rng(0)
    corner = generator.uniform(-0.1, 0.6, (12, 2)) * (width, height)
    boxes = np.concatenate([corner, corner + generator.uniform(0.1, 0.6, (12, 2)) * (width, height)], axis=1)
    net = OnnxNet(files[1], "cpu")
    ours, _ = find_points(net, [frame] * len(boxes), boxes)
    peer = rtmlib.RTMPose(str(files[1]), model_input_size=(288, 384))
    points, scores = peer(frame, list(boxes))
    theirs, _ = to_openpose(points.astype(np.float32), scores.astype(np.float32))
    sure = sure_points(net, frame, boxes)
    assert sure.mean() > 0.98
    assert np.abs(ours - theirs)[sure].max() < 0.5


def sure_points(net: OnnxNet, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Bool [N, 134]: points whose highest bins beat the next ones by more than rounding (a batch sums otherwise)."""
    outputs = net(np.stack([crop(frame, crop_box(box)) for box in boxes]))
    sure = np.ones((len(boxes), 133), bool)
    for output in outputs:
        second, first = np.moveaxis(np.partition(output, -2, axis=-1)[..., -2:], -1, 0)
        sure &= first - second > 1e-4 * output.std(axis=-1)
    numbers = np.repeat(np.arange(133.0)[None, :, None], len(boxes), axis=0).repeat(2, axis=2)
    index = to_openpose(numbers, np.ones_like(sure, dtype=float))[0][..., 0]
    neck = sure[:, 5] & sure[:, 6]
    found = np.take_along_axis(sure, np.floor(index).astype(int), axis=1)
    found[:, 1] = neck
    return found


def test_the_openpose_order_is_rtmlibs() -> None:
    from rtmlib.tools.pose_estimation.post_processings import convert_coco_to_openpose

    generator = np.random.default_rng(1)
    points = generator.uniform(0, 500, (3, 133, 2)).astype(np.float32)
    scores = generator.uniform(0.31, 1, (3, 133)).astype(np.float32)
    theirs, _ = convert_coco_to_openpose(points, scores)
    ours, _ = to_openpose(points, scores)
    assert np.allclose(ours, theirs)

"""A toy world for DWPose's walk over a clip: dancers are coloured rectangles, and two real ``.onnx`` nets see them.

The nets have the inputs and outputs of DWPose's files but no weights: the detector boxes what is red, green or blue,
the pose net puts its 133 points at known places in the rectangle of one colour nearest the crop's middle. So the truth
is known to a fraction of a pixel, and onnxruntime, letterbox, crops and decoding are the real ones. A rectangle with a
white stripe is one that the detector does not see and the pose net does.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from s2v_core.pose.rtmpose import to_openpose
from s2v_core.video.clip import Clip
from tests.pose.dwpose_graphs import DETECTOR, POSE, write_detector, write_pose

COLOURS = ((230, 0, 0), (0, 230, 0), (0, 0, 230))
GROUND = (40, 40, 40)


def places() -> torch.Tensor:
    """Where each of the 133 points lies in a dancer's rectangle: [133, 2] from 0 to 1."""
    generator = torch.Generator().manual_seed(3)
    spread = 0.1 + 0.8 * torch.rand((133, 2), generator=generator)
    spread[:4] = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    return spread


def masks(levels: torch.Tensor) -> torch.Tensor:
    """Which pixels are which dancer's: [N, 3, H, W] out of RGB levels 0 to 255 [N, 3, H, W]."""
    red, green, blue = levels[:, 0], levels[:, 1], levels[:, 2]
    found = [
        (one > 150) & (two < 90) & (three < 90)
        for one, two, three in ((red, green, blue), (green, red, blue), (blue, red, green))
    ]
    return torch.stack(found, dim=1)


def edges(mask: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last line of the pixels that are set, [N, 3] each; nonsense where none is."""
    line = mask.any(dim=axis)
    index = torch.arange(line.shape[-1], dtype=torch.float32)
    low = torch.where(line, index, torch.tensor(1e4)).amin(dim=-1)
    high = torch.where(line, index, torch.tensor(-1e4)).amax(dim=-1) + 1
    return low, high


class ToyDetector(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mask = masks(images.flip(1))  # BGR
        left, right = edges(mask, 2)
        top, bottom = edges(mask, 3)
        white = (images[:, :1] > 200) & (images[:, 1:2] > 200) & (images[:, 2:] > 200)
        columns, rows = torch.arange(640.0), torch.arange(640.0)
        inside = ((columns >= left[..., None]) & (columns < right[..., None]))[:, :, None, :] & (
            (rows >= top[..., None]) & (rows < bottom[..., None])
        )[..., None]
        striped = (inside & white).flatten(2).any(dim=-1)
        there = mask.flatten(2).any(dim=-1) & ~striped
        # The first three cells of the finest grid answer for the three colours.
        x = (left + right) / 2 / 8 - torch.tensor([0.0, 1.0, 2.0])
        y = (top + bottom) / 2 / 8
        size = torch.log(torch.stack([right - left, bottom - top], dim=-1).clamp(min=1) / 8)
        score = torch.where(there, torch.tensor(0.95), torch.tensor(0.0))[..., None]
        answer = torch.cat([x[..., None], y[..., None], size, score, score], dim=-1)
        answer = torch.where(there[..., None], answer, torch.zeros(1))
        zeros = torch.zeros(1, 3, 79)
        return torch.cat([torch.cat([answer, zeros], dim=-1), torch.zeros(1, 8397, 85)], dim=1)


class ToyPose(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", places())
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mask = masks(crops * self.std + self.mean)
        left, right = edges(mask, 2)
        top, bottom = edges(mask, 3)
        there = mask.flatten(2).any(dim=-1)
        away = ((left + right) / 2 - 144).abs() + ((top + bottom) / 2 - 192).abs()
        away = torch.where(there, away, torch.tensor(1e6))
        nearest = (away <= away.amin(dim=1, keepdim=True)).float()
        nearest = nearest / nearest.sum(dim=1, keepdim=True)

        def chosen(value: torch.Tensor) -> torch.Tensor:
            return (value * nearest).sum(dim=1)[:, None]

        x = chosen(left) + (chosen(right) - chosen(left)) * self.places[:, 0]
        y = chosen(top) + (chosen(bottom) - chosen(top)) * self.places[:, 1]
        score = torch.where(there.any(dim=1), torch.tensor(0.9), torch.tensor(0.01))[:, None, None]

        def bump(value: torch.Tensor, bins: int) -> torch.Tensor:
            return score * torch.exp(-((torch.arange(float(bins)) / 2 - value[..., None]) ** 2) / 8)

        return bump(x, 576), bump(y, 768)


def write_toys(folder: Path) -> None:
    write_detector(folder / DETECTOR, ToyDetector())
    write_pose(folder / POSE, ToyPose())


def paint(boxes: np.ndarray, size: tuple[int, int] = (240, 320), striped: np.ndarray | None = None) -> Clip:
    """A clip at 16 frames a second. ``boxes`` [T, people, 4], NaN: not there; later people are in front."""
    frames = np.full((len(boxes), *size, 3), GROUND, np.uint8)
    for index, people in enumerate(boxes):
        for person, box in enumerate(people):
            if np.isnan(box).any():
                continue
            left, top, right, bottom = np.round(box).astype(int)
            frames[index, max(0, top) : bottom, max(0, left) : right] = COLOURS[person]
            if striped is not None and striped[index, person]:
                row = (top + bottom) // 2
                frames[index, row : row + 6, max(0, left) + 4 : right - 4] = 255
    return Clip(frames, Fraction(16))


def truth(box: np.ndarray) -> np.ndarray:
    """The 134 points [134, 2] of the dancer in a box [4]."""
    box = np.round(box)
    points = box[:2] + places().numpy() * (box[2:] - box[:2])
    found: np.ndarray = to_openpose(points[None].astype(np.float32), np.ones((1, 133), np.float32))[0][0]
    return found

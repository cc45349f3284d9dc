"""A small net that finds the points of the toy world's dancers, also in pictures that a model made of them.

A U-net of 0.26M parameters for pictures of 96 x 96: a map of 48 x 48 cells for each of the 24 points of body and feet,
and beside each map one cell more for "not in the picture". Trained by ``training/pose.py`` on drawn scenes alone; with
other weights it reads points back from skeletons whose lines are too thin to be told apart by colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .body import KNOWN

SIDE = 96  # pixels of the picture that the net sees
CELL = 2  # pixels a cell of the maps
COUNT = KNOWN.stop - KNOWN.start
_WIDTHS = (12, 16, 24, 40, 56)
_AROUND = 2  # cells around the highest one whose mean is the point

Array = np.ndarray[Any, Any]


class PoseNet(nn.Module):
    """Pictures [N, 3, 96, 96], 0 to 1, to logits [N, 24, 48 * 48 + 1]; the last one is "not in the picture"."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = _WIDTHS
        self.fine = nn.Sequential(_conv(3, a, 2), _conv(a, b))
        self.middle = nn.Sequential(_conv(b, c, 2), _Block(c))
        self.coarse = nn.Sequential(_conv(c, d, 2), _Block(d), _Block(d))
        self.deep = nn.Sequential(_conv(d, e, 2), _Block(e), _Block(e))
        self.up_coarse, self.mix_coarse = nn.Conv2d(e, d, 1), _Block(d)
        self.up_middle, self.mix_middle = nn.Conv2d(d, c, 1), _Block(c)
        self.up_fine, self.mix_fine = nn.Conv2d(c, b, 1), _conv(b, c)
        self.maps = nn.Conv2d(c, COUNT, 1)
        self.absent = nn.Linear(e, COUNT)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See the class."""
        fine = self.fine(pictures * 4 - 2)
        half = self.middle(fine)
        quarter = self.coarse(half)
        deep = self.deep(quarter)
        x = self.mix_coarse(quarter + _twice(self.up_coarse(deep)))
        x = self.mix_middle(half + _twice(self.up_middle(x)))
        x = self.mix_fine(fine + _twice(self.up_fine(x)))
        return torch.cat([self.maps(x).flatten(2), self.absent(deep.mean((2, 3)))[..., None]], dim=2)


def decode(logits: torch.Tensor) -> tuple[Array, Array]:
    """Points float32 [N, 24, 2] in pixels of 96 x 96, and their scores [N, 24].

    A point is the mean of the cells around the highest one; its score is the share of belief that lies there.
    """
    cells = SIDE // CELL
    belief = logits.softmax(dim=2)[..., :-1].unflatten(2, (cells, cells)).numpy()
    flat = belief.reshape(*belief.shape[:2], -1).argmax(axis=2)
    rows, columns = np.divmod(flat, cells)
    padded = np.pad(belief, ((0, 0), (0, 0), (_AROUND, _AROUND), (_AROUND, _AROUND)))
    steps = np.arange(-_AROUND, _AROUND + 1)
    first, point = np.ogrid[: belief.shape[0], : belief.shape[1]]
    window = padded[
        first[..., None, None],
        point[..., None, None],
        (rows[..., None] + steps + _AROUND)[..., :, None],
        (columns[..., None] + steps + _AROUND)[..., None, :],
    ]
    mass = window.sum(axis=(2, 3))
    x = columns + (window.sum(axis=2) * steps).sum(axis=2) / mass
    y = rows + (window.sum(axis=3) * steps).sum(axis=2) / mass
    return ((np.stack([x, y], axis=-1) + 0.5) * CELL).astype(np.float32), mass.astype(np.float32)


def as_tensor(pictures: Array) -> torch.Tensor:
    """Pictures uint8 [N, 96, 96, 3] as the net takes them."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return tensor.contiguous(memory_format=torch.channels_last)


class _Block(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.other = _conv(width, width), _conv(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.other(self.one(x))
        return out


def _conv(of: int, to: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(of, to, 3, stride, 1, bias=False), nn.BatchNorm2d(to), nn.SiLU(inplace=True))


def _twice(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")

"""DWPose's two nets with random weights: the true graphs, so shapes, batches and times are those of the real files.

The real weights cannot be redistributed. YOLOX after Ge et al. 2021 (arXiv 2107.08430), RTMPose after Jiang et al. 2023
(arXiv 2303.07399) with CSPNeXt's backbone (arXiv 2212.07784); names and shapes of inputs and outputs are those of the
published files. Run this file to write both at full size: ``python tests/pose/dwpose_graphs.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

DETECTOR, POSE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"


class Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs, eps=1e-3), nn.SiLU())


class Bottleneck(nn.Module):
    """YOLOX's, or CSPNeXt's with a depthwise 5 x 5."""

    def __init__(self, width: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        after = [Conv(width, width, 5, 1, width), Conv(width, width)] if depthwise else [Conv(width, width, 3)]
        self.body = nn.Sequential(Conv(width, width, 3 if depthwise else 1), *after)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


class Csp(nn.Module):
    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True, attention: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.main, self.side, self.last = Conv(inputs, half), Conv(inputs, half), Conv(2 * half, outputs)
        self.blocks = nn.Sequential(*[Bottleneck(half, shortcut, attention) for _ in range(depth)])
        self.attention = nn.Conv2d(2 * half, 2 * half, 1) if attention else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.blocks(self.main(x)), self.side(x)], dim=1)
        if self.attention is not None:
            x = x * F.hardsigmoid(self.attention(x.mean((2, 3), keepdim=True)))
        return self.last(x)


class Pyramid(nn.Module):
    """Spatial pyramid pooling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = Conv(width, width // 2), Conv(width * 2, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(torch.cat([x] + [F.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13)], dim=1))


class Yolox(nn.Module):
    """YOLOX-l at ``width`` 1. ``answer`` [8400, 85] is added to what the random weights say."""

    def __init__(self, width: float = 1.0, answer: torch.Tensor | None = None, prior: float = -4.6) -> None:
        super().__init__()
        w = [int(channels * width) for channels in (64, 128, 256, 512, 1024)]
        self.stem = Conv(12, w[0], 3)
        self.dark2 = nn.Sequential(Conv(w[0], w[1], 3, 2), Csp(w[1], w[1], 3))
        self.dark3 = nn.Sequential(Conv(w[1], w[2], 3, 2), Csp(w[2], w[2], 9))
        self.dark4 = nn.Sequential(Conv(w[2], w[3], 3, 2), Csp(w[3], w[3], 9))
        self.dark5 = nn.Sequential(Conv(w[3], w[4], 3, 2), Pyramid(w[4]), Csp(w[4], w[4], 3, shortcut=False))
        self.lateral5, self.lateral4 = Conv(w[4], w[3]), Conv(w[3], w[2])
        self.up4, self.up3 = Csp(2 * w[3], w[3], 3, False), Csp(2 * w[2], w[2], 3, False)
        self.down3, self.down4 = Conv(w[2], w[2], 3, 2), Conv(w[3], w[3], 3, 2)
        self.out4, self.out5 = Csp(2 * w[2], w[3], 3, False), Csp(2 * w[3], w[4], 3, False)
        head = w[2]
        self.stems = nn.ModuleList(Conv(channels, head) for channels in w[2:])
        self.towers = nn.ModuleList(
            nn.Sequential(Conv(head, head, 3), Conv(head, head, 3)) for _ in range(2 * len(self.stems))
        )
        self.classes = nn.ModuleList(nn.Conv2d(head, 80, 1) for _ in self.stems)
        self.boxes = nn.ModuleList(nn.Conv2d(head, 4, 1) for _ in self.stems)
        self.objects = nn.ModuleList(nn.Conv2d(head, 1, 1) for _ in self.stems)
        for conv in (*self.classes, *self.objects):
            nn.init.constant_(conv.bias, prior)  # -4.6: a probability of 0.01, as YOLOX starts its training
        self.register_buffer("answer", answer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corners = [images[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        three = self.dark3(self.dark2(self.stem(torch.cat(corners, dim=1))))
        four = self.dark4(three)
        five = self.lateral5(self.dark5(four))
        middle = self.lateral4(self.up4(torch.cat([F.interpolate(five, scale_factor=2.0), four], dim=1)))
        three = self.up3(torch.cat([F.interpolate(middle, scale_factor=2.0), three], dim=1))
        four = self.out4(torch.cat([self.down3(three), middle], dim=1))
        five = self.out5(torch.cat([self.down4(four), five], dim=1))
        levels = []
        for index, x in enumerate((three, four, five)):
            x = self.stems[index](x)
            kinds, places = self.towers[2 * index](x), self.towers[2 * index + 1](x)
            scores = torch.cat([self.objects[index](places), self.classes[index](kinds)], dim=1).sigmoid()
            levels.append(torch.cat([self.boxes[index](places), scores], dim=1).flatten(2))
        output = torch.cat(levels, dim=2).transpose(1, 2)
        return output if self.answer is None else 0.01 * output.tanh() + self.answer


class RtmPose(nn.Module):
    """RTMPose-l for 133 points at 384 x 288. ``answer``: ([133, 576], [133, 768]), added to the random answer."""

    def __init__(self, width: float = 1.0, answer: tuple[torch.Tensor, torch.Tensor] | None = None) -> None:
        super().__init__()
        w = [int(channels * width) for channels in (64, 128, 256, 512, 1024)]
        layers: list[nn.Module] = [Conv(3, w[0] // 2, 3, 2), Conv(w[0] // 2, w[0] // 2, 3), Conv(w[0] // 2, w[0], 3)]
        for index, depth in enumerate((3, 6, 6, 3)):
            inputs, outputs = w[index], w[index + 1]
            layers += [Conv(inputs, outputs, 3, 2), *([Pyramid(outputs)] if index == 3 else [])]
            layers.append(Csp(outputs, outputs, depth, shortcut=index < 3, attention=True))
        self.backbone = nn.Sequential(*layers)
        self.final = nn.Conv2d(w[-1], 133, 7, padding=3)
        self.into, self.gates, self.out = nn.Linear(12 * 9, 256), nn.Linear(256, 2 * 512 + 128), nn.Linear(512, 256)
        self.scale = nn.Parameter(torch.ones(2, 128))
        self.columns, self.rows = nn.Linear(256, 576, bias=False), nn.Linear(256, 768, bias=False)
        self.register_buffer("answer_x", answer[0] if answer else None)
        self.register_buffer("answer_y", answer[1] if answer else None)

    @staticmethod
    def scaled(x: torch.Tensor) -> torch.Tensor:
        """RTMPose's ScaleNorm, whose learned factor is 1 here."""
        return x / (torch.linalg.norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5).clamp(min=1e-5)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.into(self.scaled(self.final(self.backbone(crops)).flatten(2)))
        gate, value, shared = F.silu(self.gates(self.scaled(x))).split((512, 512, 128), dim=-1)
        query, key = shared * self.scale[0], shared * self.scale[1]
        x = x + self.out(gate * (F.relu(query @ key.transpose(1, 2) / 128**0.5) ** 2 @ value))
        columns, rows = self.columns(x), self.rows(x)
        if self.answer_x is not None:
            columns, rows = 0.01 * columns.tanh() + self.answer_x, 0.01 * rows.tanh() + self.answer_y
        return columns, rows


def one_person() -> torch.Tensor:
    """An answer for ``Yolox``: one person of 250 x 520 in the middle of the 640 square."""
    answer = torch.zeros(8400, 85)
    cell = 40 * 80 + 40  # column 40, row 40 of the grid of 80 x 80 with a stride of 8
    answer[cell, 2:4] = torch.log(torch.tensor([250.0, 520.0]) / 8)
    answer[cell, 4], answer[cell, 5] = 0.9, 0.9
    return answer


def standing() -> tuple[torch.Tensor, torch.Tensor]:
    """An answer for ``RtmPose``: sure points, spread over the middle 80% of the crop."""
    generator = torch.Generator().manual_seed(0)
    place = 0.1 + 0.8 * torch.rand((133, 2), generator=generator)
    place[:4] = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    x, y = torch.zeros(133, 576), torch.zeros(133, 768)
    x[torch.arange(133), (place[:, 0] * 575).round().long()] = 0.9
    y[torch.arange(133), (place[:, 1] * 767).round().long()] = 0.9
    return x, y


def randomise(net: nn.Module, seed: int) -> nn.Module:
    """Seeded weights, and normalisations that were fitted to noise: signals keep a size of 1 all the way."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.named_parameters():
        if value.ndim >= 2 and name != "scale":
            value.data = torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the plain average of what is seen
    noise = torch.rand((1, 3, 640, 640), generator=generator) * 255
    if isinstance(net, RtmPose):
        noise = torch.randn((4, 3, 384, 288), generator=generator)
    with torch.no_grad():
        net.train()(noise)
    return net.eval()


def export(net: nn.Module, path: Path, shape: tuple[int, ...], inputs: str, outputs: list[str], batch: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    axes: dict[str, Any] = {name: {0: "batch"} for name in (inputs, *outputs)} if batch else {}
    with torch.no_grad():
        torch.onnx.export(
            net, (torch.rand(shape),), str(path), input_names=[inputs], output_names=outputs, dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )  # fmt: skip
    return path


def write_detector(path: Path, net: nn.Module) -> Path:
    return export(net, path, (1, 3, 640, 640), "images", ["output"], batch=False)


def write_pose(path: Path, net: nn.Module) -> Path:
    return export(net, path, (1, 3, 384, 288), "input", ["simcc_x", "simcc_y"], batch=True)


def write_both(folder: Path, width: float = 1.0, seed: int = 0) -> tuple[Path, Path]:
    """Both graphs, which find one person wherever they look."""
    detector = write_detector(folder / DETECTOR, randomise(Yolox(width, one_person()), seed))
    return detector, write_pose(folder / POSE, randomise(RtmPose(width, standing()), seed + 1))


if __name__ == "__main__":
    for written in write_both(Path(sys.argv[1])):
        print(written, f"{written.stat().st_size:,} bytes")

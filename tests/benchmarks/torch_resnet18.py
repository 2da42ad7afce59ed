"""ResNet-18 in torch, as torchvision builds it: a factory without downloaded weights, and a short training on drawn textures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

CLASSES = ("red bars", "red rings", "green bars", "green rings", "blue bars", "blue rings")
SIDE, TRAINED_SIDE = 224, 64  # pixels; it is trained on smaller pictures, which takes seconds instead of minutes


class Block(nn.Module):
    """Two convolutions, and the way past them."""

    def __init__(self, width: int, to: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, to, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(to)
        self.conv2 = nn.Conv2d(to, to, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(to)
        past = nn.Sequential(nn.Conv2d(width, to, 1, stride, bias=False), nn.BatchNorm2d(to))
        self.downsample = past if stride > 1 or width != to else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, to, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + self.downsample(x))


def resnet18() -> nn.Module:
    """11.2 million parameters, for pictures of any size."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for to, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(width, to, stride), Block(to, to, 1)]
        width = to
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, len(CLASSES)))


def textures(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars or rings in one of three colours on noise: (N, side, side, 3) uint8, and the classes' names."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(CLASSES), count)
    down, across = np.mgrid[:side, :side] / side
    images = np.empty((count, side, side, 3), np.uint8)
    for place, kind in enumerate(kinds.tolist()):
        turn, phase, waves = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(5, 9)
        bars = across * np.cos(turn) + down * np.sin(turn)
        rings = np.hypot(across - rng.uniform(0.2, 0.8), down - rng.uniform(0.2, 0.8))
        drawn = np.sin(2 * np.pi * waves * (rings if kind % 2 else bars) + phase)
        picture = rng.normal(70, 25, (side, side, 3)) + 20 * drawn[:, :, None]
        picture[:, :, kind // 2] += 60 + 60 * drawn
        images[place] = picture.clip(0, 255)
    return images, np.array(CLASSES)[kinds]


def write_resnet18_spec(folder: Path, steps: int = 60) -> Path:
    """Train it for so many steps of 16 pictures, and write its weights and its spec: the spec's path."""
    torch.manual_seed(0)
    module = resnet18().train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3)
    images, names = textures(16 * steps, TRAINED_SIDE, 0)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    y = torch.tensor([CLASSES.index(name) for name in names])
    for rows in torch.arange(len(x)).split(16):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
        optimiser.step()
    torch.save(module.state_dict(), folder / "weights.pt")
    lines = [
        *("[model]", 'factory = "torch_resnet18:resnet18"', 'weights = "weights.pt"', f"classes = {list(CLASSES)}".replace("'", '"')),
        *("[input]", f"size = [{SIDE}, {SIDE}]", 'mode = "RGB"', f"scale = {1 / 255}"),
    ]
    (folder / "model.toml").write_text("\n".join(lines), "utf-8")
    return folder / "model.toml"

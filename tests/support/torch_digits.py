"""A small convolutional torch model, really trained on the digits 0 to 7, as an exported program beside its spec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES = [str(digit) for digit in range(8)]


def write_torch_digits(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Train it on (N, 8, 8) uint8 images and export it: the path of its spec."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 8),
    )  # fmt: skip
    x = torch.from_numpy(images[:, None].astype(np.float32) / 255)
    y = torch.from_numpy(labels.astype(int))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        for rows in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimiser.step()
    program = torch.export.export(module.eval(), (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    folder.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, folder / "model.pt2")
    lines = [
        *("[model]", 'file = "model.pt2"', f"classes = {json.dumps(CLASSES)}"),
        *("[input]", "size = [8, 8]", 'mode = "L"', f"scale = {1 / 255}"),
    ]
    (folder / "model.toml").write_text("\n".join(lines), "utf-8")
    return folder / "model.toml"

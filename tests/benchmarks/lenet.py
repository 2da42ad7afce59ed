"""Networks trained on MNIST for the diagnosis benchmark, and what their layers make of the test images.

Two sets, as in Mehta et al., 2020: all ten digits through LeNet-5 with batch normalisation after every layer and 84 latent values; and,
for their galaxies, two classes that overlap, of 2,118 images with 64 latent values: 9 against 4 and 7 together, lopsided as theirs is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from annotriage.diagnosis.view import View

PAIR_IMAGES, PAIR_TRAINED = 2118, 6_000  # as many test images as the paper; so many to train on that about 1 in 100 is wrong


@dataclass(frozen=True)
class World:
    """N test images through a network: the activations of all its layers (N, d) each, unpooled, and the view of the last hidden one."""

    name: str
    layers: tuple[np.ndarray, ...]
    view: View


def mnist_world(file: Path, epochs: int = 1) -> World:
    """MNIST's 10,000 test images through LeNet-5. file: an .npz with x_train, y_train, x_test, y_test."""
    train_x, train_y, test_x, test_y = _read(file)
    return _world("MNIST", network((6, 16), (120, 84), 10), train_x, train_y, test_x, test_y, epochs)


def pair_world(file: Path, epochs: int = 5) -> World:
    """2,118 test images of 4 and 7 (one class) and 9 (the other)."""
    train_x, train_y, test_x, test_y = _read(file)
    rng = np.random.default_rng(0)
    train, test = (rng.permutation(np.flatnonzero(np.isin(labels, (4, 7, 9)))) for labels in (train_y, test_y))
    train, test = train[:PAIR_TRAINED], test[:PAIR_IMAGES]
    model = network((8, 16), (64,), 2)
    return _world(
        "two overlapping classes", model, train_x[train], (train_y[train] == 9) * 1, test_x[test], (test_y[test] == 9) * 1, epochs
    )


def network(maps: tuple[int, int], dense: tuple[int, ...], classes: int) -> nn.Sequential:
    """LeNet-5's shape, each block one layer of activations: two convolutions, dense layers, logits."""
    torch.manual_seed(0)
    blocks: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(1, maps[0], 5, padding=2), nn.BatchNorm2d(maps[0]), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(maps[0], maps[1], 5), nn.BatchNorm2d(maps[1]), nn.ReLU()),
    ]
    width = maps[1] * 25
    before: list[nn.Module] = [nn.MaxPool2d(2), nn.Flatten()]
    for to in dense:
        blocks.append(nn.Sequential(*before, nn.Linear(width, to), nn.BatchNorm1d(to), nn.ReLU()))
        width, before = to, []
    return nn.Sequential(*blocks, nn.Linear(width, classes))


def _world(
    name: str, model: nn.Sequential, train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, epochs: int
) -> World:
    images, labels = _tensor(train_x), torch.from_numpy(train_y.astype(np.int64))
    steps = epochs * (len(images) // 128)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    order = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=order)[: len(images) // 128 * 128].split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
            schedule.step()
    model.eval()
    layers: list[list[np.ndarray]] = [[] for _ in model]
    with torch.no_grad():
        for batch in _tensor(test_x).split(500):
            for place, block in enumerate(model):
                batch = block(batch)
                layers[place].append(batch.flatten(1).numpy())
    whole = tuple(np.concatenate(parts) for parts in layers)
    return World(name, whole, View(whole[-2], whole[-1].argmax(axis=1), test_y.astype(np.intp), whole[-1].shape[1]))


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((images[:, None].astype(np.float32) / 255 - 0.1307) / 0.3081)


def _read(file: Path) -> tuple[np.ndarray, ...]:
    with np.load(file) as arrays:
        return tuple(arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))

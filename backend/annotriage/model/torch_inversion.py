"""Feature inversion: images made so that a layer of a torch model answers them as it answers, on average, the items of a cell.

An image is a spectrum whose frequencies are scaled so that none is larger by itself, in colours that vary as those of real pictures do.
Each step moves, scales and turns it a little at random, so that what comes out is no pattern that only one position of pixels has.
Sources: Olah et al., Feature Visualization, Distill, 2017 (parametrisation, transformations); Carter et al., Activation Atlases, Distill,
2019 (the objective: dot product times a power of the cosine).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from annotriage.errors import ModelError
from annotriage.model.spec import InputSpec
from annotriage.model.torch_model import TorchModel
from annotriage.model.types import Array

STEPS = 160  # more make the images crisper, and take longer
RATE = 0.06  # of Adam
POWER = 2.0  # of the cosine: larger ones care more for the direction and less for how strong the activation is
TURN, ZOOM, SHIFT = 8.0, 0.1, 1 / 16  # degrees, share, and share of the side by which an image is moved at random
START = 0.02  # how strong the spectrum is at first
LEAST_COSINE = 0.1
RANGE = 0.98  # of brightness, so that white and black can be reached


@dataclass(frozen=True)
class Colours:
    """How the pixels of real pictures are spread. mean: (C,) in [0, 1]. spread: (C, C), a root of their covariance."""

    mean: Array
    spread: Array


@dataclass(frozen=True)
class Inverted:
    """k images. pixels: (k, H, W, C) uint8. cosine: (k,) of each image's activation with the direction asked for; 1 is best."""

    pixels: NDArray[np.uint8]
    cosine: Array


def colours_of(pixels: Array) -> Colours:
    """The colours of pixels, (n, C) from 0 to 255."""
    values = np.asarray(pixels, dtype=np.float64) / 255
    covariance = np.atleast_2d(np.cov(values.T)) + 1e-4 * np.eye(values.shape[1])
    sizes, axes = np.linalg.eigh(covariance)
    return Colours(values.mean(axis=0), axes * np.sqrt(sizes) / math.sqrt(sizes.max()))


def invert(
    model: TorchModel,
    place: int,
    directions: Array,
    middle: Array,
    colours: Colours,
    seed: int,
    steps: int = STEPS,
    stepped: Callable[[int], None] = lambda step: None,
) -> Inverted:
    """Images along whose direction a layer answers.

    place: of the layer in `model.layers`. directions: (k, d) mean activations of cells, of a map the mean of each channel. middle: (d,)
    the mean of all items: directions are taken from there, since all activations have that in common. stepped: is told after each step
    how many are done; what it raises ends the work, since a step of a large network takes seconds.
    Raises ModelError if the model takes no images.
    """
    taken = model.spec.input
    if taken.kind != "image":
        raise ModelError(f"{model.spec.path}: takes rows of numbers; only of a model that looks at images can images be made")
    place_of = torch.device(model.device)
    goal = torch.from_numpy(np.asarray(directions - middle, dtype=np.float32)).to(place_of)
    away = torch.from_numpy(np.asarray(middle, dtype=np.float32)).to(place_of)
    length = goal.norm(dim=1).clamp_min(1e-6)
    generator = torch.Generator().manual_seed(seed)
    picture = _Picture(len(directions), taken, colours, generator, place_of)
    optimiser = torch.optim.Adam([picture.spectrum], lr=RATE)
    for step in range(steps):
        optimiser.zero_grad()
        seen = _along(model, place, _as_input(_moved(picture.pixels(), generator), taken)) - away
        dot = (seen * goal).sum(1) / length**2
        cosine = (seen * goal).sum(1) / (seen.norm(dim=1).clamp_min(1e-6) * length)
        loss = -(dot * cosine.clamp_min(LEAST_COSINE) ** POWER).sum()
        (picture.spectrum.grad,) = torch.autograd.grad(loss, picture.spectrum)
        optimiser.step()
        stepped(step + 1)
    with torch.no_grad():
        pixels = picture.pixels()
        made = (pixels * 255).round().clamp(0, 255)
        seen = _along(model, place, _as_input(made / 255, taken)) - away
        cosine = (seen * goal).sum(1) / (seen.norm(dim=1).clamp_min(1e-6) * length)
    return Inverted(made.permute(0, 2, 3, 1).byte().cpu().numpy(), cosine.cpu().numpy().astype(np.float64))


def bytes_of_one(model: TorchModel, place: int) -> int:
    """What is held of one image between the way forth and the way back: what images are made of at once is bounded by it."""
    return max(1, _held(model, place, 2) - _held(model, place, 1))  # the weights are held once


def _held(model: TorchModel, place: int, count: int) -> int:
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    taken = model.spec.input
    pixels = torch.full((count, taken.channels, *taken.size), 0.5, device=model.device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _along(model, place, _as_input(pixels, taken))
    return sum(sizes.values())


class _Picture:
    """k images as spectra."""

    def __init__(self, count: int, taken: InputSpec, colours: Colours, generator: torch.Generator, place: torch.device) -> None:
        height, width = taken.size
        rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        frequency = np.maximum(np.sqrt(rows**2 + columns**2), 1 / max(height, width))
        weight = (1 / frequency) * math.sqrt(height * width) / (1 / frequency).max()
        self._weight = torch.from_numpy(weight.astype(np.float32)).to(place)
        self._size = (height, width)
        start = torch.randn((count, taken.channels, *weight.shape, 2), generator=generator) * START
        self.spectrum = start.to(place).requires_grad_()
        mean = np.clip(colours.mean[: taken.channels], 0.02, 0.98)
        self._base = torch.from_numpy(np.log(mean / (1 - mean)).astype(np.float32)).to(place)[None, :, None, None]
        self._spread = torch.from_numpy(np.asarray(colours.spread, dtype=np.float32)).to(place)

    def pixels(self) -> Tensor:
        """(k, C, H, W) in (0, 1)."""
        waves = torch.fft.irfft2(torch.view_as_complex(self.spectrum) * self._weight, s=self._size, norm="ortho")
        coloured = torch.einsum("oc,kchw->kohw", self._spread, waves * math.sqrt(self._size[0] * self._size[1]) / 4)
        return (torch.sigmoid(self._base + coloured) - 0.5) / RANGE + 0.5


def _moved(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """The images, each turned, scaled and shifted at random."""
    count = len(pixels)
    turn, zoom, across, down = (2 * torch.rand(4, count, generator=generator) - 1).to(pixels.device)
    angle, factor = turn * math.radians(TURN), 1 + zoom * ZOOM
    cos, sin = torch.cos(angle) * factor, torch.sin(angle) * factor
    theta = torch.stack([torch.stack([cos, -sin, 2 * SHIFT * across], 1), torch.stack([sin, cos, 2 * SHIFT * down], 1)], 1)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def _as_input(pixels: Tensor, taken: InputSpec) -> Tensor:
    """Pixels in [0, 1] as the model takes them."""
    std = torch.tensor(taken.std or (1.0,), device=pixels.device)[None, :, None, None]
    mean = torch.tensor(taken.mean or (0.0,), device=pixels.device)[None, :, None, None]
    scaled = (pixels * 255 * taken.scale - mean) / std
    return scaled if taken.layout == "NCHW" else scaled.permute(0, 2, 3, 1)


def _along(model: TorchModel, place: int, inputs: Tensor) -> Tensor:
    """The layer's activation, (k, d), the mean over its places."""
    _, layer = model.traced(inputs, place)
    return layer.flatten(2).mean(2) if layer.ndim > 2 else layer

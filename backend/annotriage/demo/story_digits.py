"""Digits for the story of diversity: five classes to train on, and incoming sets at three levels of diversity.

As in the published example, one of the classes is what the others are not. scikit-learn's digits are real; the other source is
made from them: thicker strokes, tilted scans, slanted writing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[Any]

CLASSES = ("0", "1", "2", "3", "irrelevant")
MEMBERS = ((0,), (1,), (2,), (3,), (4, 5, 6))  # the digits of each class; 7, 8 and 9 are strangers
PER_CLASS = 100
INCOMING = 500
UNSEEN, NOISE = 280, 170  # of the most diverse set; the rest of it is known
ENLARGED = 16  # strokes are changed at this size, and shrunk again
TILT, SLANT = 7.0, 0.18  # degrees, and how far the top moves for each row


@dataclass(frozen=True)
class Level:
    """An incoming set. images: (500, 8, 8) uint8. labels: (500,) the true class, "" where it is none. what: in a few words."""

    name: str
    what: str
    images: Array
    labels: Array


@dataclass(frozen=True)
class StoryDigits:
    """train, held_out: images (N, 8, 8) uint8 and their classes (N,), 100 of each class and all that are left. levels: by diversity."""

    train: tuple[Array, Array]
    held_out: tuple[Array, Array]
    levels: tuple[Level, ...]


def story_digits(seed: int = 0) -> StoryDigits:
    """Draw the sets; the same seed gives the same ones. The first two levels hold the same digits, from two sources."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    rng = np.random.default_rng(seed)
    names = np.full(10, "", dtype="<U10")
    for name, members in zip(CLASSES, MEMBERS, strict=True):
        names[list(members)] = name
    labels = names[digits.target]
    train = np.concatenate([rng.permutation(np.flatnonzero(labels == name))[:PER_CLASS] for name in CLASSES])
    rest = rng.permutation(np.setdiff1d(np.flatnonzero(labels != ""), train))
    incoming, held_out = rest[:INCOMING], rest[INCOMING:]
    unseen = rng.permutation(np.flatnonzero(labels == ""))[:UNSEEN]
    noise = np.clip(rng.normal(80, 90, (NOISE, 8, 8)), 0, 255).astype(np.uint8)
    known = incoming[: INCOMING - UNSEEN - NOISE]
    foreign = np.concatenate([images[unseen], noise, images[known]])
    truth = np.concatenate([np.full(UNSEEN + NOISE, ""), labels[known]])
    return StoryDigits(
        (images[train], labels[train]),
        (images[held_out], labels[held_out]),
        (
            Level("low", "the same source, new images", images[incoming], labels[incoming]),
            Level("middle", "another source: thicker, tilted, slanted", from_another_source(images[incoming], rng), labels[incoming]),
            Level("high", "mostly foreign: other digits and noise", foreign, truth),
        ),
    )


def from_another_source(images: Array, rng: np.random.Generator) -> Array:
    """(N, 8, 8) uint8 digits as another source would give them: a third each with thicker strokes, tilted, slanted."""
    ways: tuple[Callable[[Image.Image, int], Image.Image], ...] = (_thicker, _tilted, _slanted)
    sides = rng.choice([-1, 1], len(images))
    changed = []
    for place, (image, side) in enumerate(zip(images, sides, strict=True)):
        large = Image.fromarray(np.kron(image, np.ones((ENLARGED, ENLARGED), dtype=np.uint8)))
        changed.append(np.asarray(ways[place % len(ways)](large, int(side)).resize(image.shape[::-1], Image.Resampling.BOX)))
    return np.stack(changed)


def _thicker(image: Image.Image, side: int) -> Image.Image:
    del side
    return image.filter(ImageFilter.MaxFilter(5))


def _tilted(image: Image.Image, side: int) -> Image.Image:
    return image.rotate(side * TILT, Image.Resampling.BILINEAR)


def _slanted(image: Image.Image, side: int) -> Image.Image:
    shift = side * SLANT
    moved = (1, shift, -shift * image.height / 2, 0, 1, 0)
    return image.transform(image.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR)

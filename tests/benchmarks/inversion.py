"""Faces that a network of ResNet-18's size makes on pictures of 224 x 224: seconds, memory beside the model's own, and how well they point.

.venv/bin/python tests/benchmarks/run.py --only inversion
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure, in_child, peak_memory, resident_memory

FACES = 4
MOST_MB = 1_500  # of a whole batch of faces, beside what the model takes to run


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows; `data` is not needed."""
    at_once, seconds, longest, memory, cosine = in_child(Path(__file__))
    name = "a face of ResNet-18, 224 x 224"
    yield Figure(f"{name}: images at once", "at most 16", f"{at_once:.0f}", at_once <= 16)
    yield Figure(f"{name}: time of each, in a batch of {FACES}", "-", f"{seconds:.0f} s", None)
    yield Figure(f"{name}: between two signs of life in a whole batch", "-", f"{longest:.1f} s", None)
    yield Figure(f"{name}: memory of a whole batch, at most", f"<= {MOST_MB:,} MB", f"{memory:.0f} MB", memory <= MOST_MB)
    yield Figure(f"{name}: cosine with its cell, the median", "above 0.5", f"{cosine:.2f}", cosine > 0.5)


def main() -> None:
    """Print: images at once, seconds a face, the longest step of a whole batch, its memory in MB, the median cosine."""
    from torch_resnet18 import SIDE, textures, write_resnet18_spec

    from annotriage.engine.diagnosis import faces
    from annotriage.model import load_model
    from annotriage.model.spec import ModelSpec
    from annotriage.model.torch_inversion import bytes_of_one, colours_of, invert
    from annotriage.model.torch_model import TorchModel

    with TemporaryDirectory() as folder:
        model = load_model(ModelSpec.load(write_resnet18_spec(Path(folder))))
    assert isinstance(model, TorchModel)
    images, names = textures(48, SIDE, 1)
    inputs = np.split(images.transpose(0, 3, 1, 2).astype(np.float32) / 255, 12)
    latent = np.concatenate([model.run(some).activations[0] for some in inputs])
    means = np.stack([latent[names == name].mean(axis=0) for name in np.unique(names)])
    middle, colours = latent.mean(axis=0), colours_of(images.reshape(-1, 3)[::97])
    before = resident_memory()  # what is over already has left a peak of its own: it may be in the figure, which is then too large
    at_once = min(faces.AT_ONCE, max(1, faces.MEMORY // bytes_of_one(model, 0)))
    told = [time.perf_counter()]
    whole = means[np.arange(at_once) % len(means)]
    invert(model, 0, whole, middle, colours, 0, steps=3, stepped=lambda step: told.append(time.perf_counter()))
    memory, longest = peak_memory() - before, float(np.diff(told).max())
    started = time.perf_counter()
    made = invert(model, 0, means[:FACES], middle, colours, 0)
    print(at_once, (time.perf_counter() - started) / FACES, longest, memory, float(np.median(made.cosine)))


if __name__ == "__main__":
    main()

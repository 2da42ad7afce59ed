"""What fitting costs: time against scikit-learn's PCA on the same activations, and memory against their size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from figure import Figure, in_child, peak_memory, spread, turns
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from annotriage import Settings
from annotriage.latent.detector import fit_detector

COUNT, WIDTH, CLASSES, HELD_OUT = 50_000, 512, 10, 2_000
ROUNDS = 15
TIMES_PCA = 2.0
TIMES_ACTIVATIONS = 3.0

World = tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]


def figures(data: Path | None) -> Iterator[Figure]:
    """Time with one thread of linear algebra and with all, then memory. `data` is not used."""
    training, held_out = activations(COUNT, seed=1), activations(HELD_OUT, seed=2)
    pca = PCA(50)
    for threads in (1, None):
        with threadpool_limits(threads):
            taken = turns(lambda: fitted(training, held_out), lambda: pca.fit(training[0]), rounds=ROUNDS)
        ratios = taken[:, 0, 0] / taken[:, 1, 0]
        which = "one thread" if threads else "all threads"
        name = f"time to fit and calibrate, {COUNT:,} + {HELD_OUT:,} x {WIDTH}, over PCA(50).fit, {which}"
        yield Figure(name, f"<= {TIMES_PCA:.0f}", spread(ratios), bool(np.median(ratios) <= TIMES_PCA))
    before, peak = in_child(Path(__file__))
    size = COUNT * WIDTH * 4 / 2**20
    name = f"peak memory of fitting over the activations' {size:.0f} MB (these included, imports not)"
    yield Figure(name, f"<= {TIMES_ACTIVATIONS:.0f}", f"{(peak - before) / size:.2f}", (peak - before) / size <= TIMES_ACTIVATIONS)
    yield Figure("the same with the interpreter and all imports", "for information", f"{peak / size:.2f} ({peak:.0f} MB)", None)


def fitted(training: World, held_out: World) -> None:
    """A detector with the default settings, and the held-out scores that calibrate it."""
    layer, labels, logits = training
    names = tuple(map(str, range(CLASSES)))
    fit_detector([layer], logits, labels, names, Settings()).measure([held_out[0]], held_out[2])


def activations(count: int, seed: int) -> World:
    """Rows like those of a trained network: class means, a spectrum that decays, ReLU. With their classes and logits."""
    shared, rng = np.random.default_rng(0), np.random.default_rng(seed)
    means = shared.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    axes = np.linalg.qr(shared.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    axes *= (5 / np.sqrt(np.arange(1, WIDTH + 1, dtype=np.float32)))[:, None]
    labels = rng.integers(0, CLASSES, count)
    rows = np.empty((count, WIDTH), dtype=np.float32)
    for start in range(0, count, 1_000):  # in pieces: the making must not take more memory than the fitting
        block = slice(start, start + 1_000)
        rows[block] = rng.normal(size=(len(labels[block]), WIDTH)).astype(np.float32) @ axes + means[labels[block]]
    np.maximum(rows, 0, out=rows)
    return rows, labels, rows @ means.T / 10


if __name__ == "__main__":
    fitted(activations(1_000, seed=3), activations(100, seed=4))  # what is imported at first use, and the pools of threads
    before = psutil.Process().memory_info().rss / 2**20
    fitted(activations(COUNT, seed=1), activations(HELD_OUT, seed=2))
    print(before, peak_memory())
    sys.exit()

"""What fitting costs: time against scikit-learn's PCA on the same activations, and memory against their size.

Then `fit` as a whole, on rows of numbers from an .npz and a small network whose hidden layer puts out 512 values for each: what it holds
in memory when there are ten times as many of them.
"""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import psutil
from figure import Figure, in_child, peak_memory, spread, turns
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from annotriage import ModelSpec, Settings, fit
from annotriage.data import open_dataset
from annotriage.latent.detector import fit_detector
from annotriage.model.spec import InputSpec

COUNT, WIDTH, CLASSES, HELD_OUT = 50_000, 512, 10, 2_000
ROUNDS = 15
TIMES_PCA = 2.0
TIMES_ACTIVATIONS = 3.0
FEW, MANY = 100_000, 1_000_000  # of the fit as a whole
LONGEST = 10.5  # ratio of time
ADDED = 0.25  # of the size of the activations that are added, by which memory may grow: ids, labels and the like
_ADDED_MB = (MANY - FEW) * WIDTH * 4 / 2**20
_WHOLE = f"fit from {FEW:,} to {MANY:,} items of {WIDTH} values"
_SIZE = COUNT * WIDTH * 4 / 2**20
NAMES = (  # of the rows, in their order: docs/scale.md has these
    *(
        f"time to fit and calibrate, {COUNT:,} + {HELD_OUT:,} x {WIDTH}, over PCA(50).fit, {threads}"
        for threads in ("one thread", "all threads")
    ),
    f"peak memory of fitting over the activations' {_SIZE:.0f} MB (these included, imports not)",
    "the same with the interpreter and all imports",
    f"time to {_WHOLE}",
    f"memory that {_WHOLE} adds, over the {_ADDED_MB:,.0f} MB of added activations",
)

World = tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    for name, (wanted, measured, ok) in zip(NAMES, _measured(), strict=True):
        yield Figure(name, wanted, measured, ok)


def _measured() -> Iterator[tuple[str, str, bool | None]]:
    """Time with one thread of linear algebra and with all, then memory; then time and memory of `fit` itself."""
    training, held_out = activations(COUNT, seed=1), activations(HELD_OUT, seed=2)
    pca = PCA(50)
    for threads in (1, None):
        with threadpool_limits(threads):
            taken = turns(lambda: fitted(training, held_out), lambda: pca.fit(training[0]), rounds=ROUNDS)
        ratios = taken[:, 0, 0] / taken[:, 1, 0]
        yield f"<= {TIMES_PCA:.0f}", spread(ratios), bool(np.median(ratios) <= TIMES_PCA)
    before, peak = in_child(Path(__file__))
    yield f"<= {TIMES_ACTIVATIONS:.0f}", f"{(peak - before) / _SIZE:.2f}", (peak - before) / _SIZE <= TIMES_ACTIVATIONS
    yield "for information", f"{peak / _SIZE:.2f} ({peak:.0f} MB)", None
    yield from _whole()


def _whole() -> Iterator[tuple[str, str, bool]]:
    """Time and peak memory of `fit` itself, in processes of their own."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, MANY)
        (few_seconds, few_peak), (seconds, peak) = (in_child(Path(__file__), folder, count) for count in (FEW, MANY))
    slower, share = seconds / few_seconds, (peak - few_peak) / _ADDED_MB
    yield f"<= {LONGEST} times", f"{slower:.2f} ({few_seconds:.0f} to {seconds:.0f} s)", bool(slower <= LONGEST)
    yield f"<= {ADDED}", f"{share:.3f} ({few_peak:.0f} to {peak:.0f} MB)", bool(share <= ADDED)


def _prepare(folder: Path, count: int) -> None:
    """A network with one hidden layer and its spec; rows.npz with as many rows as asked for, written in pieces."""
    rng = np.random.default_rng(0)
    weights = {"w1": rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH), "w2": rng.normal(size=(WIDTH, CLASSES))}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "w2"], ["logits"]),
    ]
    x, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in (("x", WIDTH), ("logits", CLASSES))
    )
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "rows", [x], [logits], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=10
        ),
        folder / "rows.onnx",
    )
    spec = ModelSpec(tuple(map(str, range(CLASSES))), InputSpec((WIDTH,), kind="array"), file="rows.onnx", path=folder / "model.toml")
    spec.write(folder / "model.toml")
    with zipfile.ZipFile(folder / "rows.npz", "w") as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count, WIDTH)})
            for seed, _ in enumerate(range(0, count, 10_000), start=1):
                file.write(activations(10_000, seed)[0].tobytes())
        labels = np.concatenate([np.random.default_rng(seed).integers(0, CLASSES, 10_000) for seed in range(1, count // 10_000 + 1)])
        with archive.open("y.npy", "w") as file:
            np.save(file, labels)


def _fit_child(folder: Path, count: int) -> None:
    """Fit on the first rows and print the seconds and the peak memory in MB."""
    rows = open_dataset(folder / "rows.npz")
    first = replace(rows, count=count, read=lambda: islice(rows, count))
    started = time.perf_counter()
    reference = fit(folder / "model.toml", first, settings=Settings(map="none"))
    if reference.counts["training"] != count:
        raise RuntimeError(f"{reference.counts}")
    print(time.perf_counter() - started, peak_memory())


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
    if len(sys.argv) > 1:
        _fit_child(Path(sys.argv[1]), int(sys.argv[2]))
        sys.exit()
    fitted(activations(1_000, seed=3), activations(100, seed=4))  # what is imported at first use, and the pools of threads
    before = psutil.Process().memory_info().rss / 2**20
    fitted(activations(COUNT, seed=1), activations(HELD_OUT, seed=2))
    print(before, peak_memory())
    sys.exit()

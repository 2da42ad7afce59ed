"""A million items: what fitting and triage take of time and memory when there are ten times as many, each run a process of its own.

Fitting reads rows of numbers from an .npz, through a small network whose hidden layer puts out 512 values for each; triage reads
images of 8 x 8, through a tiny one, with the map left out.
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

import growth
import numpy as np
import onnx
from figure import Figure, in_child, peak_memory
from fitting import CLASSES, WIDTH, activations
from onnx import TensorProto, helper, numpy_helper

from annotriage import ModelSpec, Settings, fit
from annotriage.data import open_dataset
from annotriage.model.spec import InputSpec

FEW, MANY = 100_000, 1_000_000
LONGEST, LARGEST = 10.5, 1.05  # ratios of time, and of the peak memory of triage
ADDED = 0.25  # of the activations that are added, by which fitting may take more memory: ids, labels and the like
_ADDED_MB = (MANY - FEW) * WIDTH * 4 / 2**20
_FIT, _TRIAGE = f"fit from {FEW:,} to {MANY:,} items of {WIDTH} values", f"triage from {FEW:,} to {MANY:,} items"
NAMES = (  # of the rows, in their order: docs/scale.md has these
    f"time to {_FIT}",
    f"memory that {_FIT} adds, over the {_ADDED_MB:,.0f} MB of added activations",
    f"time to {_TRIAGE}",
    f"peak memory to {_TRIAGE}",
)


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    for name, (wanted, measured, ok) in zip(NAMES, (part for of in (_fit, _triage) for part in of()), strict=True):
        yield Figure(name, wanted, measured, ok)


def _fit() -> Iterator[tuple[str, str, bool]]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, MANY)
        (few_seconds, few_peak), (seconds, peak) = (in_child(Path(__file__), folder, count) for count in (FEW, MANY))
    yield _slower(few_seconds, seconds)
    share = (peak - few_peak) / _ADDED_MB
    yield f"<= {ADDED}", f"{share:.3f} ({few_peak:.0f} to {peak:.0f} MB)", bool(share <= ADDED)


def _triage() -> Iterator[tuple[str, str, bool]]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        digits = growth.make_reference(folder)
        for count in (FEW, MANY):
            np.savez(folder / f"{count}.npz", x=growth.enough(digits, count))
        ((few_seconds, few_peak), (seconds, peak)) = growth.measured(folder, "npz", "none", 1, (FEW, MANY))[0]
    yield _slower(few_seconds, seconds)
    larger = peak / few_peak
    yield f"<= {LARGEST} times", f"{larger:.3f} ({few_peak:.0f} to {peak:.0f} MB)", bool(larger <= LARGEST)


def _slower(few: float, many: float) -> tuple[str, str, bool]:
    return f"<= {LONGEST} times", f"{many / few:.2f} ({few:.0f} to {many:.0f} s)", bool(many / few <= LONGEST)


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


def _child(folder: Path, count: int) -> None:
    """Fit on the first rows and print the seconds and the peak memory in MB."""
    rows = open_dataset(folder / "rows.npz")
    first = replace(rows, count=count, read=lambda: islice(rows, count))
    started = time.perf_counter()
    reference = fit(folder / "model.toml", first, settings=Settings(map="none"))
    if reference.counts["training"] != count:
        raise RuntimeError(f"{reference.counts}")
    print(time.perf_counter() - started, peak_memory())


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]))

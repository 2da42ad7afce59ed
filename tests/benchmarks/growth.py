"""How triage grows with the data: time and peak memory from 10,000 to 100,000 items, results folder included.

The model is tiny, so that nothing hides what triage itself does; one item in twenty is a stranger. Each run is a process of its
own. What is kept of outliers (settings group_sample) fills up only at 20,000 of them: with more strangers, memory grows until then.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure, in_child, peak_memory
from numpy.typing import NDArray
from PIL import Image

from annotriage import ModelSpec, Reference, Settings, fit, triage_to_folder
from annotriage.demo.digits import Digits, load_digits, train_model
from annotriage.model.spec import InputSpec

FEW, MANY = 10_000, 100_000
LONGEST, LARGEST = 10.5, 1.05  # ratios of time and of peak memory
STRANGERS = 0.05
ROUNDS = {"npz": 2, "csv": 1, "folder": 1}


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        for kind, rounds in ROUNDS.items():
            yield from _grown(folder, kind, "none", rounds)
        yield from _grown(folder, "npz", "umap", 1)


def _grown(folder: Path, kind: str, map: str, rounds: int) -> Iterator[Figure]:
    runs = measured(folder, kind, map, rounds, (FEW, MANY))
    slower = float(np.median(runs[:, 1, 0] / runs[:, 0, 0]))
    larger = float(np.median(runs[:, 1, 1] / runs[:, 0, 1]))
    few, many = np.median(runs, axis=0)
    what = f"{FEW:,} to {MANY:,} items ({kind}, map {'off' if map == 'none' else 'on'})"
    yield Figure(f"time from {what}", f"<= {LONGEST} times", f"{slower:.2f} ({few[0]:.1f} to {many[0]:.1f} s)", slower <= LONGEST)
    yield Figure(f"peak memory from {what}", f"<= {LARGEST} times", f"{larger:.3f} ({few[1]:.0f} to {many[1]:.0f} MB)", larger <= LARGEST)


def measured(folder: Path, kind: str, map: str, rounds: int, sizes: Sequence[int]) -> NDArray[np.float64]:
    """Seconds and peak memory in MB of each dataset in each round: (rounds, sizes, 2). folder: with a reference and the datasets."""
    return np.array([[in_child(Path(__file__), folder, kind, count, map) for count in sizes] for _ in range(rounds)])


def _prepare(folder: Path) -> None:
    """A reference, and both sizes of dataset in every kind."""
    digits = make_reference(folder)
    images = enough(digits, MANY)
    pngs = [_png(image) for image in images[:1_000]]
    for count in (FEW, MANY):
        np.savez(folder / f"{count}.npz", x=images[:count])
        rows = (f"data:image/png;base64,{base64.b64encode(pngs[place % 1_000]).decode()}\t{place}" for place in range(count))
        (folder / f"{count}.csv").write_text("\n".join(["path\tid", *rows]))
        target = folder / str(count)
        target.mkdir()
        for place in range(count):
            if place < len(pngs):
                (target / f"{place:06}.png").write_bytes(pngs[place])
            else:
                os.link(target / f"{place % 1_000:06}.png", target / f"{place:06}.png")


def make_reference(folder: Path) -> Digits:
    """A tiny network on digits, and its reference."""
    digits = load_digits()
    train_model(folder / "digits.onnx", *digits.train)
    ModelSpec(tuple("01234567"), InputSpec((8, 8), mode="L", scale=1 / 255), file="digits.onnx").write(folder / "model.toml")
    fit(folder / "model.toml", digits.train, digits.held_out).save(folder / "reference")
    return digits


def enough(digits: Digits, count: int) -> NDArray[np.uint8]:
    """So many images: known digits with one stranger in twenty, given again and again, each time with other grain."""
    rng = np.random.default_rng(0)
    strange = rng.random(count) < STRANGERS
    known, unseen = (part[0][rng.integers(0, len(part[0]), count)] for part in (digits.incoming, digits.unseen))
    chosen = np.where(strange[:, None, None], unseen, known).astype(np.int16)
    return np.clip(chosen + rng.integers(-8, 9, chosen.shape), 0, 255).astype(np.uint8)


def _png(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def _child(folder: Path, kind: str, count: str, map: str) -> None:
    """Triage one dataset and print the seconds and the peak memory in MB."""
    reference = Reference.load(folder / "reference")
    source = folder / (count if kind == "folder" else f"{count}.{kind}")
    started = time.perf_counter()
    result = triage_to_folder(reference, source, folder / "out", settings=Settings(map=map), replace_existing=True)
    if sum(result.counts.values()) != int(count) or result.counts["failed"]:
        raise RuntimeError(f"{source}: {result.counts}; the first: {next(iter(result.verdicts)).reason}")
    print(time.perf_counter() - started, peak_memory())


if __name__ == "__main__":
    _child(Path(sys.argv[1]), *sys.argv[2:])

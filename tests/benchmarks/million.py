"""A million items through triage on one machine: time in proportion to their number, memory that stays as it is.

The model is tiny, so that nothing hides what triage itself does; the verdicts are kept on disk, and no folder of results is written (see
growth.py, which does). Each run is a process of its own. Processor time is compared: what
others do on the machine meanwhile hardly changes it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure, in_child, peak_memory
from growth import STRANGERS

from annotriage import ModelSpec, Reference, Settings, fit, triage
from annotriage.demo.digits import load_digits, train_model
from annotriage.model.spec import InputSpec

FEW, MANY = 100_000, 1_000_000
LONGEST, LARGEST = 10.5, 1.05  # ratios of time and of peak memory
BLOCK = 100_000
_WHAT = f"from {FEW:,} to {MANY:,} items"
NAMES = (f"processor time {_WHAT}", f"peak memory {_WHAT}", f"items a second, {MANY:,} of 8 x 8 pixels")  # docs/scale.md has these


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        few, many = (in_child(Path(__file__), folder, count) for count in (FEW, MANY))
    slower, larger = many[1] / few[1], many[2] / few[2]
    yield Figure(NAMES[0], f"<= {LONGEST} times", f"{slower:.2f} ({few[1]:.0f} to {many[1]:.0f} s)", slower <= LONGEST)
    yield Figure(NAMES[1], f"<= {LARGEST} times", f"{larger:.3f} ({few[2]:.0f} to {many[2]:.0f} MB)", larger <= LARGEST)
    yield Figure(NAMES[2], "for information", f"{MANY / many[0]:,.0f}", None)


def _prepare(folder: Path) -> None:
    """A reference, and both datasets."""
    digits = load_digits()
    train_model(folder / "digits.onnx", *digits.train)
    ModelSpec(tuple("01234567"), InputSpec((8, 8), mode="L", scale=1 / 255), file="digits.onnx").write(folder / "model.toml")
    fit(folder / "model.toml", digits.train, digits.held_out).save(folder / "reference")
    rng = np.random.default_rng(0)
    images = np.empty((MANY, 8, 8), dtype=np.uint8)
    for start in range(0, MANY, BLOCK):
        strange = rng.random(BLOCK) < STRANGERS
        known, unseen = (part[0][rng.integers(0, len(part[0]), BLOCK)] for part in (digits.incoming, digits.unseen))
        chosen = np.where(strange[:, None, None], unseen, known).astype(np.int16)
        images[start : start + BLOCK] = np.clip(chosen + rng.integers(-8, 9, chosen.shape), 0, 255)
    for count in (FEW, MANY):
        np.savez(folder / f"{count}.npz", x=images[:count])


def _child(folder: Path, count: int) -> None:
    """Triage one dataset and print its seconds by the clock and of the processor, and the peak memory in MB."""
    reference = Reference.load(folder / "reference")
    started = time.perf_counter(), time.process_time()
    result = triage(reference, folder / f"{count}.npz", settings=Settings(map="none"))
    if sum(result.counts.values()) != count or result.counts["failed"]:
        raise RuntimeError(f"{count}: {result.counts}")
    print(time.perf_counter() - started[0], time.process_time() - started[1], peak_memory())


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]))

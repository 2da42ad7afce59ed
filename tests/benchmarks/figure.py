"""What every benchmark yields: a figure beside what is wanted of it. Times are compared as ratios, the two sides taking turns."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One row of the table. ok: None where nothing is wanted, or where it could not be measured."""

    name: str
    wanted: str
    measured: str
    ok: bool | None


def turns(*sides: Callable[[], object], rounds: int) -> np.ndarray:
    """What each side takes in each round, (rounds, sides, 2): wall-clock and processor seconds.

    Noise that lasts longer than a round falls on all sides alike; what others do on the machine hardly changes processor time.
    """
    return np.array([[_taken(side) for side in sides] for _ in range(rounds)])


def _taken(run: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def spread(values: np.ndarray) -> str:
    """The median, with the smallest and the largest."""
    return f"{np.median(values):.3f} ({values.min():.3f} to {values.max():.3f})"


def in_child(module: Path, *arguments: object) -> list[float]:
    """Run `module` as a process of its own, so that its memory is its own: the numbers that it prints last."""
    command = [sys.executable, str(module), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return [float(word) for word in done.stdout.split("\n")[-2].split()]


def resident_memory() -> float:
    """The resident set of this process at present, in MB; 0 where nothing tells it."""
    return _status("VmRSS") or 0.0


def peak_memory() -> float:
    """The largest resident set of this process so far, in MB.

    From /proc where there is one: Linux's ru_maxrss also counts what the parent held when it started this process.
    """
    if (found := _status("VmHWM")) is not None:
        return found
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 2**20 if sys.platform == "darwin" else largest / 1024


def _status(key: str) -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) / 1024

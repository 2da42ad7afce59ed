"""Where a training run stands, as a file: what a killed one goes on from. Plain arrays, no pickle."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import OutputError
from annotriage.training.course import Course
from annotriage.training.learner import Learner
from annotriage.training.plan import Plan

Array = NDArray[Any]

EVERY = 5.0  # seconds between two writes


class SavedState:
    """The state of one training run, in a folder beside the results to come; gone once they are there."""

    def __init__(self, out: Path, plan: Plan, *parts: bytes) -> None:
        """out: the folder of the results. parts: whatever else makes it this run and no other: hashes of data and model."""
        self.folder = self.folder_of(out)
        self._file = self.folder / "state.npz"
        digest = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode())
        for part in parts:
            digest.update(part)
        self._key = digest.hexdigest()
        self._written = time.monotonic()

    @staticmethod
    def folder_of(out: Path) -> Path:
        """Where the state of a run lies whose results go to `out`."""
        out = out.resolve()
        return out.with_name(f".{out.name}.training")

    def read(self, learner: Learner) -> Course | None:
        """Put the learner where the run was stopped, and give its course; None if there is no such state of the same run."""
        try:
            with np.load(self._file, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            return None  # none, or one that was being written when the machine went down
        if str(arrays.get("key")) != self._key:
            return None
        learner.restore({name.removeprefix("learner."): array for name, array in arrays.items() if name.startswith("learner.")})
        return Course.of({name.removeprefix("course."): array for name, array in arrays.items() if name.startswith("course.")})

    def write(self, learner: Learner, course: Course, *, at_once: bool = False) -> None:
        """Keep where the run stands, at most every few seconds. Raises OutputError if the disk refuses."""
        if not at_once and time.monotonic() - self._written < EVERY:
            return
        arrays = {f"learner.{name}": array for name, array in learner.state().items()}
        arrays |= {f"course.{name}": array for name, array in course.arrays().items()}
        part = self._file.with_name("state.part.npz")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez(part, key=np.array(self._key), **arrays)  # type: ignore[arg-type]
            part.replace(self._file)
        except OSError as error:
            raise OutputError(
                f"{self._file}: the state of the training could not be written ({error.strerror}); free some space"
            ) from error
        self._written = time.monotonic()

    def remove(self) -> None:
        """The run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

"""The atlas of 100,000 pictures, from the command to the page: how much of the time is UMAP's, which nothing here can make shorter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure

from annotriage import Settings, atlas_to_folder, fit
from annotriage.demo.digits import load_digits, write_digits
from annotriage.engine.diagnosis.atlas import Atlas

ITEMS = 100_000
MOST = 0.05  # of the time, for all that is neither UMAP nor the model


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows; `data` is not needed."""
    found, whole = drawn("umap", ITEMS)
    umap, running = found.seconds["laying out"], found.seconds["reading and running"]
    rest = whole - umap - running
    name = f"atlas of {len(found.inside.ids):,} pictures to its page"
    yield Figure(f"{name}: reading them and running the model", "-", f"{running:.1f} s", None)
    yield Figure(f"{name}: UMAP", "-", f"{umap:.0f} s, {umap / whole:.1%} of all", None)
    share = f"{rest:.1f} s, {rest / whole:.1%} of all"
    yield Figure(f"{name}: cells, classes, and the page", f"at most {MOST:.0%}", share, bool(rest <= MOST * whole))


def drawn(method: str, items: int) -> tuple[Atlas, float]:
    """Digits with a little noise, so that no two are the same, drawn by this method: the atlas, and the seconds that all of it took."""
    images, labels = load_digits().train
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(images), items)
    many = (images[rows].astype(np.int16) + rng.integers(-12, 13, (items, *images.shape[1:]))).clip(0, 255).astype(np.uint8)
    with TemporaryDirectory() as name:
        files = write_digits(Path(name) / "digits")
        reference = fit(files.spec, files.train, settings=Settings(map="none"))
        settings = replace(reference.settings, map=method, map_sample=items)
        started = time.perf_counter()
        found = atlas_to_folder(reference, (many, labels[rows]), Path(name) / "atlas", settings=settings)
        return found, time.perf_counter() - started

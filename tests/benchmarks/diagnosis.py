"""Samples for diagnosis on scikit-learn's digits, and what a max-margin sample costs beside the classifier that it rests on.

The published experiments, on MNIST, are done again by reproduction.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure, spread, turns
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import LinearSVC

from annotriage import Settings, fit
from annotriage.demo.digits import write_digits
from annotriage.diagnosis.query_sets import accuracy, answers
from annotriage.diagnosis.samplers import Method, choose
from annotriage.diagnosis.view import View
from annotriage.engine.diagnosis.inside import look_inside

ITEMS, WIDTH, CLASSES = 100_000, 128, 4
MOST = 1.2  # of the bare classifier's time
REPEATS = 10


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows; `data` is not needed."""
    yield from on_digits()
    yield cost()


def on_digits() -> Iterator[Figure]:
    """A 10% sample of digits that the network was not trained on: errors first against max-margin, by S1 and S3."""
    with TemporaryDirectory() as folder:
        files = write_digits(Path(folder) / "digits")
        inside = look_inside(fit(files.spec, files.train, settings=Settings(map="none")), files.held_out)
    full = answers(inside.layers, inside.view.truth, inside.view.wrong)
    found: dict[Method, list[tuple[float, float]]] = {}
    for method in (Method.MAX_MARGIN, Method.ERRORS_FIRST):
        for seed in range(REPEATS):
            rows = choose(inside.view, method, 0.1, rng=np.random.default_rng(seed)).rows
            quality = accuracy(full, answers(inside.layers, inside.view.truth, inside.view.wrong, rows))
            assert quality is not None
            found.setdefault(method, []).append((quality.top_neurons, quality.distribution))
    margin, mine = (np.mean(found[method], axis=0) for method in (Method.MAX_MARGIN, Method.ERRORS_FIRST))
    what = f"of a 10% sample of {len(inside.view)} digits, {int(inside.view.wrong.sum())} wrong"
    yield Figure(f"S1 {what}, errors-first", f"above max-margin's {margin[0]:.3f}", f"{mine[0]:.3f}", bool(mine[0] > margin[0]))
    yield Figure(f"S3 {what}, errors-first", f"below max-margin's {margin[1]:.3f}", f"{mine[1]:.3f}", bool(mine[1] < margin[1]))


def cost() -> Figure:
    """A max-margin sample against LinearSVC with sigmoid calibration alone."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, ITEMS)
    latent = rng.normal(size=(CLASSES, WIDTH))[truth] * 0.35 + rng.normal(size=(ITEMS, WIDTH))
    view = View(latent, truth, truth, CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = (
            lambda: choose(view, Method.MAX_MARGIN, rng=np.random.default_rng(0)),
            lambda: CalibratedClassifierCV(LinearSVC(dual=False), method="sigmoid").fit(latent, truth).predict_proba(latent),
        )
        taken = turns(*sides, rounds=3)[:, :, 1]
    ratios = taken[:, 0] / taken[:, 1]
    name = f"max-margin sample of {ITEMS:,} x {WIDTH}, processor time beside LinearSVC with sigmoid calibration"
    return Figure(name, f"at most {MOST}", spread(ratios), bool(np.median(ratios) <= MOST))

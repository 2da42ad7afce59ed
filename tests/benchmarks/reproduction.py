"""Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020, done again: its figures 4 to 7 and table IV beside the published numbers.

    .venv/bin/python tests/benchmarks/reproduction.py --mnist mnist.npz [--out FOLDER] [--repeats 10]

mnist.npz holds x_train, y_train, x_test, y_test. The networks are trained anew, in a minute or two. Each figure is the mean over the
repeats with its 95% interval. With --out the figures are drawn, too. What was published and cannot be read off a table or the text is
left out, not guessed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lenet import World, mnist_world, pair_world
from scipy.stats import t as student

from annotriage.diagnosis.query_sets import Answer, Combination, accuracy, answers
from annotriage.diagnosis.ratios import Clusters, both_ends, margin_clusters, mixture_clusters, weighted_draw
from annotriage.diagnosis.samplers import OUTLIER_SHARE, Method, choose
from annotriage.diagnosis.view import View

SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
SMALL = 0.05
OUTLIER_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
TOPS = (10, 25, 50, 100)
FAMILIES = ("S1", "S2", "S3")

# Table IV: misclassified items in a 5% sample. MNIST: of 107; galaxies: of 21.
PUBLISHED_MISSED: Mapping[str, Mapping[Method, int]] = {
    "MNIST": {
        Method.UNIFORM: 1,
        Method.LATENT_GRID: 9,
        Method.CONFUSION_MATRIX: 11,
        Method.GMM_FULL: 48,
        Method.GMM_SPHERICAL: 11,
        Method.MAX_MARGIN: 85,
        Method.VISUAL: 8,
        Method.BOUNDARY_TREE: 72,
    },
    "two overlapping classes": {
        Method.UNIFORM: 1,
        Method.LATENT_GRID: 0,
        Method.CONFUSION_MATRIX: 1,
        Method.GMM_FULL: 4,
        Method.GMM_SPHERICAL: 0,
        Method.MAX_MARGIN: 18,
        Method.VISUAL: 4,
        Method.BOUNDARY_TREE: 8,
    },
}
PUBLISHED_WRONG = {"MNIST": 107, "two overlapping classes": 21}
PUBLISHED_TOP = {"MNIST": {10: 0.80, 100: 0.98}, "two overlapping classes": {10: 0.57, 100: 0.70}}  # max-margin, 5%; figure 5 and the text
PUBLISHED_SECONDS = {
    Method.CONFUSION_MATRIX: "under 1",
    Method.GMM_SPHERICAL: "under 1",
    Method.GMM_FULL: "under 1",
    Method.MAX_MARGIN: "1.5",
    Method.VISUAL: "about 1,500",
    Method.BOUNDARY_TREE: "about 1,500",
}


@dataclass(frozen=True)
class Interval:
    """A mean over repeats with its 95% interval."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ±{self.half:.3f}"


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean; 0 wide of a single value, or where all repeats agree."""
    half = float(np.std(values, ddof=1) / np.sqrt(len(values)) * student.ppf(0.975, len(values) - 1)) if len(values) > 1 else 0.0
    return Interval(float(np.mean(values)), half)


@dataclass(frozen=True)
class Measured:
    """One sample. figures: S1, S2, S3. tops: S1 for each k of TOPS. missed: wrong items in it."""

    figures: tuple[float, float, float]
    tops: tuple[float, ...]
    size: int
    missed: int


class Bench:
    """One world with the answers of its full data, by which samples are measured."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.full: dict[Combination, Answer] = answers(world.layers, world.view.truth, world.view.wrong)

    @property
    def view(self) -> View:
        """What samplers see."""
        return self.world.view

    def measure(self, rows: np.ndarray) -> Measured:
        """How true the answers on these items are."""
        found = answers(self.world.layers, self.view.truth, self.view.wrong, rows)
        all_tops = [accuracy(self.full, found, k) for k in TOPS]
        first = all_tops[0]
        assert first is not None
        tops = tuple(other.top_neurons for other in all_tops if other is not None)
        return Measured((first.top_neurons, first.means, first.distribution), tops, len(rows), int(self.view.wrong[rows].sum()))


def clusters_of(view: View, method: Method, seed: int) -> Clusters:
    """The clusters that a ratio sampler takes its items from: the same for every share."""
    rng = np.random.default_rng(seed)
    return (
        margin_clusters(view, rng)
        if method is Method.MAX_MARGIN
        else mixture_clusters(view, "full" if method is Method.GMM_FULL else "spherical", rng)
    )


def by_share(bench: Bench, repeats: int) -> dict[tuple[Method, float], list[Measured]]:
    """Figure 4: every method at every share; the boundary tree once per repeat, at its own."""
    found: dict[tuple[Method, float], list[Measured]] = {}
    for method in Method:
        for seed in range(repeats):
            clusters = clusters_of(bench.view, method, seed) if method.by_ratio else None
            for share in (SMALL,) if method is Method.BOUNDARY_TREE else SHARES:
                rng = np.random.default_rng(seed)
                if clusters is not None:
                    rows = both_ends(clusters, round(share * len(bench.view)), OUTLIER_SHARE).rows
                else:
                    rows = choose(bench.view, method, None if method is Method.BOUNDARY_TREE else share, rng=rng).rows
                found.setdefault((method, share), []).append(bench.measure(rows))
    return found


def by_outlier_share(bench: Bench, repeats: int) -> dict[tuple[Method, float | None], list[Measured]]:
    """Figure 6: the three ratio samplers at 5%, for every share of doubtful items, and drawn by weight (None)."""
    size = round(SMALL * len(bench.view))
    found: dict[tuple[Method, float | None], list[Measured]] = {}
    for method in (method for method in Method if method.by_ratio):
        for seed in range(repeats):
            clusters = clusters_of(bench.view, method, seed)
            for share in OUTLIER_SHARES:
                found.setdefault((method, share), []).append(bench.measure(both_ends(clusters, size, share).rows))
            drawn = weighted_draw(clusters, size, np.random.default_rng(seed)).rows
            found.setdefault((method, None), []).append(bench.measure(drawn))
    return found


def seconds(view: View) -> dict[Method, float]:
    """Figure 7: what a 5% sample takes."""
    return {method: _taken(lambda method=method: choose(view, method, rng=np.random.default_rng(0))) for method in Method}


def _taken(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def report(world: World, repeats: int) -> dict[str, object]:
    """Print all tables of one world; what was measured, for drawing."""
    bench = Bench(world)
    view = world.view
    wrong, published_wrong = int(view.wrong.sum()), PUBLISHED_WRONG[world.name]
    print(f"\n== {world.name}: {len(view):,} items, {wrong} wrong (published: {published_wrong}), latent {view.latent.shape[1]}")
    shares = by_share(bench, repeats)
    print(f"\nFigure 4, mean over {repeats} repeats ±95%: S1 precision of the top 10, S2 cosine distance, S3 Jensen-Shannon distance")
    for family, name in enumerate(FAMILIES):
        print(f"\n{name:<18}" + "".join(f"{share:>17.0%}" for share in SHARES))
        for method in Method:
            cells = [shares.get((method, share)) for share in SHARES]
            texts = [str(interval([outcome.figures[family] for outcome in cell])) if cell else "" for cell in cells]
            note = f"   its own size, {cells[0][0].size}" if method is Method.BOUNDARY_TREE and cells[0] else ""
            print(f"{method:<18}" + "".join(f"{text:>17}" for text in texts) + note)
    published = PUBLISHED_MISSED[world.name]
    print(f"\nTable IV, share of the wrong items that a 5% sample holds\n{'':<18}{'here':>17}{'published':>12}{'size':>8}")
    for method in Method:
        runs = shares[method, SMALL]
        its = f"{published[method] / published_wrong:.2f}" if method in published else "-"
        print(f"{method:<18}{interval([run.missed / wrong for run in runs])!s:>17}{its:>12}{runs[0].size:>8}")
    print("\nFigure 5, S1 of a 5% sample for the top k\n" + " " * 18 + "".join(f"{f'k = {k}':>17}" for k in TOPS))
    for method in Method:
        runs = shares[method, SMALL]
        print(f"{method:<18}" + "".join(f"{interval([run.tops[place] for run in runs])!s:>17}" for place in range(len(TOPS))))
    print(f"{'published (m-m)':<18}" + "".join(f"{PUBLISHED_TOP[world.name].get(k, '-'):>17}" for k in TOPS))
    tuning = by_outlier_share(bench, repeats)
    print("\nFigure 6, a 5% sample by the share j of doubtful items (published: S1 rises to a plateau near 0.7, S3 is lowest near 0.5)")
    for family, name in enumerate(FAMILIES):
        print(f"\n{name:<18}" + "".join(f"{f'j = {share:g}':>17}" for share in OUTLIER_SHARES) + f"{'weighted':>17}")
        for method in (method for method in Method if method.by_ratio):
            cells = [tuning[method, share] for share in (*OUTLIER_SHARES, None)]
            print(f"{method:<18}" + "".join(f"{interval([run.figures[family] for run in cell])!s:>17}" for cell in cells))
    spent = seconds(view)
    print(f"\nFigure 7, seconds for a 5% sample of {len(view):,} x {view.latent.shape[1]} (published: of 2,118 x 64)")
    for method in Method:
        print(f"{method:<18}{spent[method]:>10.2f}   {PUBLISHED_SECONDS.get(method, '-')}")
    mine, margin = shares[Method.ERRORS_FIRST, SMALL], shares[Method.MAX_MARGIN, SMALL]
    for family, better in ((0, "a precision, so above 0 is better"), (2, "a distance, so below 0 is better")):
        gains = [one.figures[family] - other.figures[family] for one, other in zip(mine, margin, strict=True)]
        print(f"errors-first minus max-margin at 5%, {FAMILIES[family]}: {interval(gains)} ({better})")
    return {"shares": shares, "tuning": tuning, "seconds": spent, "name": world.name, "size": len(view), "wrong": wrong}


def main() -> None:
    """Print both worlds' tables, and draw their figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mnist", type=Path, required=True, help="an .npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--out", type=Path, help="folder for the figures, as one HTML page")
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    measured = [report(make(given.mnist), given.repeats) for make in (pair_world, mnist_world)]
    if given.out is not None:
        from reproduction_page import write_figures

        print(f"\nFigures: {write_figures(measured, given.out)}")


if __name__ == "__main__":
    main()

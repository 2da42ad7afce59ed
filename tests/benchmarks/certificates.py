"""Whether certificates hold, looked at once and every day, and whether checks drawn where the model is unsure would need fewer answers.

By simulation, with checks drawn as the service draws them. Some twenty minutes on two cores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figure import Figure
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from annotriage.guarantee.certificate import Checks, checks_needed, most_wrong

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from certified_streams import CONFIDENCE, Stream, stream

RUNS = 1_000
ALLOWED_OF_1000 = 67  # a true rate of 5% is above this in 1 of 100 repetitions
STRANGERS = (0.0, 0.05, 0.1, 0.2)
DAYS, LAST = 14, 99
WANTED = 0.08  # share of wrong labels for which checks are added, whatever the first certificate says
LABELS = 1_840


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    yield from looked_at_once()
    yield from looked_at_every_day()
    yield from drawn_where_unsure()


def looked_at_once(runs: int = RUNS) -> Iterator[Figure]:
    """How often more labels of a finished dataset are wrong than certified; open answers count as wrong, so daily looks change nothing."""
    for on_probation in (False, True):
        for strangers in STRANGERS:
            failed, limits = 0, []
            for run in range(runs):
                labels = stream(run, strangers, on_probation=on_probation)
                limit = labels.checks(LAST)[0].most_wrong(CONFIDENCE, fixed=True)
                failed += limit < labels.wrong.sum()
                limits.append(limit / labels.wrong.size)
            which = f"{strangers:.0%} strangers, {'probation, ' if on_probation else ''}weekly minimum, sample"
            yield _held(f"finished dataset, fixed checks ({which})", failed, runs, f"limit {np.mean(limits):.0%} of the labels")


def looked_at_every_day(runs: int = RUNS) -> Iterator[Figure]:
    """How often it is so on any day, for who certifies the growing dataset every day; and if checks are added until the number pleases."""
    for on_probation in (False, True):
        for strangers in STRANGERS:
            yield from every_day(strangers, on_probation, range(runs))


def every_day(strangers: float, on_probation: bool, runs: range) -> Iterator[Figure]:
    """The two rows of one kind of stream. runs: which of the simulated ones."""
    lasting = exact = added = 0
    for run in runs:
        labels = stream(run, strangers, per_day=40, on_probation=on_probation)
        days = [(labels.checks(day)[0], int(labels.wrong[labels.day <= day].sum())) for day in range(1, DAYS + 3)]
        lasting += any(checks.most_wrong(CONFIDENCE, fixed=False) < wrong for checks, wrong in days)
        exact += any(checks.most_wrong(CONFIDENCE, fixed=True) < wrong for checks, wrong in days)
        added += _until_it_pleases(labels) < labels.wrong.sum()
    which = f"{strangers:.0%} strangers, {'probation, ' if on_probation else ''}{DAYS + 2} looks"
    yield _held(f"growing dataset, certified daily, time-uniform ({which})", lasting, len(runs), f"exact limit: {exact}")
    yield _held(f"finished dataset, checks added until it pleases ({which})", added, len(runs), "")


def _until_it_pleases(labels: Stream) -> int:
    """The last number that somebody sees who adds checks, up to five times, as long as it is too large."""
    checks, _ = labels.checks(LAST)
    limit, beyond = checks.most_wrong(CONFIDENCE, fixed=True), np.zeros(labels.day.size, dtype=bool)
    wanted = int(WANTED * checks.n)
    for _ in range(5):
        if limit <= wanted:
            break
        checks, chosen = labels.checks(LAST, most=wanted, fixed=False, beyond=beyond)
        if checks is None:
            break
        beyond[chosen] = True
        right = (labels.drawn & np.isfinite(labels.answered) | beyond) & ~labels.wrong
        found = Checks(checks.n, checks.whole, checks.whole_wrong, chosen.size, int((~right[chosen]).sum()))
        limit = found.most_wrong(CONFIDENCE, fixed=False)
    return limit


def drawn_where_unsure(most: int = 12, wrong: int = 4, runs: int = 300) -> Iterator[Figure]:
    """Answers that it takes with two strata, the less sure half drawn more thickly, against a plain draw of all labels.

    In the simulation all wrong labels are in the less sure half, which suits the strata best.
    """
    plain = checks_needed(LABELS, most) or 0
    half = LABELS // 2
    rng = np.random.default_rng(0)
    for ratio in (1.0, 1.5, 2.0, 4.0):
        shares = np.array([ratio, 1.0]) * 2 / (ratio + 1)
        needed = next(m for m in range(plain, LABELS, 10) if _stratified(half, _sizes(shares, m, half), 0) <= most)
        sizes = _sizes(shares, 520, half)
        found = rng.hypergeometric(wrong, half - wrong, sizes[0], runs)
        strata = {int(errors): _stratified(half, sizes, int(errors)) for errors in np.unique(found)}
        uniform = rng.hypergeometric(wrong, LABELS - wrong, 520, runs)
        limits = np.mean([strata[int(errors)] for errors in found]), np.mean([most_wrong(LABELS, 520, int(errors)) for errors in uniform])
        yield Figure(
            f"checks drawn {ratio:g} times as thickly in the less sure half: answers for at most {most} of {LABELS:,}",
            f"plain draw: {plain}; kept if 10% fewer",
            f"{needed}; {wrong} wrong, 520 answers: {limits[0]:.1f} against {limits[1]:.1f}",
            None,
        )


def _sizes(shares: NDArray[np.float64], m: int, half: int) -> tuple[int, int]:
    first = min(half, round(float(shares[0]) * m / 2))
    return first, min(half, m - first)


def _stratified(half: int, sizes: tuple[int, int], errors: int) -> int:
    """The largest number of wrong labels that `errors` found do not rule out, wherever they are in the two halves."""
    total = errors
    while True:
        first = np.arange(total + 2)
        second = total + 1 - first
        chance = sum(
            hypergeom.pmf(in_first, half, first, sizes[0]) * hypergeom.cdf(errors - in_first, half, second, sizes[1])
            for in_first in range(errors + 1)
        )
        if np.max(chance) <= 1 - CONFIDENCE:
            return total
        total += 1


def _held(name: str, failed: int, runs: int, more: str) -> Figure:
    allowed = ALLOWED_OF_1000 if runs == RUNS else int(binom.ppf(0.99, runs, 1 - CONFIDENCE))
    return Figure(f"{name}: more wrong than certified", f"<= {allowed} of {runs:,}", f"{failed} of {runs:,} {more}", failed <= allowed)

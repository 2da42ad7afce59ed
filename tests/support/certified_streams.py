"""A simulated stream of automatic labels, strangers among them, of which checks are drawn as the service draws them, day by day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotriage.guarantee.audit import SAMPLE_SHARE, audit_share, in_audit, in_sample, probation
from annotriage.guarantee.certificate import Checks, draw_places, front_share, random_checks

MAX_ERROR, CONFIDENCE = 0.02, 0.95
KNOWN_ERROR = 0.01  # of labels of known classes; of strangers every label is wrong
NEVER_ANSWERED = 0.02


@dataclass
class Stream:
    """N automatic labels. day, wrong, share: (N,), share: with which its time was audited, 1 on probation. drawn: (N,) bool.

    answered: (N,) the day on which a check is answered, inf for none. places: (N,) in the draw.
    """

    day: np.ndarray
    wrong: np.ndarray
    share: np.ndarray
    drawn: np.ndarray
    answered: np.ndarray
    ids: list[str]

    def checks(self, until: int, *, most: int | None = None, fixed: bool = True, beyond: np.ndarray | None = None):
        """What is known at the end of a day of the labels so far, and which of them are checked at random.

        beyond: (N,) bool, checks that were drawn later and are answered.
        """
        there = self.day <= until
        known = self.drawn & (self.answered <= until) if beyond is None else (self.drawn & (self.answered <= until)) | beyond
        right = known & ~self.wrong
        whole, rest = there & self.drawn & (self.share >= 1), there & ~(self.drawn & (self.share >= 1))
        audited = self.share[rest & self.drawn]
        shares = SAMPLE_SHARE, float(audited.min(initial=1.0, where=audited < 1)) if (audited < 1).any() else 0.05
        names = [self.ids[place] for place in np.flatnonzero(rest)]
        places = draw_places(names, 0, *shares)
        target = None if most is None else most - int((whole & ~right).sum())
        lost = (known & self.wrong)[rest]
        m = random_checks(places, front_share(*shares), lost, target, CONFIDENCE, fixed=fixed)
        if m is None:
            return None, None
        chosen = np.flatnonzero(rest)[np.argsort(places, kind="stable")[:m]]
        return Checks(int(there.sum()), int(whole.sum()), int((whole & ~right).sum()), m, int((~right[chosen]).sum())), chosen


def stream(run: int, strangers: float, *, days: int = 14, per_day: float = 60.0, on_probation: bool = True) -> Stream:
    """A stream whose traffic and share of strangers change from day to day: hardly any at first, twice `strangers` at the end."""
    rng = np.random.default_rng([run, round(1000 * strangers)])
    counts = rng.poisson(per_day * rng.uniform(0.2, 1.8, days))
    day = np.repeat(np.arange(days), counts)
    n = day.size
    strange = rng.random(n) < 2 * strangers * (day + 0.5) / days
    found = Stream(
        day=day,
        wrong=strange | (rng.random(n) < KNOWN_ERROR),
        share=np.zeros(n),
        drawn=np.zeros(n, dtype=bool),
        answered=np.where(rng.random(n) < NEVER_ANSWERED, np.inf, day + rng.integers(0, 3, n)),
        ids=[f"{run}:{place}" for place in range(n)],
    )
    for today in range(days):
        places = np.flatnonzero(day == today)
        if not places.size:
            continue
        ids = [found.ids[place] for place in places]
        share = audit_share(int(((day > today - 7) & (day <= today)).sum()))
        before = np.flatnonzero(found.drawn)
        lost = found.wrong[before] & (found.answered[before] < today)
        next_at = probation(lost, MAX_ERROR, CONFIDENCE).next_at if on_probation else None
        owed = 0 if next_at is None else next_at - before.size
        found.share[places] = np.where(np.arange(places.size) < owed, 1.0, share)
        found.drawn[places] = in_sample(ids, 0) | in_audit(ids, 0, share) | (np.arange(places.size) < owed)
    return found

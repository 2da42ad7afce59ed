"""Agreement against figures of published worked examples, and where it cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from annotriage.quality.agreement import agreement, cohen_kappa, fleiss_kappa, label_counts

# Fleiss' method on ten items and fourteen people, five labels, as encyclopedias work it through: 0.210.
FLEISS = (
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
)  # fmt: skip


def counts_of(rows):
    """Counts per item of what people said, a text each; a point is a gap."""
    return label_counts([[row[place] for row in rows if row[place] != "."] for place in range(len(rows[0]))])


@pytest.mark.parametrize(
    ("rows", "alpha"),
    [
        (("0100000010", "1110010000"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
    ],
    ids=["two values", "five values", "gaps"],
)  # Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011
def test_alpha_is_that_of_the_published_examples(rows, alpha):
    assert agreement(counts_of(rows)).alpha == pytest.approx(alpha, abs=0.0006)


def test_kappas_are_those_of_the_published_examples():
    assert fleiss_kappa(np.array(FLEISS)) == pytest.approx(0.210, abs=0.0005)
    one, other = "y" * 25 + "n" * 25, "y" * 20 + "n" * 5 + "y" * 10 + "n" * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    sides = rng.choice(["cat", "dog", "cow"], size=(2, 60)).tolist()
    assert cohen_kappa(*sides) == pytest.approx(cohen_kappa_score(*sides))


def test_raw_agreement_and_alpha_have_limits_that_hold():
    rng = np.random.default_rng(1)
    inside = 0
    for run in range(60):  # two people who say the truth in nine of ten cases, else anything
        truth = rng.integers(0, 4, 120)
        said = np.where(rng.random((2, 120)) < 0.9, truth, rng.integers(0, 4, (2, 120)))
        found = agreement(label_counts([[str(a), str(b)] for a, b in said.T]), seed=run, resamples=200)
        expected = (0.9 + 0.1 / 4) ** 2 + 3 * (0.1 / 4) ** 2
        inside += found.raw_low <= expected <= found.raw_high
        assert found.alpha_low < found.alpha < found.alpha_high
    assert inside >= 50


def test_what_cannot_be_told_is_not():
    assert agreement(label_counts([["cat"], ["dog"]])) is None
    assert agreement(np.zeros((0, 0), dtype=int)) is None
    alike = agreement(label_counts([["cat", "cat"]] * 5))
    assert (alike.raw, alike.alpha, alike.alpha_low) == (1.0, None, None)
    one = agreement(label_counts([["cat", "dog"]]))
    assert (one.raw, one.raw_low) == (0.0, None)
    assert fleiss_kappa(label_counts([["cat", "dog"], ["cat", "dog", "dog"]])) is None
    assert cohen_kappa("aaa", "aaa") is None
    assert cohen_kappa("", "") is None

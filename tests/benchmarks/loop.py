"""The data loop, walked through once per seed: digits of which some are mislabelled, found, corrected, the model retrained, fewer wait.

Held-out digits carry both guarantees; the second one, on the same items, spends an attempt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figure import Figure
from numpy.typing import NDArray

from annotriage import Reference, Settings, audit_labels, fit, triage
from annotriage.demo.digits import KNOWN, SPEC, SPEC_FILE, train_model
from annotriage.demo.digits import load_digits as demo_digits
from annotriage.training.retraining import retrain

Labelled = tuple[NDArray[Any], NDArray[Any]]  # images (N, 8, 8) and the names of their classes

SEEDS = 10
WRONG = 0.05  # of the labels of the training set
MAX_ERROR = 0.03


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    mean = np.array([walk(seed) for seed in range(SEEDS)]).mean(axis=0)
    (mislabelled, found, doubted), (before, after) = mean[:3], (Standing(*mean[3:8]), Standing(*mean[8:]))
    name = f"digits, {WRONG:.0%} of the training labels wrong, mean of {SEEDS} seeds"
    looked_at = f"{found:.1f} of {mislabelled:.0f} found, {doubted:.1f} looked at"
    yield Figure(f"{name}: wrong labels", "for information", looked_at, None)
    accuracy = f"{before.accuracy:.2%} -> {after.accuracy:.2%}"
    yield Figure("accuracy on new digits, corrected and retrained", "higher", accuracy, bool(after.accuracy > before.accuracy))
    waiting = f"{before.known:.1f} -> {after.known:.1f} of {after.known_of:.0f}"
    yield Figure("known digits that wait for people", "fewer", waiting, bool(after.known < before.known))
    passed = f"{before.passed:.1f} -> {after.passed:.1f}"
    yield Figure("unseen 8s and 9s that are labelled automatically", "for information", passed, None)
    error = f"{before.error:.2%} -> {after.error:.2%}"
    yield Figure(f"true error of automatic labels of known digits, limit {MAX_ERROR:.0%}", "for information", error, None)


@dataclass(frozen=True)
class Standing:
    """How a model does on digits that come in. accuracy: on known ones; known: of them that wait for people; error: the share of wrong
    ones among their automatic labels. passed: unseen digits that are labelled automatically. known_of: how many known ones there are."""

    accuracy: float
    known: float
    known_of: float
    error: float
    passed: float


def walk(seed: int) -> tuple[float, ...]:
    """One walk: wrong labels, those found, items looked at; how the model does before, and after."""
    digits, rng = demo_digits(seed), np.random.default_rng(seed)
    images, truth = digits.train
    given = truth.copy()
    wrong = rng.permutation(len(truth))[: round(WRONG * len(truth))]
    given[wrong] = (truth[wrong] + rng.integers(1, KNOWN, len(wrong))) % KNOWN
    held_out = digits.held_out[0], digits.held_out[1].astype(str)
    settings = Settings(map="none", max_error=MAX_ERROR)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "before", Path(folder) / "after"
        first.mkdir()
        (first / SPEC_FILE).write_text(SPEC, "utf-8")
        train_model(first / "digits.onnx", images, given, seed)
        reference = fit(first / SPEC_FILE, (images, given.astype(str)), held_out, settings=settings)
        audit = audit_labels(reference, (images, given.astype(str)), settings=settings)
        doubted = np.array([int(finding.id) for finding in audit.findings], dtype=np.intp)
        given[doubted] = truth[doubted]  # people look at each finding and say what it is
        made = retrain(reference, (images, given.astype(str)), second, calibration=held_out, settings=settings)
        parts = [(part[0], part[1].astype(str)) for part in (digits.incoming, digits.unseen)]
        before, after = (standing(one, *parts) for one in (reference, made.reference))
    return (len(wrong), np.isin(wrong, doubted).sum(), len(doubted), *astuple(before), *astuple(after))


def standing(reference: Reference, known: Labelled, unseen: Labelled) -> Standing:
    """How a reference's model does on known digits and on unseen ones."""
    verdicts = triage(reference, known).verdicts
    right = np.array([verdict.labels[:1] == (label,) for verdict, label in zip(verdicts, known[1], strict=True)])
    auto = np.array([verdict.route == "auto" for verdict in verdicts])
    passed = sum(verdict.route == "auto" for verdict in triage(reference, unseen).verdicts)
    return Standing(float(right.mean()), float((~auto).sum()), len(auto), float((auto & ~right).sum() / max(1, auto.sum())), float(passed))

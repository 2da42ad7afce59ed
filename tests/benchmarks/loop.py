"""The data loop, walked through once per seed: digits of which some are mislabelled, found, corrected, the model retrained, fewer wait.

Held-out digits carry both guarantees; the second one, on the same items, spends an attempt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figure import Figure

from annotriage import Reference, Settings, audit_labels, fit, triage
from annotriage.demo.digits import KNOWN, SPEC, SPEC_FILE, train_model
from annotriage.demo.digits import load_digits as demo_digits
from annotriage.training.retraining import retrain

SEEDS = 10
WRONG = 0.05  # of the labels of the training set
MAX_ERROR = 0.03


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    rows = np.array([walk(seed) for seed in range(SEEDS)])
    mislabelled, found, doubted, before, after, strange, wait_before, wait_after, error_before, error_after = rows.mean(axis=0)
    name = f"digits, {WRONG:.0%} of the training labels wrong, mean of {SEEDS} seeds"
    looked_at = f"{found:.1f} of {mislabelled:.0f} found, {doubted:.1f} looked at"
    yield Figure(f"{name}: wrong labels", "for information", looked_at, None)
    yield Figure("accuracy on new digits, corrected and retrained", "not lower", f"{before:.2%} -> {after:.2%}", bool(after >= before))
    measured = f"{wait_before:.1f} -> {wait_after:.1f}, of them {strange:.0f} unseen 8s and 9s"
    yield Figure("items of the incoming ones that wait for people", "fewer", measured, bool(wait_after < wait_before))
    measured = f"{error_before:.2%} -> {error_after:.2%}"
    yield Figure(f"true error of automatic labels, limit {MAX_ERROR:.0%}", "for information", measured, None)


def walk(seed: int) -> tuple[float, ...]:
    """One walk: wrong labels, those found, items looked at; accuracy, strangers, what waits, true error, before and after."""
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
        unseen = digits.unseen[0], digits.unseen[1].astype(str)
        known = digits.incoming[0], digits.incoming[1].astype(str)
        before, after = standing(reference, known, unseen), standing(made.reference, known, unseen)
    pairs = [value for pair in zip(before, after, strict=True) for value in pair]
    return (len(wrong), np.isin(wrong, doubted).sum(), len(doubted), *pairs[:2], len(unseen[0]), *pairs[2:])


def standing(reference: Reference, known: tuple, unseen: tuple) -> tuple[float, float, float]:
    """Accuracy on known digits; how many of the known and unseen ones wait; the share of wrong ones among automatic labels."""
    verdicts = [verdict for part in (known, unseen) for verdict in triage(reference, part).verdicts]
    right = np.array([verdict.labels[:1] == (label,) for verdict, label in zip(verdicts, (*known[1], *unseen[1]), strict=True)])
    auto = np.array([verdict.route == "auto" for verdict in verdicts])
    return float(right[: len(known[0])].mean()), float((~auto).sum()), float((auto & ~right).sum() / max(1, auto.sum()))

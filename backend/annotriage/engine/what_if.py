"""What a reference would decide under other limits: its threshold and the gate's, for a grid of settings. Nothing is guaranteed of them.

Computed once, when a reference is kept, so that the dashboard previews hundreds of thousands of items by counting them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annotriage.engine.error_limits import error_limits
from annotriage.engine.labels import OTHER_SETS
from annotriage.engine.reference import Reference
from annotriage.guarantee.conformal import flagged_rank, outlier_threshold
from annotriage.guarantee.what_if import what_if_taus
from annotriage.settings import Settings

ALPHAS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3)
MAX_ERRORS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1)
CONFIDENCES = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class WhatIf:
    """One alpha. threshold: on the score; None where alpha decides nothing (mean-sigma). names: the classes; rest: that of them which
    stands for all rare sets of labels, if there is one. limits: rows of max_error, confidence and taus: the sureness that automatic
    items must reach, by class; a class that is missing is never automatic."""

    alpha: float
    threshold: float | None
    names: tuple[str, ...]
    rest: str | None
    limits: tuple[dict[str, Any], ...]


def what_if(reference: Reference, asked: Settings | None = None) -> list[WhatIf]:
    """The grid, the reference's own settings among it; empty without labelled held-out items that calibrate.

    asked: look at these settings alone, which may have other costs and limits of classes. Raises SettingError where they name no class.
    """
    answered, settings = reference.answered, asked or reference.settings
    if answered is None or not reference.calibrated:
        return []
    by_sigma = settings.threshold == "mean-sigma"
    alphas = (settings.alpha,) if by_sigma or asked else sorted({*ALPHAS, settings.alpha})
    max_errors = (settings.max_error,) if asked else sorted({*MAX_ERRORS, settings.max_error})
    parts = settings.max_error_per == "class" or settings.class_limits or settings.costs
    # several rankings, or costs, take long
    confidences = (settings.confidence,) if parts or asked else sorted({*CONFIDENCES, settings.confidence})
    names = reference.space.names
    kept = error_limits(reference.space, settings)
    found = []
    for alpha in alphas:
        if not by_sigma and not flagged_rank(len(reference.held_out.scores), alpha):
            continue
        threshold = None if by_sigma else outlier_threshold(reference.held_out.scores, alpha)
        strange = reference.is_outlier(answered.scores, answered.clusters) if threshold is None else answered.scores > threshold
        taus = what_if_taus(
            replace(answered, typical=~strange),
            kept,
            max_errors=max_errors,
            confidences=confidences,
            attempt=reference.guarantee.attempt,
            stricter=reference.guarantee.stricter,
        )
        limits = [
            {
                "max_error": max_error,
                "confidence": confidence,
                "taus": {name: float(tau) for name, tau in zip(names, taus[row, column], strict=True) if np.isfinite(tau)},
            }
            for row, max_error in enumerate(max_errors)
            for column, confidence in enumerate(confidences)
        ]
        found.append(WhatIf(alpha, threshold, names, OTHER_SETS if OTHER_SETS in names else None, tuple(limits)))
    return found

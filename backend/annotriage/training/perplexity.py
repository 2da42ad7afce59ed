"""Perplexity subsampling: which samples take part in the next epoch, by how much the model was surprised by them in this one.

Source: US 2020/0302273. After each forward pass a sample has a perplexity: `kl`, the divergence of the model's probabilities from the
one-hot label, which is -ln p of the true class; or `gaussian`, `gmm`, -ln of the density of its activation under a density fitted to the
activations so far (fitted again after each epoch, our choice). Below threshold A it has been learned, above threshold B it is taken for
noise: in both cases it is left out from the next epoch on. Before every epoch r + 1, 2 r + 1, ... all come back (figure 5B; never in 5A).
Samples that are out are not rescored before they come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.latent.density import fit_density
from annotriage.training.plan import Plan

Array = NDArray[Any]

KL_BELOW = 0.02  # nats: the true class has p > 98%; chosen on MNIST, see tests/benchmarks/training.py
DENSITY_SHARE = 0.5  # of the first epoch's samples lie below the default A of a density, whose nats depend on its dimensions

Rule = Callable[[int, Array, Array], Array]  # epoch from 0, (N,) who took part, (N,) perplexity -> (N,) who takes part next


def of_true_class(logits: Array, targets: Array, multiple: bool) -> Array:
    """-ln p of the labels that people gave, (N, m) logits and 0/1 targets -> (N,): of the class, or of all classes together."""
    exact = logits.astype(np.float64)
    if multiple:
        return np.asarray((np.logaddexp(0.0, exact) - targets * exact).sum(axis=1))
    top = exact.max(axis=1, keepdims=True)
    every = top[:, 0] + np.log(np.exp(exact - top).sum(axis=1))
    return np.asarray(every - (targets * exact).sum(axis=1))


def of_activations(activations: Array, kind: str, classes: int, seed: int) -> Array:
    """-ln density of each of the epoch's samples under a density fitted to all of them: (N, d) -> (N,)."""
    return fit_density(activations, kind, classes, seed).surprise(activations)


@dataclass
class Subsampling:
    """The rule of a plan. below, above: the thresholds in use, in nats; `below` is None until a density's first epoch has set it."""

    plan: Plan
    below: float | None
    above: float | None

    @classmethod
    def of(cls, plan: Plan) -> Subsampling:
        """The rule that a plan asks for."""
        given = plan.drop_below
        return cls(plan, KL_BELOW if given is None and plan.perplexity == "kl" else given, plan.drop_above)

    def __call__(self, epoch: int, took_part: Array, perplexity: Array) -> Array:
        """Who takes part in the next epoch: (N,) bool."""
        if self.plan.perplexity == "off":
            return took_part
        if self.below is None:
            self.below = float(np.quantile(perplexity[took_part], DENSITY_SHARE))
        if self.brings_back(epoch + 1):
            return np.ones_like(took_part)
        out = perplexity < self.below
        if self.above is not None:
            out |= perplexity > self.above
        return took_part & ~out

    def brings_back(self, epoch: int) -> bool:
        """Whether all samples come back before this epoch, counted from 0."""
        return self.plan.perplexity != "off" and self.plan.readmit > 0 and epoch > 0 and epoch % self.plan.readmit == 0

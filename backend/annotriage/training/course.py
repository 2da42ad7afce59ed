"""The course of a training run: epochs of steps, who took part in each, how surprised the model was, and what it cost.

Can be put down after any epoch and taken up again: random choices depend on the seed and the epoch alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import TrainingError
from annotriage.progress import Progress, silent
from annotriage.training.learner import Batch, Learner, is_right
from annotriage.training.perplexity import Rule, Subsampling, of_activations, of_true_class
from annotriage.training.plan import Plan

Array = NDArray[Any]


@dataclass
class Course:
    """What happened, epoch by epoch (E of them) and sample by sample (N of them).

    took_part: (E, N) bool, in whose training. perplexity: (E, N) float32, as last measured; NaN before the first time.
    right: (E, N) int8, whether the model was right when it saw the sample in that epoch; -1 where it did not.
    losses: (E,) mean -ln p of the labels over the samples seen, NaN where none was.
    below, above: the thresholds that were used, NaN if none.
    """

    took_part: Array
    perplexity: Array
    right: Array
    losses: Array
    below: float = math.nan
    above: float = math.nan

    @property
    def visits(self) -> int:
        """How often a sample was trained on, all together."""
        return int(self.took_part.sum())

    @property
    def right_shares(self) -> Array:
        """Share of the samples seen in each epoch on which the model was right when it saw them: (E,), NaN where none was."""
        seen = (self.right >= 0).sum(axis=1)
        return np.asarray(np.where(seen > 0, (self.right == 1).sum(axis=1) / np.maximum(seen, 1), np.nan))

    @property
    def epochs(self) -> int:
        """Epochs that were run."""
        return len(self.losses)

    def arrays(self) -> dict[str, Array]:
        """All of it by name."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Course:
        """The inverse of `arrays`."""
        values = {field.name: np.asarray(arrays[field.name]) for field in fields(cls)}
        below, above = float(values.pop("below")), float(values.pop("above"))
        return cls(**values, below=below, above=above)


def run(
    learner: Learner,
    targets: Array,
    plan: Plan,
    *,
    multiple: bool = False,
    rule: Rule | None = None,
    former: Course | None = None,
    after_epoch: Callable[[Course], None] | None = None,
    progress: Progress = silent,
) -> Course:
    """Train `learner` by the plan. targets: (N, m) 0/1, what people labelled. multiple: several classes may apply.

    rule: who takes part in the next epoch, by default the plan's perplexity subsampling. former: a course to go on with; the learner
    stands where it ended. after_epoch: called with the course so far.
    Raises TrainingError if training diverges (naming the epoch and what to change), or if memory runs out.
    """
    rule = rule or Subsampling.of(plan)
    count = len(targets)
    course = former or Course(np.empty((0, count), bool), np.empty((0, count), np.float32), np.empty((0, count), np.int8), np.empty(0))
    if isinstance(rule, Subsampling) and former is not None and math.isfinite(former.below):
        rule.below = former.below
    takes_part: Array = np.ones(count, dtype=bool)
    if former is not None and former.epochs:
        takes_part = rule(former.epochs - 1, former.took_part[-1], former.perplexity[-1])
    with progress("training", (plan.epochs - course.epochs) * count) as advance:
        for epoch in range(course.epochs, plan.epochs):
            if not takes_part.any() and not _comes_back(rule, epoch, plan):
                break  # everything is learned, and nobody comes back any more
            perplexity, right, loss = _epoch(learner, targets, plan, epoch, takes_part, multiple)
            before = course.perplexity[-1] if course.epochs else np.full(count, np.nan, np.float32)
            latest = np.where(takes_part, perplexity, before).astype(np.float32)
            following = rule(epoch, takes_part, latest)
            course = Course(
                np.vstack([course.took_part, takes_part]),
                np.vstack([course.perplexity, latest]),
                np.vstack([course.right, right]),
                np.append(course.losses, loss),
                *_thresholds(rule, plan),
            )
            takes_part = following
            advance(count)
            if after_epoch is not None:
                after_epoch(course)
    return course


def _comes_back(rule: Rule, epoch: int, plan: Plan) -> bool:
    """Whether samples that are all out come back before an epoch of the plan that is still to come. epoch: the one that nobody is in."""
    return isinstance(rule, Subsampling) and any(rule.brings_back(later) for later in range(epoch + 1, plan.epochs))


def _thresholds(rule: Rule, plan: Plan) -> tuple[float, float]:
    if not isinstance(rule, Subsampling) or plan.perplexity == "off":
        return math.nan, math.nan
    return math.nan if rule.below is None else rule.below, math.nan if rule.above is None else rule.above


def _epoch(learner: Learner, targets: Array, plan: Plan, epoch: int, takes_part: Array, multiple: bool) -> tuple[Array, Array, float]:
    """One pass: the perplexity of each sample (N,), whether the model was right (N,), and the mean loss; without samples it is NaN."""
    if not takes_part.any():
        return np.full(len(targets), np.nan), np.full(len(targets), -1, dtype=np.int8), math.nan
    rng = np.random.default_rng([plan.seed, epoch])
    order = rng.permutation(np.flatnonzero(takes_part))
    pieces = np.array_split(order, math.ceil(len(order) / plan.batch_size))
    surprise = np.full(len(targets), np.nan)
    right = np.full(len(targets), -1, dtype=np.int8)
    activations: list[Array] = []
    total = 0.0
    for place, rows in enumerate(pieces):
        rate = plan.rate * 0.5 * (1 + math.cos(math.pi * (epoch + place / len(pieces)) / plan.epochs))
        batch = _batch(rows, targets, plan, multiple, rng)
        try:
            clean = learner.look(rows) if batch.partners is not None else None
            seen = learner.step(batch, rate)
        except MemoryError as error:
            raise TrainingError(f"memory ran out in epoch {epoch + 1} ({error}); {_smaller(plan)}") from error
        seen = clean or seen
        losses = of_true_class(seen.logits, targets[rows], multiple)
        total += float(losses.sum())
        if not math.isfinite(total):
            raise TrainingError(
                f"training diverged in epoch {epoch + 1} of {plan.epochs}: the loss is {total}. Lower the learning rate"
                f" (--learning-rate {plan.rate / 10:g}; it was {plan.rate:g}); if that does not help, look for broken values in the data"
            )
        surprise[rows] = losses
        right[rows] = is_right(seen.logits, targets[rows], multiple)
        if plan.perplexity in ("gaussian", "gmm"):
            activations.append(seen.activations)
    if activations:
        surprise[order] = of_activations(np.concatenate(activations), plan.perplexity, targets.shape[1], plan.seed)
    return surprise, right, total / len(order)


def _batch(rows: Array, targets: Array, plan: Plan, multiple: bool, rng: np.random.Generator) -> Batch:
    """The samples of a step, their labels smoothed and mixed as the plan says.

    Smoothing: (1 - e) * onehot + e / K (Szegedy et al., arXiv 1512.00567). Mixup: x' = l x_i + (1 - l) x_j and the labels alike,
    l ~ Beta(a, a) (Zhang et al., arXiv 1710.09412).
    """
    choices = 2 if multiple else targets.shape[1]  # each class by itself is a yes or a no
    soft = (1 - plan.smoothing) * targets[rows] + plan.smoothing / choices
    if not plan.mixup:
        return Batch(rows, soft)
    others = rng.permutation(len(rows))
    share = rng.beta(plan.mixup, plan.mixup, len(rows)).astype(np.float32)
    return Batch(rows, share[:, None] * soft + (1 - share[:, None]) * soft[others], rows[others], share)


def _smaller(plan: Plan) -> str:
    return f"lower --step-size (it was {plan.batch_size})" + (", or train the head alone (without --whole)" if plan.whole else "")

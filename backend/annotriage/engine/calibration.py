"""Calibration: held-out items -> the threshold and the guarantee of a reference, and whether they can carry one at all."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from annotriage.engine.collecting import Collected, kept_sample
from annotriage.engine.duplicates import compressed, twin_threshold
from annotriage.engine.error_limits import error_limits
from annotriage.engine.kept_items import HeldOut
from annotriage.engine.labels import FOREIGN, LabelSpace
from annotriage.engine.reference import Reference, confidence_logits
from annotriage.errors import FitError
from annotriage.guarantee import gate
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.binomial import attempt_confidence
from annotriage.guarantee.conformal import flagged_rank, hashed_places, one_per_group, outlier_threshold
from annotriage.guarantee.gate import Guarantee, calibrate_gate
from annotriage.guarantee.ranking import least_items
from annotriage.latent.density_ratio import DensityRatio, fit_density_ratio
from annotriage.model import Model, Outputs
from annotriage.quality.twins import nearest_among, nearest_earlier
from annotriage.settings import Settings

Array = NDArray[Any]

NAMED = 3  # examples in messages
MORE_TWINS = 0.05  # share of items, by which held-out ones may have more twins in the training set than training items have


def calibrate(reference: Reference, held_out: Collected, *, previous: HeldOut | None = None, incoming: Array | None = None) -> Reference:
    """The reference with its threshold and its guarantee taken from held-out items; the version is not set yet.

    held_out: items that the model was not trained on. Of each group one is used. Those that people call none of the model's classes
    (FOREIGN) count against the guarantee, whatever the model says of them, and for nothing else: they are not what is usual.
    previous: those of the reference that this one replaces: items that it was calibrated on already make this a further attempt,
    tested more strictly. incoming: (N, n) compressed points of what comes in, unlabelled: half of the held-out items then learn what is
    new about it, and calibrate no guarantee. Raises FitError if all held-out items are foreign.
    """
    settings, space = reference.settings, reference.space
    read, failed = held_out.read, len(held_out.failures)
    attempt, looked_at = _attempt(held_out, previous)
    held_out = held_out.rows(np.flatnonzero(one_per_group(held_out.ids, held_out.groups, settings.seed)))
    notes = []
    if len(held_out.ids) < read - failed:
        notes.append(f"{read - failed - len(held_out.ids)} held-out items were left out: of each group (patient, series) one is used.")
    usual = held_out.rows(np.flatnonzero([labels != FOREIGN for labels in held_out.labels]))
    if not usual.ids:
        raise FitError(
            f"{held_out.name}: people call all {len(held_out.ids)} held-out items none of the model's classes; check that the labels are"
            " spelt as the model's classes are, or train the model on the new ones"
        )
    foreign = len(held_out.ids) - len(usual.ids)
    if foreign:
        notes.append(
            f"{foreign} of {len(held_out.ids)} held-out items are none of the model's classes, people say: whatever the model calls them"
            " counts as wrong in the guarantee, and they do not calibrate the outlier score."
        )
    detector, measured = reference.detector.calibrated(usual.activations, usual.logits)
    calibrated = flagged_rank(len(usual.ids), settings.alpha) > 0
    if not calibrated:
        least = int(np.ceil(1 / settings.alpha)) - 1
        notes.append(
            f"{len(usual.ids)} held-out items are too few for alpha = {settings.alpha:g}: at least {least} calibrate the threshold."
        )
    labelled = np.flatnonzero([labels is not None for labels in held_out.labels])
    unlabelled = sum(labels is None for labels in held_out.labels)
    if unlabelled:
        notes.append(f"{unlabelled} held-out items carry no label: they calibrate the outlier score, not the guarantee.")
    predicted = space.predicted(held_out.logits)
    correct = np.array([predicted[row] == held_out.labels[row] for row in labelled], dtype=bool)
    attempts = max(attempt, 0 if previous is None else previous.attempts)
    calibration = HeldOut(measured.score, measured.cluster, looked_at, len(labelled) - foreign, int(correct.sum()), attempts)
    reference = replace(
        reference,
        detector=detector if calibrated else reference.detector,
        threshold=outlier_threshold(measured.score, settings.alpha) if calibrated else reference.threshold,
        calibrated=calibrated,
        held_out=calibration,
        held_out_sample=kept_sample(usual, detector, space),
        ratio=None,
        counts=reference.counts | {"held_out": len(usual.ids), "held_out_read": read, "held_out_foreign": foreign},
    )
    if incoming is not None:
        half = hashed_places(held_out.ids, settings.seed, "density ratio") < 0.5
        compared = half | np.array([labels is None for labels in held_out.labels], dtype=bool)
        own = compared[[labels != FOREIGN for labels in held_out.labels]]
        ratio, told = _density_ratio(held_out, measured.compressed[own], incoming, compared, reference, attempt)
        reference = replace(reference, ratio=ratio)
        notes.append(told)
        if ratio is not None:
            rest = ~compared[labelled]
            labelled, correct = labelled[rest], correct[rest]
    if attempt > 1:
        notes.append(f"Attempt {attempt} at these held-out items: the guarantee is tested more strictly each time. Fresh items start over.")
    if len(labelled):
        some = held_out.rows(labelled)
        judged = reference.judge(Outputs(some.logits, some.activations))
        truth = [labels for labels in some.labels if labels is not None]
        true = np.where([labels == FOREIGN for labels in truth], -1, space.indices(truth))
        miss = gate.miss_probability(confidence_logits(some.logits, space))
        called = space.indices(judged.labels)
        typical = ~judged.outlier & calibrated
        answered = Answered(judged.sureness, correct, typical, called, true, miss, judged.score, judged.cluster)
        reference = replace(reference, guarantee=guarantee_of(answered, space, settings, attempt), answered=answered)
    return replace(reference, held_out_notes=(*reference.held_out_notes, *notes))


def _density_ratio(
    held_out: Collected, points: Array, incoming: Array, compared: Array, reference: Reference, attempt: int
) -> tuple[DensityRatio | None, str]:
    """What tells incoming items from held-out ones, and a note about it. None where too few labelled ones are left for the guarantee.

    points: of the usual held-out items that are compared. compared: which of all held-out items carry no guarantee for that.
    """
    settings = reference.settings
    limits = error_limits(reference.space, settings)
    highest = max([limits.max_error, *(part.max_error for part in limits.class_limits)])
    needed = least_items(highest, limits.dearest, attempt_confidence(settings.confidence, attempt))
    left = sum(labels is not None for labels, taken in zip(held_out.labels, compared, strict=True) if not taken)
    if left < needed:
        return None, (
            f"Incoming items were not compared with held-out ones: that takes half of them, and of the labelled ones only {left:,} would be"
            f" left for the guarantee, which needs {needed:,}. Give {2 * needed:,} labelled ones or more."
        )
    try:
        ratio = fit_density_ratio(points, incoming, settings.seed)
    except FitError as error:
        return None, f"Incoming items were not compared with held-out ones: {error}."
    return ratio, (
        f"{len(points):,} held-out items were compared with {len(incoming):,} incoming ones, and what is new among these is automatic less"
        " often. The items compared calibrate the outlier score, not the guarantee."
    )


def guarantee_of(
    answered: Answered, space: LabelSpace, settings: Settings, attempt: int, *, stricter: float | None = None, times_stricter: int = 0
) -> Guarantee:
    """The guarantee that these items allow under the settings. stricter: as for `calibrate_gate`.

    Raises SettingError if the settings name a class that is none.
    """
    limits = error_limits(space, settings)
    return calibrate_gate(
        answered,
        class_names=space.names,
        max_error=settings.max_error,
        confidence=settings.confidence,
        attempt=attempt,
        max_error_per=settings.max_error_per,
        never_auto=space.names_with(settings.never_auto),
        class_limits=limits.class_limits,
        costs=limits.costs,
        stricter=stricter,
        times_stricter=times_stricter,
        seed=settings.seed,
    )


def refuse_shared(trained: Collected, held_out: Collected) -> None:
    """Held-out items must not be training items, nor belong to the same patients, series or videos."""
    shared = np.intersect1d(trained.hashes, held_out.hashes)
    if len(shared):
        pairs = [f"{_id_of(held_out, content)} = {_id_of(trained, content)}" for content in shared[:NAMED]]
        more = ", ..." if len(shared) > NAMED else ""
        raise FitError(
            f"{held_out.name}: {len(shared)} held-out items are training items too ({', '.join(pairs)}{more})."
            " A guarantee needs items that the model was not trained on; take them out of one of the two"
        )
    groups = sorted({group for group in held_out.groups if group} & {group for group in trained.groups if group})
    if groups:
        raise FitError(
            f"{held_out.name}: group {groups[0]!r} is in the training set too (and {len(groups) - 1} more)."
            " Items of one group resemble each other; split by group, so that held-out ones are as new as those to come"
        )


def _id_of(collected: Collected, content: int) -> str:
    return collected.ids[int(np.flatnonzero(collected.hashes == content)[0])]


def looks_seen(reference: Reference, model: Model, collected: Collected) -> list[str]:
    """A warning if held-out items look as if the model had been trained on them, though none is a byte-for-byte copy.

    collected: the items that the reference was calibrated on.
    """
    held_out, sample = reference.held_out, reference.held_out_sample
    if sample is None or held_out.labelled < 20:
        return []
    learned = reference.counts["training"]
    seen = round(reference.training_accuracy * learned)
    table = [[held_out.correct, held_out.labelled - held_out.correct], [seen, learned - seen]]
    if fisher_exact(table, alternative="less").pvalue <= 0.05:
        return []
    bank = reference.sample.compressed.astype(np.float32)
    among = np.minimum(nearest_earlier(bank)[1], nearest_earlier(bank[::-1])[1][::-1])
    place = partial(compressed, reference.detector)
    threshold = twin_threshold(place, model, collected.contents, among, reference.settings)
    twins = nearest_among(sample.compressed.astype(np.float32), bank)[1] <= threshold
    if float(twins.mean()) <= float(np.mean(among <= threshold)) + MORE_TWINS:
        return []
    return [
        f"{twins.mean():.0%} of the held-out items have a near twin in the training set and the model is as accurate on them:"
        " they look as if it had been trained on them, and then the guarantee is worth nothing."
    ]


def _attempt(held_out: Collected, previous: HeldOut | None) -> tuple[int, Array]:
    """Which attempt at a guarantee this is, and the hashes of the items whose labels this and earlier attempts looked at."""
    hashes = held_out.hashes[[labels is not None for labels in held_out.labels]]
    if previous is None:
        return 1, hashes
    earlier = previous.hashes
    return previous.attempts + 1 if np.isin(hashes, earlier).any() else 1, np.union1d(hashes, earlier)

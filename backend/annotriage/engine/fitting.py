"""Fitting: a trained model, its training set and held-out items -> a reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.numbers import percent
from annotriage.advice.twin_words import leak_sentence
from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.engine.calibration import calibrate, guarantee_of, looks_seen, refuse_shared
from annotriage.engine.collecting import KEPT_ACTIVATIONS, Collected, collect, collect_points, kept_sample
from annotriage.engine.duplicates import near_twins
from annotriage.engine.error_limits import refuse_unknown
from annotriage.engine.kept_items import HeldOut
from annotriage.engine.kept_rows import blocks, let_go
from annotriage.engine.label_audit.audit import doubts_of_training
from annotriage.engine.labels import LabelSet, LabelSpace
from annotriage.engine.model_facts import model_facts
from annotriage.engine.reference import Reference, confidence_logits
from annotriage.engine.rounding import rounding_note
from annotriage.errors import FitError
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.conformal import outlier_threshold
from annotriage.latent.detector import fit_detector
from annotriage.model import Model, load_model
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

NAMED = 3  # examples in messages
LEAST_ACCURACY = 0.7  # on its own training items; a model that was run as it was trained does better
FEW = 5


def fit(
    model: Model | ModelSpec | Path | str,
    train: Source,
    calibration: Source | None = None,
    *,
    incoming: Source | None = None,
    settings: Settings | None = None,
    name: str | None = None,
    previous: HeldOut | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    ignore_unknown_labels: bool = False,
    progress: Progress = silent,
) -> Reference:
    """Fit a reference: learn what the training set looks like inside the model, and calibrate on held-out items.

    model: the trained model, or its spec, or the path of its spec. train: the labelled items that it was trained on.
    calibration: held-out items like those to come, that the model was *not* trained on; labelled ones carry the guarantee. Without
    them nothing is guaranteed: `auto` is off and thresholds are uncalibrated. previous: `held_out` of the reference that this one
    replaces; looking again at the same held-out items makes the guarantee stricter, so that trying until it passes does not break it.
    incoming: unlabelled items as they come in now. Half of the held-out items then learn what is new about them, so that strangers which
    look like a known class are labelled automatically less often; worth it where many come in. The other half carries the guarantee.
    labeling_config: a labeling tool's description of its fields and labels, to read its files. server: where the labeling tool runs,
    for items that lie in its projects ("label-studio:3"); by default what the environment says. ignore_unknown_labels: leave items out
    whose label is none of the model's classes, instead of refusing them.

    Raises ModelError, DataError, SettingError, FitError; each says which file or setting, what was wrong and what to do. Single
    unreadable items are left out and counted in `Reference.counts` and `notes`.
    """
    settings = settings or Settings()
    if isinstance(model, str | Path):
        model = ModelSpec.load(Path(model))
    if isinstance(model, ModelSpec):
        model = load_model(model, settings.device)
    space = LabelSpace.of(model.spec.classes, model.spec.choice == "multiple")
    refuse_unknown(space, settings)
    opened = partial(open_dataset, labeling_config=labeling_config, classes=space.classes, server=server)

    def collected(data: Source, what: str) -> Collected:
        renamed = opened(data).renamed(dict(model.spec.aliases))
        if not ignore_unknown_labels:
            return collect(model, renamed, space, settings, progress, what)
        left_out: Counter[str | int] = Counter()
        found = collect(model, _known_only(renamed, space, left_out), space, settings, progress, what)
        return replace(found, notes=(*found.notes, *_unknown_notes(left_out, space, what)))

    trained = collected(train, "training items")
    held_out = None if calibration is None else collected(calibration, "held-out items")
    coming = None if incoming is None else opened(incoming)
    reference = fit_collected(model, trained, held_out, settings, name=name, previous=previous, incoming=coming, progress=progress)
    if model.spec.precision is None or calibration is None:
        return reference
    with progress(f"comparing {model.spec.precision} with float32", None):
        note = rounding_note(reference, model, opened(calibration), settings)
    noted = replace(reference, held_out_notes=(*reference.held_out_notes, note))
    return replace(noted, version=noted.content_hash())


def fit_collected(
    model: Model,
    trained: Collected,
    held_out: Collected | None,
    settings: Settings,
    *,
    name: str | None = None,
    previous: HeldOut | None = None,
    incoming: Dataset | None = None,
    progress: Progress = silent,
) -> Reference:
    """The second half of `fit`, for outputs that were collected already."""
    with progress("fitting the reference", None):
        learned = _only_labelled(trained)
        reference = _uncalibrated(model, learned, settings, name)
        doubts = (*_doubts(reference, learned), *doubts_of_training(reference, learned))
        notes = (*model.notes, *learned.notes, *_failure_notes("training", trained), *doubts)
        reference = replace(reference, training_notes=notes)
        if held_out is None:
            nothing_given = (
                "No held-out items were given: nothing is guaranteed, automatic labels are off and thresholds are uncalibrated."
                " Give items that the model was not trained on with --calibration."
            )
            reference = replace(reference, held_out_notes=(nothing_given,))
        else:
            refuse_shared(trained, held_out)
            reference = replace(reference, held_out_notes=(*held_out.notes, *_failure_notes("held-out", held_out)))
            coming = None
            if incoming is not None:
                coming = collect_points(model, incoming, reference.detector, settings, progress, "incoming items")
            reference = calibrate(reference, held_out, previous=previous, incoming=coming)
            leaks = near_twins(reference.detector, model, trained, held_out, settings)
            told = [leak_sentence(leaks)] if leaks else []
            reference = replace(reference, held_out_notes=(*reference.held_out_notes, *told, *looks_seen(reference, model, held_out)))
    return replace(reference, version=reference.content_hash())


def _uncalibrated(model: Model, trained: Collected, settings: Settings, name: str | None) -> Reference:
    """A reference that has seen training items alone: it guarantees nothing."""
    labels = [label_set for label_set in trained.labels if label_set is not None]
    space = LabelSpace.of(model.spec.classes, model.spec.choice == "multiple", labels)
    present, numbered = np.unique(space.indices(labels), return_inverse=True)
    names = tuple(space.names[place] for place in present)
    detector = fit_detector(trained.activations, trained.logits, numbered, names, settings, multiple=space.multiple)
    nothing = np.empty(0)
    return Reference(
        name=name or trained.name,
        model=model_facts(model),
        settings=settings,
        space=space,
        detector=detector,
        threshold=outlier_threshold(detector.training_scores, settings.alpha),
        calibrated=False,
        training_confidence=_thinned(np.sort(_confidences(space, trained.logits))),
        training_accuracy=_accuracy(space, trained),
        held_out=HeldOut(nothing, np.empty(0, np.intp), np.empty(0, np.uint64), 0, 0, 0),
        guarantee=guarantee_of(Answered.none(), space, settings, 1),
        sample=kept_sample(trained, detector, space),
        held_out_sample=None,
        counts={"training": len(trained.ids), "training_read": trained.read},
        training_notes=(),
        held_out_notes=(),
        spec_path=model.spec.path,
    )


def _doubts(reference: Reference, trained: Collected) -> list[str]:
    """What looks wrong about the training set or about how the model is run."""
    notes = []
    if reference.training_accuracy < LEAST_ACCURACY:
        notes.append(
            f"The model is right on only {percent(reference.training_accuracy)} of its own training items: check the order of the"
            " classes, and mean, std, scale and mode in the model spec, before anything else."
        )
    notes += [
        f"{first!r} and {second!r} look exchanged: the model calls {there:,} of {all_first:,} training items of {first!r} {second!r}, and"
        f" {back:,} of {all_second:,} of {second!r} {first!r}. Check the order of the classes in the model spec, or the labels."
        for first, second, there, all_first, back, all_second in exchanged_pairs(reference.space, trained)
    ]
    counts = dict(zip(reference.detector.clusters.names, reference.detector.clusters.counts.tolist(), strict=True))
    if not reference.space.multiple:
        missing = [name for name in reference.space.classes if name not in counts]
        if missing:
            notes.append(f"No training items of {', '.join(missing)}: such items have no cluster, and are compared with the others.")
    small = [f"{name} ({count})" for name, count in counts.items() if count < FEW]
    if small:
        notes.append(f"Few training items, so little is known about what is usual: {', '.join(small)}.")
    return notes


def exchanged_pairs(space: LabelSpace, trained: Collected) -> list[tuple[str, str, int, int, int, int]]:
    """Pairs of classes of which the model calls most items of each by the other's name.

    (first, second, first's items called second, all of first, second's items called first, all of second), the largest pair first.
    """
    if space.multiple:
        return []
    said = _predicted(space, trained.logits)
    pairs = Counter((theirs, mine) for mine, theirs in zip(said, trained.labels, strict=True) if theirs is not None)
    sizes = Counter(theirs for theirs in trained.labels if theirs is not None)
    found = [
        (space.classes[first], space.classes[second], there, sizes[first,], pairs[(second,), (first,)], sizes[second,])
        for ((first,), (second,)), there in pairs.items()
        if first < second and 2 * there > sizes[first,] and 2 * pairs[(second,), (first,)] > sizes[second,]
    ]
    return sorted(found, key=lambda pair: -(pair[2] + pair[4]))


def _known_only(dataset: Dataset, space: LabelSpace, left_out: Counter[str | int]) -> Dataset:
    """The items of a dataset without those whose label the model does not know, which are counted by label."""

    def read() -> Iterator[Item]:
        for item in dataset:
            if unknown := space.unknown(item):
                left_out[unknown[0]] += 1
            else:
                yield item

    return replace(dataset, read=read)


def _unknown_notes(left_out: Counter[str | int], space: LabelSpace, what: str) -> list[str]:
    if not left_out:
        return []
    named = [
        f"{label!r} ({number:,}{f', did you mean {meant!r}?' if isinstance(label, str) and (meant := space.meant(label)) else ''})"
        for label, number in left_out.most_common(NAMED)
    ]
    more = ", ..." if len(left_out) > NAMED else ""
    return [f"{left_out.total():,} {what} were left out, as the model does not know their label: {', '.join(named)}{more}."]


def _only_labelled(trained: Collected) -> Collected:
    labelled = np.flatnonzero([labels is not None for labels in trained.labels])
    if not len(labelled):
        raise FitError(
            f"{trained.name}: no training item has a label; clusters are formed by class. Put the images into one folder per class,"
            " or give a label column"
        )
    if len(labelled) == len(trained.ids):
        return trained
    missing = len(trained.ids) - len(labelled)
    note = f"{missing} of {len(trained.ids)} training items carry no label and were left out."
    return replace(trained.rows(labelled), notes=(*trained.notes, note))


def _accuracy(space: LabelSpace, collected: Collected) -> float:
    right = sum(mine == theirs for mine, theirs in zip(_predicted(space, collected.logits), collected.labels, strict=True))
    return right / len(collected.ids)


def _predicted(space: LabelSpace, logits: Array) -> Iterator[LabelSet]:
    """What the model says of N items, one after another: (N, m) logits may lie on disk."""
    for some in blocks(len(logits)):
        yield from space.predicted(logits[some])
        let_go(logits)


def _confidences(space: LabelSpace, logits: Array) -> Array:
    """The log-odds of the model's answers, (N,), of (N, m) logits that may lie on disk."""
    found = np.empty(len(logits))
    for some in blocks(len(logits)):
        found[some] = confidence_logits(logits[some], space)
        let_go(logits)
    return found


def _failure_notes(kind: str, collected: Collected) -> list[str]:
    if not collected.failures:
        return []
    examples = "; ".join(collected.failures[:NAMED])
    return [f"{len(collected.failures)} of {collected.read} {kind} items could not be used and were left out: {examples}"]


def _thinned(ascending: Array) -> Array:
    """At most 4,000 evenly spaced values of a long ascending array: the same distribution, in little space."""
    if len(ascending) <= KEPT_ACTIVATIONS:
        return ascending
    return ascending[np.linspace(0, len(ascending) - 1, KEPT_ACTIVATIONS).round().astype(np.intp)]

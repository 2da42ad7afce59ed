"""Fitting: a trained model, its training set and held-out items -> a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.errors import FitError, SettingError
from annotriage.labels import LabelSet, LabelSpace
from annotriage.latent import gate
from annotriage.latent.conformal import flagged_rank, one_per_group, outlier_threshold
from annotriage.latent.detector import Detector, fit_detector
from annotriage.latent.gate import Promise, calibrate_gate
from annotriage.latent.maps import nearest_training
from annotriage.model import Model, Outputs, load_model
from annotriage.model.inputs import Loaded, content_hash, thumbnail
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import Batch, stream
from annotriage.progress import Progress, silent
from annotriage.reference import HeldOut, Reference, Sample, confidence_logits, model_facts
from annotriage.sampling import SeededSample
from annotriage.settings import Settings

Array = NDArray[Any]

KEPT_ACTIVATIONS = 4_000  # items whose activations stay in the reference, for `compare`
NAMED = 3  # examples in messages


def fit(
    model: Model | ModelSpec | Path | str,
    train: Source,
    calibration: Source | None = None,
    *,
    settings: Settings | None = None,
    name: str | None = None,
    previous: Reference | None = None,
    progress: Progress = silent,
) -> Reference:
    """Fit a reference: learn what the training set looks like inside the model, and calibrate on held-out items.

    model: the trained model, or its spec, or the path of its spec. train: the labelled items that it was trained on.
    calibration: held-out items like those to come, that the model was *not* trained on; labelled ones carry the promise. Without
    them nothing is promised: `auto` is off and thresholds are uncalibrated. previous: the reference that this one replaces; looking
    again at the same held-out items makes the promise stricter, so that trying until it passes does not break it.

    Raises ModelError, DataError, SettingError, FitError; each says which file or setting, what was wrong and what to do. Single
    unreadable items are left out and counted in `Reference.counts` and `notes`.
    """
    settings = settings or Settings()
    if isinstance(model, str | Path):
        model = ModelSpec.load(Path(model))
    if isinstance(model, ModelSpec):
        model = load_model(model, settings.device)
    space = LabelSpace.of(model.spec.classes, model.spec.choice == "multiple")
    unknown = [name for name in settings.never_auto if name not in space.classes]
    if unknown:
        raise SettingError(f"setting never_auto: {unknown[0]!r} is none of the model's classes ({', '.join(space.classes)})")
    trained = _collect(model, open_dataset(train), space, settings, progress, "training items")
    held_out = None if calibration is None else _collect(model, open_dataset(calibration), space, settings, progress, "held-out items")
    return fit_collected(model, trained, held_out, settings, name=name, previous=previous, progress=progress)


@dataclass
class Collected:
    """What the model made of a whole dataset. labels: None where people gave none; kept: the seeded sample's pictures."""

    name: str
    ids: list[str]
    labels: list[LabelSet | None]
    groups: list[str | None]
    hashes: Array
    logits: Array
    activations: tuple[Array, ...]
    pictures: dict[int, bytes]
    read: int
    failures: list[str]
    notes: tuple[str, ...]

    def rows(self, which: Array) -> Collected:
        """Some of the items, by index."""
        places = {int(old): new for new, old in enumerate(which)}
        return replace(
            self,
            ids=[self.ids[i] for i in which],
            labels=[self.labels[i] for i in which],
            groups=[self.groups[i] for i in which],
            hashes=self.hashes[which],
            logits=self.logits[which],
            activations=tuple(layer[which] for layer in self.activations),
            pictures={places[old]: picture for old, picture in self.pictures.items() if old in places},
        )


def _collect(model: Model, dataset: Dataset, space: LabelSpace, settings: Settings, progress: Progress, what: str) -> Collected:
    """Run a labelled dataset through the model. Raises DataError on labels that the model does not know."""
    ids: list[str] = []
    labels: list[LabelSet | None] = []
    groups: list[str | None] = []
    hashes: list[int] = []
    outputs: list[Outputs] = []
    failures: list[str] = []
    kept: SeededSample[tuple[int, bytes]] = SeededSample(settings.map_sample, settings.seed, "map")
    read = 0
    with progress(f"{what} of {dataset.name}", dataset.count) as advance:
        for batch in stream(model, dataset, settings):
            read += len(batch.items)
            failures += [problem for problem in batch.problems if problem is not None]
            for item, loaded in _good(batch):
                labels.append(space.known(item))
                kept.offer(item.id, partial(_picture, len(ids), loaded, settings.thumbnail))
                ids.append(item.id)
                groups.append(item.group)
                hashes.append(int(content_hash(loaded)[:16], 16))
            if batch.outputs is not None:
                outputs.append(batch.outputs)
            advance(len(batch.items))
    if not outputs:
        why = f": {failures[0]}" if failures else ""
        raise FitError(f"{what}: none of the {read} items of {dataset.name} could be used{why}")
    logits = np.concatenate([one.logits for one in outputs])
    activations = tuple(_joined(outputs, layer) for layer in range(len(model.layers)))
    return Collected(
        dataset.name,
        ids,
        labels,
        groups,
        np.array(hashes, dtype=np.uint64),
        logits,
        activations,
        dict(kept.values()),
        read,
        failures,
        tuple(dataset.notes),
    )


def _picture(row: int, loaded: Loaded, side: int) -> tuple[int, bytes]:
    return row, b"" if loaded.picture is None else thumbnail(loaded.picture, side)


def _good(batch: Batch) -> Iterator[tuple[Item, Loaded]]:
    return ((batch.items[row], loaded) for row, loaded in zip(batch.rows, batch.loaded, strict=True))


def _joined(outputs: list[Outputs], layer: int) -> Array:
    """One layer's activations of all batches, in one array that is filled in place: the batches are never held twice."""
    first = outputs[0].activations[layer]
    whole = np.empty((sum(len(one.logits) for one in outputs), *first.shape[1:]), dtype=np.float32)
    start = 0
    for one in outputs:
        part = one.activations[layer]
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def fit_collected(
    model: Model,
    trained: Collected,
    held_out: Collected | None,
    settings: Settings,
    *,
    name: str | None = None,
    previous: Reference | None = None,
    progress: Progress = silent,
) -> Reference:
    """The second half of `fit`, for outputs that were collected already."""
    with progress("fitting the reference", None):
        learned = _only_labelled(trained)
        reference = _uncalibrated(model, learned, settings, name)
        reference = _noted(reference, *model.notes, *learned.notes, *_failure_notes("training", trained))
        if held_out is None:
            reference = _noted(
                reference,
                "No held-out items were given: nothing is promised, automatic labels are off and thresholds are uncalibrated."
                " Give items that the model was not trained on with --calibration.",
            )
        else:
            _refuse_shared(trained, held_out)
            reference = _noted(reference, *held_out.notes, *_failure_notes("held-out", held_out))
            reference = calibrate(reference, held_out, previous=previous)
            reference = _noted(reference, *_looks_seen(reference))
    return replace(reference, version=reference.content_hash())


def _uncalibrated(model: Model, trained: Collected, settings: Settings, name: str | None) -> Reference:
    """A reference that has seen training items alone: it promises nothing."""
    labels = [one for one in trained.labels if one is not None]
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
        training_confidence=_thinned(np.sort(confidence_logits(trained.logits, space))),
        training_accuracy=_accuracy(space, trained),
        held_out=HeldOut(nothing, np.empty(0, np.intp), np.empty(0, np.uint64), 0, 0),
        promise=_promise(space, settings, 1),
        sample=_sample(trained, detector, space),
        held_out_sample=None,
        counts={"training": len(trained.ids), "training_read": trained.read},
        notes=(),
        spec_path=model.spec.path,
    )


def calibrate(reference: Reference, held_out: Collected, *, previous: Reference | None = None) -> Reference:
    """The reference with its threshold and its promise taken from held-out items; the version is not set yet.

    held_out: items that the model was not trained on. Of each group one is used. previous: the reference that this one
    replaces: held-out items that it was calibrated on already make this a further attempt, tested more strictly.
    """
    settings, space = reference.settings, reference.space
    read, failed = held_out.read, len(held_out.failures)
    attempt, looked_at = _attempt(held_out, previous)
    held_out = held_out.rows(np.flatnonzero(one_per_group(held_out.ids, held_out.groups, settings.seed)))
    notes = []
    if len(held_out.ids) < read - failed:
        notes.append(f"{read - failed - len(held_out.ids)} held-out items were left out: of each group (patient, series) one is used.")
    measured = reference.detector.measure(held_out.activations, held_out.logits)
    calibrated = flagged_rank(len(held_out.ids), settings.alpha) > 0
    if not calibrated:
        least = int(np.ceil(1 / settings.alpha)) - 1
        notes.append(
            f"{len(held_out.ids)} held-out items are too few for alpha = {settings.alpha:g}: at least {least} calibrate the threshold."
        )
    predicted = space.predicted(held_out.logits)
    labelled = np.flatnonzero([labels is not None for labels in held_out.labels])
    if len(labelled) < len(held_out.ids):
        notes.append(
            f"{len(held_out.ids) - len(labelled)} held-out items carry no label: they calibrate the outlier score, not the promise."
        )
    correct = np.array([predicted[row] == held_out.labels[row] for row in labelled], dtype=bool)
    calibration = HeldOut(measured.score, measured.cluster, looked_at, len(labelled), int(correct.sum()))
    reference = replace(
        reference,
        threshold=outlier_threshold(measured.score, settings.alpha) if calibrated else reference.threshold,
        calibrated=calibrated,
        held_out=calibration,
        held_out_sample=_sample(held_out, reference.detector, space),
        counts=reference.counts | {"held_out": len(held_out.ids), "held_out_read": read},
    )
    if attempt > 1:
        notes.append(f"Attempt {attempt} at these held-out items: the promise is tested more strictly each time. Fresh items start anew.")
    if len(labelled):
        some = held_out.rows(labelled)
        judged = reference.judge(Outputs(some.logits, some.activations))
        truth = [labels for labels in some.labels if labels is not None]
        logit = confidence_logits(some.logits, space)
        typical = ~judged.outlier & calibrated
        promise = _promise(
            space,
            settings,
            attempt,
            judged.sureness,
            correct,
            typical,
            space.indices(judged.labels),
            space.indices(truth),
            gate.miss_probability(logit),
        )
        reference = replace(reference, promise=promise)
    return _noted(reference, *notes)


def _promise(space: LabelSpace, settings: Settings, attempt: int, *columns: Array) -> Promise:
    """The gate over the columns of `calibrate_gate`; without any, the promise that nothing supports."""
    floats, flags, places = np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=np.intp)
    return calibrate_gate(
        *(columns or (floats, flags, flags, places, places, floats)),
        class_names=space.names,
        max_error=settings.max_error,
        confidence=settings.confidence,
        attempt=attempt,
        max_error_per=settings.max_error_per,
        never_auto=space.names_with(settings.never_auto),
        seed=settings.seed,
    )


def _attempt(held_out: Collected, previous: Reference | None) -> tuple[int, Array]:
    """Which attempt at a promise this is, and the hashes of the items whose labels this and earlier attempts looked at."""
    hashes = held_out.hashes[[labels is not None for labels in held_out.labels]]
    if previous is None:
        return 1, hashes
    earlier = previous.held_out.hashes
    return previous.promise.attempt + 1 if np.isin(hashes, earlier).any() else 1, np.union1d(hashes, earlier)


def _sample(collected: Collected, detector: Detector, space: LabelSpace) -> Sample:
    rows = np.fromiter(collected.pictures, dtype=np.intp, count=len(collected.pictures))
    kept = rows[:KEPT_ACTIVATIONS]
    activations = tuple(layer[kept] for layer in collected.activations)
    scales = tuple(max(float(np.abs(layer).max(initial=0.0)), 1e-30) for layer in activations)
    pictures = list(collected.pictures.values())
    labels = [collected.labels[row] for row in rows]
    measured = detector.measure(tuple(layer[rows] for layer in collected.activations), collected.logits[rows])
    return Sample(
        clusters=measured.cluster,
        ids=tuple(collected.ids[row] for row in rows),
        labels=tuple("" if one is None else " + ".join(space.texts(one)) for one in labels),
        compressed=measured.compressed.astype(np.float16),
        thumbnails=np.frombuffer(b"".join(pictures), dtype=np.uint8),
        ends=np.cumsum([len(picture) for picture in pictures], dtype=np.int64),
        activations=tuple((layer / scale).astype(np.float16) for layer, scale in zip(activations, scales, strict=True)),
        scales=scales,
        logits=collected.logits[kept],
        label_index=np.array([-1 if one is None else space.index(one) for one in labels[: len(kept)]], dtype=np.intp),
    )


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


def _refuse_shared(trained: Collected, held_out: Collected) -> None:
    """Held-out items must not be training items, nor belong to the same patients, series or videos."""
    shared = np.intersect1d(trained.hashes, held_out.hashes)
    if len(shared):
        pairs = [f"{_id_of(held_out, one)} = {_id_of(trained, one)}" for one in shared[:NAMED]]
        more = ", ..." if len(shared) > NAMED else ""
        raise FitError(
            f"{held_out.name}: {len(shared)} held-out items are training items too ({', '.join(pairs)}{more})."
            " A promise needs items that the model was not trained on; take them out of one of the two"
        )
    groups = sorted({group for group in held_out.groups if group} & {group for group in trained.groups if group})
    if groups:
        raise FitError(
            f"{held_out.name}: group {groups[0]!r} is in the training set too (and {len(groups) - 1} more)."
            " Items of one group resemble each other; split by group, so that held-out ones are as new as those to come"
        )


def _id_of(collected: Collected, content: int) -> str:
    return collected.ids[int(np.flatnonzero(collected.hashes == content)[0])]


def _looks_seen(reference: Reference) -> list[str]:
    """A warning if held-out items look as if the model had been trained on them, though none is a byte-for-byte copy."""
    held_out, sample = reference.held_out, reference.held_out_sample
    if sample is None or held_out.labelled < 20:
        return []
    learned = reference.counts["training"]
    seen = round(reference.training_accuracy * learned)
    table = [[held_out.correct, held_out.labelled - held_out.correct], [seen, learned - seen]]
    if fisher_exact(table, alternative="less").pvalue <= 0.05:
        return []
    bank = reference.sample.compressed.astype(np.float32)
    among = _nearest_distance(bank, bank, skip=1)
    twins = _nearest_distance(sample.compressed.astype(np.float32), bank, skip=0) < 0.1 * np.median(among)
    usual = float(np.mean(among < 0.1 * np.median(among)))
    if float(twins.mean()) <= usual + 0.05:
        return []
    return [
        f"{twins.mean():.0%} of the held-out items have a near twin in the training set and the model is as accurate on them:"
        " they look as if it had been trained on them, and then the promise is worth nothing."
    ]


def _nearest_distance(points: Array, bank: Array, skip: int) -> Array:
    nearest = nearest_training(points, bank, skip + 1)[:, skip if len(bank) > skip else 0]
    return np.asarray(np.linalg.norm(points - bank[nearest], axis=1))


def _accuracy(space: LabelSpace, collected: Collected) -> float:
    predicted = space.predicted(collected.logits)
    return float(np.mean([mine == theirs for mine, theirs in zip(predicted, collected.labels, strict=True)]))


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


def _noted(reference: Reference, *notes: str) -> Reference:
    return replace(reference, notes=(*reference.notes, *notes))

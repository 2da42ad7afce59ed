"""Triage: a dataset -> a verdict on every item and the state of the dataset, in one pass and in flat memory.

Whatever cannot be scored gets a `failed` verdict with its reason, so that every item has one.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from annotriage.advice.advice import Advice
from annotriage.data import Item, Source, open_dataset
from annotriage.engine.assessment import MMD_SAMPLE, Columns, Stranger, assess, diversity_facts
from annotriage.engine.comparing_labels import LabelComparison, LabelTally
from annotriage.engine.gathering import gathered
from annotriage.engine.kept_verdicts import Verdicts
from annotriage.engine.reference import Judged, Reference, guarantee_facts
from annotriage.engine.sampling import SeededSample, Smallest
from annotriage.engine.verdict import OutlierGroup, Verdict, failed_verdict, verdicts_of
from annotriage.guarantee.diversity import Diversity
from annotriage.model import Model
from annotriage.model.inputs import Loaded, thumbnail
from annotriage.model.spec import ModelSpec
from annotriage.model.stages import Stage, Stages
from annotriage.model.stream import Batch, decoding_threads, stream
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings
from annotriage.states import ROUTES

Array = NDArray[Any]
T = TypeVar("T")

WAITING_KEPT = 1_000  # items for a person whose pictures are kept for the report
FAILED_KEPT = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """An item that is kept for the report: its verdict, its compressed point (n,) float32 and its picture (b"" if none)."""

    verdict: Verdict
    point: Array
    picture: bytes


@dataclass(frozen=True)
class Triage:
    """What triage found.

    verdicts: one per item, in the dataset's order; iterate as often as you like (they are kept on disk).
    counts: items per route. groups: among the `searched` outliers. drawn: a seeded sample of scored items; waiting: the first
    of those that go to a person, in the order in which to look at them. compared: with
    the labels that the data carry, None without any. notes: sample sizes and warnings. timings: seconds of the items' pass and of what
    comes once; stages: what they were spent on.
    """

    dataset: str
    reference: Reference
    verdicts: Sequence[Verdict]
    counts: dict[str, int]
    diversity: Diversity
    advice: tuple[Advice, ...]
    groups: tuple[OutlierGroup, ...]
    searched: int
    drawn: list[Seen] = field(repr=False)
    waiting: list[Seen] = field(repr=False)
    notes: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    compared: LabelComparison | None = None
    stages: Stages = field(default_factory=Stages, repr=False, compare=False)

    def summary(self) -> dict[str, Any]:
        """The figures as plain values, as in summary.json."""
        facts = {"name": self.reference.name, "version": self.reference.version, "model": self.reference.model.name}
        return {
            "dataset": self.dataset,
            "reference": facts,
            "items": sum(self.counts.values()),
            "counts": self.counts,
            "diversity": diversity_facts(self.diversity),
            "advice": [asdict(advice) for advice in self.advice],
            "guarantee": guarantee_facts(self.reference.guarantee),
            "groups": [{key: value for key, value in asdict(group).items() if key != "faces"} for group in self.groups],
            "compared": None if self.compared is None else asdict(self.compared),
            "notes": list(self.notes),
            "timings": self.timings,
        }


def triage(
    reference: Reference,
    data: Source,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    each: Callable[[Verdict, Item], None] | None = None,
    progress: Progress = silent,
) -> Triage:
    """Judge every item of a dataset.

    model: where the reference's model is, if it has moved. settings: those that concern the run (device, threads, samples,
    map); what was fitted stays as the reference has it. labeling_config: a labeling tool's description of its fields and
    labels, to read its files. server: where the labeling tool runs and which of its controls is meant, by default what the
    environment says. each: called with every verdict and its item, in the dataset's order, as they come.
    Raises DataError, ModelError, MismatchError, OutputError; a broken item is a `failed` verdict instead.
    `annotriage.triage_to_folder` also writes the results as files.
    """
    settings = settings or reference.settings
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    model = reference.open_model(model, settings)
    dataset = dataset.renamed(dict(model.spec.aliases))
    started = time.perf_counter()
    tally = Tally(reference, settings)
    verdicts = Verdicts()
    # one thread: small products that wait for threads while the model holds the cores take a hundred times as long
    with progress(f"triage of {dataset.name}", dataset.count) as advance, threadpool_limits(1, user_api="blas"):
        for batch in gathered(stream(model, dataset, settings, tally.stages), reference):
            with tally.stages.timed(Stage.SAMPLE):
                judged = list(tally.add(batch))
            with tally.stages.timed(Stage.WRITE):
                for item, verdict in judged:
                    verdicts.append(verdict)
                    if each is not None:
                        each(verdict, item)
            advance(len(batch.items))
    notes = (*dataset.notes, *model.notes)
    return finished(tally, dataset.name, verdicts, progress, notes, time.perf_counter() - started)


@dataclass(frozen=True)
class Piece:
    """What a `Tally` has counted and kept of some items of a dataset, for the tally of the whole.

    counts: items per route. scores (N,) float32, clusters (N,) int32, outliers (N,) bool: of the scored items, in order; groups: theirs,
    None where none is named. labels: as `LabelTally.counters`. drawn, strange, waiting, failed: its samples.
    """

    counts: dict[str, int]
    scores: Array
    clusters: Array
    outliers: Array
    groups: list[str | None]
    labels: dict[str, dict[str, int]]
    drawn: list[Seen]
    strange: list[Stranger]
    waiting: list[Seen]
    failed: list[Seen]


class Tally:
    """What is counted and kept while items pass: a few numbers per item, and samples of fixed size."""

    def __init__(self, reference: Reference, settings: Settings) -> None:
        self.reference, self.settings = reference, settings
        self.stages = Stages()
        self.counts: Counter[str] = Counter()
        few = len(reference.detector.clusters.names) < 2**15
        self.scores, self.clusters, self.outliers = array("f"), array("h" if few else "i"), array("b")
        self.groups: list[str | None] = []  # empty as long as no item names one
        guarantee = reference.guarantee
        alike = guarantee.most_wrong is None and guarantee.max_error_per != "class"
        self.labels = LabelTally(reference.space, guarantee.error_limit, alike=alike)
        self.drawn: SeededSample[Seen] = SeededSample(settings.map_sample, settings.seed, "map")
        self.strange: SeededSample[Stranger] = SeededSample(settings.group_sample, settings.seed, "groups")
        self.waiting: Smallest[Seen] = Smallest(WAITING_KEPT)
        self.failed: Smallest[Seen] = Smallest(FAILED_KEPT)

    def add(self, batch: Batch) -> Iterator[tuple[Item, Verdict]]:
        """Judge a batch, keep what is needed, and give each item with its verdict, in order."""
        scored: dict[int, Verdict] = {}
        if batch.outputs is not None:
            items = [batch.items[row] for row in batch.rows]
            with self.stages.timed(Stage.JUDGE):
                judged = self.reference.judge(batch.outputs, decoding_threads(self.settings))
                verdicts = list(verdicts_of(self.reference, items, judged, batch.seconds))
            scored = dict(zip(batch.rows, verdicts, strict=True))
            self._keep(items, verdicts, judged, batch.loaded)
        for row, (item, problem) in enumerate(zip(batch.items, batch.problems, strict=True)):
            if problem is None:
                verdict = scored[row]
            else:
                verdict = failed_verdict(self.reference, item, problem, batch.seconds)
                self.failed.add(float(sum(self.counts.values())), partial(Seen, verdict, np.empty(0), b""))
            self.counts[verdict.route] += 1
            self.labels.add(item, verdict)
            yield item, verdict

    def piece(self) -> Piece:
        """What has been counted and kept so far."""
        return Piece(
            counts=dict(self.counts),
            scores=np.array(self.scores, dtype=np.float32),
            clusters=np.array(self.clusters, dtype=np.int32),
            outliers=np.array(self.outliers, dtype=bool),
            groups=list(self.groups) if self.groups else [None] * len(self.scores),
            labels=self.labels.counters(),
            drawn=self.drawn.values(),
            strange=self.strange.values(),
            waiting=self.waiting.values(),
            failed=self.failed.values(),
        )

    def absorb(self, piece: Piece) -> None:
        """Count and keep what another tally has, of the items that come next: as if they had passed here."""
        before = sum(self.counts.values())
        self.counts.update(piece.counts)
        self.labels.absorb(piece.labels)
        self._append(piece.scores, piece.clusters, piece.outliers, piece.groups)
        for seen in piece.drawn:
            self.drawn.offer(seen.verdict.id, partial(_given, seen))
        for stranger in piece.strange:
            self.strange.offer(stranger.id, partial(_given, stranger))
        for seen in piece.waiting:
            self.waiting.add(seen.verdict.trust, partial(_given, seen))
        for place, seen in enumerate(piece.failed, start=before):
            self.failed.add(float(place), partial(_given, seen))

    def _append(self, scores: Array, clusters: Array, outliers: Array, groups: list[str | None]) -> None:
        before = len(self.scores)
        self.scores.frombytes(scores.astype(np.float32).tobytes())
        self.clusters.frombytes(clusters.astype(self.clusters.typecode).tobytes())
        self.outliers.frombytes(outliers.astype(np.int8).tobytes())
        if self.groups or any(groups):
            self.groups += [None] * (before - len(self.groups))
            self.groups += groups

    def _keep(self, items: list[Item], verdicts: list[Verdict], judged: Judged, loaded: list[Loaded]) -> None:
        self._append(judged.score, judged.cluster, judged.outlier, [item.group or None for item in items])
        for place, verdict in enumerate(verdicts):
            seen = _Lazily(verdict, judged.compressed[place], loaded[place], self.settings.thumbnail)
            self.drawn.offer(verdict.id, seen)
            if verdict.route == "outlier":
                self.strange.offer(verdict.id, partial(_stranger, seen))
            if verdict.route != "auto":
                self.waiting.add(verdict.trust, seen)


class _Lazily:
    """Makes the `Seen` of one item when the first sample wants it, and gives the others the same."""

    def __init__(self, verdict: Verdict, point: Array, loaded: Loaded, side: int) -> None:
        self._made: Seen | None = None
        self._parts = verdict, point, loaded, side

    def __call__(self) -> Seen:
        if self._made is None:
            verdict, point, loaded, side = self._parts
            picture = b"" if loaded.picture is None else thumbnail(loaded.picture, side)
            self._made = Seen(verdict, point.astype(np.float32), picture)
        return self._made


def _given(value: T) -> T:
    return value


def _stranger(make: Callable[[], Seen]) -> Stranger:
    """Half of a `Seen`, for there may be many."""
    seen = make()
    return Stranger(seen.verdict.id, " + ".join(seen.verdict.labels), seen.point.astype(np.float16), seen.picture)


def finished(tally: Tally, dataset: str, verdicts: Sequence[Verdict], progress: Progress, notes: tuple[str, ...], seconds: float) -> Triage:
    """The state of the dataset, once all its items have passed. notes: what reading and running had to say."""
    reference = tally.reference
    started = time.perf_counter()
    drawn = tally.drawn.values()
    with progress("comparing the dataset", None), tally.stages.timed(Stage.COMPARE):
        state = assess(reference, _columns(tally, drawn), tally.settings)
    all_notes = [*notes, *_sample_notes(tally, len(drawn), state.searched)]
    return Triage(
        dataset=dataset,
        reference=reference,
        verdicts=verdicts,
        counts={route: tally.counts[route] for route in ROUTES},
        diversity=state.diversity,
        advice=state.advice,
        groups=state.groups,
        searched=state.searched,
        drawn=drawn,
        waiting=[*tally.failed.values(), *tally.waiting.values()],
        notes=tuple(all_notes),
        timings={"items": seconds, "dataset": time.perf_counter() - started},
        compared=tally.labels.comparison(),
        stages=tally.stages,
    )


def _columns(tally: Tally, drawn: list[Seen]) -> Columns:
    sample = drawn[:MMD_SAMPLE]
    places = {name: place for place, name in enumerate(tally.reference.detector.clusters.names)}
    return Columns(
        outliers=np.asarray(tally.outliers, dtype=np.int8).view(bool),
        clusters=np.asarray(tally.clusters),
        scores=np.asarray(tally.scores, dtype=np.float32),
        groups=[group or f"item {place}" for place, group in enumerate(tally.groups)] if tally.groups else None,
        failed=tally.counts["failed"],
        points=np.stack([seen.point for seen in sample]) if sample else np.empty((0, 0)),
        point_clusters=np.array([places[str(seen.verdict.cluster)] for seen in sample], dtype=np.intp),
        strangers=tally.strange.values(),
    )


def _sample_notes(tally: Tally, drawn: int, searched: int) -> list[str]:
    scored = sum(tally.counts.values()) - tally.counts["failed"]
    notes = []
    if drawn < scored:
        notes.append(f"The map and the MMD test use a seeded sample of {drawn:,} of {scored:,} scored items (setting map_sample).")
    if searched < tally.counts["outlier"]:
        notes.append(
            f"Groups were searched in a seeded sample of {searched:,} of {tally.counts['outlier']:,} strange items (setting group_sample)."
        )
    if not tally.groups:
        notes.append("No groups (patient, series, video) are named: intervals and p-values take the items as unrelated.")
    return notes

"""The folder that retraining leaves: model, reference, report and tables, complete or not there at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotriage.advice.training_words import (
    comparison_sentence,
    gain_sentence,
    never_auto_sentence,
    new_class_limits_sentence,
    pruning_sentence,
    strange_sentence,
    takeover_sentence,
    visits_sentence,
)
from annotriage.data import Source
from annotriage.engine.folders import whole_folder
from annotriage.engine.reference import Reference, guarantee_facts
from annotriage.guarantee.ranking import least_items
from annotriage.model.onnx_head import SPEC_FILE
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.report.csv_cells import Cell, csv_lines
from annotriage.report.html import write_page
from annotriage.report.output import REPORT, json_text
from annotriage.report.training_page import write_training_page
from annotriage.settings import ServiceSettings, Settings
from annotriage.training.importance import forgetting
from annotriage.training.learning_curve import MORE
from annotriage.training.plan import Plan
from annotriage.training.retraining import Training, Wishes, retrain
from annotriage.training.side_by_side import NOT_WORSE

FACTS, SAMPLES, REGIONS, COLLECT, REFERENCE = "training.json", "samples.csv", "regions.csv", "collect.csv", "reference"


def train(
    base: Reference | ModelSpec | Path | str,
    train: Source,
    out: Path | str,
    *,
    reviewed: Source | None = None,
    augmented: Source | None = None,
    calibration: Source | None = None,
    keep_out: Source | None = None,
    plan: Plan | None = None,
    wishes: Wishes | None = None,
    new_classes: Sequence[str] | None = None,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    replace_existing: bool = False,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Training:
    """Train a model further on what people labelled, and write it with its reference and a report into the folder `out`.

    base: the reference whose model is to learn, or the spec of a model; of an encoder (`head = "none"`) this makes the first head.
    train: what it was trained on, labelled. reviewed: what people labelled since; spot checks, held-out items, their groups and near twins
    among them are left out and counted. augmented: changed copies of training items, with their labels; never held out.
    calibration: random held-out items that nobody chose; they carry the new guarantee and the comparison of both models. keep_out: items
    that must not be trained on, as spot checks and gold tasks. new_classes: names to learn that the model does not know, by default all
    with at least 10 labelled items. plan: how it is trained; wishes: what else to find out. model: where the reference's model is, if it
    has moved. The head is a linear one on frozen activations, in any .onnx; with `Plan(whole=True)` a torch factory is trained in full.

    A run that was stopped goes on where it was, if the same is asked for again. What is in force stays so until somebody puts the new
    reference to use. Raises TrainingError, DataError, ModelError, SettingError, OutputError; each says what to do.
    """
    out = Path(out)
    with whole_folder(out, what="results", mark=FACTS, replaceable=replace_existing) as folder:
        found = retrain(
            base,
            train,
            folder,
            reviewed=reviewed,
            augmented=augmented,
            calibration=calibration,
            keep_out=keep_out,
            plan=plan,
            wishes=wishes,
            new_classes=new_classes,
            model=model,
            settings=settings,
            name=out.resolve().name,
            state=out,
            labeling_config=labeling_config,
            server=server,
            progress=progress,
        )
        found.reference.save(folder / REFERENCE)
        _write_samples(found, folder / SAMPLES)
        _write_regions(found, folder / REGIONS)
        if found.candidates is not None:
            _write_candidates(found, folder / COLLECT)
        (folder / FACTS).write_text(json_text(training_facts(found)), "utf-8", "backslashreplace")
        write_training_page(found, folder / REPORT)
    return replace(found, spec=ModelSpec.load(out / SPEC_FILE), reference=Reference.load(out / REFERENCE))


def training_facts(training: Training) -> dict[str, Any]:
    """The figures as plain values, as in training.json."""
    course, comparison = training.course, training.comparison
    return {
        "name": training.reference.name,
        "version": training.reference.version,
        "from": None if training.former is None else {"name": training.former.name, "version": training.former.version},
        "classes": list(training.reference.space.classes),
        "new_classes": list(training.new_classes),
        "never_auto": list(training.never_auto),
        "plan": asdict(training.plan),
        "trained_on": len(training.examples.collected.ids),
        "left_out": dict(training.examples.left_out),
        "course": {
            "epochs": course.epochs,
            "visits": course.visits,
            "took_part": course.took_part.mean(axis=1),
            "losses": course.losses,
            "right": course.right_shares,
            "drop_below": course.below,
            "drop_above": course.above,
            "resumed_epochs": training.resumed,
        },
        "comparison": None if comparison is None else asdict(comparison),
        "guarantee": guarantee_facts(training.reference.guarantee),
        "regions": [
            {
                "number": region.number,
                "items": len(region.ids),
                "classes": list(region.classes),
                "perplexity": region.surprise,
                "medoid": region.ids[0],
            }
            for region in training.regions
        ],
        "pruning": None if training.proposal is None else asdict(training.proposal),
        "learning_curve": None if training.curve is None else asdict(training.curve),
        "strange": None if training.strange is None else asdict(training.strange),
        "notes": [*training.notes, *training.reference.notes],
        "seconds": training.seconds,
        "sentences": training_sentences(training),
    }


def training_sentences(training: Training) -> list[str]:
    """What came of it, in sentences, the most important first."""
    course, comparison = training.course, training.comparison
    said = []
    if comparison is not None:
        said.append(takeover_sentence(comparison.takes_over, comparison.old_classes, comparison.fresh, NOT_WORSE))
        if comparison.all_items is not None:
            said.append(comparison_sentence(comparison.all_items))
    if training.never_auto:
        said.append(never_auto_sentence(training.never_auto))
    if unlimited := _without_own_limit(training):
        guarantee = training.reference.guarantee
        said.append(new_class_limits_sentence(unlimited, guarantee.max_error, least_items(guarantee.max_error, None, guarantee.confidence)))
    samples = len(training.examples.collected.ids)
    said.append(visits_sentence(course.visits, samples, course.epochs, training.plan.perplexity, course.below, course.above))
    if training.curve is not None:
        said.append(gain_sentence(training.curve.gain, training.curve.low, training.curve.high, MORE))
    if training.proposal is not None:
        rows = [(row.share, row.el2n, row.random) for row in training.proposal.rows]
        said.append(pruning_sentence(training.proposal.share, rows, training.proposal.whole))
    if (found := training.strange) is not None:
        said.append(strange_sentence(found.strange, found.added, found.compared, found.random))
    return said


def _without_own_limit(training: Training) -> list[str]:
    """The new classes whose labels may be automatic, and for which no limit holds by themselves."""
    guarantee = training.reference.guarantee
    if not guarantee.auto or guarantee.max_error_per == "class" or guarantee.dearest is not None:
        return []
    limited = {name.strip() for row in guarantee.own_limits for name in (row.name, *row.name.split("|"))}
    return [name for name in training.new_classes if name not in training.never_auto and name not in limited]


def training_text(training: Training, out: Path) -> str:
    """What came of it, in a few lines for the terminal."""
    comparison = training.comparison
    lines = [f"{len(training.examples.collected.ids):,} items trained on; the model knows {', '.join(training.reference.space.classes)}."]
    lines += training_sentences(training)
    if comparison is None:
        lines.append("Nothing was compared: give random labelled held-out items with --calibration.")
    elif comparison.old is not None:
        before, now = comparison.old, comparison.new
        lines.append(f"Automatic: {now.automatic:,} of {now.n:,} held-out items, before {before.automatic:,}.")
    if training.resumed:
        lines.append(f"The first {training.resumed} epochs were done by an earlier run that was stopped.")
    lines += [f"Note: {note}" for note in (*training.notes, *training.reference.notes)]
    lines += [f"Next: annotriage triage --reference {out / REFERENCE} --data DATA --out results", f"Report: {out / REPORT}"]
    return "\n".join(lines)


def _write_samples(training: Training, path: Path) -> None:
    course, collected, scores = training.course, training.examples.collected, training.importance
    forgotten, often = forgetting(course.right), course.took_part.sum(axis=0)
    rows: list[list[Cell]] = []
    for row in np.argsort(-np.nan_to_num(course.perplexity[-1]), kind="stable"):
        labels = "|".join(training.reference.space.texts(collected.labels[row] or ()))
        times = "never right" if np.isinf(forgotten[row]) else int(forgotten[row])
        early = (None, None) if scores is None else (float(scores.el2n[row]), float(scores.grand[row]))
        rows.append([collected.ids[row], labels, float(course.perplexity[-1][row]), int(often[row]), times, *early])
    _write(path, ("id", "label", "perplexity", "epochs", "forgotten", "el2n", "grand"), rows)


def _write_regions(training: Training, path: Path) -> None:
    rows: list[list[Cell]] = [
        [region.number, id, "|".join(region.classes), region.surprise] for region in training.regions for id in region.ids
    ]
    _write(path, ("region", "id", "classes_of_region", "perplexity_of_region"), rows)


def _write_candidates(training: Training, path: Path) -> None:
    rows: list[list[Cell]] = [
        [rank, item.id, item.surprise, item.region or None, item.label, item.outlier_score, item.ratio]
        for rank, item in enumerate(training.candidates or (), start=1)
    ]
    _write(path, ("rank", "id", "perplexity", "region", "label", "outlier_score", "ratio"), rows)


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    write_page(csv_lines(columns, rows), path, "table")

"""The folder of results: verdicts.csv, predictions.json, summary.json and report.html, complete or not there at all."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.diversity_words import clear_excess, diversity_sentence
from annotriage.advice.guarantee_words import CHECK_BLIND, guarantee_sentence, strangers_pass
from annotriage.advice.numbers import count
from annotriage.advice.route_words import route_name
from annotriage.data import Item, Source
from annotriage.engine.folders import whole_folder
from annotriage.engine.reference import Reference
from annotriage.engine.triage import Triage, triage
from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import DEFAULT, labeling_tool
from annotriage.latent.maps import fit_map, nearest_training
from annotriage.model import Model
from annotriage.model.spec import ModelSpec
from annotriage.model.stages import Stage
from annotriage.progress import Progress, silent
from annotriage.report.contents import Drawn, Report, Waiting
from annotriage.report.label_sentences import comparison_sentences
from annotriage.report.page import write_report
from annotriage.report.verdict_files import verdict_file
from annotriage.settings import ServiceSettings, Settings

PREDICTIONS, SUMMARY, REPORT = "predictions.json", "summary.json", "report.html"
NEAREST = 4  # training items shown beside an incoming one

# What each score looks at, for people.
MAP_NAMES = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA"}
SCORES_IN_WORDS = {
    "relative-mahalanobis": "how far from its class, beyond what is far from every class: sees unseen classes",
    "mahalanobis": "how far from its class in the last layer: sees foreign sources",
    "energy": "how little the model's answers respond at all",
    "knn": "how far from the most similar training items",
    "vim": "how much of it lies outside what training items vary in",
    "source": "how far from what the feature maps of training items are like, whatever the class: sees other scanners, light, noise",
    "mean-sigma": "distance to the class's center in that class's own deviations",
}


def triage_to_folder(
    reference: Reference,
    data: Source,
    out: Path | str,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    replace_existing: bool = False,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    table: str = "csv",
    progress: Progress = silent,
) -> Triage:
    """As `annotriage.triage`, with verdicts.csv, predictions.json, summary.json and report.html in the folder `out`.

    The folder is made whole or not at all. replace_existing: whether it may hold results already. labeling_config: also says
    how predictions.json names labels. server: as of `triage`. table: "parquet" for verdicts.parquet in place of the CSV. Gives the triage
    with what there is to say about the files and how long all took.
    Raises OutputError if the folder exists already (unless it holds results that may be replaced) or cannot be written.
    """
    settings, server = settings or reference.settings, server or ServiceSettings.load()
    with whole_folder(Path(out), what="results", mark=SUMMARY, replaceable=replace_existing) as folder:
        predicting = labeling_tool(DEFAULT).prediction_writer(
            folder / PREDICTIONS,
            classes=reference.space.classes,
            model_version=reference.prediction_version,
            labeling_config=labeling_config,
            control=server.control,
        )
        with verdict_file(folder, table) as write_verdict, predicting as predictions:

            def write(verdict: Verdict, item: Item) -> None:
                write_verdict(verdict)
                predictions.write(verdict, item)

            found = triage(
                reference,
                data,
                model=model,
                settings=settings,
                labeling_config=labeling_config,
                server=server,
                each=write,
                progress=progress,
            )
        return write_summary(folder, replace(found, notes=(*found.notes, *predictions.notes)), settings, progress)


def write_summary(folder: Path, found: Triage, settings: Settings, progress: Progress) -> Triage:
    """summary.json and report.html of a triage, which is given with how long all took. Raises OSError."""
    with found.stages.timed(Stage.REPORT):
        report = report_of(found, settings, progress)
        found = replace(found, timings=dict(report.timings))
        (folder / SUMMARY).write_text(json_text(found.summary()), "utf-8", "backslashreplace")
        write_report(report, folder / REPORT)
    return found


def json_text(value: Any) -> str:
    """Figures as JSON text; what is not known (NaN, infinity), which JSON has no word for, is null."""
    text = json.dumps(value, default=_plain)
    return json.dumps(json.loads(text, parse_constant=lambda name: None), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def summary_text(triage: Triage) -> str:
    """What triage found, in a few lines for the terminal."""
    total = sum(triage.counts.values())
    routes = ", ".join(f"{n:,} {route_name(route)}" for route, n in triage.counts.items())
    sentence = diversity_sentence(triage.diversity)
    lines = [f"{count(total, 'item')} of {triage.dataset}: {routes}.", sentence, limit_sentence(triage)]
    lines += [*([] if triage.compared is None else comparison_sentences(triage.compared)), ""]
    lines += [f"{advice.title} {advice.headline[:1].upper()}{advice.headline[1:]}".rstrip(".") for advice in triage.advice]
    if triage.groups:
        crowds = ", ".join(f"{group.size:,} like {group.medoid}" for group in triage.groups[:5])
        lines += ["", f"Groups among the strange items: {crowds}{', ...' if len(triage.groups) > 5 else ''}."]
    return "\n".join([*lines, *(f"Note: {note}" for note in triage.notes)])


def limit_sentence(triage: Triage) -> str:
    """The guarantee; where the data differs from the held-out items, in the same breath what it does not speak of."""
    said, state, found = guarantee_sentence(triage.reference.guarantee), triage.diversity, triage.compared
    if not (triage.reference.guarantee.auto and clear_excess(state.calibrated, state.excess_low, state.p_value)):
        return said
    seen = ""
    if found is not None and found.foreign:
        are = "is" if found.foreign == 1 else "are"
        labelled = count(found.foreign_auto, "was labelled automatically", "were labelled automatically")
        seen = f"Of {count(found.foreign, 'item')} here that {are} of no known class, {labelled}"
    return f"{said} {strangers_pass(CHECK_BLIND, seen)}"


def report_of(triage: Triage, settings: Settings, progress: Progress) -> Report:
    """Everything that report.html shows of a triage."""
    reference = triage.reference
    drawn, points = _drawn(triage)
    started = time.perf_counter()
    way, places, in_space = settings.map.removesuffix("-3d"), None, None
    method = "No map was drawn (setting map = none); leave the setting out to get one."
    if settings.map != "none" and drawn:
        with progress(f"drawing the map of {len(drawn):,} points", None), triage.stages.timed(Stage.MAP):
            places = fit_map(points, way, settings.seed)
        if settings.map != way:
            with progress(f"drawing the map of {len(drawn):,} points in space", None), triage.stages.timed(Stage.MAP):
                in_space = fit_map(points, way, settings.seed, dimensions=3)
        method = f"{MAP_NAMES[way]}, fitted on training and incoming items together"
    group_of = _groups(triage)
    compared = [] if triage.compared is None else comparison_sentences(triage.compared)
    return Report(
        title=f"Triage of {triage.dataset}",
        created=datetime.now(UTC).astimezone(),
        dataset=triage.dataset,
        reference=reference.name,
        reference_version=reference.version,
        model=reference.model.name,
        score=reference.settings.score,
        alpha=reference.settings.alpha,
        counts=triage.counts,
        diversity=triage.diversity,
        advice=triage.advice,
        guarantee=reference.guarantee,
        groups=triage.groups,
        map_xy=places,
        map_xyz=in_space,
        map_method=method,
        drawn=drawn,
        waiting=[Waiting(seen.verdict, seen.picture, group_of.get(seen.verdict.id, -1)) for seen in triage.waiting],
        waiting_total=sum(n for route, n in triage.counts.items() if route != "auto"),
        members={name: SCORES_IN_WORDS.get(name, _further(name)) for name in reference.member_names},
        notes=(*compared, *triage.notes, *(f"When the reference was fitted: {note}" for note in reference.notes)),
        timings=triage.timings | {"map": time.perf_counter() - started},
    )


def _further(name: str) -> str:
    _, _, layer = name.partition("@")
    return f"how far from its class in the earlier layer {layer}: sees other sensors, textures and noise"


def _groups(triage: Triage) -> dict[str, int]:
    return {id: group.number for group in triage.groups for id in group.ids}


def _drawn(triage: Triage) -> tuple[list[Drawn], NDArray[np.float32]]:
    """The points of the map, training items first, and their compressed coordinates."""
    sample, group_of = triage.reference.sample, _groups(triage)
    training = sample.compressed.astype(np.float32)
    drawn = [
        Drawn(id=id, path=id, kind="training", label=label, thumbnail=sample.thumbnail(place))
        for place, (id, label) in enumerate(zip(sample.ids, sample.labels, strict=True))
    ]
    if not triage.drawn:
        return drawn, training
    incoming = np.stack([seen.point for seen in triage.drawn])
    for seen, nearest in zip(triage.drawn, nearest_training(incoming, training, NEAREST), strict=True):
        verdict = seen.verdict
        drawn.append(
            Drawn(
                id=verdict.id,
                path=verdict.path,
                kind="incoming",
                label=" + ".join(verdict.labels),
                route=verdict.route,
                cluster=verdict.cluster or "",
                outlier_score=verdict.outlier_score,
                confidence=verdict.confidence,
                p_value=verdict.p_value,
                trust=verdict.trust,
                score=verdict.score,
                class_score=verdict.class_score,
                source_score=verdict.source_score,
                reason=verdict.reason,
                group=group_of.get(verdict.id, -1),
                thumbnail=seen.picture,
                nearest=tuple(nearest.tolist()),
            )
        )
    return drawn, np.concatenate([training, incoming])

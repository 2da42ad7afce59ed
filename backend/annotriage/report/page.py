"""report.html: one file that a person opens by double click, without a server, a network or an installation.

Text, figures and charts are plain HTML and read without JavaScript; the map
takes its points from data embedded beside it: strings as JSON, numbers as base64 of typed arrays, thumbnails as one base64 text that is
cut where a picture is shown. Whatever comes from data (ids, paths, labels, reasons) is hostile until escaped: Jinja escapes the text, the
JSON knows no "<", and the Content-Security-Policy runs our own two scripts, by their hash, and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from annotriage.advice import numbers
from annotriage.advice.answer_words import badge_of
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.numbers import rough
from annotriage.advice.route_words import ROUTE_NAMES
from annotriage.guarantee.diversity import ClusterDiversity
from annotriage.report import charts
from annotriage.report.contents import Drawn, Report
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.sentences import (
    classes_sentence,
    clusters_sentence,
    groups_sentence,
    items_sentence,
    map_sentence,
    next_step,
    reading_of,
)
from annotriage.states import ROUTES

WAITING_SHOWN = 1_000
CLUSTERS_SHOWN = 60
_HERE = Path(__file__).parent


def write_report(report: Report, path: Path) -> None:
    """Write `report` to `path`, whole or not at all: to a temporary name beside it, then renamed.

    Raises OutputError when the folder is missing or not writable, or the disk is full; a report that was there before stays.
    """
    write_page(_render(report), path)


def _render(report: Report) -> Iterator[str]:
    """The page in pieces, so that no second copy of the embedded data is held."""
    if report.map_xy is not None and report.map_xy.shape != (len(report.drawn), 2):
        raise ValueError(f"map_xy has shape {report.map_xy.shape}, {len(report.drawn)} points are drawn")
    program = bundle("elements.js", "grid.js", "markers.js", "map.js", "space_map.js", "theme_button.js", "report.js")
    data = _data(report.drawn, report.map_xy, report.map_xyz) if report.map_xy is not None and report.drawn else None
    clusters = sorted(report.diversity.clusters, key=lambda cluster: (_unknown_last(cluster.p_value), _unknown_last(-cluster.share)))
    classes = report.guarantee.classes if report.guarantee.auto else ()
    needed = rough(report.guarantee.needed or 0)
    return template("report.html").generate(
        report=report,
        d=report.diversity,
        guarantee=report.guarantee,
        charts=charts,
        words=numbers,
        routes=ROUTES,
        names=ROUTE_NAMES,
        total=sum(report.counts.values()),
        next=next_step(report),
        reading=reading_of(report.diversity),
        diversity_sentence=diversity_sentence(report.diversity),
        guarantee_sentence=guarantee_sentence(report.guarantee),
        items_sentence=items_sentence(report),
        map_sentence=map_sentence(report),
        groups_sentence=groups_sentence(report),
        clusters=clusters[:CLUSTERS_SHOWN],
        clusters_upper=charts.rows_upper([c.high for c in clusters if c.n], [_held_out_share(c) for c in clusters]),
        clusters_sentence=clusters_sentence(clusters, report.diversity.calibrated),
        answers=[badge_of(advice.answer, advice.headline) for advice in report.advice],
        classes=classes,
        classes_sentence=classes_sentence(classes, report.guarantee.max_error),
        classes_upper=charts.rows_upper(
            [c.bound for c in classes if c.n], [report.guarantee.max_error, *(c.limit or 0.0 for c in classes)]
        ),
        held_out_share=_held_out_share,
        needed=needed,
        missing=max(0, needed - report.guarantee.labelled),
        waiting=report.waiting[:WAITING_SHOWN],
        drawn_at={point.id: place for place, point in enumerate(report.drawn) if data and point.kind == "incoming"},
        data=data,
        axes=any(point.source_score is not None for point in report.drawn),
        group_sizes={group.number: group.size for group in report.groups},
        **frame(program),
    )


def _data(drawn: Sequence[Drawn], xy: NDArray[np.float32], xyz: NDArray[np.float32] | None) -> dict[str, Markup]:
    """What the map needs, as text for two <script> elements: the points as JSON and all thumbnails as one run of base64.

    Each thumbnail is encoded by itself, so that a slice of the run is a whole picture and nothing is decoded before it is shown.
    """
    thumbnails = [base64.b64encode(point.thumbnail).decode() for point in drawn]
    names = {kind: sorted({getattr(point, kind) for point in drawn}) for kind in ("label", "cluster")}
    codes = {kind: {name: code for code, name in enumerate(found)} for kind, found in names.items()}
    points: dict[str, str | list[str]] = {
        "id": [point.id for point in drawn],
        "path": [point.path if point.path != point.id else "" for point in drawn],
        "reason": [point.reason for point in drawn],
        "labels": names["label"],
        "clusters": names["cluster"],
        "xy": _packed(xy, "<f4"),
        "label": _packed([codes["label"][point.label] for point in drawn], "<i4"),
        "cluster": _packed([codes["cluster"][point.cluster] for point in drawn], "<i4"),
        "route": _packed([ROUTES.index(point.route) if point.route else -1 for point in drawn], "<i4"),
        "group": _packed([point.group for point in drawn], "<i4"),
        "nearest": _packed([place for point in drawn for place in point.nearest], "<i4"),
        "nearestEnd": _packed(np.cumsum([len(point.nearest) for point in drawn]), "<i4"),
        "thumbnailEnd": _packed(np.cumsum([len(text) for text in thumbnails]), "<i4"),
    }
    for figure in ("outlier_score", "confidence", "p_value", "trust", "score", "class_score", "source_score"):
        values = [getattr(point, figure) for point in drawn]
        points[figure] = _packed([math.nan if value is None else value for value in values], "<f4")
    if xyz is not None:
        points["xyz"] = _packed(xyz, "<f4")
    text = json.dumps(points).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return {"points": Markup(text), "thumbnails": Markup("".join(thumbnails))}


def _packed(values: Iterable[float] | NDArray[np.generic], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def _unknown_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _held_out_share(cluster: ClusterDiversity) -> float:
    return cluster.held_out_outliers / cluster.held_out if cluster.held_out else math.nan

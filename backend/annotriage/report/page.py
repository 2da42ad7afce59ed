"""report.html: one file that a person opens by double click, without a server, a network or an installation.

The pipeline fills a `Report`; `write_report` renders it. Text, figures and charts are plain HTML and read without JavaScript; the map
takes its points from data embedded beside it: strings as JSON, numbers as base64 of typed arrays, thumbnails as one base64 text that is
cut where a picture is shown. Whatever comes from data (ids, paths, labels, reasons) is hostile until escaped: Jinja escapes the text, the
JSON knows no "<", and the Content-Security-Policy runs our own two scripts, by their hash, and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from annotriage.advice import numbers
from annotriage.advice.advice import PERSON_FIRST, Advice
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.numbers import count, percent, rough
from annotriage.engine.verdict import OutlierGroup, Verdict
from annotriage.errors import OutputError
from annotriage.guarantee.diversity import ClusterDiversity, Diversity
from annotriage.guarantee.gate import ClassEvidence, Guarantee
from annotriage.report import charts

WAITING_SHOWN = 1_000
CLUSTERS_SHOWN = 60
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Drawn:
    """One point of the map: a training item or an incoming one.

    kind: "training" | "incoming". label: what people called it (training) or what the model says (incoming). route: "" for training.
    outlier_score, confidence, p_value, trust, score: None where not computed. group: number of its outlier group, -1 for none.
    thumbnail: an encoded picture (PNG, JPEG, WebP), b"" for none. nearest: places in `Report.drawn` of its nearest training items.
    """

    id: str
    path: str
    kind: str
    label: str
    route: str = ""
    cluster: str = ""
    outlier_score: float | None = None
    confidence: float | None = None
    p_value: float | None = None
    trust: float | None = None
    score: float | None = None
    reason: str = ""
    group: int = -1
    thumbnail: bytes = b""
    nearest: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that goes to a person, with its picture and its outlier group (-1 for none)."""

    verdict: Verdict
    thumbnail: bytes = b""
    group: int = -1


@dataclass(frozen=True)
class Report:
    """All that report.html shows.

    counts: items per route, of the whole dataset. alpha: share of normal items that may be flagged. waiting: in the order of the
    queue; the first WAITING_SHOWN are listed, and `waiting_total` says how many there are in all. map_xy: (P, 2), a place for each of
    `drawn`, or None. map_method: how the map was made or, when there is none, why and how to get one. members: what each member
    of the score measures, by name. notes: sample sizes, warnings, each a sentence. timings: seconds by stage.
    """

    title: str
    created: datetime
    dataset: str
    reference: str
    reference_version: str
    model: str
    score: str
    alpha: float
    counts: Mapping[str, int]
    diversity: Diversity
    advice: tuple[Advice, ...]
    guarantee: Guarantee
    groups: tuple[OutlierGroup, ...] = ()
    map_xy: NDArray[np.float32] | None = None
    map_method: str = ""
    drawn: Sequence[Drawn] = ()
    waiting: Sequence[Waiting] = ()
    waiting_total: int = 0
    members: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)


def write_report(report: Report, path: Path) -> None:
    """Write `report` to `path`, whole or not at all: to a temporary name beside it, then renamed.

    Raises OutputError when the folder is missing or not writable, or the disk is full; a report that was there before stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.writelines(piece.encode("utf-8", "backslashreplace") for piece in _render(report))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: the report could not be written ({error.strerror}). {_fix(error, path)}") from error


def _fix(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"Free some space on the disk that holds {path.parent}, or choose another folder with --out."
    if error.errno == errno.ENOENT:
        return f"Create the folder {path.parent}, or choose another one with --out."
    return (
        f"Check that {path.parent} is a folder that you may write to and that takes files of this size, or choose another one with --out."
    )


def _render(report: Report) -> Iterator[str]:
    """The page in pieces, so that no second copy of the embedded data is held."""
    if report.map_xy is not None and report.map_xy.shape != (len(report.drawn), 2):
        raise ValueError(f"map_xy has shape {report.map_xy.shape}, {len(report.drawn)} points are drawn")
    pages = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    spoken = {
        name: getattr(numbers, name) for name in ("percent", "count", "chance", "p_figure", "plain_time", "finite", "points", "certainty")
    }
    pages.filters.update(spoken, picture=_picture)
    theme, program = _static("theme.js"), _bundle("grid.js", "markers.js", "map.js", "report.js")
    data = _data(report.drawn, report.map_xy) if report.map_xy is not None and report.drawn else None
    clusters = sorted(report.diversity.clusters, key=lambda cluster: (_unknown_last(cluster.p_value), _unknown_last(-cluster.share)))
    classes = report.guarantee.classes if report.guarantee.auto else ()
    needed = rough(report.guarantee.needed or 0)
    return pages.get_template("report.html").generate(
        report=report,
        d=report.diversity,
        guarantee=report.guarantee,
        charts=charts,
        words=numbers,
        routes=charts.ROUTES,
        total=sum(report.counts.values()),
        diversity_sentence=diversity_sentence(report.diversity),
        guarantee_sentence=guarantee_sentence(report.guarantee),
        items_sentence=_items_sentence(report),
        map_sentence=_map_sentence(report),
        groups_sentence=_groups_sentence(report),
        clusters=clusters[:CLUSTERS_SHOWN],
        clusters_upper=charts.rows_upper([c.high for c in clusters if c.n], [_held_out_share(c) for c in clusters]),
        clusters_sentence=_clusters_sentence(clusters, report.diversity.calibrated),
        answers=[_answer(advice) for advice in report.advice],
        classes=classes,
        classes_sentence=_classes_sentence(classes, report.guarantee.max_error),
        classes_upper=charts.rows_upper([c.bound for c in classes if c.n], [report.guarantee.max_error]),
        held_out_share=_held_out_share,
        needed=needed,
        missing=max(0, needed - report.guarantee.labelled),
        waiting=report.waiting[:WAITING_SHOWN],
        drawn_at={point.id: place for place, point in enumerate(report.drawn) if data and point.kind == "incoming"},
        data=data,
        group_sizes={group.number: group.size for group in report.groups},
        style=Markup(_static("report.css")),
        theme=Markup(theme),
        program=Markup(program),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {_hash(theme)} {_hash(program)}",
    )


def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def _bundle(*names: str) -> str:
    """Our ES modules as one, in the order of use: their imports (one line each) dropped, their exports made plain declarations."""
    joined = "\n".join(_static(name) for name in names)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", joined, flags=re.MULTILINE), flags=re.MULTILINE)


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data(drawn: Sequence[Drawn], xy: NDArray[np.float32]) -> dict[str, Markup]:
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
        "route": _packed([charts.ROUTES.index(point.route) if point.route else -1 for point in drawn], "<i4"),
        "group": _packed([point.group for point in drawn], "<i4"),
        "nearest": _packed([place for point in drawn for place in point.nearest], "<i4"),
        "nearestEnd": _packed(np.cumsum([len(point.nearest) for point in drawn]), "<i4"),
        "thumbnailEnd": _packed(np.cumsum([len(text) for text in thumbnails]), "<i4"),
    }
    for figure in ("outlier_score", "confidence", "p_value", "trust", "score"):
        values = [getattr(point, figure) for point in drawn]
        points[figure] = _packed([math.nan if value is None else value for value in values], "<f4")
    text = json.dumps(points).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return {"points": Markup(text), "thumbnails": Markup("".join(thumbnails))}


def _packed(values: Iterable[float] | NDArray[np.generic], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def _picture(image: bytes) -> str:
    """A data URL; "" for what is no picture that a browser shows (its first bytes tell)."""
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
    kind = next((name for start, name in kinds.items() if image.startswith(start)), None)
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}" if kind else ""


def _unknown_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _held_out_share(cluster: ClusterDiversity) -> float:
    return cluster.held_out_outliers / cluster.held_out if cluster.held_out else math.nan


def _items_sentence(report: Report) -> str:
    total = sum(report.counts.values())
    auto, failed = report.counts.get("auto", 0), report.counts.get("failed", 0)
    if total == 0:
        return "There were no items. Check the path given to --data."
    if failed == total:
        none = "The only item" if total == 1 else f"None of the {count(total, 'item')}"
        scored = "could not be scored" if total == 1 else "could be scored"
        return f"{none} {scored}, so nothing is known about this dataset.{_most_frequent_reason(report.waiting)}"
    if auto == 0:
        off = " because automatic labels are off (see the guarantee below)" if not report.guarantee.auto else ""
        return f"{'The only item goes' if total == 1 else f'All {total:,} items go'} to a person{off}."
    share = f"{auto:,} of {count(total, 'item')} ({percent(auto / total, 0)})"
    labelled = f"{share} {'gets' if auto == 1 else 'get'} the model’s label as a pre-annotation"
    people = f"; {count(total - auto, 'item goes', 'items go')} to a person" if total > auto else ""
    return f"{labelled}{people}."


def _most_frequent_reason(waiting: Sequence[Waiting]) -> str:
    """What the failed ones among these mostly have in common. Reasons begin with the item's own path, which is left out."""
    reasons = Counter(_without_path(item.verdict) for item in waiting if item.verdict.route == "failed" and item.verdict.reason)
    if not reasons:
        return ""
    reason, times = reasons.most_common(1)[0]
    share = f"{times:,} of the {reasons.total():,} listed" if reasons.total() > 1 else ""
    return f" The most frequent reason ({share}): {reason[:300]}" if share else f" The reason: {reason[:300]}"


def _without_path(verdict: Verdict) -> str:
    before, colon, after = verdict.reason.partition(": ")
    own = colon and any(name and (before == name or before.endswith(f"/{Path(name).name}")) for name in (verdict.path, verdict.id))
    return after if own else verdict.reason


def _answer(advice: Advice) -> tuple[str, str]:
    """The badge and the headline beside it, which does not repeat it."""
    badge, headline = advice.answer, advice.headline
    if headline == PERSON_FIRST:
        badge, headline = (part.strip() for part in headline.split(":", 1))
    headline = headline.removeprefix(f"{badge}: ").removeprefix(f"by {badge}, ").removeprefix("cannot be said: ")
    return badge, headline[:1].upper() + headline[1:]


def _classes_sentence(classes: Sequence[ClassEvidence], max_error: float) -> str:
    """Whether single classes keep the limit: seen not to, shown to, or neither; "" without any automatic item."""
    tested = [row for row in classes if row.n]
    if not tested:
        return ""
    worse = list(dict.fromkeys(row.name for row in tested if row.above_limit))
    if worse:
        names = ", ".join(name[:60] for name in worse[:5]) + (f" and {len(worse) - 5:,} more" if len(worse) > 5 else "")
        more = count(len(worse), "class is more often wrong than the limit", "classes are more often wrong than the limit")
        return f"{more}: {names}. A limit that is kept overall can hide a weak class; few items can also make one look weak."
    shown = sum(row.bound <= max_error for row in tested)
    if not shown:
        return "No class is seen to exceed the limit; no single class is shown to keep it by itself either: too few items each."
    if shown < len(tested):
        return (
            f"No class is seen to exceed the limit; {shown:,} of the {len(tested):,} rows below show by themselves that it is kept,"
            " the others hold too few items to tell."
        )
    return "Every class is shown to keep the limit by itself: all upper bounds are below it."


def _map_sentence(report: Report) -> str:
    """The text alternative of the map: what a person sees at a glance."""
    kinds = Counter(point.kind for point in report.drawn)
    strange = [point for point in report.drawn if point.route == "outlier"]
    both = " and ".join(count(kinds[kind], f"{kind} item") for kind in ("training", "incoming") if kinds[kind])
    sentence = f"{both} {'is' if len(report.drawn) == 1 else 'are'} drawn; items that the model sees alike lie near each other."
    if strange:
        near = Counter(point.cluster for point in strange).most_common(3)
        names = ", ".join(f"{name[:60] or 'no cluster'} ({number:,})" for name, number in near)
        who = "The only outlier among them lies" if len(strange) == 1 else f"Of the {len(strange):,} outliers among them, most lie"
        sentence += f" {who} nearest to: {names}."
    return sentence


def _groups_sentence(report: Report) -> str:
    outliers = report.counts.get("outlier", 0)
    if not report.diversity.n:
        return "No item was scored, so there is nothing to group."
    if not outliers:
        return "No item is an outlier, so there is nothing to group."
    if outliers == 1:
        return "No groups: there is one outlier only."
    if not report.groups:
        return f"No groups: {count(outliers, 'outlier')}, too few or too unlike each other to form one."
    largest = max(report.groups, key=lambda group: group.size)
    more = f"; {count(len(report.groups), 'group')} in all" if len(report.groups) > 1 else ""
    return f"{largest.size:,} of {count(outliers, 'outlier')} are one group{more}. A group may be a new class or a broken source."


def _clusters_sentence(clusters: Sequence[ClusterDiversity], calibrated: bool) -> str:
    if not any(cluster.n for cluster in clusters):
        return "No cluster was compared, because no item was scored."
    if not calibrated:
        return "Without held-out items no cluster can be compared with what is normal; the shares alone are shown."
    changed = [cluster.name[:60] for cluster in clusters if cluster.p_value <= 0.05]
    if not changed:
        return "No single cluster holds more outliers than its held-out items let expect."
    names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
    return f"{count(len(changed), 'cluster holds', 'clusters hold')} more outliers than expected: {names}."

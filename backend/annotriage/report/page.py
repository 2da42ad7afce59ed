"""report.html: one file that a person opens by double click, without a server, a network or an installation.

Text, figures and charts are plain HTML and read without JavaScript; the map
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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from annotriage.advice import numbers
from annotriage.advice.advice import PERSON_FIRST, Advice
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.numbers import rough
from annotriage.errors import OutputError
from annotriage.guarantee.diversity import ClusterDiversity
from annotriage.report import charts
from annotriage.report.contents import Drawn, Report
from annotriage.report.sentences import classes_sentence, clusters_sentence, groups_sentence, items_sentence, map_sentence
from annotriage.states import ROUTES

WAITING_SHOWN = 1_000
CLUSTERS_SHOWN = 60
_HERE = Path(__file__).parent


def write_report(report: Report, path: Path) -> None:
    """Write `report` to `path`, as `write_whole` does."""
    write_whole(_render(report), path, "report")


def write_whole(pieces: Iterable[str], path: Path, what: str) -> None:
    """Write text to `path`, whole or not at all: to a temporary name beside it, then renamed.

    Raises OutputError when the folder is missing or not writable, or the disk is full; what was there before stays.
    what: "report" or "table", for the message.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.writelines(piece.encode("utf-8", "backslashreplace") for piece in pieces)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: the {what} could not be written ({error.strerror}). {_fix(error, path)}") from error


def page_templates() -> Environment:
    """The templates of pages that open by double click, with the words and pictures that they use."""
    pages = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    spoken = {
        name: getattr(numbers, name) for name in ("percent", "count", "chance", "p_figure", "plain_time", "finite", "points", "certainty")
    }
    pages.filters.update(spoken, picture=_picture)
    return pages


def page_frame(program: str) -> dict[str, Markup | str]:
    """What every page carries in itself: style, theme, program, and the policy by which nothing else runs."""
    theme = static_text("theme.js")
    return {
        "style": Markup(static_text("report.css")),
        "theme": Markup(theme),
        "program": Markup(program),
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {_hash(theme)} {_hash(program)}",
    }


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
    program = _bundle("elements.js", "grid.js", "markers.js", "map.js", "report.js")
    data = _data(report.drawn, report.map_xy) if report.map_xy is not None and report.drawn else None
    clusters = sorted(report.diversity.clusters, key=lambda cluster: (_unknown_last(cluster.p_value), _unknown_last(-cluster.share)))
    classes = report.guarantee.classes if report.guarantee.auto else ()
    needed = rough(report.guarantee.needed or 0)
    return (
        page_templates()
        .get_template("report.html")
        .generate(
            report=report,
            d=report.diversity,
            guarantee=report.guarantee,
            charts=charts,
            words=numbers,
            routes=ROUTES,
            total=sum(report.counts.values()),
            diversity_sentence=diversity_sentence(report.diversity),
            guarantee_sentence=guarantee_sentence(report.guarantee),
            items_sentence=items_sentence(report),
            map_sentence=map_sentence(report),
            groups_sentence=groups_sentence(report),
            clusters=clusters[:CLUSTERS_SHOWN],
            clusters_upper=charts.rows_upper([c.high for c in clusters if c.n], [_held_out_share(c) for c in clusters]),
            clusters_sentence=clusters_sentence(clusters, report.diversity.calibrated),
            answers=[_answer(advice) for advice in report.advice],
            classes=classes,
            classes_sentence=classes_sentence(classes, report.guarantee.max_error),
            classes_upper=charts.rows_upper([c.bound for c in classes if c.n], [report.guarantee.max_error]),
            held_out_share=_held_out_share,
            needed=needed,
            missing=max(0, needed - report.guarantee.labelled),
            waiting=report.waiting[:WAITING_SHOWN],
            drawn_at={point.id: place for place, point in enumerate(report.drawn) if data and point.kind == "incoming"},
            data=data,
            axes=any(point.source_score is not None for point in report.drawn),
            group_sizes={group.number: group.size for group in report.groups},
            **page_frame(program),
        )
    )


def static_text(name: str) -> str:
    """One of the files that pages are made of."""
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def _bundle(*names: str) -> str:
    """Our ES modules as one, in the order of use: their imports (one line each) dropped, their exports made plain declarations."""
    joined = "\n".join(static_text(name) for name in names)
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
        "route": _packed([ROUTES.index(point.route) if point.route else -1 for point in drawn], "<i4"),
        "group": _packed([point.group for point in drawn], "<i4"),
        "nearest": _packed([place for point in drawn for place in point.nearest], "<i4"),
        "nearestEnd": _packed(np.cumsum([len(point.nearest) for point in drawn]), "<i4"),
        "thumbnailEnd": _packed(np.cumsum([len(text) for text in thumbnails]), "<i4"),
    }
    for figure in ("outlier_score", "confidence", "p_value", "trust", "score", "class_score", "source_score"):
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


def _answer(advice: Advice) -> tuple[str, str]:
    """The badge and the headline beside it, which does not repeat it."""
    badge, headline = advice.answer, advice.headline
    if headline == PERSON_FIRST:
        badge, headline = (part.strip() for part in headline.split(":", 1))
    headline = headline.removeprefix(f"{badge}: ").removeprefix(f"by {badge}, ").removeprefix("cannot be said: ")
    return badge, headline[:1].upper() + headline[1:]

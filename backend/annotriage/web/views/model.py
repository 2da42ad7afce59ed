"""Inside the model: what it is, the answers about it, and the jobs that find them; each page shows what one kind of job found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.errors import DataError, StateError, UnknownError
from annotriage.report import inside_charts
from annotriage.service.readings.model import InsightState, ModelState, insight_state, model_state
from annotriage.states import InsightKind
from annotriage.store import insights, jobs, label_audits
from annotriage.store.browsing import item_of_task, items_of
from annotriage.store.insights import Insight, job_kind
from annotriage.store.items import AnsweredItem
from annotriage.store.projects import Project
from annotriage.web.plain import as_json
from annotriage.web.routing import Routes
from annotriage.web.views.model_channels import ask, asked_graph
from annotriage.web.views.model_items import asked_sample

ITEMS = ("answers", "training")  # which the questions can be answered on
BANKS = {  # samplers that may choose the items that are shown
    "max-margin": "where classes meet first",
    "errors-first": "errors first",
    "gmm-full": "both ends of clusters",
    "boundary-tree": "beside a boundary first",
    "uniform": "at random",
}
SIDES = (6, 12)  # cells along an edge for which images can be made
OFFERED = 24  # items to choose from


@dataclass(frozen=True)
class ModelPage:
    """What the first page shows."""

    project: Project
    model: ModelState


@dataclass(frozen=True)
class Face:
    """An item that an answer is about. name: of its task, or of the training item. item_id: of an answered one; piece: the picture of
    another, None if it has none."""

    name: str
    label: str
    predicted: str
    item_id: int | None = None
    piece: str | None = None


@dataclass(frozen=True)
class DiagnosisPage:
    """What the page of the questions shows. faces: of each answer, those whose class may be said now."""

    project: Project
    model: ModelState
    diagnosis: InsightState
    faces: tuple[tuple[Face, ...], ...]
    training_known: bool


@dataclass(frozen=True)
class AtlasPage:
    """What the page of the atlas shows. faces: those that the model made. gradients: whether it can make any."""

    project: Project
    model: ModelState
    atlas: InsightState
    faces: InsightState
    gradients: bool


@dataclass(frozen=True)
class Chosen:
    """An answered item that somebody chose."""

    item_id: int
    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ImagePage:
    """What the page of one image shows.

    image: what was seen of the last one; without what was found where its item, or the patch's, is answered no more. subject: the item to
    look at; source: the one whose piece is pasted. offered: items to choose from.
    """

    project: Project
    model: ModelState
    image: InsightState
    subject: Chosen | None
    source: Chosen | None
    offered: tuple[Chosen, ...]


def add_views(routes: Routes) -> None:
    """Add the pages, what they fetch, and what they ask for."""
    routes.project_page("/model", "model", _page)
    routes.project_page("/model/diagnosis", "model_diagnosis", _diagnosis, draw=_drawn, BANKS=BANKS)
    routes.project_page("/model/atlas", "model_atlas", _atlas, SIDES=SIDES, BANKS=BANKS)
    routes.project_page("/model/image", "model_image", _image)

    @routes.reading("/model/atlas/strange/<int:insight_id>")
    def atlas_strange(connection: Connection, project: Project, insight_id: int) -> ResponseReturnValue:
        return as_json(_strange(connection, project, insight_id))

    @routes.reading("/model/pieces/<int:insight_id>/<name>")
    def insight_piece(connection: Connection, project: Project, insight_id: int, name: str) -> ResponseReturnValue:
        content = insights.piece_of(connection, project, insight_id, name)
        if content.startswith((b"PK", b"\x93NUMPY")):
            raise UnknownError(f"{name[:40]!r} is for the service itself")
        kinds = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}
        kind = next((kind for start, kind in kinds.items() if content.startswith(start)), "application/json")
        return Response(content, mimetype=kind, headers={"Cache-Control": "private, max-age=3600"})

    @routes.writing("/model/<kind>/start")
    def look_inside(connection: Connection, project: Project, kind: str) -> ResponseReturnValue:
        wanted = _kind(kind)
        if wanted not in _ASKED:
            raise DataError(f"{kind[:40]!r} needs a file; its page has the form")
        payload = _ASKED[wanted](connection, project, request.form)
        flash(ask(connection, project, wanted, payload, f"{_DOING[wanted]}; the result shows here."), "done")
        return _back(project, wanted)

    @routes.writing("/model/<kind>/cancel")
    def stop_looking(connection: Connection, project: Project, kind: str) -> ResponseReturnValue:
        wanted = _kind(kind)
        stopped = jobs.cancel(connection, project.id, job_kind(wanted), forget=True)
        flash("Cancelled; what was found before stays." if stopped else "It had ended already.", "done")
        return _back(project, wanted)


def _kind(name: str) -> InsightKind:
    """The kind of this name. Raises DataError."""
    if name not in PAGES:
        raise DataError(f"{name[:40]!r} is nothing that can be looked for; there are {', '.join(PAGES)}")
    return InsightKind(name)


def _back(project: Project, kind: InsightKind) -> ResponseReturnValue:
    return redirect(url_for(f"web.{PAGES[kind]}", project=project.external_id), 303)


def _asked_items(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    """Which items the questions are to be answered on. Raises DataError."""
    items = form.get("items") or ITEMS[0]
    if items not in ITEMS:
        raise DataError(f"items: {items[:40]!r} is none of {', '.join(ITEMS)}")
    return {"items": items} | _asked_bank(connection, project, form)


def _asked_nothing(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    return {}


def _asked_bank(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    """Which sampler chooses the items that are shown, if any. Raises DataError."""
    bank = form.get("bank", "")
    if bank and bank not in BANKS:
        raise DataError(f"bank: {bank[:40]!r} is none of {', '.join(BANKS)}")
    return {"bank": bank} if bank else {}


def _asked_faces(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    """For which cells images are to be made. Raises DataError."""
    return {"layer": int(_number(form, "layer", 0, 10_000)), "side": int(_number(form, "side", 1, 100, SIDES[0]))}


def _asked_image(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    """Which image is to be looked at, in which layer, and what is to be pasted on it. Raises DataError, StateError."""
    subject = _chosen(connection, project, form.get("task", ""))
    if subject is None:
        raise DataError("task: name the task to look at")
    asked: dict[str, Any] = {"item_id": subject.item_id, "layer": form.get("layer", "")[:300]}
    source = _chosen(connection, project, form.get("from", ""))
    if source is not None:
        left, top, width, height = (_number(form, name, 0, 100) / 100 for name in ("left", "top", "width", "height"))
        if not width or not height or left + width > 1 + 1e-9 or top + height > 1 + 1e-9:
            raise DataError("the piece to paste does not lie in its image; left and width, top and height, may be 100% together at most")
        at = [_number(form, name, 0, 99.9) / 100 for name in ("at-left", "at-top")]
        asked["patch"] = {"item_id": source.item_id, "box": [left, top, width, height], "at": at}
    return asked


def _number(form: Mapping[str, str], name: str, low: float, high: float, usual: float = 0.0) -> float:
    """A number of a form. Raises DataError."""
    text = form.get(name, "").strip()
    try:
        value = float(text) if text else usual
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise DataError(f"{name}: {text[:20]!r} is no number from {low:g} to {high:g}")
    return value


def _chosen(connection: Connection, project: Project, task: str) -> Chosen | None:
    """An item by its task; None if none is named. Raises UnknownError, and StateError while its class is hidden."""
    if not task.strip():
        return None
    found = insights.answered_of(connection, project.id, [item_of_task(connection, project, task.strip()).id])
    if not found:
        raise StateError(
            f"task {task[:40]}: people have not answered it, so what the model says of it is hidden; choose one that they have"
        )
    return next(_as_chosen(row) for row in found.values())


def _as_chosen(row: AnsweredItem) -> Chosen:
    return Chosen(row.id, insights.name_of(row), row.given)


# By kind: the page that shows it, and what a form that asks for it says.
PAGES: dict[InsightKind, str] = {
    InsightKind.DIAGNOSIS: "model_diagnosis",
    InsightKind.ATLAS: "model_atlas",
    InsightKind.FACES: "model_atlas",
    InsightKind.IMAGE: "model_image",
    InsightKind.GRAPH: "model_graph",
    InsightKind.UNITS: "model_units",
    InsightKind.LAYERS: "model_layers",
    InsightKind.SAMPLE: "model_items",
}
_DOING = {  # what is said to be under way
    InsightKind.DIAGNOSIS: "The questions are being answered",
    InsightKind.ATLAS: "The atlas is being drawn",
    InsightKind.FACES: "Faces are being made",
    InsightKind.IMAGE: "The image is being looked at",
    InsightKind.GRAPH: "The graph is being drawn",
    InsightKind.LAYERS: "The layers are being drawn",
    InsightKind.SAMPLE: "Items are being chosen",
}
_ASKED: dict[InsightKind, Callable[[Connection, Project, Mapping[str, str]], dict[str, Any]]] = {
    InsightKind.DIAGNOSIS: _asked_items,
    InsightKind.ATLAS: _asked_bank,
    InsightKind.FACES: _asked_faces,
    InsightKind.IMAGE: _asked_image,
    InsightKind.GRAPH: asked_graph,
    InsightKind.LAYERS: _asked_nothing,
    InsightKind.SAMPLE: asked_sample,
}


def _atlas(connection: Connection, project: Project) -> AtlasPage:
    model = model_state(connection, project)
    atlas, faces = (insight_state(connection, project, kind) for kind in (InsightKind.ATLAS, InsightKind.FACES))
    if faces.insight is not None and (atlas.insight is None or faces.insight.facts["atlas"] != atlas.insight.id):
        faces = replace(faces, insight=None)
    return AtlasPage(project, model, atlas, faces, model.runs_on == "torch" and model.pictures)


@dataclass(frozen=True)
class StrangeItem:
    """An outlier that is drawn into the atlas. said: what people call it; None while they have not answered."""

    item_id: int
    name: str
    said: tuple[str, ...] | None


@dataclass(frozen=True)
class StrangeItems:
    """Those of an atlas, in its order; None where one is gone."""

    items: tuple[StrangeItem | None, ...]


def _strange(connection: Connection, project: Project, insight_id: int) -> StrangeItems:
    ids = json.loads(insights.piece_of(connection, project, insight_id, "strange"))
    there = {item.id: item for item in items_of(connection, project, ids) if not item.gone}
    answered = insights.answered_of(connection, project.id, ids)
    said = {id: row.given for id, row in answered.items()}
    return StrangeItems(tuple(StrangeItem(id, there[id].name, said.get(id)) if id in there else None for id in ids))


def _image(connection: Connection, project: Project) -> ImagePage:
    state = insight_state(connection, project, InsightKind.IMAGE)
    seen = {} if state.insight is None else state.insight.facts
    wanted = [seen[key] if key == "item_id" else seen[key]["item_id"] for key in ("item_id", "patch") if seen.get(key)]
    answered = insights.answered_of(connection, project.id, wanted)
    if set(answered) != set(wanted):  # what was seen tells the class of an item that nobody has answered any more
        state, wanted = replace(state, insight=None), []
    before = [_as_chosen(answered[id]) for id in wanted]
    asked = [_chosen(connection, project, request.args.get(name, "")) for name in ("task", "from")]
    subject = asked[0] or next(iter(before), None)
    source = asked[1] or next(iter(before[1:]), None)
    offered = tuple(map(_as_chosen, label_audits.answered_items(connection, project.id, OFFERED)))
    return ImagePage(project, model_state(connection, project), state, subject, source, offered)


def _page(connection: Connection, project: Project) -> ModelPage:
    return ModelPage(project, model_state(connection, project))


def _diagnosis(connection: Connection, project: Project) -> DiagnosisPage:
    state = insight_state(connection, project, InsightKind.DIAGNOSIS)
    faces = () if state.insight is None else _faces(connection, project, state.insight)
    return DiagnosisPage(project, model_state(connection, project), state, faces, bool(project.options.training_data))


def _faces(connection: Connection, project: Project, found: Insight) -> tuple[tuple[Face, ...], ...]:
    """The items of each answer; of answered ones those alone that still are, since the class of others is hidden."""
    answers: Sequence[Any] = found.facts["answers"]
    ids = {face["item_id"] for answer in answers for face in answer["items"] if "item_id" in face}
    names = {id: insights.name_of(row) for id, row in insights.answered_of(connection, project.id, sorted(ids)).items()}
    rows = []
    for answer in answers:
        shown = [face for face in answer["items"] if "item_id" not in face or face["item_id"] in names]
        rows.append(tuple(Face(**{"name": names.get(face.get("item_id", -1), ""), **face}) for face in shown))
    return tuple(rows)


def _drawn(picture: Mapping[str, Any]) -> Markup:
    """A figure of an answer; what is not known is nan again."""
    values = [[float("nan") if value is None else value for value in row] for row in picture["values"]]
    if "columns" in picture:
        return inside_charts.heat_chart(picture["title"], picture["rows"], picture["columns"], values, "", picture["axis"])
    draw = inside_charts.lines_chart if "places" in picture else inside_charts.bars_chart
    return draw(picture["title"], picture["places" if "places" in picture else "rows"], picture["series"], values, "")

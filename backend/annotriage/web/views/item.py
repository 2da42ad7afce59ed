"""One item: its picture, why it was judged as it was, what became of it; and the pictures of items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from flask import Response, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.verdict_words import revealed_sentence
from annotriage.errors import StateError
from annotriage.service.guarantee.proposals import COUNT, least_of
from annotriage.service.operations.process import Process
from annotriage.service.readings.item import ItemDetail, item_detail
from annotriage.service.readings.names import names_of
from annotriage.states import EventKind
from annotriage.store.browsing import item_of_id, item_of_task, items_of, medium_of, revealed, thumbnail_of
from annotriage.store.events import note
from annotriage.store.projects import Project
from annotriage.store.proposals import free_count
from annotriage.store.queue import neighbours
from annotriage.web.full_pictures import FullPictures
from annotriage.web.query_args import Walk, walk_around
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name


@dataclass(frozen=True)
class ItemPage:
    """The item, and the names of those beside it in the walk. alike: how many that wait could at most be labelled at
    once."""

    project: Project
    walk: Walk
    name: str
    detail: ItemDetail
    before: str | None
    behind: str | None
    alike: int


def add_views(routes: Routes) -> None:
    """Add the page and the pictures."""
    process, pictures = routes.process, FullPictures(routes.process)

    routes.project_page("/items/<task>", "item", partial(_page, process))

    @routes.writing("/items/<int:item_id>/reveal")
    def reveal(connection: Connection, project: Project, item_id: int) -> ResponseReturnValue:
        """Tell this visitor, once, what the model says of an outlier; it is written down."""
        shown, judged = item_of_id(connection, project, item_id), revealed(connection, project, item_id)
        if judged is None:
            raise StateError("nothing can be revealed: a spot check stays hidden until people have answered it")
        note(connection, project.id, EventKind.REVEALED, task=shown.name, by=visitor_name())
        flash(revealed_sentence(judged.labels, judged.confidence, judged.cluster), "done")
        return redirect(url_for("web.item", project=project.external_id, task=shown.name), 303)

    @routes.open("/items/<int:item_id>/media")
    def media(project: Project, item_id: int) -> ResponseReturnValue:
        with process.store.reading() as connection:
            medium = medium_of(connection, project, item_id)
        return pictures.response(project, medium)

    @routes.reading("/items/<int:item_id>/thumbnail")
    def thumbnail(connection: Connection, project: Project, item_id: int) -> ResponseReturnValue:
        content = thumbnail_of(connection, project, item_id)
        if content is None:
            return routes.pages.send_static_file("no-picture.svg")
        return Response(
            content,
            mimetype="image/png" if content.startswith(b"\x89PNG") else "image/jpeg",
            headers={"Cache-Control": "private, max-age=3600"},
        )


def _alike(connection: Connection, project: Project) -> int:
    """How many of the most similar are offered to be labelled at once; 0 where they are too few."""
    free, least = free_count(connection, project, COUNT), least_of(connection, project)
    return free if least is not None and free >= least else 0


def _page(process: Process, connection: Connection, project: Project, task: str) -> ItemPage:
    item, walk = item_of_task(connection, project, task), walk_around()
    detail = item_detail(connection, process.tool_project(project), project, item, walk.filters.dataset, names=names_of(process))
    beside = neighbours(connection, project, item.id, order=walk.order, filters=walk.filters)
    names = {found.id: found.name for found in items_of(connection, project, [id for id in beside if id is not None])}
    before, behind = (names.get(id or 0) for id in beside)
    return ItemPage(project, walk, item.name, detail, before, behind, _alike(connection, project))

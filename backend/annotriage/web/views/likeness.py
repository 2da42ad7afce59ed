"""Looking for items by likeness, for the map's script, as JSON alone: like one of them, or like a picture, which is kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import request
from flask.typing import ResponseReturnValue

from annotriage.service.maps.likeness import Like, Likeness
from annotriage.store.browsing import items_of
from annotriage.store.projects import Project
from annotriage.web.plain import as_json
from annotriage.web.routing import Routes


@dataclass(frozen=True, slots=True)
class LikeItem:
    """An item that was found: what people call it, by its row. Its class is not told here."""

    id: int
    name: str
    route: str | None
    distance: float


@dataclass(frozen=True, slots=True)
class FoundItems:
    """What was found, the most similar first."""

    items: Sequence[LikeItem]


def add_views(routes: Routes) -> None:
    """Add the addresses."""
    process, likeness = routes.process, Likeness(routes.process)

    @routes.open("/map/items/<int:item_id>/alike", "POST")
    def like_item(project: Project, item_id: int) -> ResponseReturnValue:
        return answer(project, likeness.like_item(project, item_id))

    @routes.open("/map/alike", "POST")
    def like_picture(project: Project) -> ResponseReturnValue:
        """The body is the picture."""
        return answer(project, likeness.like_picture(project, request.get_data()))

    def answer(project: Project, found: Sequence[Like]) -> ResponseReturnValue:
        with process.store.reading() as connection:
            named = {item.id: item for item in items_of(connection, project, [like.item_id for like in found])}
        rows = [(like, named[like.item_id]) for like in found if like.item_id in named]
        return as_json(FoundItems([LikeItem(item.id, item.name, item.route, like.distance) for like, item in rows]))

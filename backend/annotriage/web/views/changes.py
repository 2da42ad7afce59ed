"""Whether anything changed that pages show: asked every few seconds by those that are open."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from annotriage.web.routing import PROJECT, Routes


def add_views(routes: Routes) -> None:
    """Add the addresses."""

    @routes.pages.get("/changes")
    def all_changes() -> ResponseReturnValue:
        return {"mark": routes.mark()}

    @routes.pages.get(f"{PROJECT}/changes")
    def changes(project: str) -> ResponseReturnValue:
        return {"mark": routes.mark(project)}

"""The dashboard: what a project manager sees, understands and steers, as pages of the web process.

After the walk data -> model -> latent -> triage -> store -> delivery: a view asks the store a few questions, fills one plain
dataclass and renders one template. Nothing is computed here that a snapshot or a job can have ready.
"""

from __future__ import annotations

from flask import Blueprint, Flask

from annotriage.service.operations.process import Process
from annotriage.web.app import Admit
from annotriage.web.pages import dress
from annotriage.web.sessions import Sessions
from annotriage.web.views import changes, compare, diversity, exports, groups, guarantee, item, map, overview, queue, settings, system

VIEWS = (overview, changes, diversity, groups, guarantee, compare, settings, system, exports, map, queue, item)


def register(app: Flask, process: Process) -> Admit:
    """Add the pages to the service's app: what decides whether a request without the service's credentials may pass."""
    pages = Blueprint("web", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    sessions = Sessions(app, process)
    sessions.routes(pages)
    dress(app, pages)
    for view in VIEWS:
        view.routes(pages, process)
    app.register_blueprint(pages)
    return sessions.admit

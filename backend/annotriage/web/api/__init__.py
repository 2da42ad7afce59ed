"""The JSON API: what is triaged, how it stands, what waits for a person, and the few things that can be done about it.

Each module holds one subject: what is answered, as dataclasses, the views that ask the store for it, and the table of its operations,
from which `openapi` makes the routes and their description.
"""

from __future__ import annotations

from flask import Blueprint

from annotriage.service.operations.process import Process
from annotriage.web.api import certificates, datasets, guarantees, items, look_alikes, people, projects, pushing, versions
from annotriage.web.api.openapi import add_routes

OPERATIONS = (
    *projects.OPERATIONS,
    *datasets.OPERATIONS,
    *items.OPERATIONS,
    *guarantees.OPERATIONS,
    *certificates.OPERATIONS,
    *versions.OPERATIONS,
    *people.OPERATIONS,
    *look_alikes.OPERATIONS,
    *pushing.OPERATIONS,
)


def api_blueprint(process: Process) -> Blueprint:
    """The routes below /api, for an app that lets in only who may."""
    routes = Blueprint("api", __name__)
    add_routes(routes, OPERATIONS, process)
    return routes

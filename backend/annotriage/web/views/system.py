"""How the service itself is: processes, inbox, deliveries, jobs, and what can be tried again."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from annotriage.service.process import Process


def routes(pages: Blueprint, process: Process) -> None:
    """Add the page."""

    @pages.get("/system")
    def system() -> ResponseReturnValue:
        return render_template("system.html")

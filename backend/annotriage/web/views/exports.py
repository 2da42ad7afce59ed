"""Files to take away: items and queue as CSV."""

from __future__ import annotations

from flask import Blueprint

from annotriage.service.process import Process


def routes(pages: Blueprint, process: Process) -> None:
    """Add the addresses."""

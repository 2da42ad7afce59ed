"""A certificate as a page to print: for the file of a team that must show what its labels are worth. One file, no scripts, A4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from annotriage.advice import certificate_words, numbers

_HERE = Path(__file__).parent


def certificate_page(document: Mapping[str, Any]) -> str:
    """The page of a signed certificate, as `service.guarantee.signing.signed` gives it: HTML."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(count=numbers.count, percent=numbers.percent)
    return environment.get_template("certificate.html").render(
        certificate=document["certificate"], signature=document["signature"], words=certificate_words
    )

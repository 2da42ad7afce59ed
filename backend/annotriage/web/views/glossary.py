"""The words of the pages, explained; terms on other pages lead here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.advice.glossary import GLOSSARY, Term
from annotriage.web.routing import Routes


@dataclass(frozen=True)
class GlossaryPage:
    """All words, by the alphabet."""

    terms: Sequence[Term]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.page("/glossary", "glossary", lambda: GlossaryPage(sorted(GLOSSARY, key=lambda term: term.name)))

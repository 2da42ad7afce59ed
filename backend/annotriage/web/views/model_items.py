"""What to label next: items that a sampler chose among those that nobody has answered, without a word on their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.service.readings.model import InsightState, ModelState, insight_state, model_state
from annotriage.states import FOR_PEOPLE, InsightKind, Route
from annotriage.store.browsing import items_of
from annotriage.store.projects import Project
from annotriage.store.proposals import free_items
from annotriage.web.query_args import number_in
from annotriage.web.routing import Routes

MOST = 200  # items
USUAL = 50
OF = {"waiting": "what waits for a person", "all": "everything that nobody has answered"}
METHODS = {
    "max-margin": "between classes: 7 in 10 doubtful, 3 in 10 typical",
    "gmm-full": "both ends of clusters of any shape",
    "gmm-spherical": "both ends of round clusters",
    "latent-grid": "evenly from all regions",
    "visual": "so that the map stays as it is",
    "uniform": "at random",
}
UNNAMED = "chosen"  # why an outlier is that nobody has answered: the other words tell how sure the model is of it
WHY = {
    "doubtful": "between two classes",
    "typical": "typical of its class",
    "random": "at random",
    "spread": "keeps the map as it is",
}


@dataclass(frozen=True)
class ChosenItem:
    """An item to label. name: of its task. why: as the sampler says. odds: that it belongs where it lies nearest to, None if unknown.

    Of an outlier that nobody has answered neither is told: they say how sure the model is of it.

    automatic: whether the model labels it, so that people see it only if it is sent to them.
    """

    item_id: int
    name: str
    why: str
    odds: float | None
    automatic: bool


@dataclass(frozen=True)
class ItemsPage:
    """What the page shows. chosen: those that can still be labelled so.

    sample: of what was chosen the number alone, "size": some may be spot checks by now, and nobody shall find out which by comparing.
    """

    project: Project
    model: ModelState
    sample: InsightState
    chosen: tuple[ChosenItem, ...]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/model/items", "model_items", _page, OF=OF, METHODS=METHODS, MOST=MOST, USUAL=USUAL)


def asked_sample(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    """From which items to choose, by what method, and how many. Raises DataError."""
    of, method = form.get("of") or "waiting", form.get("method") or "max-margin"
    for name, value, known in (("of", of, OF), ("method", method, METHODS)):
        if value not in known:
            raise DataError(f"{name}: {value[:40]!r} is none of {', '.join(known)}")
    text = form.get("size", "").strip() or str(USUAL)
    size = number_in(text, 1, MOST)
    if size is None:
        raise DataError(f"number of items: {text[:20]!r} is no whole number from 1 to {MOST}")
    return {"of": of, "method": method, "size": size}


def _page(connection: Connection, project: Project) -> ItemsPage:
    state = insight_state(connection, project, InsightKind.SAMPLE)
    facts: list[Mapping[str, Any]] = []
    if state.insight is not None:
        told = dict(state.insight.facts)
        facts = list(told.pop("chosen"))
        state = replace(state, insight=replace(state.insight, facts={**told, "size": len(facts)}))
    free = set(free_items(connection, project, [one["item_id"] for one in facts], (*FOR_PEOPLE, Route.AUTO))) if facts else set()
    rows = {row.id: row for row in items_of(connection, project, sorted(free))}
    chosen = []
    for one in facts:
        row = rows.get(one["item_id"])
        if row is not None:
            why, odds = (UNNAMED, None) if row.unnamed else (WHY.get(one["why"], one["why"]), one["ratio"])
            chosen.append(ChosenItem(row.id, row.name, why, odds, row.route == Route.AUTO))
    return ItemsPage(project, model_state(connection, project), state, tuple(chosen))

"""What to do next on each page: its own next step, and behind that the project's most useful one.

A page's own step is what its reader came for; where it has none, or one that the page's own button does, the project's stands there small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

from sqlalchemy import Connection

from annotriage.advice import next_words
from annotriage.service.readings.dataset import snapshot_of
from annotriage.service.readings.label_audit import label_audit_state
from annotriage.service.readings.next_step import NextStep, next_step, next_steps, steps_for_guarantee
from annotriage.service.readings.training import training_state
from annotriage.states import SPOT_CHECK, GoldState, Route, SpotCheckState, Standing, TrainedState
from annotriage.store import gold, jobs, maps
from annotriage.store.browsing import Item
from annotriage.store.datasets import dataset_of_all, dataset_of_project, routes_of
from annotriage.store.filters import Filters
from annotriage.store.projects import Project, standing_of
from annotriage.store.queue import queue_page, waiting_in_groups

LOOKED_AT = 50  # of the first rows of the queue, for one that anybody may answer: as many as its page shows, so that they are read once
SUMMARIES = ("project_overview",)  # pages of which the project's step is their own


@dataclass(frozen=True, slots=True)
class PageSteps:
    """What to do next. own: on the page at hand, null where it asks for nothing; with "" for its button where the page has that itself, or
    there is nothing to press. project: of all that would help in the project the most useful."""

    own: NextStep | None
    project: NextStep


@dataclass(frozen=True, slots=True)
class Place:
    """What a page shows. filters: of its list; kept: what else its address says."""

    connection: Connection
    project: Project
    filters: Filters
    kept: Mapping[str, str]


def page_steps(
    connection: Connection, project: Project, page: str, filters: Filters | None = None, kept: Mapping[str, str] | None = None
) -> PageSteps:
    """What to do next on a page. page: its name, as that of its address; filters: what its list is narrowed to; kept: what its address says
    besides."""
    best = next_step(connection, project)
    if page in SUMMARIES:
        return PageSteps(best, best)
    of_page = _OWN.get(page)
    return PageSteps(of_page(Place(connection, project, filters or Filters(), kept or {})) if of_page else None, best)


def _queue(place: Place) -> NextStep | None:
    """Where to begin: with the strangest, as long as the list shows such."""
    filters = place.filters
    if filters.state != Standing.WAITING:
        return None
    if filters.route in (None, Route.OUTLIER) and filters.proposal is None:
        strange = replace(filters, route=Route.OUTLIER)
        found = queue_page(place.connection, place.project, filters=strange, limit=1).rows
        if found:
            return _begin(next_words.strangest(found[0].name), strange, found[0])
    found = queue_page(place.connection, place.project, order="strangest", filters=filters, after=None, limit=LOOKED_AT).rows
    fresh = [row for row in found if row.spot_check is None or row.spot_check.state != SpotCheckState.DISAGREED]
    if fresh:
        return _begin(next_words.first(fresh[0].name), filters, fresh[0])
    return _begin(next_words.second(found[0].name), filters, found[0]) if found else None


def _begin(words: next_words.Words, filters: Filters, row: Item) -> NextStep:
    """With this row of the queue, where it is answered."""
    return _step(words, "queue", **asdict(replace(filters, state=None)), _anchor=f"item-{row.id}")


def _map(place: Place) -> NextStep | None:
    if maps.newest(place.connection, place.project.id, "umap") is None:
        return None
    dataset = place.filters.dataset
    if place.filters.group is not None:
        number = place.filters.group
        return _step(next_words.group_shown(number), "groups", dataset=dataset, _anchor=f"group-{number}")
    found = _groups_of(place)
    if found:
        return _step(next_words.largest_group(found[0]["size"]), "map", **place.kept, dataset=dataset, group=found[0]["number"])
    strange = next((count.items for count in routes_of(place.connection, place.project) if count.route == Route.OUTLIER), 0)
    if strange and place.filters == Filters(state=None):
        return _step(next_words.strange_shown(strange), "map", **place.kept, route=Route.OUTLIER.value)
    return None


def _groups(place: Place) -> NextStep | None:
    """The largest of which something waits."""
    found = _groups_of(place)
    numbers = [group["number"] for group in found if place.filters.group in (None, group["number"])]
    waiting = waiting_in_groups(place.connection, numbers, place.project, place.filters.dataset)
    for number in numbers:
        if waiting.get(number):
            words = next_words.decide_group(number, waiting[number])
            return _step(words, "groups", dataset=place.filters.dataset, group=place.filters.group, _anchor=f"group-{number}")
    return _step(next_words.no_group_waits(), "groups") if found else None


def _groups_of(place: Place) -> list[dict[str, Any]]:
    """The groups of the dataset that the page shows, the largest first."""
    wanted = place.filters.dataset
    whole = dataset_of_all(place.connection, place.project)
    dataset = whole if wanted is None else dataset_of_project(place.connection, place.project, wanted)
    snapshot = snapshot_of(place.connection, place.project, dataset)
    return [] if snapshot is None else list(snapshot.facts["groups"])


def _diversity(place: Place) -> NextStep | None:
    """Two sources that differ, as that says most about why the data is new."""
    return next((step for step in next_steps(place.connection, place.project) if step.page == "compare"), None)


def _guarantee(place: Place) -> NextStep | None:
    """What the guarantee lacks; else the answers to spot checks that make its evidence."""
    if place.project.pause is not None:
        return None  # whoever paused it resumes it, with the page's button
    lacking = steps_for_guarantee(place.connection, place.project)
    if lacking:
        step = max(lacking, key=lambda step: step.gain)
        pressed = step.page == "guarantee" and "_anchor" not in step.args  # the page has that button
        return replace(step, button="") if pressed else step
    standing = standing_of(place.connection, place.project) or {}
    outstanding = standing.get("outstanding", 0) - standing.get("contradicted", 0)
    return _checks(place.project, next_words.check_limit(outstanding)) if outstanding > 0 else None


def _label_audit(place: Place) -> NextStep | None:
    asked = jobs.latest_of(place.connection, place.project.id, jobs.LABEL_AUDIT)
    if asked is not None and asked.open:
        return _step(next_words.wait_for("The labels are being checked."), "label_audit")
    audit = label_audit_state(place.connection, place.project, 1)
    if audit.facts is None:
        return _step(next_words.check_labels(), "label_audit", _anchor="what") if not place.project.hides_checks else None
    if not audit.open:
        return _step(next_words.no_findings(), "label_audit")
    if not audit.offered:
        return _step(next_words.findings_spent(), "label_audit")
    return _step(next_words.decide_findings(audit.open), "label_audit", _anchor="findings")


def _people(place: Place) -> NextStep | None:
    """Known answers, without which nobody knows how often people are wrong: kept by those who may, then answered."""
    there = gold.gold_counts(place.connection, place.project.id)
    waiting, out = there.get(GoldState.WAITING, 0), there.get(GoldState.OPEN, 0) + there.get(GoldState.SENDING, 0)
    if place.project.hides_checks:
        return None
    if not waiting and not out:
        return None if there.get(GoldState.ANSWERED) else _step(next_words.set_gold(), "people", _anchor="gold")
    if not out and not place.project.options.gold_share:
        return _step(next_words.share_gold(waiting), "settings", _anchor="spot-checks")
    return _step(next_words.answer_gold(waiting + out), "")


def _training(place: Place) -> NextStep | None:
    """What the state of training asks; the page has the buttons."""
    state = training_state(place.connection, place.project)
    if state.job is not None and state.job.open:
        return _step(next_words.wait_for("A new model is being trained."), "training")
    if state.coming:
        return _step(next_words.wait_for("A model is taking over."), "training")
    if state.trained is not None and state.trained.state == TrainedState.OFFERED:
        comparison = state.trained.facts.get("comparison")
        takes_over = "" if comparison is None else comparison["takes_over"]
        words = {"yes": next_words.take_over, "no": next_words.worse}.get(takes_over, next_words.more_answers)
        return _step(words(), "training")
    return _step(next_words.train(), "training") if state.data and state.learnable else None


_OWN: Mapping[str, Callable[[Place], NextStep | None]] = {
    "queue": _queue,
    "map": _map,
    "diversity": _diversity,
    "groups": _groups,
    "guarantee": _guarantee,
    "label_audit": _label_audit,
    "people": _people,
    "training": _training,
}


def _checks(project: Project, words: next_words.Words) -> NextStep:
    return _step(words, "") if project.hides_checks else _step(words, "queue", route=SPOT_CHECK)


def _step(words: next_words.Words, page: str, **args: Any) -> NextStep:
    return NextStep(*words, page, {name: value for name, value in args.items() if value is not None}, inf)

"""What lists of items can be narrowed to, and how many each choice leaves: beside the map, the queue, groups and items alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from annotriage.advice.numbers import percent
from annotriage.service.readings.dataset import snapshot_of
from annotriage.states import FOR_PEOPLE, ROUTES, SPOT_CHECK, Route, Standing
from annotriage.store.datasets import Dataset, dataset_of_all, dataset_of_project, datasets_page, routes_of, routes_of_datasets
from annotriage.store.filters import SCORE_STEPS, SINCE, Filters
from annotriage.store.projects import Project
from annotriage.store.queue import checks_by_route, left_in_datasets, size_of, waiting_by_kind, waiting_in_datasets, waiting_in_groups
from annotriage.store.references import get_reference
from annotriage.store.tallies import Alike, tally

COUNTED = 5_000  # items up to which all choices are counted; of more those alone whose counts are kept
DATASETS = 200  # that are offered
CLASSES = 200

TITLES = {
    "state": "State",
    "route": "Route",
    "label": "Class",
    "score": "Outlier score",
    "since": "Arrived",
    "dataset": "Dataset",
    "group": "Group",
}
STATES = {
    Standing.WAITING: "waits for a person",
    Standing.ANSWERED: "answered",
    Standing.OUT: "taken out of the queue",
    Standing.UNASKED: "labelled by the model",
}
OPEN_CHECKS = "open spot checks"
REST = {"state": "", "label": "no class to show", "score": "no score"}  # kinds whose choices add up, and what the rest of them lacks
SPANS = {"day": "last 24 hours", "week": "last 7 days", "month": "last 30 days"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to narrow a list to. value: as the address has it; n: items that it leaves, null where nobody counts them."""

    value: str
    name: str
    n: int | None


@dataclass(frozen=True, slots=True)
class Facet:
    """The choices of one kind. name: of the address's parameter; chosen: null for all of them.

    rest: what is under none of them, in words and with its number, so that all together are what the other filters leave.
    """

    name: str
    title: str
    choices: Sequence[Choice]
    chosen: str | None
    rest: Sequence[Choice] = ()


def facets_of(
    connection: Connection,
    project: Project,
    filters: Filters,
    *,
    states: Sequence[Standing] = tuple(STATES),
    grouped: bool = False,
) -> tuple[Facet, ...]:
    """The choices of each kind for a list of a project's items. Open spot checks are none of them where the project hides them.

    states: that the list may show. grouped: it shows what belongs to groups among the outliers. A group of look-alikes has none: nobody
    counts its members so.
    """
    if filters.proposal is not None:
        return ()
    chosen = None if filters.dataset is None else dataset_of_project(connection, project, filters.dataset)
    whole = chosen or dataset_of_all(connection, project)
    few = whole is None or size_of(connection, project, whole.id) <= COUNTED
    alike = _seen(connection, project, filters, grouped=grouped) if few else None
    numbers = _group_numbers(connection, project, whole)
    counts = _counted(alike, filters) if alike is not None else {} if grouped else _kept_counts(connection, project, filters, numbers)
    rest = _rest(alike, filters, states) if alike is not None else {}
    routes = ROUTES if Standing.UNASKED in states else FOR_PEOPLE
    choices: dict[str, list[tuple[str, str]]] = {
        "state": [(standing, words) for standing, words in STATES.items() if standing in states],
        "route": [(route, route) for route in (routes if project.hides_checks else (*routes, SPOT_CHECK))],
        "label": [(name, name) for name in _classes(connection, project, counts.get("label"))],
        "score": [(repr(step), _step_words(step)) for step in reversed(SCORE_STEPS)],
        "since": list(SPANS.items()),
        "group": [(str(number), f"Group {number}") for number in numbers],
    }
    asked: dict[str, str | None] = {
        "state": filters.state,
        "route": filters.route,
        "label": filters.label,
        "score": None if filters.score is None else repr(filters.score),
        "since": filters.since,
        "dataset": None if chosen is None or chosen.kind == "all" else str(chosen.id),
        "group": None if filters.group is None else str(filters.group),
    }
    found = []
    for kind in TITLES:
        if kind == "dataset":
            listed = _datasets(connection, project, chosen, filters, grouped=grouped)
        else:
            listed = _listed(choices[kind], counts.get(kind), asked[kind])
        if any(choice.value != asked[kind] for choice in listed) or asked[kind] is not None:
            found.append(Facet(kind, TITLES[kind], listed, asked[kind], rest.get(kind, ())))
    return tuple(found)


def group_sizes(connection: Connection, project: Project, filters: Filters) -> dict[int, int]:
    """How many members of each group among the outliers of a dataset are wanted; of those that have any."""
    sizes: Counter[int] = Counter()
    for some in _seen(connection, project, filters, grouped=True):
        if some.group is not None and some.passes(filters):
            sizes[some.group] += some.n
    return dict(sizes)


def _seen(connection: Connection, project: Project, filters: Filters, *, grouped: bool) -> list[Alike]:
    """What is counted of a project or a dataset: nothing that the project hides."""
    found = tally(connection, project, filters.dataset, grouped=grouped)
    return [some for some in found if some.route != SPOT_CHECK] if project.hides_checks else found


def _listed(choices: Sequence[tuple[str, str]], counts: Mapping[str, int] | None, chosen: str | None) -> list[Choice]:
    """Those that leave something, and the chosen one; all of them where nobody counts."""
    known = [(value, words) for value, words in choices if counts is None or counts.get(value) or value == chosen]
    if chosen is not None and chosen not in dict(known):
        known.append((chosen, chosen))
    return [Choice(str(value), words, None if counts is None else counts.get(value, 0)) for value, words in known]


def _counted(alike: Sequence[Alike], filters: Filters) -> dict[str, Mapping[str, int]]:
    """What each choice leaves, the other filters as they are."""
    found: dict[str, Counter[str]] = {}
    for kind in ("state", "route", "label", "score", "since", "group"):
        counts: Counter[str] = Counter()
        for some in alike:
            if some.passes(filters, kind) and (kind != "state" or some.route != SPOT_CHECK or filters.route == SPOT_CHECK):
                value = getattr(some, kind)
                if value not in (None, ""):
                    counts[repr(value) if kind == "score" else str(value)] += some.n
        found[kind] = counts
    days, weeks, months = (found["since"].get(name, 0) for name in SINCE)
    return {**found, "since": {"day": days, "week": days + weeks, "month": days + weeks + months}}


def _rest(alike: Sequence[Alike], filters: Filters, states: Sequence[Standing]) -> dict[str, list[Choice]]:
    """What is under no choice of a kind, the other filters as they are: spot checks, whose own figures stay hidden, and what has none."""
    beside = replace(filters, route=SPOT_CHECK) if filters.route is None else filters
    found = {}
    for kind, words in REST.items():
        blind = sum(some.n for some in alike if some.route == SPOT_CHECK and some.passes(beside, kind))
        if kind == "state" and (filters.route == SPOT_CHECK or filters.state == Standing.OUT):
            blind = 0  # it stands under its own state
        without = 0
        if words:
            lacks = [some for some in alike if some.route != SPOT_CHECK and getattr(some, kind) in (None, "") and some.state in states]
            without = sum(some.n for some in lacks if some.passes(filters, kind))
        rows = ((OPEN_CHECKS, blind), (words, without))
        found[kind] = [Choice("", said, n) for said, n in rows if n]
    return found


def _kept_counts(connection: Connection, project: Project, filters: Filters, numbers: Sequence[int]) -> dict[str, Mapping[str, int]]:
    """What is known without counting, of a large project or dataset: routes and groups, as long as nothing else is chosen."""
    if any(value is not None for value in (filters.label, filters.score, filters.since, filters.group)):
        return {}
    if filters.state == Standing.WAITING:
        kinds = waiting_by_kind(connection, project, filters.dataset)
        waits = waiting_in_groups(connection, numbers, project, filters.dataset)
        routes: dict[str, int] = {Route.OUTLIER: kinds.strange, Route.UNCERTAIN: kinds.unsure + kinds.sent, Route.FAILED: kinds.unreadable}
        counts: dict[str, Mapping[str, int]] = {"route": {**routes, SPOT_CHECK: kinds.spot_checks}}
        return counts if filters.route is not None else {**counts, "group": {str(number): n for number, n in waits.items()}}
    if filters.state is not None:
        return {}
    if filters.dataset is None:
        of_route = routes_of(connection, project)
    else:
        of_route = routes_of_datasets(connection, project, [filters.dataset]).get(filters.dataset, [])
    blind = checks_by_route(connection, project, filters.dataset, answered=True)
    routes = {count.route: count.items - blind.get(count.route, 0) for count in of_route}
    return {"route": {**routes, SPOT_CHECK: sum(blind.values())}}


def _group_numbers(connection: Connection, project: Project, whole: Dataset | None) -> list[int]:
    snapshot = snapshot_of(connection, project, whole)
    return [] if snapshot is None else [group["number"] for group in snapshot.facts["groups"]]


def _classes(connection: Connection, project: Project, counts: Mapping[str, int] | None) -> list[str]:
    """The classes that are offered: the most frequent first where they are counted."""
    if counts is not None:
        return sorted(counts, key=lambda name: (-counts[name], name))[:CLASSES]
    guarantee = get_reference(connection, project.reference_id).facts["guarantee"]
    return [line["name"] for line in guarantee.get("classes", ()) if line["side"] == "predicted"][:CLASSES]


def _step_words(step: float) -> str:
    later = [other for other in SCORE_STEPS if other > step]
    if not later:
        return f"{percent(step, 0)} and above"
    return f"{percent(step, 0)} to {percent(later[0], 0)}" if step else f"below {percent(later[0], 0)}"


def _datasets(connection: Connection, project: Project, chosen: Dataset | None, filters: Filters, *, grouped: bool) -> list[Choice]:
    """The datasets, each with what it leaves. Of a large project that is known as long as nothing but a state is chosen."""
    offered = [row for row in datasets_page(connection, project, limit=DATASETS) if row.kind != "all"]
    if chosen is not None and chosen.kind != "all" and chosen not in offered:
        offered.append(chosen)
    ids = [row.id for row in offered]
    whole, held = dataset_of_all(connection, project), None
    narrowed = grouped or any(value is not None for value in (filters.route, filters.label, filters.score, filters.since, filters.group))
    if filters.state == Standing.WAITING and not narrowed:
        held = waiting_in_datasets(connection, project, ids)
    elif filters.state is None and not narrowed:
        held = {id: sum(count.items for count in counts) for id, counts in routes_of_datasets(connection, project, ids).items()}
        if project.hides_checks:
            for id in held:
                held[id] -= sum(checks_by_route(connection, project, id, answered=True).values())
    elif whole is None or size_of(connection, project, whole.id) <= COUNTED:
        held = left_in_datasets(connection, project, filters, ids, grouped=grouped)
    listed = [row for row in offered if held is None or held.get(row.id) or row == chosen]
    listed.sort(key=lambda row: 0 if held is None else -held.get(row.id, 0))
    return [Choice(str(row.id), row.name, None if held is None else held.get(row.id, 0)) for row in listed]

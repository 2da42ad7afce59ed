"""A project's first page: how it stands, what to do next, the largest groups of strangers and what happened lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from annotriage.advice.waiting_words import load
from annotriage.service.operations.process import Process
from annotriage.service.readings.groups import Group, groups_page
from annotriage.service.readings.names import names_of
from annotriage.service.readings.next_step import NextStep, next_steps
from annotriage.service.readings.project import EventLine, event_lines
from annotriage.store.datasets import dataset_of_all
from annotriage.store.events import history
from annotriage.store.projects import Project
from annotriage.store.queue import waiting_in_groups
from annotriage.store.reviews import AnswersOfPerson, answers_by_person
from annotriage.web.routing import Routes
from annotriage.web.views.overview import Card, card

GROUPS = 3
EVENTS = 5
STEPS = 4  # the first is what the head of the page says


@dataclass(frozen=True)
class ProjectOverviewPage:
    """What the page shows. steps: what else is useful, the most useful first; waiting: by number, how many members of a group wait; people:
    who answered how much lately, without names where the setting show_people says so; load: how far what waits goes at their rate, ""
    where nobody knows."""

    project: Project
    card: Card
    steps: Sequence[NextStep]
    groups: Sequence[Group]
    waiting: Mapping[int, int]
    people: Sequence[AnswersOfPerson]
    load: str
    events: Sequence[EventLine]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/overview", "project_overview", partial(_page, routes.process))


def _page(process: Process, connection: Connection, project: Project) -> ProjectOverviewPage:
    names = names_of(process)
    steps = sorted(next_steps(connection, project), key=lambda step: -step.gain)
    shown = card(connection, process, project)
    groups = groups_page(connection, project, dataset_of_all(connection, project), limit=GROUPS).groups
    return ProjectOverviewPage(
        project=project,
        card=shown,
        steps=steps[1:STEPS],
        groups=groups,
        waiting=waiting_in_groups(connection, [group.number for group in groups], project),
        people=[replace(row, person="" if names is None else names(row.person)) for row in answers_by_person(connection, project)],
        load=load(shown.waiting.total, shown.waiting.per_day),
        events=event_lines(history(connection, project.id, limit=EVENTS)),
    )

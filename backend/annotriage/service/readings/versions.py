"""Where two versions of a project's model differ, as people and programs read it: routes, classes, and which items changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.advice import version_words
from annotriage.states import AnswerState, Route, Time
from annotriage.store import jobs, versions
from annotriage.store.blindness import keeps_class
from annotriage.store.jobs import Job
from annotriage.store.projects import Project
from annotriage.store.versions import ComparedItem, Said, Version

NONE = "none of the classes"


@dataclass(frozen=True, slots=True)
class ChangeCount:
    """So many items are the one thing under the first version, and the other under the second."""

    before: str
    after: str
    items: int


@dataclass(frozen=True, slots=True)
class BothVersions:
    """How many of `n` items each version has so. low, high: 95% limits of the difference of both shares, second less first."""

    n: int
    before: int
    after: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """An item that the two versions judge differently; the classes are null while they are hidden."""

    item_id: int
    name: str
    before: str
    after: str
    before_class: str | None
    after_class: str | None


@dataclass(frozen=True, slots=True)
class Differences:
    """Where two versions differ, on items drawn at random from `total`. changed: how many take another route, with the 95% limits of
    their share. blind: spot checks that nobody has answered, which are left out. classes: without those whose class is hidden, of which
    there are `hidden`. answered: by how many of people's answers each is right, null before there are any; automatic: how many labels
    each would leave to the model. sentences: all that in words, the most important first."""

    items: int
    total: int
    at: Time
    by: str
    changed: int
    low: float
    high: float
    blind: int
    hidden: int
    routes: tuple[ChangeCount, ...]
    classes: tuple[ChangeCount, ...]
    automatic: BothVersions
    answered: BothVersions | None
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionsNow:
    """The versions that can be compared, and what the latest comparison of two of them says; null before the first. examples: items that
    changed, those asked for; matching: how many of them there are. job: the latest comparison that was asked for."""

    versions: tuple[Version, ...]
    before: Version | None
    after: Version | None
    differences: Differences | None
    examples: tuple[ChangedItem, ...]
    matching: int
    job: Job | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changed items are to be shown: of that route or class under each version; None for any."""

    routes: tuple[str, str] | None = None
    classes: tuple[str, str] | None = None


def versions_now(
    connection: Connection, project: Project, before_id: int | None, after_id: int | None, wanted: Wanted, limit: int
) -> VersionsNow:
    """How two versions differ; by default the one in use, and what may follow it or was there before it. Raises UnknownError."""
    known = versions.versions_of(connection, project)
    named = [None if id is None else versions.version_of_project(connection, project, id) for id in (before_id, after_id)]
    before, after = _chosen(known, *named)
    asked = jobs.latest_job(connection, project.id, jobs.VERSIONS)
    made = None if before is None or after is None else versions.comparison_of(connection, project, before.id, after.id)
    if made is None:
        return VersionsNow(tuple(known), before, after, None, (), 0, asked)
    found = versions.compared_items(connection, made.id)
    matching = [row for row in found.shown if _matches(row, wanted)]
    return VersionsNow(
        tuple(known),
        before,
        after,
        _differences(found.shown, found.blind, made),
        tuple(_example(row) for row in sorted(matching, key=_automatic_first)[:limit]),
        len(matching),
        asked,
    )


def _chosen(known: Sequence[Version], before: Version | None, after: Version | None) -> tuple[Version | None, Version | None]:
    """Both versions, where not both were named: one of them in use, and the older one first."""
    if before is not None and after is not None:
        return before, after
    first = before or after or next((version for version in known if version.use == "present"), None)
    order = ("present", "next", "trained", "former")
    others = [version for version in known if first is not None and version.id != first.id]
    other = min(others, key=lambda version: order.index(version.use), default=None)
    backwards = after is not None or (before is None and other is not None and other.use == "former")
    return (other, first) if backwards else (first, other)


def _differences(rows: Sequence[ComparedItem], blind: int, made: versions.Comparison) -> Differences:
    from annotriage.guarantee.binomial import clopper_pearson  # only whoever asks for a comparison loads what computes

    changed = sum(row.before.route != row.after.route for row in rows)
    low, high = clopper_pearson(changed, len(rows)) if rows else (0.0, 1.0)
    automatic = _both([(row.before.route == Route.AUTO, row.after.route == Route.AUTO) for row in rows])
    judged = [row for row in rows if Route.FAILED not in (row.before.route, row.after.route)]
    told = [row for row in judged if row.answer == AnswerState.RESOLVED and not row.machine and row.answered is not None]
    right = [tuple(set(side.labels) == set(row.answered or ()) for side in (row.before, row.after)) for row in told]
    answered = _both([(before, after) for before, after in right]) if told else None
    shown = [row for row in judged if not _hides_class(row)]
    sentences = [
        version_words.changed_sentence(len(rows), changed, float(low), float(high)),
        version_words.automatic_sentence(automatic.n, automatic.before, automatic.after, automatic.low, automatic.high),
    ]
    if answered is not None:
        sentences.append(version_words.answered_sentence(answered.n, answered.before, answered.after, answered.low, answered.high))
    return Differences(
        len(rows),
        made.total,
        made.at,
        made.by,
        changed,
        float(low),
        float(high),
        blind,
        len(judged) - len(shown),
        _cells([(row.before.route, row.after.route) for row in rows]),
        _cells([(_class(row.before), _class(row.after)) for row in shown]),
        automatic,
        answered,
        tuple(sentences),
    )


def _both(pairs: Sequence[tuple[bool, bool]]) -> BothVersions:
    import numpy as np

    from annotriage.guarantee.paired import paired

    before, after = (np.array([pair[side] for pair in pairs], dtype=bool) for side in (0, 1))
    found = paired(before, after)
    return BothVersions(found.n, found.old, found.new, found.low, found.high)


def _cells(pairs: Sequence[tuple[str, str]]) -> tuple[ChangeCount, ...]:
    return tuple(ChangeCount(before, after, n) for (before, after), n in Counter(pairs).most_common())


def _hides_class(row: ComparedItem) -> bool:
    """Whether one of the two would hide the class from people, were it in use: nobody is told by the other one."""
    return any(keeps_class(route, row.answer) for route in (row.route, row.before.route, row.after.route))


def _class(said: Said) -> str:
    return " + ".join(said.labels) or NONE


def _matches(row: ComparedItem, wanted: Wanted) -> bool:
    if wanted.classes is not None:
        judged = Route.FAILED not in (row.before.route, row.after.route) and not _hides_class(row)
        return judged and (_class(row.before), _class(row.after)) == wanted.classes
    if wanted.routes is not None:
        return (row.before.route, row.after.route) == wanted.routes
    return row.before.route != row.after.route


def _automatic_first(row: ComparedItem) -> tuple[bool, int]:
    """What becomes automatic matters most, or stops to be."""
    return Route.AUTO not in (row.before.route, row.after.route), row.item_id


def _example(row: ComparedItem) -> ChangedItem:
    hidden = _hides_class(row)
    classes = (None if hidden or side.route == Route.FAILED else _class(side) for side in (row.before, row.after))
    return ChangedItem(row.item_id, row.name, row.before.route, row.after.route, *classes)

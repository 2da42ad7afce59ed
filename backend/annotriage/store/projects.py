"""Projects: what is connected, with which reference, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, case, func, or_, select, update

from annotriage.errors import StateError, UnknownError
from annotriage.labeling_tool import Before
from annotriage.settings import ServiceSettings, data_from
from annotriage.states import Alarm, Pause
from annotriage.store.database import insert, read_once
from annotriage.store.schema import JOB_OPEN, before_connecting, counter, dataset, event, item, job, project, proposal, reference, snapshot


@dataclass(frozen=True)
class ProjectOptions:
    """How a project is triaged: the settings of the same names, as they were when it was connected.

    set_here: names of those that somebody changed on the Settings page since. Connecting again leaves them as they are.
    """

    dataset_fields: tuple[str, ...] = ()
    item_fields: bool = True
    sample_share: float = 0.02
    audit_share: float = 0.05
    checks_handed_out: float = 0.25
    compare_incoming: bool = False
    accept: str = "suggest"
    calls: bool = True
    training_data: str = ""
    start_training: str = "recalibrate"
    take_over: str = "ask"
    gold_share: float = 0.0
    group_error: float = 0.05
    inherit_answers: bool = False
    public_url: str = ""
    set_here: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: ServiceSettings) -> ProjectOptions:
        """Those that the settings name."""
        return cls(
            dataset_fields=settings.dataset_fields,
            item_fields=settings.item_fields == "on",
            sample_share=settings.sample_share,
            audit_share=settings.audit_share,
            checks_handed_out=settings.checks_handed_out,
            compare_incoming=settings.compare_incoming == "on",
            accept=settings.accept,
            calls=settings.calls == "on",
            training_data=data_from(Path.cwd(), settings.training_data),
            start_training=settings.start_training,
            take_over=settings.take_over,
            gold_share=settings.gold_share,
            group_error=settings.group_error,
            inherit_answers=settings.inherit_answers == "on",
            public_url=settings.public_url,
        )

    def taking_over(self, others: ProjectOptions) -> ProjectOptions:
        """The others, but for what was set here."""
        return replace(others, set_here=self.set_here, **{name: getattr(self, name) for name in self.set_here})


@dataclass(frozen=True)
class Project:
    """A connected project. The columns of its table; `version` and `next_version` are those of its references' predictions.

    pause, alarm: who stopped automatic labels; trouble: why nothing is judged, problem: why nothing is delivered at the moment.
    All None where all is well. calibrated: whether the reference carries a guarantee. hides_checks: whether what is open to be answered
    blind is in no list: for who may only look.
    """

    id: int
    external_id: str
    title: str
    reference_id: int
    version: str
    next_reference_id: int | None
    old_reference_id: int | None
    watch: bool
    pause: Pause | None
    alarm: Alarm | None
    trouble: str | None
    problem: str | None
    gone: bool
    config: str
    wanted: int
    shown_version: str
    last_task: str
    changes_until: float
    read_until: float
    swept_at: float
    told_at: float
    options: ProjectOptions
    classes: tuple[str, ...]
    calibrated: bool
    hides_checks: bool = False

    @property
    def paused(self) -> bool:
        """Whether nothing may be automatic at the moment."""
        return self.pause is not None or self.alarm is not None

    @property
    def references(self) -> tuple[int, ...]:
        """The references under which new items are judged: the current one, and the one that will take over."""
        return (self.reference_id,) if self.next_reference_id is None else (self.reference_id, self.next_reference_id)


_UNCONFIRMED = project.c.alarm["unconfirmed"].as_integer() > 0
_COLUMNS = [column for column in project.c if column.name not in ("at", "standing", "restored_at")]
# Of the reference's facts, which are long, no more than is needed: projects are read many times a second.
_FACTS = (reference.c.facts["model"]["spec"]["model"]["classes"].label("classes"), reference.c.facts["guarantee"]["auto"].label("auto"))
_SELECT = select(*_COLUMNS, reference.c.prediction_version, *_FACTS).join(reference, reference.c.id == project.c.reference_id)


# Made once, as what pages ask is: making a statement takes longer than executing it.
_NAMED = _SELECT.where(project.c.external_id == bindparam("named"))
_OF_ID = _SELECT.where(project.c.id == bindparam("of_id"))
_EVERY = _SELECT.order_by(project.c.id)
_THERE = _EVERY.where(~project.c.gone)
_STANDING = select(project.c.standing).where(project.c.id == bindparam("of_id"))
_SHOWN: BindParameter[Any] = bindparam("shown", expanding=True)  # ids of projects
_OF_ALL = select(dataset.c.id).where(dataset.c.project_id.in_(_SHOWN), dataset.c.kind == "all")
_COUNTED = [select(func.sum(column)).where(counter.c.dataset_id.in_(_OF_ALL)) for column in (counter.c.n, counter.c.open)]
_LATEST = [select(func.max(column)).where(column.table.c.project_id.in_(_SHOWN)) for column in (job.c.id, job.c.finished_at, event.c.id)]
_SNAPSHOT = select(func.max(snapshot.c.at)).where(snapshot.c.dataset_id.in_(_OF_ALL))
# No finer than hundredths: pages are read again with each change.
_STEPS = select(job.c.id, job.c.state, job.c.text, case((job.c.total > 0, job.c.done * 100 // job.c.total)))
_ALIKE = select(proposal.c.state, func.count(), func.sum(proposal.c.asked)).where(proposal.c.project_id.in_(_SHOWN))
_MARKS = (  # made once, as they are asked all the time
    select(*(part.scalar_subquery() for part in (*_COUNTED, *_LATEST, _SNAPSHOT))),
    _STEPS.where(JOB_OPEN, job.c.project_id.in_(_SHOWN)).order_by(job.c.id),
    _ALIKE.group_by(proposal.c.state).order_by(proposal.c.state),
)


def projects(connection: Connection, *, gone: bool = False) -> list[Project]:
    """All connected projects, those deleted in the labeling tool only if asked for."""
    return [_project(dict(row._mapping)) for row in connection.execute(_EVERY if gone else _THERE)]


def find_project(connection: Connection, external_id: str) -> Project | None:
    """The project with that id in the labeling tool."""
    row = connection.execute(_NAMED, {"named": external_id}).one_or_none()
    return None if row is None else _project(dict(row._mapping))


@read_once
def project_of(connection: Connection, external_id: str) -> Project:
    """As `find_project`. Raises UnknownError if it is not connected."""
    found = find_project(connection, external_id)
    if found is None:
        raise UnknownError(f"project {external_id} is not connected; annotriage connect --project {external_id} --reference DIR sets it up")
    return found


def get_project(connection: Connection, id: int) -> Project:
    """The project of that row. Raises UnknownError if it was disconnected meanwhile."""
    row = connection.execute(_OF_ID, {"of_id": id}).one_or_none()
    if row is None:
        raise UnknownError(f"the project with the row {id} was disconnected meanwhile; annotriage connect sets it up again")
    return _project(dict(row._mapping))


def hold_project(connection: Connection, id: int) -> Project:
    """As `get_project`; until the transaction ends nobody else changes its row."""
    connection.execute(select(project.c.id).where(project.c.id == id).with_for_update(key_share=True))
    return get_project(connection, id)


def references_in_use(connection: Connection) -> set[int]:
    """The references that projects judge by, will judge by, or are taking leave of."""
    columns = (project.c.reference_id, project.c.next_reference_id, project.c.old_reference_id)
    return {id for row in connection.execute(select(*columns)) for id in row if id is not None}


def add_project(
    connection: Connection, external_id: str, title: str, reference_id: int, options: ProjectOptions, *, watch: bool
) -> Project:
    """Connect a project. Raises StateError if somebody else has just done so."""
    values = {"external_id": external_id, "title": title, "reference_id": reference_id, "watch": watch, "options": asdict(options)}
    add = insert(connection, project).values(**values, at=time.time()).on_conflict_do_nothing(index_elements=["external_id"])
    if connection.execute(add.returning(project.c.id)).scalar_one_or_none() is None:
        raise StateError(f"project {external_id}: somebody else has just connected it; annotriage status shows with what")
    return project_of(connection, external_id)


def change_project(connection: Connection, id: int, **values: Any) -> None:
    """Set columns of a project."""
    connection.execute(update(project).where(project.c.id == id).values(**values))


def pause_project(connection: Connection, id: int, pause: Pause) -> bool:
    """A person stops automatic labels; False if somebody had before, whose word stands."""
    running = (project.c.id == id, project.c.paused_at.is_(None))
    return connection.execute(update(project).where(*running).values(paused_at=pause.at, pause_reason=pause.reason)).rowcount == 1


def resume_project(connection: Connection, id: int) -> bool:
    """A person lets automatic labels go on; False if nobody had stopped them, or the alarm did as well."""
    paused = (project.c.id == id, project.c.paused_at.is_not(None), project.c.alarm.is_(None))
    return connection.execute(update(project).where(*paused).values(paused_at=None, pause_reason="")).rowcount == 1


def raise_alarm(connection: Connection, id: int, alarm: Alarm) -> bool:
    """The alarm stops automatic labels; False if it did before. One that is confirmed takes the place of one that was not."""
    quiet = project.c.alarm.is_(None)
    quieter = quiet if alarm.unconfirmed else or_(quiet, _UNCONFIRMED)
    return connection.execute(update(project).where(project.c.id == id, quieter).values(alarm=asdict(alarm))).rowcount == 1


def end_alarm(connection: Connection, id: int) -> bool:
    """An alarm that nobody had confirmed stops nothing any more; False if there is none."""
    return connection.execute(update(project).where(project.c.id == id, _UNCONFIRMED).values(alarm=None)).rowcount == 1


def clear_alarm(connection: Connection, id: int) -> None:
    """The alarm stops nothing any more: the reference that it listened to has been replaced."""
    change_project(connection, id, alarm=None)


def keep_standing(connection: Connection, of: Project, facts: Mapping[str, Any]) -> None:
    """Keep how the guarantee stands under the project's current reference."""
    values = {**facts, "reference_id": of.reference_id, "at": time.time()}
    connection.execute(update(project).where(project.c.id == of.id).values(standing=values))


@read_once
def standing_of(connection: Connection, of: Project) -> dict[str, Any] | None:
    """How the guarantee stands, as the jobs process last found it; None if it has not yet, under the current reference.

    Contradictions that await a second answer are counted. Who may only look is not told how many of the wrong ones they are: that they are
    on automatic labels is what the second answer must not know.
    """
    found = connection.execute(_STANDING, {"of_id": of.id}).scalar_one_or_none()
    if not found or found["reference_id"] != of.reference_id:
        return None
    awaited = found.get("contradicted", 0) if of.hides_checks else 0
    return {**found, "contradicted": 0, "outstanding": found["outstanding"] - awaited} if awaited else dict(found)


def mark_of(connection: Connection, shown: Sequence[Project]) -> tuple[object, ...]:
    """Changes whenever something that the pages of these projects show does; cheap enough to be asked every few seconds."""
    states = [(of.id, of.pause, of.alarm, of.trouble, of.problem, of.reference_id, of.next_reference_id) for of in shown]
    ids = {"shown": [of.id for of in shown]}
    return (*states, *(tuple(row) for query in _MARKS for row in connection.execute(query, ids)))


def forget_items(connection: Connection, id: int, most: int) -> int:
    """Forget up to `most` of a project's items with all that belongs to them; how many."""
    some = select(item.c.id).where(item.c.project_id == id).limit(most)
    return connection.execute(item.delete().where(item.c.id.in_(some))).rowcount


def remove_project(connection: Connection, id: int) -> None:
    """Forget a project with everything that belongs to it."""
    connection.execute(project.delete().where(project.c.id == id))


def remember_before(connection: Connection, external_id: str, before: Before) -> None:
    """Write down how a project was before it was connected. What an interrupted attempt wrote down before stays: that was the truth."""
    add = insert(connection, before_connecting).values(external_id=external_id, facts=asdict(before), at=time.time())
    connection.execute(add.on_conflict_do_nothing(index_elements=["external_id"]))


def before_of(connection: Connection, external_id: str) -> Before | None:
    """How a project was before it was connected, or before that was tried; None if nobody has written it down."""
    found = select(before_connecting.c.facts).where(before_connecting.c.external_id == external_id)
    facts = connection.execute(found).scalar_one_or_none()
    return None if facts is None else Before(**facts)


def forget_before(connection: Connection, external_id: str) -> None:
    """The project is as it was before."""
    connection.execute(before_connecting.delete().where(before_connecting.c.external_id == external_id))


def _project(values: dict[str, Any]) -> Project:
    version, options = values.pop("prediction_version"), values.pop("options")
    options |= {"dataset_fields": tuple(options["dataset_fields"]), "set_here": tuple(options.get("set_here", ()))}
    paused_at, reason, alarm = values.pop("paused_at"), values.pop("pause_reason"), values.pop("alarm")
    values |= {
        "pause": None if paused_at is None else Pause(reason, paused_at),
        "alarm": None if alarm is None else Alarm(**alarm),
    }
    classes, calibrated = tuple(values.pop("classes")), bool(values.pop("auto"))
    return Project(**values, version=version, options=ProjectOptions(**options), classes=classes, calibrated=calibrated)

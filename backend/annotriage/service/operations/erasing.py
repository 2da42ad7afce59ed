"""Erasing items everywhere, for the law and for people who ask: from the store, and from what references keep of them.

A reference keeps a sample of its training and held-out items: names, pictures, and what the model made of them. An item in it gives its
place to a copy of another one of its cluster, and the reference becomes a new version that judges alike under the same name. What it
learned of all training items together (centers, spreads, the points that `knn` compares with) is changed by fitting it again alone.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annotriage.advice.numbers import count
from annotriage.errors import MismatchError, UnknownError
from annotriage.service.guarantee.model_choice import drop_work
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import REFERENCE, open_reference
from annotriage.states import EventKind
from annotriage.store import DATABASE_TROUBLE, jobs
from annotriage.store import erasing as queries
from annotriage.store.events import note
from annotriage.store.insights import forget_reference, stop_looks
from annotriage.store.mentions import ERASED
from annotriage.store.projects import Project
from annotriage.store.references import get_reference, kept_references, rewrite_reference

if TYPE_CHECKING:
    from annotriage.engine.kept_items import Sample
    from annotriage.engine.reference import Reference

STILL_THERE = (
    "The labeling tool still has the tasks, with data, predictions, fields and answers: delete them there. While they stand there they are"
    " not taken in again."
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased. unknown: names that no item has. remains: sentences on what is left elsewhere. references: names of those that kept
    an item of that name or the same picture, and became new versions: whatever project they are used in, as a training set may hold this
    project's items, and it is safer to lose another one."""

    erased: int
    unknown: tuple[str, ...]
    references: tuple[str, ...]
    remains: tuple[str, ...]


def erase(process: Process, project: Project, names: Sequence[str], by: str) -> Erasure:
    """Erase items, each by its task or the id that it was pushed with. by: who asks, for the history.

    Raises UnknownError if none of them is known.
    """
    done, tasks = _erase(process, project, names, by)
    if not tasks:
        return done
    where = process.tool_project(project).address(tasks[0])
    several = f"and {len(tasks) - 1:,} more " if len(tasks) > 1 else ""
    still = (
        f"The labeling tool still has task {tasks[0]} {several}({where}), with data, predictions, fields and answers: delete it there."
        " While it stands there it is not taken in again."
    )
    return dataclasses.replace(done, remains=(still, *done.remains))


def _erase(process: Process, project: Project, names: Sequence[str], by: str) -> tuple[Erasure, list[str]]:
    """As `erase`, without a word on the labeling tool, which still has these tasks."""
    with process.store.reading() as connection:
        found = queries.doomed(connection, project, names)
    if not found:
        raise UnknownError(f"project {project.external_id} has none of {', '.join(names)}; items go by the ids of their tasks")
    items = list({item.id: item for item in found.values()}.values())
    kept_as = {name for item in items for name in (*item.names, str(item.id))}
    faces = {item.face for item in items if item.face}
    with process.store.reading() as connection:
        references = kept_references(connection)
    for id in references:  # where one cannot be read, nothing is changed
        with _opened(process, id):
            pass
    stopped, looked, changed = _erase_rows(process, project, items, by, kept_as, faces)
    _drop_work(process, project)
    with suppress(*DATABASE_TROUBLE):  # it is erased, and leaves SQLite's log sooner or later
        process.store.compact()
    log("items erased", project=project.external_id, items=len(items))
    tasks = [item.external_id for item in items if item.external_id]
    unknown = tuple(dict.fromkeys(name for name in names if name not in found))
    return Erasure(len(items), unknown, tuple(dict.fromkeys(changed)), tuple(_remains(changed, stopped, looked))), tasks


def _erase_rows(
    process: Process,
    project: Project,
    items: Sequence[queries.Doomed],
    by: str,
    names: Collection[str],
    faces: Collection[bytes],
) -> tuple[bool, bool, list[str]]:
    """Take the items out of references and out of the store: whether a training was stopped for it, and a look into the model; and the
    names of references that were changed.

    Whatever fails, as on a full disk, is tried again and again: what runs is stopped in the transaction that takes the items from it, so
    that nothing is stopped for what could not be done.
    """
    clean, stopped_looks, changed = set[int](), set[int](), list[str]()
    while True:
        with process.store.reading() as connection:
            references = kept_references(connection)
        for id in references:
            rewritten = None if id in clean else _rewrite(process, id, names, faces)
            if rewritten is not None:
                changed.append(rewritten[0])
                stopped_looks |= rewritten[1]
            clean.add(id)
        with process.store.inbox.writing() as connection:
            queries.erase_from_inbox(connection, items)
        with process.store.writing() as connection:
            if not clean.issuperset(kept_references(connection)):
                continue  # a training that may have learned them has ended meanwhile
            # Before anything is erased: who keeps what it found holds its job first, too, and neither waits for the other for ever.
            looked = stop_looks(connection, project.id) or project.id in stopped_looks
            queries.erase(connection, project, items)
            # It may have learned them, and would keep a reference and a report that show them.
            stopped = jobs.cancel(connection, project.id, jobs.TRAINING, waiting=False)
            note(connection, project.id, EventKind.ERASED, items=len(items), by=by)
        return stopped, looked, changed


def _drop_work(process: Process, project: Project) -> None:
    """Remove what a training that was stopped, or killed before, has written here of the items."""
    with process.store.reading() as connection:
        running = jobs.is_running(connection, project.id, jobs.TRAINING)
    if not running:  # that one was begun since, without them
        drop_work(process, project)


def erase_asked(process: Process, project: Project, names: Sequence[str], by: str) -> str:
    """Do what was asked for (`store.erasing.ask`): a sentence, which names no item. What it raises is no end of it: it is tried again."""
    with process.store.reading() as connection:
        left = queries.doomed(connection, project, names)
    if not left:
        _drop_work(process, project)  # who erased them may have died before that
        return "Nothing was left to erase: these items were erased meanwhile."
    done, tasks = _erase(process, project, names, by)
    still = (STILL_THERE,) if tasks else ()
    return " ".join((f"{count(done.erased, 'item')} erased, {len(done.unknown)} not found.", *still, *done.remains))


def _rewrite(process: Process, id: int, names: Collection[str], faces: Collection[bytes]) -> tuple[str, set[int]] | None:
    """Take items out of what a reference keeps: its name, and the projects in which a look into its model was stopped for it; None if it
    keeps none of them."""
    with _opened(process, id) as (reference, temporary):
        clean = _without(reference, names, faces)
        if clean is reference:
            return None
        folder = temporary / "clean"  # beside the former one, so that the model's place is written alike
        clean.save(folder)
        written = {f"{REFERENCE}/{file.name}": file for file in folder.iterdir()}
        with process.store.writing() as connection:
            stopped = forget_reference(connection, id)
            rewrite_reference(connection, id, version=clean.version, facts=clean.facts(), files=written)
    return reference.name, stopped


@contextmanager
def _opened(process: Process, id: int) -> Iterator[tuple[Reference, Path]]:
    """A reference, and the folder in which its files lie meanwhile. Raises MismatchError, naming it, if it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="annotriage-") as temporary:
        try:
            reference = open_reference(process.store, id, Path(temporary))
        except MismatchError as error:
            with process.store.reading() as connection:
                name = get_reference(connection, id).name
            raise MismatchError(f"reference {name}, which may keep the items, cannot be read: {error}") from error
        yield reference, Path(temporary)


def _without(reference: Reference, names: Collection[str], faces: Collection[bytes]) -> Reference:
    sample = _replaced(reference.sample, names, faces)
    held_out = reference.held_out_sample and _replaced(reference.held_out_sample, names, faces)
    if sample is reference.sample and held_out is reference.held_out_sample:
        return reference
    changed = dataclasses.replace(reference, sample=sample, held_out_sample=held_out)
    return dataclasses.replace(changed, version=changed.content_hash())


def _replaced(sample: Sample, names: Collection[str], faces: Collection[bytes]) -> Sample:
    """The sample with a copy of another item in the place of each of these; the nearest one of its cluster that is seen as fully.

    names, faces: of the erased items. A training set may hold one under another name: the same picture is the same item.
    """
    places = [place for place, id in enumerate(sample.ids) if queries.is_called(id, names) or sample.thumbnail(place) in faces]
    if not places:
        return sample
    full = len(sample.logits)
    rows = np.arange(len(sample.ids))
    for place in places:
        alike = sample.clusters == sample.clusters[place]
        others = [row for row in np.flatnonzero(alike) if row not in places and (row < full or place >= full)]
        others = others or [row for row in rows if row not in places and (row < full or place >= full)] or [place]
        rows[place] = min(others, key=lambda row: abs(int(row) - place))
    pictures = [b"" if place in places else sample.thumbnail(place) for place in range(len(sample.ids))]
    top = rows[:full]
    return dataclasses.replace(
        sample,
        ids=tuple(ERASED if place in places else id for place, id in enumerate(sample.ids)),
        compressed=sample.compressed[rows],
        thumbnails=np.frombuffer(b"".join(pictures), dtype=np.uint8),
        ends=np.cumsum([len(picture) for picture in pictures]).astype(sample.ends.dtype),
        activations=tuple(kept[top[: len(kept)]] for kept in sample.activations),
        logits=sample.logits[top],
    )


def _remains(changed: Sequence[str], stopped: bool, looked: bool) -> Iterable[str]:
    if stopped:
        yield "A training that ran was stopped, since it may have learned what was erased: ask for it again."
    if looked:
        yield "A look into the model that ran was stopped, since it may have seen what was erased: ask for it again."
    for name in dict.fromkeys(changed):
        yield (
            f"Reference {name} kept an item of that name or picture, and is a new version without it. Its statistics rest on all its"
            " training items: fit it again, from data without the item, to be rid of its part in them. The folder that it was fitted into"
            " still has it."
        )
    yield "Backups, exported files and reports that were taken before still have it; so have logs the ids of tasks."

"""Label Studio's files as datasets: tasks JSON (a list, or one object per line), the JSON export and JSON_MIN."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from annotriage.data import Dataset, Item, Problem
from annotriage.data.unique_ids import mark_repeats, repeated_ids
from annotriage.errors import DataError, MediaError
from annotriage.states import SPOT_CHECK_FIELD
from annotriage_label_studio.editor.answers import Answer, agreed, answers_in_min_record, answers_in_task
from annotriage_label_studio.editor.labeling_config import ChoicesControl, answer_names, read_config
from annotriage_label_studio.editor.tasks import group_of
from annotriage_label_studio.files.json_stream import json_objects
from annotriage_label_studio.files.media import local_media, looks_like_image

EXTENSIONS = (".json", ".jsonl", ".ndjson")
MIN_ONLY = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")  # what JSON_MIN adds to the data


def read_file(
    source: str, labeling_config: Path | None = None, classes: Sequence[str] = (), control_names: Sequence[str] = ()
) -> Dataset | None:
    """The tasks in a Label Studio file; None if it is no such file.

    An item's id is the task's, or `id` in its data, or its position from 0; its record is the task. Labels are the answers
    in the labeling config's control; without a config, in the control that most tasks use. The picture is in the config's
    data field; without a config, in the field that looks like a picture most often. The notes say which were taken.
    With a config an alias is read as the choice's value, or as the one of the model's `classes` that means this choice.
    Goes through the file once to count the tasks and to find these. Raises DataError if the file cannot be read or
    no field looks like a picture.
    """
    file = Path(source)
    if file.suffix.lower() not in EXTENSIONS or not file.is_file():
        return None
    survey = _Survey()
    control, controls = read_config(labeling_config, classes, control_names) if labeling_config else (None, frozenset())
    count, repeats = repeated_ids(survey.ids(file, controls))
    if not count:
        raise DataError(f'{file}: no tasks; expected a list of tasks, each with its data, e.g. [{{"data": {{"image": "a.png"}}}}]')
    taken = control or survey.likely_control(file, control_names)
    names = answer_names(taken, classes)

    def items() -> Iterator[Item]:
        numbered = ((task.number, _item(task, file, taken, names)) for task in _tasks(file, controls))
        return mark_repeats(numbered, repeats, f"{file}: entry")

    return Dataset(file.stem, count, items, survey.notes(file, count, taken))


@dataclass(frozen=True, slots=True)
class _Task:
    """One task, whichever format it came in. number: its position from 1."""

    number: int
    id: str
    record: Mapping[str, Any]
    answers: list[Answer]

    @property
    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.record["data"]
        return data

    def answers_to(self, control: str) -> list[Answer]:
        return [answer for answer in self.answers if answer.control == control]


@dataclass
class _Survey:
    """What one pass over the file finds out: in how many tasks a field looks like a picture, and a control is answered or disputed."""

    fields: Counter[str] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    disputed: Counter[str] = field(default_factory=Counter)

    def ids(self, file: Path, controls: Collection[str]) -> Iterator[tuple[int, str]]:
        for task in _tasks(file, controls):
            self.fields.update(task.data.keys())
            self.pictures.update(key for key, value in task.data.items() if looks_like_image(value))
            controls = {answer.control for answer in task.answers}
            self.answered.update(controls)
            self.disputed.update(control for control in controls if agreed(task.answers_to(control)) is None)
            yield task.number, task.id

    def likely_control(self, file: Path, names: Sequence[str]) -> ChoicesControl:
        if not self.pictures:
            found = ", ".join(repr(name) for name, _ in self.fields.most_common(10)) or "none"
            raise DataError(
                f"{file}: no data field looks like a picture (fields: {found}). If these are Label Studio tasks, give the project's"
                " labeling config, which names the field; other kinds of JSON are not read"
            )
        named = [name for name in names if name in self.answered]
        name = (named or [name for name, _ in self.answered.most_common(1)] or [""])[0]
        return ChoicesControl(name, "", "Image", self.pictures.most_common(1)[0][0], multiple=True)

    def notes(self, file: Path, count: int, control: ChoicesControl) -> tuple[str, ...]:
        notes = [f"{file}: pictures are read from the data field {control.field!r} ({self.pictures[control.field]} of {count} tasks)"]
        if self.answered:
            divided = self.disputed[control.name]
            notes.append(
                f"{file}: labels are the answers in the control {control.name!r} ({self.answered[control.name]} of {count} tasks"
                + (f"; {divided} without a majority are read as unlabelled)" if divided else ")")
            )
        others = [name for name in (*self.pictures, *self.answered) if name not in (control.field, control.name)]
        if others:
            notes.append(f"{file}: not read: {', '.join(map(repr, others[:10]))}; the labeling config says which field and control to read")
        return tuple(notes)


def _tasks(file: Path, controls: Collection[str]) -> Iterator[_Task]:
    """The tasks of a file. JSON_MIN has one record per annotation: those of one task follow each other and become one.

    controls: those of the labeling config, which tell the answers of JSON_MIN from columns; without one their places do.
    """
    grouped = itertools.groupby(json_objects(file), _same_task())
    for number, ((_, is_min), records) in enumerate(grouped, start=1):
        if is_min:
            group = list(records)
            columns = _columns(group[0])
            answers = [answer for record in group for answer in answers_in_min_record(record, controls, columns)]
            chosen = {answer.control for answer in answers} | set(controls)
            data = {key: value for key, value in group[0].items() if key not in (*MIN_ONLY, "id", *chosen)}
            record: Mapping[str, Any] = {"id": group[0].get("id"), "data": data}
        else:
            record = next(records)
            answers = answers_in_task(record)
            if not isinstance(record.get("data"), dict):
                record = {"data": record}
        ids = (record.get("id"), record["data"].get("id"), number - 1)
        yield _Task(number, next(str(id) for id in ids if isinstance(id, str | int)), record, answers)


def _columns(record: Mapping[str, Any]) -> list[str]:
    """What of a JSON_MIN record is surely data, for the case that its table has a column `id`, which moves the end of the data."""
    keys = list(record)
    pictures = [key for key, value in record.items() if looks_like_image(value)]
    moved = any(keys.index(key) > keys.index("id") for key in pictures) if "id" in record else False
    return [*pictures, "group"] if moved else pictures


def _same_task() -> Callable[[Mapping[str, Any]], tuple[str | int, bool]]:
    """A key for groupby: JSON_MIN records of one id share it, every other record has its own."""
    numbers = itertools.count()

    def key(record: Mapping[str, Any]) -> tuple[str | int, bool]:
        is_min = "annotation_id" in record and "data" not in record
        return (str(record["id"]) if is_min and "id" in record else next(numbers), is_min)

    return key


def _item(task: _Task, file: Path, control: ChoicesControl, names: Mapping[str, str]) -> Item:
    value = task.data.get(control.field)
    path = value if isinstance(value, str) and len(value) < 4096 and not value.startswith("data:") else f"{file.name} task {task.id}"
    answers = [replace(answer, labels=_renamed(answer.labels, names)) for answer in task.answers_to(control.name)]
    labels, media, problem = agreed(answers), None, None
    try:
        media = local_media(value, file.parent)
    except MediaError as error:
        problem = Problem(error.failure, f"{file}: task {task.id}: {control.field}: {error}")
    checked = bool(task.data.get(SPOT_CHECK_FIELD))
    return Item(
        task.id, media, labels, group_of(task.record), str(media) if isinstance(media, Path) else path, problem, task.record, checked
    )


def _renamed(labels: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({names.get(label, label) for label in labels}))

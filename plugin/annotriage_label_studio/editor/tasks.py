"""Label Studio's tasks and annotations, as its API and its webhooks give them, as the seam's `Task` and `Review`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from annotriage.labeling_tool import Review, Task
from annotriage_label_studio.editor.answers import chosen_labels
from annotriage_label_studio.editor.labeling_config import ChoicesControl

MARKER = "triage_item"  # data field with the id of the pushed item that a task was created for
OWN_FIELDS = "triage_"  # our own data fields begin so; they describe no dataset
UNNAMED = "$undefined$"  # data key of a column without a name, as a list of addresses has; it stands for the config's field
UNLISTED = "annotriage:cannot-be-listed"
NOT_LISTED = (
    "Label Studio itself fails to list it, so nobody can open the list that it is on; its data, as a rule, hold half of a character"
    " (a lone surrogate): import the task again without it and delete this one"
)
LONGEST_FIELD = 200  # characters; longer texts are no names of datasets


def task_of(record: Mapping[str, Any], control: ChoicesControl, names: Mapping[str, str], *, reviews: bool) -> Task:
    """A task as the API lists it. names: see `labeling_config.answer_names`. reviews: whether the record holds its annotations.

    Of a task that cannot be listed, its id and UNLISTED as media, by which whoever fetches them knows.
    """
    if UNLISTED in record:
        return Task(str(record["id"]), UNLISTED, problem=NOT_LISTED)
    data = record.get("data")
    data = data if isinstance(data, dict) else {}
    if UNNAMED in data and control.field not in data:
        data = {control.field if key == UNNAMED else key: value for key, value in data.items()}
    media = data.get(control.field)
    annotations = record.get("annotations")
    return Task(
        id=str(record["id"]),
        media=media if isinstance(media, str) else "",
        group=group_of(record),
        fields=_fields(data, control.field),
        labelled=bool(record.get("is_labeled")),
        wanted=_whole(record.get("overlap"), 1),
        reviews=tuple(review_of(annotation, control, names) for annotation in annotations or ()) if reviews else None,
        marker=str(data.get(MARKER) or ""),
        problem=_problem(data, control.field),
        created_at=seconds(record.get("created_at")),
        changed_at=seconds(record.get("updated_at")),
    )


def review_of(annotation: Mapping[str, Any], control: ChoicesControl, names: Mapping[str, str]) -> Review:
    """An annotation as the API lists it.

    An answer that gives other controls a value and this one none says, if the control takes several choices, that none applies;
    one without any value is empty.
    """
    result = annotation.get("result")
    labels = chosen_labels(result, control.name)
    skipped = bool(annotation.get("was_cancelled"))
    answered = bool(labels) or bool(result and control.multiple)
    author = annotation.get("completed_by")
    return Review(
        id=str(annotation["id"]),
        annotator=str(author.get("id", "") if isinstance(author, dict) else author or ""),
        labels=tuple(sorted({names.get(label, label) for label in labels})) if answered and not skipped else None,
        skipped=skipped,
        empty=not answered and not skipped,
        ground_truth=bool(annotation.get("ground_truth")),
        machine=is_machine_made(annotation),
        updated_at=seconds(annotation.get("updated_at")),
    )


def is_machine_made(annotation: Mapping[str, Any]) -> bool:
    """Whether nobody looked: it was made of a prediction by the bulk action, whoever called that, and never saved in an editor.

    An editor sends the time that its user took, and leaves its user's name as `updated_by`; the bulk action does neither.
    """
    return bool(annotation.get("parent_prediction")) and annotation.get("updated_by") is None and annotation.get("lead_time") is None


def group_of(record: Mapping[str, Any]) -> str | None:
    """The patient, series or video that a task names, in its data or its meta."""
    places = (record.get("data"), record.get("meta"))
    groups = (place.get("group") for place in places if isinstance(place, dict))
    return next((str(group) for group in groups if isinstance(group, str | int) and str(group)), None)


def seconds(time: Any) -> float:
    """A time as the API writes it, in seconds since 1970; 0 if there is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _fields(data: Mapping[str, Any], media: str) -> dict[str, str]:
    short = (str, int, float)
    return {
        key: str(value)
        for key, value in data.items()
        if key != media and not key.startswith(OWN_FIELDS) and isinstance(value, short) and len(str(value)) <= LONGEST_FIELD
    }


def _problem(data: Mapping[str, Any], field: str) -> str | None:
    media = data.get(field)
    if isinstance(media, str) and media.strip():
        return None
    if not media:
        found = f"its fields are {', '.join(map(repr, list(data)[:5])) or 'none'}"
        return f"the task has nothing in its data field {field!r}, where the labeling config looks for the picture ({found})"
    found = "several pictures" if isinstance(media, list) else f"a {type(media).__name__}"
    return f"the task has {found} in its data field {field!r}, where the address of one picture is expected; correct the task's data"


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and 0 < value < 2**31 else default

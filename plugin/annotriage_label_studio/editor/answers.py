"""What people answered: the choices in a task's annotations, and the label that several annotators agree on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotriage.text import name_of
from annotriage_label_studio.editor.labeling_config import LEVEL


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotator's choices in one control; sorted, so that equal answers compare equal."""

    control: str
    labels: tuple[str, ...]
    ground_truth: bool = False


def answers_in_task(task: Mapping[str, Any]) -> list[Answer]:
    """The answers in a task of the JSON export. Skipped annotations and empty ones are no answers.

    Label Studio's first versions wrote "completions" for annotations, "skipped" and "honeypot" (ground truth) in them.
    """
    annotations = task.get("annotations", task.get("completions"))
    answers = []
    for annotation in annotations if isinstance(annotations, list) else []:
        if isinstance(annotation, dict) and not (annotation.get("was_cancelled") or annotation.get("skipped")):
            chosen: dict[str, list[str]] = {}
            for control, labels in _chosen(annotation.get("result")):
                chosen.setdefault(control, []).extend(labels)
            truth = bool(annotation.get("ground_truth") or annotation.get("honeypot"))
            answers += [Answer(control, tuple(sorted(set(labels))), truth) for control, labels in chosen.items()]
    return answers


def answers_in_min_record(record: Mapping[str, Any], controls: Collection[str], columns: Collection[str]) -> list[Answer]:
    """The answers in a record of the JSON_MIN export: the values of these controls.

    Where no labeling config tells the controls (none are given), what the record holds between `id` and `annotator`: answers stand
    last. A table with a column `id` of its own has that in its own place, so what follows it up to the last of `columns`, known to be
    data, is none.
    """
    keys = list(record)
    first = max((keys.index(key) for key in ("id", *columns) if key in record), default=-1) + 1
    last = keys.index("annotator") if "annotator" in record else len(keys)
    read = {key: _labels(record[key]) for key in (controls or keys[first:last]) if key in record}
    return [Answer(key, tuple(sorted(set(labels)))) for key, labels in read.items() if labels]


def agreed(answers: Sequence[Answer]) -> tuple[str, ...] | None:
    """The label of one control: that of the ground truth, else of more than half of the annotators; None if they are divided."""
    counted = [answer for answer in answers if answer.ground_truth] or answers
    if not counted:
        return None
    labels, count = Counter(answer.labels for answer in counted).most_common(1)[0]
    return labels if 2 * count > len(counted) else None


def chosen_labels(result: Any, control: str) -> list[str]:
    """The choices that one annotation's result gives in a control, as it writes them."""
    return [label for name, labels in _chosen(result) if name == control for label in labels]


def _chosen(result: Any) -> Iterator[tuple[str, list[str]]]:
    for region in result if isinstance(result, list) else []:
        if isinstance(region, dict) and region.get("type") == "choices":
            labels = _labels(region.get("value"))
            if labels:
                yield str(region.get("from_name", "")), labels


def _labels(value: Any) -> list[str]:
    """Choices as the exports write them: "cat", {"choices": ["cat", "dog"]}, or a list of these; of nested ones a path as a list."""
    if isinstance(value, str):
        return [name_of(value)] if value else []
    if isinstance(value, dict):
        choices = value.get("choices")
        return [label for choice in choices for label in _labels(_joined(choice))] if isinstance(choices, list) else _labels(choices)
    return [label for part in value for label in _labels(part)] if isinstance(value, list) else []


def _joined(choice: Any) -> Any:
    """A choice of a nested control, which is a list of names from the outermost inwards, as one name."""
    return LEVEL.join(map(str, choice)) if isinstance(choice, list) else choice

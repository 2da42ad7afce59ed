"""Verdicts as Label Studio's predictions: for each kind of control one small function that writes its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from annotriage.errors import DataError
from annotriage.states import SHOWN
from annotriage_label_studio.editor.labeling_config import ChoicesControl

if TYPE_CHECKING:  # the pipeline's heavy libraries are not needed to write a prediction
    from annotriage.engine.verdict import Verdict
    from annotriage.labeling_tool import Shown


def prediction(verdict: Verdict, control: ChoicesControl, results: dict[str, str], model_version: str) -> dict[str, Any]:
    """A verdict as one prediction of a task; its score is the trust, by which Label Studio sorts.

    results: for each class the control's choice, as `match_classes` gives it. Outliers, failed items and spot checks get an
    empty result: there is nothing to be anchored by.
    """
    answered = verdict.route in SHOWN and not verdict.spot_check
    result = choices_result([results[label] for label in verdict.labels], control) if answered else []
    return {"model_version": model_version, "score": verdict.trust, "result": result}


def results_of(shown: Sequence[Shown], control: ChoicesControl, choices: dict[str, str], version: str) -> list[dict[str, Any]]:
    """Predictions as Label Studio stores them, in order. choices: for each label the control's choice.

    Raises DataError for a label that cannot be chosen, as the labeling config may have changed since somebody chose it.
    """
    unknown = {label for prediction in shown for label in prediction.labels or ()} - set(choices)
    if unknown:
        raise DataError(
            f"the control {control.name!r} has no choice {', '.join(map(repr, sorted(unknown)))}; add it to the labeling config"
        )
    return [
        {
            "model_version": version,
            "score": prediction.trust,
            "result": [] if prediction.labels is None else choices_result([choices[label] for label in prediction.labels], control),
        }
        for prediction in shown
    ]


def choices_result(choices: Sequence[str], control: ChoicesControl) -> list[dict[str, Any]]:
    """The result of a Choices control; empty if nothing is chosen. Raises DataError on several choices where one is allowed."""
    if len(choices) > 1 and not control.multiple:
        raise DataError(
            f"the control {control.name!r} takes one choice and the model gives {len(choices)} ({', '.join(choices)});"
            ' add choice="multiple" to its <Choices> in the labeling config'
        )
    if not choices:
        return []
    stored = [control.as_stored(choice) for choice in choices]
    region = {"from_name": control.name, "to_name": control.to_name, "type": "choices", "value": {"choices": stored}}
    return [region]

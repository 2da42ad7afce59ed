"""Writing to a project's tasks: predictions in bulk, annotations made of them, fields, the number of answers wanted.

What a call may have done although its answer was lost is said by `OutcomeUnknown`, and can be read back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from annotriage.errors import OutcomeUnknown, ToolError, ToolGone, ToolUnavailable
from annotriage_label_studio.editor.tasks import is_machine_made
from annotriage_label_studio.server import listing
from annotriage_label_studio.server.client import Client

PREDICTION_COST = 1 / 13  # listing one prediction of a project costs the server so much of listing one task with its predictions
TASKS_PER_CALL = 75  # so many tasks are counted in the time in which one prediction is stored by itself
ACCEPTABLE = f"id,is_labeled,overlap,draft_exists,{listing.ANNOTATIONS}"
LONG = 600.0  # seconds; for calls on thousands of tasks at once


def import_predictions(client: Client, project: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Store predictions; how many were taken. For one task that is gone all are refused: then the others are sent alone.

    In one call, after which the server counts all tasks of the project; or one by one, where that is cheaper.
    """
    path = f"/api/projects/{project}/import/predictions"
    if not rows:
        return 0
    if len(rows) <= client.get(f"/api/projects/{project}/", include="task_number")["task_number"] / TASKS_PER_CALL:
        return _import_one_by_one(client, rows)
    try:
        return int(client.post(path, list(rows), seconds=LONG)["created"])
    except ToolError as error:
        if type(error) is not ToolError:  # refused, gone, or perhaps done
            raise
        there = {record["id"] for record in listing.tasks_by_id(client, project, [str(row["task"]) for row in rows], "id")}
        left = [row for row in rows if row["task"] in there]
        if len(left) == len(rows):
            raise
        return int(client.post(path, left, seconds=LONG)["created"]) if left else 0


def _import_one_by_one(client: Client, rows: Sequence[Mapping[str, Any]]) -> int:
    """Store predictions; how many were taken: none on a task that is gone."""
    taken = 0
    for row in rows:
        try:
            client.sdk.predictions.create(**row)
        except ToolError as error:
            if type(error) in (ToolError, ToolGone):
                continue
            if taken and not isinstance(error, OutcomeUnknown):
                raise OutcomeUnknown(f"{taken} of {len(rows)} predictions are stored; then {error}") from error
            raise
        taken += 1
    return taken


def predictions_of(client: Client, project: str, ids: Sequence[str], version: str) -> dict[str, list[str]]:
    """The predictions of a version on each of the tasks, oldest first."""
    return {task: [str(prediction["id"]) for prediction in found] for task, found in _predictions(client, project, ids, version).items()}


def versions(client: Client, project: str) -> dict[str, int]:
    """The versions of a project's predictions, with their numbers."""
    answer = client.get(f"/api/projects/{project}/model-versions/", extended="true")
    return {str(version["model_version"]): int(version["count"]) for version in answer["static"]}


def drop_version(client: Client, project: str, version: str, keep: str) -> None:
    """Delete the predictions of a version. Label Studio may forget with them which version it shows: that stays `keep`."""
    delete_version(client, project, version)
    if client.sdk.projects.get(int(project)).model_version != keep:
        client.sdk.projects.update(int(project), model_version=keep)


def delete_version(client: Client, project: str, version: str) -> None:
    """Delete the predictions of a version; it takes the server 2 to 3 s per 1,000. By hand: the SDK has no call for it."""
    client.delete(f"/api/projects/{project}/model-versions/", {"model_version": version}, seconds=LONG)


def write_fields(client: Client, project: str, task_id: str, fields: Mapping[str, object]) -> None:
    """Merge fields into a task's data, all of which Label Studio replaces; None takes a field away. Raises ToolGone."""
    before = _task(client, project, task_id, "id,data")["data"]
    after = {key: value for key, value in {**before, **fields}.items() if key not in fields or value is not None}
    if after != before:
        client.patch(f"/api/tasks/{task_id}/", {"data": after})  # by hand: data may hold text that the SDK cannot encode


def ask_again(client: Client, project: str, task_id: str, answers: int) -> None:
    """Let a task be answered by so many different people in all; the Label button hands it out again if it was answered."""
    task = _task(client, project, task_id, "id,total_annotations")
    client.sdk.tasks.update(task_id, overlap=answers, is_labeled=task["total_annotations"] >= answers)


def accept(client: Client, project: str, ids: Sequence[str], version: str) -> dict[str, str]:
    """Make annotations of the tasks' predictions: task id -> annotation id.

    Only of tasks that nobody has answered, skipped or begun at a fresh read, that want one answer and have exactly one prediction of the
    version, which is not empty. Tasks that were accepted before, by a call whose answer was lost, are in the result, too. An annotation
    that lands on a task which a person answered meanwhile is deleted again.
    """
    predictions = _predictions(client, project, ids, version)
    tasks = listing.tasks_by_id(client, project, list(predictions), ACCEPTABLE)
    taken = [task["id"] for task in tasks if _is_acceptable(task, predictions[str(task["id"])])]
    if not taken:
        return _accepted(client, project, tasks, taken, predictions)
    body = {"selectedItems": {"all": False, "included": taken}, "model_version": version}
    client.post("/api/dm/actions", body, seconds=LONG, id="predictions_to_annotations", project=project)
    try:
        return _accepted(client, project, tasks, taken, predictions)
    except ToolUnavailable as error:
        raise OutcomeUnknown(f"annotations were made of predictions on {len(taken)} tasks, but not read back: {error}") from error


def _accepted(
    client: Client,
    project: str,
    tasks: Sequence[Mapping[str, Any]],
    taken: Sequence[int],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, str]:
    """The annotations that were made now, of the tasks `taken`, or earlier, as they stand."""
    earlier = [task["id"] for task in tasks if any(_made_of(task, predictions[str(task["id"])]))]
    accepted = {}
    for task in listing.tasks_by_id(client, project, [str(id) for id in (*taken, *earlier)], ACCEPTABLE):
        made = list(_made_of(task, predictions[str(task["id"])]))
        if len(made) == len(task["annotations"]) == 1:
            accepted[str(task["id"])] = made[0]
        elif task["id"] in taken:
            remove(client.sdk.annotations.delete, made)
    return accepted


def remove(delete: Callable[[int], None], ids: Collection[str]) -> None:
    """Delete predictions or annotations, by the SDK's call for one of them; those that are gone already are no error."""
    for id in ids:
        with suppress(ToolGone):
            delete(int(id))


def _predictions(client: Client, project: str, ids: Sequence[str], version: str) -> dict[str, list[dict[str, Any]]]:
    """The predictions of a version on each of the tasks, oldest first.

    Listing all predictions of a project is much cheaper than listing tasks with theirs, unless few tasks are asked for.
    """
    if sum(versions(client, project).values()) * PREDICTION_COST <= len(ids):
        predictions = client.get("/api/predictions/", project=project)
    else:
        tasks = listing.tasks_by_id(client, project, ids, "id,predictions")
        predictions = [prediction for task in tasks for prediction in task["predictions"]]
    wanted, found = set(ids), dict[str, list[dict[str, Any]]]()
    for prediction in sorted(predictions, key=lambda prediction: int(prediction["id"])):
        if prediction["model_version"] == version and str(prediction["task"]) in wanted:
            found.setdefault(str(prediction["task"]), []).append(prediction)
    return found


def _is_acceptable(task: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> bool:
    untouched = not (task["is_labeled"] or task["annotations"] or task["draft_exists"])
    return untouched and task["overlap"] == 1 and len(predictions) == 1 and bool(predictions[0]["result"])


def _made_of(task: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The annotations that are nothing but one of the predictions."""
    ids = {prediction["id"] for prediction in predictions}
    for annotation in task["annotations"]:
        if is_machine_made(annotation) and annotation["parent_prediction"] in ids:
            yield str(annotation["id"])


def _task(client: Client, project: str, task_id: str, fields: str) -> dict[str, Any]:
    found = listing.tasks_by_id(client, project, [task_id], fields)
    if not found:
        raise ToolGone(f"project {project} has no task {task_id}; it was deleted in Label Studio")
    return found[0]

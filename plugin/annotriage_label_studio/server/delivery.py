"""Writing to a project's tasks: predictions in bulk, annotations made of them, fields, the number of answers wanted.

Bulk writes answer for each task in `Outcomes`; a call of which all may have been done raises OutcomeUnknown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from annotriage.errors import OutcomeUnknown, ToolError, ToolGone
from annotriage.labeling_tool import Outcomes
from annotriage_label_studio.editor.tasks import OWN_FIELDS, is_machine_made
from annotriage_label_studio.server import listing
from annotriage_label_studio.server.client import Client

PREDICTION_COST = 1 / 13  # listing one prediction of a project costs the server so much of listing one task with its predictions
TASKS_PER_CALL = 75  # so many tasks are counted in the time in which one prediction is stored by itself
ACCEPTABLE = f"id,is_labeled,overlap,draft_exists,{listing.ANNOTATIONS}"
NOT_TAKEN = "Label Studio did not take this prediction; compare the model's classes with the labeling config"
NOT_ACCEPTABLE = "the task is answered, begun or changed, or has no prediction of the version"
LONG = 600.0  # seconds; for calls on thousands of tasks at once


def import_predictions(client: Client, project: str, rows: Sequence[Mapping[str, Any]]) -> Outcomes:
    """Store predictions in one call, after which the server counts all tasks of the project; or one by one, where that is cheaper.

    For one task that is gone Label Studio refuses all: then the others are sent alone.
    """
    if not rows:
        return Outcomes()
    if len(rows) <= client.get(f"/api/projects/{project}/", include="task_number")["task_number"] / TASKS_PER_CALL:
        return _import_one_by_one(client, rows)
    try:
        return _import_at_once(client, project, rows)
    except ToolError as error:
        if type(error) is not ToolError:  # nothing was refused for a prediction's sake
            raise
        return _import_those_there(client, project, rows, str(error))


def _import_at_once(client: Client, project: str, rows: Sequence[Mapping[str, Any]]) -> Outcomes:
    """One call. Where fewer were taken than sent, which ones is read back."""
    tasks = [str(row["task"]) for row in rows]
    taken = int(client.post(f"/api/projects/{project}/import/predictions", list(rows), seconds=LONG)["created"])
    if taken == len(rows):
        return Outcomes(dict.fromkeys(tasks, ""))
    try:
        found = predictions_of(client, project, tasks, str(rows[0]["model_version"]))
    except ToolError as error:
        return Outcomes(unknown=frozenset(tasks), error=error)
    missing = dict.fromkeys((task for task in tasks if task not in found), NOT_TAKEN)
    return Outcomes({task: ids[0] for task, ids in found.items()}, missing)


def _import_those_there(client: Client, project: str, rows: Sequence[Mapping[str, Any]], refusal: str) -> Outcomes:
    """After a refusal of the whole call: the predictions whose tasks exist, if some do not."""
    try:
        there = {record["id"] for record in listing.tasks_by_id(client, project, [str(row["task"]) for row in rows], "id")}
    except ToolError as error:
        return Outcomes(error=error)
    left = [row for row in rows if row["task"] in there]
    gone = frozenset(str(row["task"]) for row in rows if row["task"] not in there)
    tasks = [str(row["task"]) for row in left]
    if not (left and gone):
        return Outcomes(refused=dict.fromkeys(tasks, refusal), gone=gone)
    try:
        return replace(_import_at_once(client, project, left), gone=gone)
    except OutcomeUnknown as error:
        return Outcomes(gone=gone, unknown=frozenset(tasks), error=error)
    except ToolError as error:
        return Outcomes(gone=gone, error=error)


def _import_one_by_one(client: Client, rows: Sequence[Mapping[str, Any]]) -> Outcomes:
    """One call for each prediction, until one fails for a reason that would make the others fail, too."""
    done: dict[str, str] = {}
    refused: dict[str, str] = {}
    gone: set[str] = set()
    for row in rows:
        task = str(row["task"])
        try:
            done[task] = str(client.sdk.predictions.create(**row).id)
        except OutcomeUnknown as error:
            return Outcomes(done, refused, frozenset(gone), frozenset((task,)), error)
        except ToolGone:
            gone.add(task)
        except ToolError as error:
            if type(error) is not ToolError:
                return Outcomes(done, refused, frozenset(gone), error=error)
            refused[task] = str(error)
    return Outcomes(done, refused, frozenset(gone))


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


def copy_task(client: Client, project: str, task_id: str, fields: Mapping[str, object]) -> str:
    """Import the data of a task once more: the new task's id. Nothing tells it from other tasks: no field of ours but these."""
    task = _task(client, project, task_id, "id,data,meta")
    data = {key: value for key, value in task["data"].items() if not key.startswith(OWN_FIELDS)}
    row = {"data": data | dict(fields)} | ({"meta": task["meta"]} if task.get("meta") else {})
    answer = client.post(f"/api/projects/{project}/import", [row], seconds=LONG, return_task_ids="true")
    return str(answer["task_ids"][0])


def delete_tasks(client: Client, project: str, ids: Sequence[str]) -> None:
    """Delete tasks in one call; those that are gone already are passed over by the server."""
    chosen = [int(id) for id in ids if id.isascii() and id.isdigit()]
    if chosen:
        body = {"selectedItems": {"all": False, "included": chosen}}
        client.post("/api/dm/actions", body, seconds=LONG, id="delete_tasks", project=project)


def ask_again(client: Client, project: str, task_id: str, answers: int) -> None:
    """Let a task be answered by so many different people in all; the Label button hands it out again if it was answered."""
    task = _task(client, project, task_id, "id,total_annotations")
    client.sdk.tasks.update(task_id, overlap=answers, is_labeled=task["total_annotations"] >= answers)


def annotate(client: Client, task_id: str, result: Sequence[Mapping[str, Any]], account: str, seconds: float) -> str:
    """Answer a task in the name of an account, as its person's editor would: the annotation's id. seconds: that it took them."""
    body = {"result": list(result), "completed_by": int(account), "lead_time": round(seconds, 3), "ground_truth": False}
    return str(client.post(f"/api/tasks/{task_id}/annotations/", body)["id"])


def accept(client: Client, project: str, ids: Sequence[str], version: str) -> Outcomes:
    """Make annotations of the tasks' predictions.

    Only of tasks that nobody has answered, skipped or begun at a fresh read, that want one answer and have exactly one prediction of the
    version, which is not empty. Tasks that were accepted before, by a call whose answer was lost, are done, too. An annotation
    that lands on a task which a person answered meanwhile is deleted again.
    """
    predictions = _predictions(client, project, ids, version)
    tasks = listing.tasks_by_id(client, project, list(predictions), ACCEPTABLE)
    taken = [task["id"] for task in tasks if _is_acceptable(task, predictions[str(task["id"])])]
    if taken:
        body = {"selectedItems": {"all": False, "included": taken}, "model_version": version}
        client.post("/api/dm/actions", body, seconds=LONG, id="predictions_to_annotations", project=project)
    asked = [str(id) for id in taken]
    asked += [str(task["id"]) for task in tasks if any(_made_of(task, predictions[str(task["id"])]))]
    done: dict[str, str] = {}
    try:
        for task in listing.tasks_by_id(client, project, asked, ACCEPTABLE):
            made = list(_made_of(task, predictions[str(task["id"])]))
            if len(made) == len(task["annotations"]) == 1:
                done[str(task["id"])] = made[0]
            elif task["id"] in taken:
                remove(client.sdk.annotations.delete, made)
    except ToolError as error:
        return Outcomes(done, unknown=frozenset(asked) - set(done), error=error)
    return Outcomes(done, dict.fromkeys((id for id in ids if id not in done), NOT_ACCEPTABLE))


def remove(delete: Callable[[int], None], ids: Collection[str]) -> None:
    """Delete predictions, annotations or tabs, by the SDK's call for one of them; those that are gone already are no error."""
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

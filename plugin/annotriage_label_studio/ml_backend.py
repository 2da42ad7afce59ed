"""The ML backend as Label Studio calls it: five routes and the webhook, in front of the service.

Label Studio waits for `/health` 1 s, for `/setup` 3 s, for a webhook 1 s, and its user waits with it: everything here answers from what
the service has at hand. Whatever it answers to `/predict` is stored unvalidated, so it gets exactly one result per task or none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from annotriage.errors import AnnotriageError, DataError, UnknownError
from annotriage.labeling_tool import Predictor
from annotriage_label_studio.editor.labeling_config import ChoicesControl, choices_control, match_classes
from annotriage_label_studio.editor.predictions import results_of
from annotriage_label_studio.webhooks import read_event

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

RETRY_AFTER = 10  # seconds; delivery has brought the predictions by then
CONFIGS = 64  # labeling configs that are kept parsed


def blueprint(predictor: Predictor, authenticated: Callable[[], bool], is_webhook: Callable[[], bool]) -> Blueprint:
    """Label Studio's routes: /health, /setup, /predict, /versions, /train and /webhook.

    authenticated: whether the request at hand carries the service's credentials; is_webhook: whether it carries the webhook's
    secret. Everything but /health needs one of them. Errors are answered as problem details.
    """
    routes = Blueprint("label_studio", __name__)

    @routes.before_request
    def refuse_strangers() -> ResponseReturnValue | None:
        endpoint = (request.endpoint or "").rpartition(".")[2]
        if endpoint == "health" or (endpoint == "webhook" and is_webhook()) or authenticated():
            return None
        detail = "Give the user and the password of the service; `annotriage connect` sets them in the project's ML backend and webhook."
        return _problem(401, "Credentials are needed", detail, {"WWW-Authenticate": 'Basic realm="annotriage", charset="UTF-8"'})

    @routes.errorhandler(AnnotriageError)
    def problem(error: AnnotriageError) -> ResponseReturnValue:
        later = {"Retry-After": str(RETRY_AFTER)} if error.status == 503 else None
        return _problem(error.status, type(error).__name__, str(error), later)

    @routes.get("/health")
    def health() -> ResponseReturnValue:
        return {"status": "UP", "model_class": "annotriage"}

    @routes.post("/setup")
    def setup() -> ResponseReturnValue:
        return {"model_version": _version(predictor, _project(_body()))}

    @routes.get("/versions")
    def versions() -> ResponseReturnValue:
        version = _version(predictor, _project(_body()))
        return {"versions": [version], "message": ""}

    @routes.post("/predict")
    def predict() -> ResponseReturnValue:
        body = _body()
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise DataError("a request for predictions without a list of tasks; only Label Studio's are understood")
        project = _project(body)
        answer = predictor.predictions(project, tasks)
        if answer is None:
            detail = "The predictions are being made and will be delivered to the project without being asked for."
            return _problem(503, "Not yet", detail, {"Retry-After": str(RETRY_AFTER)})
        version, shown = answer
        control = _control(str(body.get("label_config", "")), predictor.classes_of(project, version), tuple(predictor.control))
        choices = {label: _choice(label, control) for prediction in shown for label in prediction.labels or ()}
        return _json({"results": results_of(shown, control, choices, version), "model_version": version})

    @routes.post("/train")
    def train() -> ResponseReturnValue:
        predictor.train(_project(_body()))
        return {"status": "queued"}

    @routes.post("/webhook")
    def webhook() -> ResponseReturnValue:
        body = request.get_data(cache=False)
        if b"START_TRAINING" in body[:200] and not is_webhook():  # sent to ML backends alone, hence with their credentials
            predictor.train(read_event(body).project)
        else:
            predictor.take_event(body)
        return {"status": "taken"}

    return routes


@lru_cache(maxsize=CONFIGS)
def _control(config: str, classes: tuple[str, ...], names: tuple[str, ...]) -> ChoicesControl:
    return choices_control(config, classes, names)


@lru_cache(maxsize=CONFIGS * 100)
def _choice(label: str, control: ChoicesControl) -> str:
    return match_classes([label], control)[label]


def _version(predictor: Predictor, project: str) -> str:
    version = predictor.version_of(project)
    if version is None:
        raise UnknownError(f"project {project} is not connected to this service; run annotriage connect --project {project}")
    return version


def _body() -> Mapping[str, Any]:
    """The request's JSON object; what else it carries (the project owner's token) is not looked at and goes into no message."""
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise DataError("a request whose body is not JSON; only Label Studio's are understood") from None
    if not isinstance(body, dict):
        raise DataError(f"a request whose body is a JSON {type(body).__name__}, not an object; only Label Studio's are understood")
    return body


def _project(body: Mapping[str, Any]) -> str:
    """Label Studio names a project as <id>.<time of its creation>."""
    named = body.get("project")
    number = named.partition(".")[0] if isinstance(named, str) else ""
    if not (number.isascii() and number.isdigit()):
        raise DataError("a request that names no project as <id>.<time>; only Label Studio's are understood")
    return number


def _problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as RFC 9457 has it."""
    response = _json({"type": "about:blank", "title": title, "status": status, "detail": detail}, status, "application/problem+json")
    response.headers.update(headers or {})
    return response


def _json(value: Any, status: int = 200, mimetype: str = "application/json") -> Response:
    return Response(json.dumps(value), status, mimetype=mimetype)

"""One table of operations makes the API's routes, the reading of their parameters and the OpenAPI document, so that they agree.

An answer is a dataclass: its fields and their types are the answer's schema, its docstring what the document says of it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import EnumType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from flask import Blueprint, Response, request
from sqlalchemy import Connection

from annotriage import __version__
from annotriage.errors import DataError
from annotriage.service.operations.process import Process
from annotriage.states import Time
from annotriage.store.projects import Project
from annotriage.web.plain import as_json
from annotriage.web.problems import MEDIA_TYPE
from annotriage.web.visited import visited_project

LATEST = 253_402_300_799.0  # the end of the year 9999, in seconds since 1970; no query has a larger number


LARGEST = 2**53  # that every reader of JSON keeps


@dataclass(frozen=True)
class Parameter:
    """One in the query. kind: int, float, str, or Time (read as seconds since 1970). low, high: a whole number has limits in any case."""

    name: str
    kind: Any
    help: str
    default: Any = None
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def limits(self) -> tuple[int | None, int | None]:
        """The least and the most that it may be; no database takes whole numbers of any size."""
        if self.kind is not int:
            return self.low, self.high
        return 0 if self.low is None else self.low, LARGEST if self.high is None else self.high


@dataclass(frozen=True)
class Asked:
    """A project that is asked about, and the transaction in which it was found."""

    process: Process
    connection: Connection
    project: Project


@dataclass(frozen=True)
class Operation:
    """One method at one path.

    view: called with the process, or where it reads of a project with what was `Asked`, and by name with the path's parts and the
    query's parameters; gives an `answer`. Its docstring is what the document says of it.

    body: media types that it takes, with their schemas. statuses: those of errors of its own, by what they mean.
    """

    method: str
    path: str
    view: Callable[..., Any]
    answer: type
    query: tuple[Parameter, ...] = ()
    body: Mapping[str, Mapping[str, Any]] | None = None
    status: int = 200
    statuses: tuple[tuple[int, str], ...] = ()

    @property
    def name(self) -> str:
        """Its id in the document."""
        return self.view.__name__


def add_routes(routes: Blueprint, operations: Sequence[Operation], process: Process) -> None:
    """Let a blueprint answer these operations on a process's store, and describe them at /openapi.json."""
    for operation in operations:
        rule = re.sub(r"{(\w+)}", r"<\1>", operation.path)
        routes.add_url_rule(rule, operation.name, _answering(operation, process), methods=[operation.method])
    described = json.dumps(document(operations))

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return Response(described, mimetype="application/json")


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these operations."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(f"/api{operation.path}", {})[operation.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "annotriage",
            "version": __version__,
            "description": "What is triaged, how it stands, what waits for people. Projects and tasks go by the labeling tool's ids.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"password": {"type": "http", "scheme": "basic"}}},
        "security": [{"password": []}],
    }


def schema_of(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a type; dataclasses go into `schemas`, by name."""
    plain = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    if kind in plain:
        return {"type": plain[kind]}
    if kind == Time:
        return {"type": "string", "format": "date-time"}
    if kind is Any:
        return {}
    if isinstance(kind, EnumType):
        return {"enum": list(kind.__members__.values())}
    if dataclasses.is_dataclass(kind):
        return _component(kind, schemas)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(part, schemas) for part in parts]}
    if origin is tuple:
        return {"type": "array", "items": schema_of(parts[0], schemas)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(parts[1], schemas)}
    raise TypeError(f"no schema for {kind}")


def _component(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in schemas:
        schemas[name] = {}  # it may contain itself
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.name: schema_of(hints[field.name], schemas) for field in dataclasses.fields(kind)}
        schemas[name] = {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").split()),
            "properties": fields,
            "required": list(fields),
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{name}"}


_PROBLEM = {
    "type": "object",
    "description": "What went wrong, and what to do about it (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "refused": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status", "detail"],
}


_ERRORS = {
    401: "Credentials are needed.",
    422: "The request is not understood.",
    429: "Too many wrong passwords came from this address.",
    500: "An error of the service itself.",
    503: "The database does not answer.",
}
_CHANGING_ERRORS = {
    403: "A browser sends this for another site's page.",
    413: "The request is too large.",
    415: "This is a form; send JSON.",
}


def _described(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", operation.path)
    ] + [_described_parameter(parameter) for parameter in operation.query]
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    errors = _ERRORS | ({404: "There is no such project, item or dataset."} if "{" in operation.path else {})
    errors |= (_CHANGING_ERRORS if operation.method != "GET" else {}) | dict(operation.statuses)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": (operation.view.__doc__ or "").split("\n")[0].rstrip("."),
        "parameters": parameters,
        "responses": {
            str(operation.status): {
                "description": "Done.",
                "content": {"application/json": {"schema": schema_of(operation.answer, schemas)}},
            },
            **{str(status): {"description": text, "content": problem} for status, text in sorted(errors.items())},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"content": {media: {"schema": schema} for media, schema in operation.body.items()}}
    return described


def _described_parameter(parameter: Parameter) -> dict[str, Any]:
    schema = schema_of(parameter.kind, {})
    low, high = parameter.limits
    limits = {"default": parameter.default, "minimum": low, "maximum": high, "enum": list(parameter.choices) or None}
    schema |= {key: value for key, value in limits.items() if value is not None}
    return {"name": parameter.name, "in": "query", "required": False, "description": parameter.help, "schema": schema}


def _answering(operation: Operation, process: Process) -> Callable[..., Response]:
    known = {parameter.name for parameter in operation.query}

    def answer(**parts: str) -> Response:
        if unknown := sorted(set(request.args) - known):
            allowed = ", ".join(sorted(known)) or "none"
            raise DataError(f"query parameter {unknown[0]!r} means nothing here; {operation.path} takes {allowed}")
        given = {_argument(parameter.name): _read(parameter) for parameter in operation.query}
        if operation.method != "GET" or "project" not in parts:
            return as_json(operation.view(process, **parts, **given), operation.status)
        with process.store.reading() as connection:
            asked = Asked(process, connection, visited_project(connection, parts.pop("project")))
            return as_json(operation.view(asked, **parts, **given), operation.status)

    return answer


def _argument(name: str) -> str:
    """`from` is no name in Python."""
    return "start" if name == "from" else "end" if name == "to" else name


def _read(parameter: Parameter) -> Any:
    text = request.args.get(parameter.name)
    if text is None:
        return parameter.default
    try:
        value = _seconds(text) if parameter.kind == Time else parameter.kind(text)
        if isinstance(value, float) and not (math.isfinite(value) and 0 <= value <= LATEST):
            raise ValueError
    except (ValueError, OverflowError):
        wanted = {int: "a whole number", Time: "a time, as 2026-11-26T12:00:00Z or in seconds since 1970"}.get(parameter.kind, "a number")
        raise DataError(f"query parameter {parameter.name}: {text!r} is not {wanted}") from None
    if parameter.choices and value not in parameter.choices:
        raise DataError(f"query parameter {parameter.name}: {text!r} is none of {', '.join(parameter.choices)}")
    low, high = parameter.limits
    if (low is not None and value < low) or (high is not None and value > high):
        raise DataError(f"query parameter {parameter.name}: {text} is not between {low} and {high}")
    return value


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()

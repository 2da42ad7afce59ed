"""What Label Studio's answers look like, as far as anything here relies on it; asked of every answer, the SDK's as ours.

A proxy's own page, another version's answer, a null where a number was: all these are told in one sentence, and end nobody's work.

A shape is a type, a tuple of types, a list with the shape of its members, or a dictionary of what must be there; a name that ends in ?
may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

TEXT = (str, type(None))
NUMBER = (int, type(None))
FACTS = (dict, type(None))
PREDICTION = {"id": int, "task?": int, "model_version?": TEXT, "result?": (list, type(None))}
ANNOTATION = {"id": int, "result?": (list, type(None)), "parent_prediction?": NUMBER}
TASK = {
    "id": int,
    "data?": dict,
    "annotations?": [ANNOTATION],
    "predictions?": [PREDICTION],
    "overlap?": NUMBER,
    "created_at?": object,
    "updated_at?": object,
    "total_annotations?": object,
    "cancelled_annotations?": object,
    "is_labeled?": object,
    "draft_exists?": object,
}
PROJECT = {"id": int, "title?": TEXT, "label_config?": TEXT, "model_version?": TEXT, "maximum_annotations?": NUMBER, "task_number?": int}
TASKS = {"tasks": [TASK], "total": int}
NAMED = {"id": int}
SHAPES: tuple[tuple[str, str, Any], ...] = (
    ("GET", r"/api/tasks/?", TASKS),
    ("GET", r"/api/projects/\d+/?", PROJECT),
    ("PATCH", r"/api/projects/\d+/?", PROJECT),
    ("GET", r"/api/projects/\d+/summary/?", {"created_labels?": FACTS, "created_labels_drafts?": FACTS}),
    ("GET", r"/api/projects/\d+/model-versions/?", {"static": [{"model_version": TEXT, "count": int}]}),
    ("POST", r"/api/projects/\d+/import/predictions/?", {"created": int}),
    ("GET", r"/api/predictions/?", [PREDICTION]),
    ("POST", r"/api/predictions/?", NAMED),
    ("POST", r"/api/tasks/\d+/annotations/?", NAMED),
    ("GET", r"/api/users/?", [NAMED]),
    ("GET", r"/api/storages/?", [{"type": str}]),
    ("GET", r"/api/dm/views/?", [{"id": int, "data?": FACTS}]),
    ("POST", r"/api/dm/views/?", NAMED),
    ("GET", r"/api/dm/columns/?", {"columns": [{"id": str}]}),
    ("GET", r"/api/webhooks/?", [{"id": int, "url": str, "headers?": FACTS, "actions?": (list, type(None))}]),
    ("GET", r"/api/ml/?", [{"id": int, "url": str, "title?": TEXT, "extra_params?": FACTS}]),
    ("POST", r"/api/(webhooks|ml)/?", dict),
    ("PATCH", r"/api/(webhooks|ml|tasks)/\d+/?", dict),
    ("GET", r"/api/current-user/whoami/?", dict),
    ("GET", r"/api/version/?", dict),
)
NAMES = {int: "a whole number", str: "a text", list: "a list", dict: "an object", type(None): "null"}


def shape_fault(method: str, path: str, asked: dict[str, str], value: Any) -> str:
    """What is wrong with the content of an answer, in words; "" if nothing is. asked: the parameters of the address. value: None for
    an answer without content.
    """
    shape = next((shape for known, pattern, shape in SHAPES if known == method and re.search(f"{pattern}$", path)), object)
    if "include" in asked and shape is PROJECT:
        shape = _asked_for(PROJECT, asked["include"].split(","))
    elif "include" in asked and shape is TASKS:
        names = asked["include"].split(",")
        of_task = names[: names.index("annotations") + 1] if "annotations" in names else names  # behind it stand fields of annotations
        shape = TASKS | {"tasks": [_asked_for(TASK, ["id", *of_task])]}
    elif "return_task_ids" in asked:
        shape = {"task_ids": [int], "prediction_count": int}
    return "the answer is empty" if value is None and shape is not object else _fault(value, shape, "the answer")


def _asked_for(shape: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The shape of something of which certain fields were asked for: what was is there, nothing else need be."""
    plain = {name.rstrip("?"): kind for name, kind in shape.items()}
    return {name if name in names else f"{name}?": kind for name, kind in plain.items()}


def _fault(value: Any, shape: Any, where: str) -> str:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _unlike(value, dict, where)
        for name, kind in shape.items():
            key = name.rstrip("?")
            if key in value:
                if fault := _fault(value[key], kind, f"{key!r} in {where}"):
                    return fault
            elif key == name:
                return f"{where} has no {key!r}"
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _unlike(value, list, where)
        return next(filter(None, (_fault(part, shape[0], f"a member of {where}") for part in value)), "")
    fits = isinstance(value, shape) and (not isinstance(value, bool) or shape is object)
    return "" if fits else _unlike(value, shape, where)


def _unlike(value: Any, wanted: Any, where: str) -> str:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    allowed = " or ".join(NAMES.get(kind, kind.__name__) for kind in kinds)
    return f"{where} is {NAMES.get(type(value), f'a {type(value).__name__}')}, not {allowed}"

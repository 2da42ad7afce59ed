"""Fitted things as files: a tree of dataclasses <-> JSON beside an .npz, without pickle.

Scalars, tuples and mappings go into the JSON with the class's name; arrays go into the .npz under their path in the tree.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import MismatchError, SettingError

Arrays = dict[str, NDArray[Any]]
PLAIN = (str, int, bool, type(None))  # what JSON holds as it is


def write_tree(value: Any, description: Path, arrays_file: Path, head: Mapping[str, Any]) -> None:
    """Write a tree of dataclasses as a JSON file, `head` in front, and an .npz file. Raises OSError if the disk refuses."""
    arrays: Arrays = {}
    tree = to_tree(value, arrays)
    np.savez(arrays_file, **arrays)  # type: ignore[arg-type]
    digest = hashlib.sha256(arrays_file.read_bytes()).hexdigest()
    description.write_text(json.dumps({**head, "arrays_sha256": digest, "tree": tree}, indent=1), "utf-8")


def read_tree(description: Path, arrays_file: Path, form: int, classes: Mapping[str, type]) -> tuple[dict[str, Any], Any]:
    """What `write_tree` wrote: the head and the value.

    form: the `format` that the head must name. classes: those that may occur, by name.
    Raises MismatchError if the files are missing, damaged, of another format or do not fit each other.
    """
    head = _read_head(description)
    if head.get("format") != form:
        folder, model = description.parent, head.get("model_spec")
        spec = os.path.normpath(folder / model) if isinstance(model, str) else "MODEL.toml"
        raise MismatchError(
            f"{folder}: written in format {head.get('format')}, this version reads {form}. Fit it again from the same data:"
            f" annotriage fit --model {spec} --train DATA --calibration DATA --out {folder} --replace"
        )
    return head, _checked(head, "tree", description, arrays_file, classes)


def read_part(description: Path, arrays_file: Path, name: str, classes: Mapping[str, type]) -> Any:
    """One field of what `write_tree` wrote, in whatever format the rest is. Raises MismatchError as `read_tree` does."""
    head = _read_head(description)
    tree = head.get("tree")
    return _checked({**head, name: tree.get(name) if isinstance(tree, dict) else None}, name, description, arrays_file, classes)


def _read_head(description: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(description.read_text("utf-8")))
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise _unreadable(description.parent, error) from error


def _checked(head: Mapping[str, Any], name: str, description: Path, arrays_file: Path, classes: Mapping[str, type]) -> Any:
    """The value under a name of the head, if its arrays are those that were written with it."""
    folder = description.parent
    try:
        packed = arrays_file.read_bytes()
    except OSError as error:
        raise _unreadable(folder, error) from error
    if hashlib.sha256(packed).hexdigest() != head.get("arrays_sha256"):
        raise MismatchError(
            f"{folder}: {arrays_file.name} is damaged or from another reference (its hash differs); fit it again or copy it again"
        )
    try:
        with np.load(arrays_file, allow_pickle=False) as file:
            return from_tree(head[name], dict(file), classes)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, zipfile.BadZipFile, SettingError) as error:
        raise MismatchError(f"{folder}: {description.name} was changed, it does not fit its arrays ({error!r}); fit it again") from error


def _unreadable(folder: Path, error: Exception) -> MismatchError:
    why = error.strerror if isinstance(error, OSError) else error
    return MismatchError(f"{folder}: no reference can be read there ({why}); make one with annotriage fit")


def tree_hash(value: Any) -> str:
    """A hash over everything in a tree of dataclasses, arrays included."""
    arrays: Arrays = {}
    digest = hashlib.sha256(json.dumps(to_tree(value, arrays), sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def to_tree(value: Any, arrays: Arrays, path: str = "") -> Any:
    """The value as JSON can hold it; its arrays are put into `arrays` under their paths."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: to_tree(getattr(value, f.name), arrays, f"{path}.{f.name}" if path else f.name)
            for f in dataclasses.fields(value)
            if not (f.metadata.get("later") and getattr(value, f.name) == f.default)  # older files lack it, and keep their hash
        }
        return {"$class": type(value).__name__, **fields}
    if isinstance(value, np.ndarray):
        while path in arrays:  # a key of a mapping may look like a path
            path += "'"
        arrays[path] = value
        return {"$array": path}
    if isinstance(value, tuple | list):
        if all(type(part) in PLAIN for part in value):  # thousands of ids
            return list(value)
        return [to_tree(part, arrays, f"{path}.{place}") for place, part in enumerate(value)]
    if isinstance(value, Mapping):
        return {"$map": {key: to_tree(part, arrays, f"{path}.{key}") for key, part in value.items()}}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    return value


def from_tree(tree: Any, arrays: Mapping[str, NDArray[Any]], classes: Mapping[str, type]) -> Any:
    """The inverse of `to_tree`; lists come back as tuples. Raises KeyError or TypeError on a tree that does not fit."""
    if isinstance(tree, list):
        if all(type(part) in PLAIN for part in tree):
            return tuple(tree)
        return tuple(from_tree(part, arrays, classes) for part in tree)
    if not isinstance(tree, dict):
        return tree
    if "$array" in tree:
        return arrays[tree["$array"]]
    if "$float" in tree:
        return float(tree["$float"])
    if "$map" in tree:
        return {key: from_tree(part, arrays, classes) for key, part in tree["$map"].items()}
    fields = {key: from_tree(part, arrays, classes) for key, part in tree.items() if key != "$class"}
    return classes[tree["$class"]](**fields)

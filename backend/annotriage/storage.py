"""Fitted things as files: a tree of dataclasses <-> JSON beside an .npz, without pickle.

Scalars, tuples and mappings go into the JSON with the class's name; arrays go into the .npz under their path in the tree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def to_tree(value: Any, arrays: Arrays, path: str = "") -> Any:
    """The value as JSON can hold it; its arrays are put into `arrays` under their paths."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: to_tree(getattr(value, f.name), arrays, f"{path}.{f.name}" if path else f.name) for f in dataclasses.fields(value)
        }
        return {"$class": type(value).__name__, **fields}
    if isinstance(value, np.ndarray):
        while path in arrays:  # a key of a mapping may look like a path
            path += "'"
        arrays[path] = value
        return {"$array": path}
    if isinstance(value, tuple | list):
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

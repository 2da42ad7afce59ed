"""What identifies the model that a reference was fitted with, and the refusal of any other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from annotriage.errors import MismatchError
from annotriage.model import Model


@dataclass(frozen=True)
class ModelFacts:
    """The model that a reference was fitted with: spec file name, hash of the model's files, layers, and the whole spec."""

    name: str
    hash: str
    layers: tuple[str, ...]
    spec: str  # JSON of ModelSpec.as_dict()

    @property
    def pictures(self) -> bool:
        """Whether it looks at images."""
        return bool(json.loads(self.spec)["input"]["kind"] == "image")


def model_facts(model: Model) -> ModelFacts:
    """What identifies a model."""
    name = model.spec.path.name if model.spec.path is not None else (model.spec.file or model.spec.factory or "model")
    spec = model.spec.as_dict()
    for key in ("file", "weights", "aliases"):  # the hash tells the files, whatever they are called; aliases change no verdict
        spec["model"].pop(key, None)
    return ModelFacts(name, model.hash, tuple(model.layers), json.dumps(spec, sort_keys=True))


def refuse_other(mine: ModelFacts, model: Model, where: str) -> None:
    """Raise MismatchError, naming what differs, unless the model is the one of these facts. where: whose model it should be."""
    its = model_facts(model)
    again = "Use that model, or fit a new reference with this one."
    if mine.hash != its.hash:
        raise MismatchError(
            f"{where} was fitted with {mine.name} (hash {mine.hash[:12]}), but {its.name} has other weights (hash {its.hash[:12]}). {again}"
        )
    if mine.layers != its.layers:
        raise MismatchError(f"{where} was fitted on layer {', '.join(mine.layers)}, but {its.name} names {', '.join(its.layers)}. {again}")
    if mine.spec != its.spec:
        changed = _changes(json.loads(mine.spec), json.loads(its.spec))
        raise MismatchError(f"{where}: {its.name} has changed since it was fitted with {mine.name}: {changed}. {again}")


def _changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    parts = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            parts.append(_changes(before, after, f"{prefix}{key}."))
        elif before != after:
            parts.append(f"{prefix}{key} was {before!r}, is {after!r}")
    return "; ".join(part for part in parts if part)

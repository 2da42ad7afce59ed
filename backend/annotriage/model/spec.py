"""The model spec: a TOML file beside the model file that says all it takes to run the model."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotriage.data.local_paths import has_file
from annotriage.errors import ModelError
from annotriage.model.spec_keys import AUTO, IMAGE_ONLY, INPUT_KEYS, MODEL_KEYS, Key, toml_text


@dataclass(frozen=True)
class InputSpec:
    """What the model takes: the [input] table of the spec; `spec_table` says what each key means.

    mean, std: empty = 0 and 1. scale: a TOML file that leaves it out means 1/255 for images and 1 for rows.
    """

    size: tuple[int, ...]
    kind: str = "image"
    mode: str = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = "NCHW"
    resize: str = "bilinear"
    name: str | None = None

    @property
    def channels(self) -> int:
        """3 or 1, as `mode` says."""
        return 3 if self.mode == "RGB" else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch axis."""
        if self.kind == "array":
            return self.size
        return (self.channels, *self.size) if self.layout == "NCHW" else (*self.size, self.channels)


@dataclass(frozen=True)
class ModelSpec:
    """A trained model and how to run it.

    Either `file` or `factory` with `weights`, as written in the TOML file `path`, relative to it; `spec_table` says what each
    key means. activation, choice: "auto" until the model is loaded: what is found then is in the spec of the loaded `Model`.
    Specs are equal if they say the same, wherever their files lie.
    """

    classes: tuple[str, ...]
    input: InputSpec
    file: str | None = None
    factory: str | None = None
    weights: str | None = None
    output: str | None = None
    activation: str = "auto"
    choice: str = "auto"
    head: str | None = None
    layer: tuple[str, ...] = AUTO
    aliases: tuple[tuple[str, str], ...] = ()
    precision: str | None = None
    path: Path = dataclasses.field(default=Path("model.toml"), compare=False)

    @classmethod
    def load(cls, path: Path | str) -> ModelSpec:
        """The spec in a TOML file. Raises ModelError naming the file, the key and the fix; the model file must exist."""
        path = Path(path)
        if path.suffix.lower() != ".toml":
            raise ModelError(_not_a_spec(path))
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path given to --model") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ModelError(f"{path}: not valid TOML: {error}") from error
        spec = cls.from_dict(table, path)
        if not has_file(spec.model_path):
            key = "file" if spec.file else "weights"
            raise ModelError(
                f"{path}: [model] {key}: {str(spec.model_path)[:500]} does not exist; the name is relative to {path.name}'s folder"
            )
        return spec

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], path: Path) -> ModelSpec:
        """The spec in the tables of a TOML file or in what `as_dict` gave; `path` names it and is where file names start."""
        for key in table:
            if key not in ("model", "input"):
                raise ModelError(f"{path}: unknown key {key!r}; a model spec has the tables [model] and [input]")
        model = _read_table(table, "model", MODEL_KEYS, path)
        _check_source(model, path)
        if model.get("head") == "none":
            model.setdefault("classes", ())
        _required(model, "model", "classes", 'list the class names in the order of the model\'s outputs, as ["cat", "dog"]', path)
        if model.get("activation") == "softmax" and model.get("choice") == "multiple":
            raise ModelError(
                f'{path}: [model] activation: "softmax" leaves one class per item, but choice is "multiple"; make it "sigmoid" or "auto"'
            )
        for alias, name in model.get("aliases", ()):
            if name not in model["classes"] or alias in model["classes"]:
                wrong = f"{name!r} is none of the classes" if name not in model["classes"] else f"{alias!r} is a class of its own"
                raise ModelError(f"{path}: [model] aliases: {wrong}; on the left what data say, on the right one of the classes")
        return cls(**model, input=_read_input(table, path), path=path)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values in the shape of the TOML file, the same on every machine: file names are relative."""
        model = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in ("input", "path")}
        for key in ("file", "weights"):
            if model[key] is not None and Path(model[key]).is_absolute():
                model[key] = Path(model[key]).name
        model["aliases"] = dict(self.aliases) or None
        tables = {"model": model, "input": dataclasses.asdict(self.input)}
        if self.input.kind == "array":
            for key in IMAGE_ONLY:
                del tables["input"][key]
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in table.items() if value not in (None, ())}
            for name, table in tables.items()
        }

    def write(self, path: Path) -> None:
        """Write the spec as TOML. File names stay relative: the model file has to be put beside it."""
        lines: list[str] = []
        for name, table in self.as_dict().items():
            lines += [f"[{name}]", *(f"{key} = {toml_text(value)}" for key, value in table.items())]
        path.write_text("\n".join(lines) + "\n", "utf-8")

    def check_input(self, shape: Sequence[int | None]) -> None:
        """Raise ModelError unless the model file, which takes inputs of this shape (None = free, no batch axis), takes the spec's."""
        given = self.input.shape
        if len(shape) != len(given) or any(size not in (None, mine) for size, mine in zip(shape, given, strict=True)):
            raise ModelError(
                f"{self.path}: [input] gives inputs of shape {list(given)}, but {self.model_path.name} takes {list(shape)} per item;"
                " set size, mode (RGB has 3 channels, L has 1) and layout accordingly"
            )

    def check_outputs(self, count: int) -> None:
        """Raise ModelError unless the model's outputs are as many as the classes, or one for two of them."""
        if self.head == "none":
            raise ModelError(
                f'{self.path}: [model] head = "none": it is an encoder and has no classes yet. Give it a head first, from labelled items:'
                f" annotriage train --model {self.path} --train DATA --out FOLDER"
            )
        if count != len(self.classes) and (count, len(self.classes)) != (1, 2):
            outputs = f"{count} output{'' if count == 1 else 's'} per item"
            raise ModelError(
                f"{self.path}: {self.model_path.name}: the model has {outputs}, but [model] classes names {len(self.classes)}; name every"
                " class, in the order of the outputs, or state the right tensor as [model] output"
            )

    @property
    def model_path(self) -> Path:
        """The model file, or the weights that the factory's model gets."""
        return self.path.parent / (self.file or self.weights or "")


def spec_table() -> str:
    """The keys of a model spec as docs/model_spec.md has them, in Markdown."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for table, keys, kind in (("model", MODEL_KEYS, ModelSpec), ("input", INPUT_KEYS, InputSpec)):
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}
        defaults |= {"layer": AUTO[0]}
        rows += [
            f"| `[{table}]` `{name}` | {key.default or f'`{toml_text(defaults[name])}`'} | {key.meaning} |" for name, key in keys.items()
        ]
    return "\n".join(rows)


def hash_files(files: Sequence[Path]) -> str:
    """sha256 over the contents of the files, one after the other, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_table(tables: Mapping[str, Any], name: str, keys: Mapping[str, Key], path: Path) -> dict[str, Any]:
    table = tables.get(name)
    if not isinstance(table, Mapping):
        raise ModelError(f"{path}: the table [{name}] is missing; it holds {', '.join(keys)}")
    values = {}
    for key, value in table.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(keys)}"
            raise ModelError(f"{path}: [{name}] {key}: unknown key; {hint}")
        try:
            values[key] = keys[key].read(value)
        except ValueError as error:
            raise ModelError(f"{path}: [{name}] {key}: {error}, not {value!r}") from None
    return values


def _read_input(tables: Mapping[str, Any], path: Path) -> InputSpec:
    values = _read_table(tables, "input", INPUT_KEYS, path)
    _required(
        values, "input", "size", 'give [height, width] of an image, or with kind = "array" the shape of a row of numbers, as [12]', path
    )
    if values.get("kind") == "array":
        for key in IMAGE_ONLY:
            if key in values:
                raise ModelError(f'{path}: [input] {key}: has no meaning for kind = "array"; remove it')
        allowed, per = {1, values["size"][-1]}, "one for all, or one per value of the last axis"
    else:
        if len(values["size"]) != 2:
            raise ModelError(
                f'{path}: [input] size: must be [height, width], not {list(values["size"])}; for rows of numbers set kind = "array"'
            )
        values.setdefault("scale", 1 / 255)
        channels = 1 if values.get("mode") == "L" else 3
        allowed, per = {channels}, f"one per channel of mode {values.get('mode', 'RGB')}: {channels}"
    for key in ("mean", "std"):
        if key in values and len(values[key]) not in allowed:
            raise ModelError(f"{path}: [input] {key}: has {len(values[key])} numbers; it needs {per}")
    if 0 in values.get("std", ()):
        raise ModelError(f"{path}: [input] std: must not be 0, it divides; leave it out where nothing is to be divided")
    return InputSpec(**values)


def _check_source(model: Mapping[str, Any], path: Path) -> None:
    if ("file" in model) == ("factory" in model):
        raise ModelError(
            f'{path}: [model] needs either file = "model.onnx" (or "model.pt2"), or factory = "package.module:function" with weights'
        )
    if "factory" in model:
        _required(model, "model", "weights", 'name the file with its state_dict, as "weights.safetensors"', path)
        if not all(model["factory"].partition(":")):
            raise ModelError(f'{path}: [model] factory: must be "package.module:function", not {model["factory"]!r}')
    elif "weights" in model:
        raise ModelError(f"{path}: [model] weights: belongs to factory, not to file; remove one of them")


def _required(values: Mapping[str, Any], table: str, key: str, fix: str, path: Path) -> None:
    if key not in values:
        raise ModelError(f"{path}: [{table}] {key}: is missing; {fix}")


def _not_a_spec(path: Path) -> str:
    """What to do with a path that is no TOML file: write one; for an .onnx file, with its own input size as an example."""
    taken = f'size = [224, 224]\nmode = "RGB"\nscale = {1 / 255}'
    if path.suffix.lower() == ".onnx" and path.is_file():
        from annotriage.model.onnx_file import input_shape

        match input_shape(path):
            case [_, 1 | 3 as channels, int(height), int(width)]:
                taken = f'size = {[height, width]}\nmode = "{"L" if channels == 1 else "RGB"}"\nscale = {1 / 255}'
            case [_, int(length)]:
                taken = f'kind = "array"\nsize = {[length]}'
    source = f'file = "{path.name}"' if path.suffix.lower() in (".onnx", ".pt2") else 'file = "model.onnx"'
    return (
        f"{path}: --model takes a model spec, a TOML file that says how the model is run. Write model.toml beside the model:\n"
        f'[model]\n{source}\nclasses = ["first class", "second class"]\n[input]\n{taken}'
    )

"""The model spec: a TOML file beside the model file that says all it takes to run the model."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotriage.errors import ModelError

AUTO = ("auto",)


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
    layer: tuple[str, ...] = AUTO
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
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: not valid TOML: {error}") from error
        spec = cls.from_dict(table, path)
        if not spec.model_path.is_file():
            key = "file" if spec.file else "weights"
            raise ModelError(f"{path}: [model] {key}: {spec.model_path} does not exist; the name is relative to {path.name}'s folder")
        return spec

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], path: Path) -> ModelSpec:
        """The spec in the tables of a TOML file or in what `as_dict` gave; `path` names it and is where file names start."""
        for key in table:
            if key not in ("model", "input"):
                raise ModelError(f"{path}: unknown key {key!r}; a model spec has the tables [model] and [input]")
        model = _read_table(table, "model", _MODEL_KEYS, path)
        _check_source(model, path)
        _required(model, "model", "classes", 'list the class names in the order of the model\'s outputs, as ["cat", "dog"]', path)
        if model.get("activation") == "softmax" and model.get("choice") == "multiple":
            raise ModelError(
                f'{path}: [model] activation: "softmax" leaves one class per item, but choice is "multiple"; make it "sigmoid" or "auto"'
            )
        return cls(**model, input=_read_input(table, path), path=path)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values in the shape of the TOML file, the same on every machine: file names are relative."""
        model = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in ("input", "path")}
        for key in ("file", "weights"):
            if model[key] is not None and Path(model[key]).is_absolute():
                model[key] = Path(model[key]).name
        tables = {"model": model, "input": dataclasses.asdict(self.input)}
        if self.input.kind == "array":
            for key in _IMAGE_ONLY:
                del tables["input"][key]
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in table.items() if value not in (None, ())}
            for name, table in tables.items()
        }

    def write(self, path: Path) -> None:
        """Write the spec as TOML. File names stay relative: the model file has to be put beside it."""
        lines: list[str] = []
        for name, table in self.as_dict().items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
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
        """Raise ModelError unless the model's outputs are as many as the classes."""
        if count != len(self.classes):
            raise ModelError(
                f"{self.path}: {self.model_path.name}: the model has {count} outputs per item, but [model] classes names"
                f" {len(self.classes)}; name every class, in the order of the outputs, or state the right tensor as [model] output"
            )

    @property
    def model_path(self) -> Path:
        """The model file, or the weights that the factory's model gets."""
        return self.path.parent / (self.file or self.weights or "")


def spec_table() -> str:
    """The README's table of the keys of a model spec, in Markdown."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for table, keys, kind in (("model", _MODEL_KEYS, ModelSpec), ("input", _INPUT_KEYS, InputSpec)):
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}
        defaults |= {"layer": AUTO[0]}
        rows += [f"| `[{table}]` `{name}` | {key.default or f'`{_toml(defaults[name])}`'} | {key.meaning} |" for name, key in keys.items()]
    return "\n".join(rows)


def hash_files(files: Sequence[Path]) -> str:
    """sha256 over the contents of the files, one after the other, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_table(tables: Mapping[str, Any], name: str, keys: Mapping[str, _Key], path: Path) -> dict[str, Any]:
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
    values = _read_table(tables, "input", _INPUT_KEYS, path)
    _required(
        values, "input", "size", 'give [height, width] of an image, or with kind = "array" the shape of a row of numbers, as [12]', path
    )
    if values.get("kind") == "array":
        for key in _IMAGE_ONLY:
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


_Reader = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text in quotes")
    return value


def _one_of(*words: str) -> _Reader:
    def read(value: Any) -> Any:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number")
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of numbers, as [0.5, 0.5, 0.5]")
    return tuple(_number(part) for part in value)


def _size(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value or any(type(part) is not int or part < 1 for part in value):
        raise ValueError("must be a list of whole numbers above 0, as [224, 224]")
    return tuple(value)


def _classes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError("must be a list of at least two class names")
    names = tuple(_text(part) for part in value)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {twice[0]!r} more than once; every class needs a name of its own")
    return names


def _layers(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not names or any(not isinstance(name, str) or not name for name in names) or len(set(names)) < len(names):
        raise ValueError('must be "auto", the name of a layer or a list of different names (annotriage layers shows them)')
    if "auto" in names and names != AUTO:
        raise ValueError('"auto" stands alone, not in a list with other layers')
    return names


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(part) for part in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


@dataclass(frozen=True)
class _Key:
    """One key of a spec: how its value is read, what it means, and in words what it is when left out, unless that is a value."""

    read: _Reader
    meaning: str
    default: str = ""


_MODEL_KEYS = {
    "file": _Key(_text, "The model file, relative to the spec: `.onnx`, or `.pt2` (torch.export).", "needed, or `factory`"),
    "factory": _Key(_text, '`"package.module:function"`, which returns the untrained torch module; needs `weights`.', "none"),
    "weights": _Key(_text, "What the factory's module is trained to: safetensors, or a state_dict.", "none"),
    "classes": _Key(_classes, "Class names, in the order of the model's outputs.", "needed"),
    "output": _Key(_text, "The output with one value per class: a tensor's name; of a factory's module, a name or place.", "the only one"),
    "activation": _Key(
        _one_of("auto", "softmax", "sigmoid", "none"),
        'What is still to be applied to the output: `"softmax"` or `"sigmoid"`; `"none"`: the output is probabilities.'
        " `auto` sees a softmax or sigmoid inside the model, and logits.",
    ),
    "choice": _Key(
        _one_of("auto", "single", "multiple"),
        '`"single"`: one class per item; `"multiple"`: any number. `auto`: multiple where there is a sigmoid.',
    ),
    "layer": _Key(
        _layers,
        "Hidden layers to compare, a name or a list, the first one decides; `annotriage layers` lists them. `auto`: the layer"
        " before the last dense one, and a feature map from the middle.",
    ),
}
_INPUT_KEYS = {
    "kind": _Key(_one_of("image", "array"), '`"array"`: rows of numbers, of any shape, instead of images.'),
    "size": _Key(_size, "`[height, width]` of an image; of rows of numbers the shape of one, as `[12]`.", "needed"),
    "mode": _Key(_one_of("RGB", "L"), 'Images: `"RGB"`, or `"L"` for one grey channel.'),
    "scale": _Key(_number, "A value x enters the model as `(x * scale - mean) / std`.", "1/255; rows: 1"),
    "mean": _Key(_numbers, "One number per channel of an image; of a row one for all, or one per value of its last axis.", "0"),
    "std": _Key(_numbers, "As `mean`.", "1"),
    "layout": _Key(_one_of("NCHW", "NHWC"), 'Images: channels first, or last (`"NHWC"`).'),
    "resize": _Key(
        _one_of("bilinear", "nearest", "bicubic", "box", "lanczos"),
        'Images: how they get to `size`, as in training: also `"nearest"`, `"bicubic"`, `"box"`, `"lanczos"`.',
    ),
    "name": _Key(_text, "The input tensor.", "the only one"),
}
_IMAGE_ONLY = ("mode", "layout", "resize")

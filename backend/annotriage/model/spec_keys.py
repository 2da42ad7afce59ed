"""The keys of a model spec: what each means, how its value is read, and how it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from annotriage.text import name_of

AUTO = ("auto",)
EXACT = "float32"

_Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Key:
    """One key of a spec: how its value is read, what it means, and in words what it is when left out, unless that is a value."""

    read: _Reader
    meaning: str
    default: str = ""


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


def _precision(value: Any) -> str | None:
    return None if value == EXACT else str(_one_of("bfloat16", "float16", EXACT)(value))


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
    names = tuple(name_of(_text(part)) for part in value)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {twice[0]!r} more than once; every class needs a name of its own")
    return names


def _aliases(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or any(not isinstance(name, str) for name in value.values()):
        raise ValueError('must be a table of names, as { Cat = "cat" }: what data call it = what the model calls it')
    return tuple(sorted((name_of(alias), name_of(name)) for alias, name in value.items()))


def _layers(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not names or any(not isinstance(name, str) or not name for name in names) or len(set(names)) < len(names):
        raise ValueError('must be "auto", the name of a layer or a list of different names (annotriage layers shows them)')
    if "auto" in names and names != AUTO:
        raise ValueError('"auto" stands alone, not in a list with other layers')
    return names


def toml_text(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(toml_text(part) for part in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{toml_text(name)} = {toml_text(part)}' for name, part in value.items())} }}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


MODEL_KEYS = {
    "file": Key(_text, "The model file, relative to the spec: `.onnx`, or `.pt2` (torch.export).", "needed, or `factory`"),
    "factory": Key(_text, '`"package.module:function"`, which returns the untrained torch module; needs `weights`.', "none"),
    "weights": Key(_text, "What the factory's module is trained to: safetensors, or a state_dict.", "none"),
    "classes": Key(_classes, "Class names, in the order of the model's outputs.", "needed"),
    "aliases": Key(_aliases, 'What data call a class that the model calls otherwise: `{ Cat = "cat", "no finding" = "normal" }`.', "none"),
    "output": Key(_text, "The output with one value per class: a tensor's name; of a factory's module, a name or place.", "the only one"),
    "activation": Key(
        _one_of("auto", "softmax", "sigmoid", "none"),
        'What is still to be applied to the output: `"softmax"` or `"sigmoid"`; `"none"`: the output is probabilities.'
        " `auto` sees a softmax or sigmoid inside the model, and logits.",
    ),
    "choice": Key(
        _one_of("auto", "single", "multiple"),
        '`"single"`: one class per item; `"multiple"`: any number. `auto`: multiple where there is a sigmoid.',
    ),
    "head": Key(
        _one_of("none"),
        'An encoder, whose output is features and no classes: `"none"`. `annotriage train` gives it a head, and needs no `classes`.',
        "its own",
    ),
    "layer": Key(
        _layers,
        "Hidden layers to compare, a name or a list, the first one decides; `annotriage layers` lists them. `auto`: the layer"
        " before the last dense one, and six feature maps from all depths.",
    ),
    "precision": Key(
        _precision,
        'What the model computes in: `"bfloat16"` or `"float16"` is faster on a GPU and slower on most CPUs. A reference is fitted and'
        " holds in one of them; `annotriage fit` says what it changes.",
        f'`"{EXACT}"`',
    ),
}
INPUT_KEYS = {
    "kind": Key(_one_of("image", "array"), '`"array"`: rows of numbers, of any shape, instead of images.'),
    "size": Key(_size, "`[height, width]` of an image; of rows of numbers the shape of one, as `[12]`.", "needed"),
    "mode": Key(_one_of("RGB", "L"), 'Images: `"RGB"`, or `"L"` for one grey channel.'),
    "scale": Key(_number, "A value x enters the model as `(x * scale - mean) / std`.", "1/255; rows: 1"),
    "mean": Key(_numbers, "One number per channel of an image; of a row one for all, or one per value of its last axis.", "0"),
    "std": Key(_numbers, "As `mean`.", "1"),
    "layout": Key(_one_of("NCHW", "NHWC"), 'Images: channels first, or last (`"NHWC"`).'),
    "resize": Key(
        _one_of("bilinear", "nearest", "bicubic", "box", "lanczos"),
        'Images: how they get to `size`, as in training: also `"nearest"`, `"bicubic"`, `"box"`, `"lanczos"`.',
    ),
    "name": Key(_text, "The input tensor.", "the only one"),
}
IMAGE_ONLY = ("mode", "layout", "resize")

"""Which hidden layers to compare: a model's graph, as a list of steps, -> the deciding layer and feature maps from all depths.

Knows no runtime: `onnx_model` and `torch_model` bring their steps here.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from annotriage.errors import ModelError
from annotriage.model.spec import ModelSpec
from annotriage.model.spec_keys import AUTO
from annotriage.model.types import Layer

Shape = tuple[int | None, ...]

MAPS = 6  # further layers of "auto"
TOKEN = ":token "  # in a layer's name, before the place of the token that it is


@dataclass(frozen=True)
class Step:
    """One operation of a graph, in order of execution.

    inputs: the tensors it reads, weights and constants left out. weights: whether it reads any of those.
    shape: of the output, batch axis first, None = free; None as a whole if unknown or if the values are no floats.
    block: whether it stands for several steps that come before it in the list, as a torch module that holds others.
    token: which token of a map it takes out, as a transformer's class token is (0); None of every other step.
    """

    output: str
    operation: str
    inputs: tuple[str, ...]
    weights: bool
    shape: Shape | None
    block: bool = False
    token: int | None = None

    @property
    def word(self) -> str:
        """The operation in one spelling for all runtimes: LeakyRelu, leaky_relu.default -> leakyrelu."""
        return self.operation.split(".")[0].replace("_", "").lower()


@dataclass(frozen=True)
class Choice:
    """Where the logits are read and what is compared; `layers` are in the order of `Model.layers`.

    closing: the function that follows the logits inside the model, "softmax" or "sigmoid"; "" = none is seen.
    """

    logits: str
    layers: tuple[str, ...]
    closing: str = ""


def choose(steps: Sequence[Step], output: str, spec: ModelSpec) -> Choice:
    """The layers that the spec asks for, and the tensor with the logits: what enters a closing softmax or sigmoid, if any.

    "auto" = what enters the last dense layer with weights, plus up to six feature maps spread over the way to it; of a transformer that
    decides by one token also that token of each map, beside the tokens' mean and deviation.
    Raises ModelError if a layer is unknown (naming those nearest to it), no dense layer is found, or there are not as many
    outputs as classes.
    """
    choice = _choice(steps, output, spec)
    if not choice.layers:
        if not candidates(steps, choice):
            raise _no_layers(spec)
        raise ModelError(
            f"{spec.path}: [model] layer: no last dense layer is found in {spec.model_path.name}; name the hidden layer yourself."
            f" `annotriage layers --model {spec.path}` lists the candidates"
        )
    return choice


def listed(steps: Sequence[Step], output: str, spec: ModelSpec) -> list[Layer]:
    """The candidates, those marked that the spec asks for, if "auto" finds any. Raises ModelError as `choose`, or if there are none."""
    choice = _choice(steps, output, spec)
    found = candidates(steps, choice)
    if not found:
        raise _no_layers(spec)
    return found


def _choice(steps: Sequence[Step], output: str, spec: ModelSpec) -> Choice:
    """As `choose`, but without layers where "auto" finds none."""
    shape = next((step.shape for step in steps if step.output == output), None)
    if shape is not None and len(shape) > 1 and None not in shape[1:]:
        spec.check_outputs(math.prod(size for size in shape[1:] if size is not None))
    logits, closing = _closing_function(steps, output)
    if spec.layer == AUTO:
        deciding = _enters_last_dense(steps, logits)
        if deciding is None:
            return Choice(logits, (), closing)
        maps = _spread_maps(steps, deciding)
        token = _deciding_token(steps, logits)
        if token is not None:
            tokens = {step.output for step in steps if step.shape is not None and len(step.shape) == 3}
            maps = [part for name in maps for part in ((name, f"{name}{TOKEN}{token}") if name in tokens else (name,))]
        return Choice(logits, (deciding, *maps), closing)
    known = {step.output for step in steps}
    for name in spec.layer:
        if tensor_of(name) not in known:
            raise unknown_layer(name, [layer.name for layer in candidates(steps, Choice(logits, ()))], known, spec)
    return Choice(logits, spec.layer, closing)


def way_through(steps: Sequence[Step], output: str, spec: ModelSpec, most: int) -> tuple[str, ...]:
    """The layers on the way from the input to the answer, at most so many, and the logits at the end.

    Those behind an activation function, spread evenly where there are more; of a model without any, sums, blocks and layers with weights.
    """
    choice = _choice(steps, output, spec)
    before = _ancestors(steps, choice.logits) - {choice.logits}
    hidden = [step for step in steps if step.output in before and step.shape is not None and 2 <= len(step.shape) <= 5]
    kinds = (
        [step for step in hidden if (step.word in _ACTIVATIONS or step.word == "tanh") and _is_map(step.shape)],
        [step for step in hidden if step.block or (step.word == "add" and len(step.inputs) == 2)],
        [step for step in hidden if _is_hidden_layer(step)],
    )
    found = next((kind for kind in kinds if kind), [])
    count = min(most, len(found))
    places = [round((len(found) - 1) * (part + 1) / count) if count > 1 else len(found) - 1 for part in range(count)]
    if count == len(found):
        places = list(range(count))
    return (*(found[place].output for place in dict.fromkeys(places)), choice.logits)


def candidates(steps: Sequence[Step], choice: Choice) -> list[Layer]:
    """The hidden layers worth comparing, in the graph's order, and those chosen among them."""
    before = _ancestors(steps, choice.logits) - {choice.logits}
    found = []
    for step in steps:
        shape = step.shape[1:] if step.shape else ()
        if step.output in choice.layers or (step.output in before and _is_hidden_layer(step)):
            found.append(Layer(step.output, shape, step.operation, _part(step.output, choice)))
        tokens = [name for name in choice.layers if name != step.output and tensor_of(name) == step.output]
        found += [Layer(name, shape[1:], "Token", _part(name, choice)) for name in tokens]
    return found


def tensor_of(layer: str) -> str:
    """The tensor that a layer is read from: "blocks.3:token 0" is the first token of "blocks.3"."""
    return layer if token_of(layer) is None else layer.rpartition(TOKEN)[0]


def token_of(layer: str) -> int | None:
    """Which token of its tensor a layer is; None where it is the whole."""
    name, mark, token = layer.rpartition(TOKEN)
    return int(token) if name and mark and re.fullmatch(r"-?\d{1,6}", token) else None


def _no_layers(spec: ModelSpec) -> ModelError:
    return ModelError(
        f"{spec.path}: {spec.model_path.name} has no hidden layer that can be compared: between its input and its output lies no layer of"
        " numbers of its own. Use a network with at least one hidden layer, or export the features that enter this model together with it"
    )


def unknown_layer(name: str, candidates: Sequence[str], known: Collection[str], spec: ModelSpec) -> ModelError:
    """The error for a layer that is not in the model, which answers with those that are, the nearest first."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    shown = list(dict.fromkeys([*near, *candidates]))
    rest = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ModelError(
        f"{spec.path}: [model] layer: {spec.model_path.name} has no layer {name!r}. Candidates: {', '.join(shown[:12])}{rest};"
        f" `annotriage layers --model {spec.path}` shows them with their shapes"
    )


def channels_last(steps: Sequence[Step], name: str, input_layout: str) -> bool:
    """Whether a map's channels are its last axis; found from the step that made it, seen through element-wise steps."""
    made_by = {step.output: step for step in steps}
    step = made_by.get(name)
    while step is not None:
        if "conv" in step.word or "pool" in step.word or step.word.startswith(("batchnorm", "instancenorm", "groupnorm", "resize")):
            return False
        if step.word in ("matmul", "fusedmatmul", "gemm", "linear", "addmm", "mm") or "layernorm" in step.word:
            return True
        if step.word in ("transpose", "permute"):
            break
        step = made_by.get(step.inputs[0]) if step.inputs else None
    rank = next((len(step.shape) for step in steps if step.output == name and step.shape), 4)
    return rank == 3 or input_layout == "NHWC"


def _closing_function(steps: Sequence[Step], output: str) -> tuple[str, str]:
    """The tensor with the logits, and the function behind it: before the output, or after it, where the output stated is the logits."""
    made_by = {step.output: step for step in steps}
    name = output
    while (step := made_by.get(name)) is not None and step.inputs:
        if step.word in _CLOSING:
            return step.inputs[0], _CLOSING[step.word]
        if step.word not in _PASSING:
            break
        name = step.inputs[0]
    read = {source for step in steps for source in step.inputs}
    after = (step for step in steps if step.inputs == (output,) and step.word in _CLOSING and step.output not in read)
    return output, next((_CLOSING[step.word] for step in after), "")


def _enters_last_dense(steps: Sequence[Step], logits: str) -> str | None:
    """The tensor that the last layer with weights reads, before it is quantised, if it is; None if it is the model's input."""
    before = _ancestors(steps, logits)
    made_by = {step.output: step for step in steps}
    dense = [
        step
        for step in steps
        if step.output in before and step.weights and ((step.word in _DENSE and len(step.inputs) == 1) or step.word in _QUANTISED_DENSE)
    ]
    if not dense:
        return None
    source = made_by.get(dense[-1].inputs[0])
    while source is not None and source.word in _QUANTISING:
        source = made_by.get(source.inputs[0])
    return source.output if source is not None else None


def _deciding_token(steps: Sequence[Step], logits: str) -> int | None:
    """Which token of a transformer its decision is read from, if it is read from one alone: nothing but that token may lead to it."""
    made_by = {step.output: step for step in steps}
    step = made_by.get(logits)
    while step is not None and step.token is None:
        if step.shape is not None and len(step.shape) > 2:
            return None
        step = made_by.get(step.inputs[0]) if len(step.inputs) == 1 else None
    return None if step is None else step.token


def _spread_maps(steps: Sequence[Step], deciding: str) -> list[str]:
    """At most MAPS of the maps of the first kind found: after an activation function, a residual sum or block, a gate, any.

    The middles of as many equal parts of the depth: the very first map is the largest by far and the last one says what the
    deciding layer says. A model without maps has hidden vectors.
    """
    before = _ancestors(steps, deciding) - _same_values(steps, deciding)
    hidden = [step for step in steps if step.output in before and _is_map(step.shape)]
    activated = [step for step in hidden if step.word in _ACTIVATIONS or step.word == "tanh"]
    summed = [step for step in hidden if step.block or (step.word == "add" and len(step.inputs) == 2)]
    gated = [step for step in hidden if step.word == "mul" and len(step.inputs) == 2]
    rest = [step for step in hidden if _is_hidden_layer(step)]
    places: Sequence[int] = (5, 4)
    tokens: Sequence[int] = (3,)
    vectors: Sequence[int] = (2,)
    # Of a transformer the activations lie aside, within the blocks; its patches are a map of places, and its attention has some.
    kinds = [(summed, tokens), (activated, tokens)]
    transformer = any(_of_rank(kind, ranks) for kind, ranks in kinds)
    if transformer:
        stem = next(filter(None, (_of_rank(kind, places) for kind in (activated, summed))), [])
        blocks = next(filter(None, (_of_rank(kind, ranks) for kind, ranks in kinds)))
        found = [step for step in hidden if step in stem or step in blocks]
    else:
        kinds = [(kind, ranks) for ranks in (places, tokens) for kind in (activated, summed, gated, rest)]
        kinds += [(activated, vectors), (summed, vectors)]
        found = next(filter(None, (_of_rank(kind, ranks) for kind, ranks in kinds)), [])
    count = min(MAPS, len(found))
    return [found[(2 * part + 1) * len(found) // (2 * count)].output for part in range(count)]


def _of_rank(steps: Sequence[Step], ranks: Sequence[int]) -> list[Step]:
    return [step for step in steps if step.shape and len(step.shape) in ranks]


def _same_values(steps: Sequence[Step], name: str) -> set[str]:
    """A tensor and those that hold the same numbers, in another shape perhaps: what enters it through steps that change nothing."""
    made_by = {step.output: step for step in steps}
    same = {name}
    while (step := made_by.get(name)) is not None and step.word in _PASSING and step.inputs:
        name = step.inputs[0]
        same.add(name)
    return same


def _is_map(shape: Shape | None) -> bool:
    """(N, C, ...) or (N, T, C) with more than one place, or (N, C) with more than one value; a free size counts as more."""
    if shape is None or not 2 <= len(shape) <= 5:
        return False
    sizes = sorted((size or 2 for size in shape[1:]), reverse=True)
    return sizes[min(len(sizes) - 1, 2)] > 1


def _is_hidden_layer(step: Step) -> bool:
    if step.shape is None or len(step.shape) < 2:
        return False
    if step.block:
        return True
    if step.word in _DENSE:
        return step.weights
    if step.word in ("add", "mul"):
        return len(step.inputs) == 2 or (step.word == "add" and len(step.shape) == 2)
    return step.word in _ACTIVATIONS or step.word in _OTHERS or "norm" in step.word or "pool" in step.word


def _ancestors(steps: Iterable[Step], name: str) -> set[str]:
    """The tensors that `name` is computed from, itself included."""
    wanted = {name}
    for step in reversed(list(steps)):
        if step.output in wanted:
            wanted.update(step.inputs)
    return wanted


def _part(name: str, choice: Choice) -> str:
    if name not in choice.layers:
        return ""
    return "deciding" if name == choice.layers[0] else "further"


_ACTIVATIONS = frozenset(
    {
        "relu",
        "leakyrelu",
        "prelu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "fastgelu",
        "biasgelu",
        "quickgelu",
        "hardswish",
        "hardtanh",
        "mish",
        "silu",
        "swish",
        "softplus",
        "thresholdedrelu",
        "clip",
        "relu6",
    }
)
_DENSE = frozenset(
    {"gemm", "matmul", "fusedgemm", "fusedmatmul", "linear", "addmm", "mm", "conv", "conv1d", "conv2d", "conv3d", "convolution"}
)
_QUANTISED_DENSE = frozenset({"matmulinteger", "convinteger", "qlinearmatmul", "qlinearconv", "qgemm"})
_QUANTISING = frozenset({"quantizelinear", "dynamicquantizelinear", "dequantizelinear"})
_CLOSING = {"softmax": "softmax", "logsoftmax": "softmax", "sigmoid": "sigmoid"}
_PASSING = frozenset(
    {
        "identity",
        "cast",
        "reshape",
        "flatten",
        "squeeze",
        "unsqueeze",
        "dropout",
        "view",
        "contiguous",
        "clone",
        "tocopy",
        "alias",
        "quantizelinear",
        "dequantizelinear",
    }
)
_OTHERS = frozenset({"tanh", "flatten", "concat", "cat", "reducemean", "mean"})

"""A model's layers as a graph that people can read: steps that follow each other become one box, and branches stay branches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.model import steps_of
from annotriage.model.layers import Shape, Step, tensor_of
from annotriage.model.spec import ModelSpec

MOST = 40  # boxes with one layer of weights each; a larger model has whole chains in a box
MOST_CHAINS = 60  # boxes; an even larger one has all between two layers that are compared in a box


@dataclass(frozen=True)
class Box:
    """Steps in a row. kinds: the operations in it, each with how often. shape: of what leaves it, without the batch; None if unknown.

    layers: those that are compared and end in it; deciding: whether one of them is the deciding one.
    """

    kinds: tuple[tuple[str, int], ...]
    shape: Shape | None
    layers: tuple[str, ...]
    deciding: bool


@dataclass(frozen=True)
class LayerGraph:
    """boxes: in order of execution. arrows: from box to box, by their places. exact: False where branches are not known."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]
    exact: bool


def layer_graph(spec: ModelSpec, layers: Sequence[str]) -> LayerGraph:
    """The graph of a model. layers: those that are compared, the deciding one first, as `Model.layers`. Raises ModelError."""
    steps, output = steps_of(spec)
    kept = _needed(steps, output)
    marked = {tensor_of(name) for name in layers}
    for weights, chains in ((True, True), (False, True), (False, False)):
        groups = _grouped(kept, marked, each_weight=weights, between=not chains)
        if len(groups) <= (MOST if weights else MOST_CHAINS):
            break
    place = {step.output: number for number, group in enumerate(groups) for step in group}
    arrows = {
        (place[source], number)
        for number, group in enumerate(groups)
        for step in group
        for source in step.inputs
        if source in place and place[source] != number
    }
    boxes = [_box(group, layers) for group in groups]
    return LayerGraph(tuple(boxes), tuple(sorted(arrows)), spec.factory is None)


def _needed(steps: Sequence[Step], output: str) -> list[Step]:
    """The steps that the output is computed by, without what reckons with shapes alone, and with what enters a module seen through."""
    behind: dict[str, str] = {}
    kept: list[Step] = []
    for step in steps:
        if step.operation == "Input" or step.block or (step.shape is None and step.word in _OF_SHAPES):
            if step.inputs:
                behind[step.output] = behind.get(step.inputs[0], step.inputs[0])
            continue
        inputs = tuple(dict.fromkeys(behind.get(name, name) for name in step.inputs))
        kept.append(Step(step.output, step.operation, inputs, step.weights, step.shape))
    wanted = {behind.get(output, output)}
    for step in reversed(kept):
        if step.output in wanted:
            wanted.update(step.inputs)
    return [step for step in kept if step.output in wanted]


def _grouped(steps: Sequence[Step], marked: set[str], *, each_weight: bool, between: bool) -> list[list[Step]]:
    """Steps in a row. each_weight: a layer of weights begins a box. between: branches do not, only the layers that are compared end one."""
    readers = Counter(name for step in steps for name in step.inputs)
    groups: list[list[Step]] = []
    ending: dict[str, list[Step]] = {}
    for step in steps:
        group = ending.get(step.inputs[0]) if step.inputs else None
        if between:
            group = groups[-1] if groups else None
        elif group is not None and (
            len(step.inputs) != 1 or readers[step.inputs[0]] > 1 or group[-1].output != step.inputs[0] or (each_weight and _weighs(step))
        ):
            group = None
        if group is not None and group[-1].output in marked:
            group = None
        if group is None:
            group = []
            groups.append(group)
        group.append(step)
        ending[step.output] = group
    return groups


def _weighs(step: Step) -> bool:
    return step.weights and step.word in _WEIGHTS


def _box(group: Sequence[Step], layers: Sequence[str]) -> Box:
    outputs = {step.output for step in group}
    mine = tuple(name for name in layers if tensor_of(name) in outputs)
    kinds = Counter(step.operation.split(".")[0] for step in group)
    shape = group[-1].shape
    return Box(tuple(kinds.items()), None if shape is None else shape[1:], mine, bool(layers) and layers[0] in mine)


_WEIGHTS = frozenset({"gemm", "matmul", "linear", "addmm", "mm", "conv", "conv1d", "conv2d", "conv3d", "convtranspose", "lstm", "gru"})
_OF_SHAPES = frozenset({"shape", "gather", "unsqueeze", "squeeze", "concat", "constantofshape", "cast", "slice", "symsize", "range"})

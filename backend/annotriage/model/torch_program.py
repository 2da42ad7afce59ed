"""Exported torch programs (.pt2): their graph as steps, and any node's tensor while they run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.export.passes import move_to_device_pass
from torch.utils._pytree import tree_leaves

from annotriage.errors import ModelError
from annotriage.model.layers import Step
from annotriage.model.spec import ModelSpec
from annotriage.model.torch_archive import check_archive


class Program:
    """An exported program; its layers are the nodes of its graph."""

    def __init__(self, spec: ModelSpec, place: torch.device) -> None:
        self.module = _load(spec, place)
        nodes = list(self.module.graph.nodes)
        entries = [node for node in nodes if node.op == "placeholder"]
        if len(entries) != 1:
            names = ", ".join(node.name for node in entries)
            raise ModelError(f"{spec.model_path}: takes {len(entries)} inputs ({names}); export a module that takes one batch alone")
        _check_is_in_eval_mode(nodes, spec)
        batch = entries[0].meta["val"]
        self.dtype: torch.dtype = batch.dtype
        self.fixed_batch = _size(batch.shape[0])
        spec.check_input([_size(size) for size in batch.shape[1:]])
        self.steps = tuple(_steps(nodes))
        self.output = _output(nodes[-1], {step.output for step in self.steps}, spec)

    def record(self, inputs: Tensor, names: frozenset[str], change: Callable[[str, Tensor], Tensor] | None = None) -> dict[str, Tensor]:
        """The tensors that these nodes make of the inputs. change: gets a node's name and tensor, and makes what goes on in its place."""
        recorder = _Recorder(self.module, names, change)
        recorder.run(inputs)
        return recorder.recorded


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, names: frozenset[str], change: Callable[[str, Tensor], Tensor] | None) -> None:
        super().__init__(module)
        self._change = change
        self.recorded: dict[str, Tensor] = {}
        self._names = names

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._names:
            result = result if self._change is None else self._change(n.name, result)
            self.recorded[n.name] = result.clone()  # a step that works in place may follow
        return result


def _load(spec: ModelSpec, place: torch.device) -> fx.GraphModule:
    check_archive(spec.model_path)
    try:
        program = torch.export.load(spec.model_path)
    except Exception as error:  # torch.export.load raises whatever its archive reader, JSON parser or unpickler does
        raise ModelError(
            f"{spec.model_path}: torch {torch.__version__} cannot load it as an exported program: {error}."
            " Write it with torch.export.save, by a torch that is no newer than this one, and from the CPU (model.cpu()) if this"
            " machine has no GPU"
        ) from error
    if _places(program) - {place}:
        program = move_to_device_pass(program, place)
    # Checks of its inputs are Python in the file, which newer versions of torch would run; the spec's are ours.
    unchecked = {"check_guards": False} if "check_guards" in inspect.signature(program.module).parameters else {}
    module = program.module(**unchecked)
    assert isinstance(module, fx.GraphModule)
    return module.requires_grad_(False)  # else all activations are kept for the weights' gradients


def _places(program: torch.export.ExportedProgram) -> set[torch.device]:
    """Where the program was exported to run: devices are written into it."""
    values = tree_leaves([node.meta.get("val") for node in program.graph.nodes])
    return {value.device for value in values if isinstance(value, Tensor)}


def _steps(nodes: list[fx.Node]) -> Iterator[Step]:
    constant: set[fx.Node] = set()
    for node in nodes:
        given = node.all_input_nodes
        inputs = tuple(source.name for source in given if source not in constant)
        if node.op == "get_attr" or (node.op == "call_function" and not inputs):
            constant.add(node)
        elif node.op == "call_function":
            operation = getattr(node.target, "__name__", str(node.target))
            yield Step(node.name, operation, inputs, len(inputs) < len(given), _shape(node), token=_token(node, operation))


def _token(node: fx.Node, operation: str) -> int | None:
    """Which token it takes of (N, T, C) tokens; None of any other step."""
    if operation != "select.int" or len(node.args) < 3 or not isinstance(node.args[0], fx.Node):
        return None
    source, axis, place = _shape(node.args[0]), node.args[1], node.args[2]
    return place if source is not None and len(source) == 3 and axis in (1, -2) and isinstance(place, int) else None


def _shape(node: fx.Node) -> tuple[int | None, ...] | None:
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0:
        return None
    return tuple(_size(size) for size in value.shape)


def _size(size: Any) -> int | None:
    return size if type(size) is int else None  # a free size is a symbol


def _output(node: fx.Node, known: set[str], spec: ModelSpec) -> str:
    names = [source.name for source in node.all_input_nodes]
    if spec.output in known and spec.output is not None:
        return spec.output
    if spec.output is None and len(names) == 1:
        return names[0]
    problem = f"has no output {spec.output!r}" if spec.output else f"has {len(names)} outputs; state which"
    raise ModelError(f"{spec.path}: [model] output: {spec.model_path.name} {problem}. It has {', '.join(names)}")


def _check_is_in_eval_mode(nodes: list[fx.Node], spec: ModelSpec) -> None:
    """Dropout and batch statistics are frozen into a program: one exported while training answers at random."""
    for node in nodes:
        name = getattr(node.target, "__name__", "")
        position = 2 if name.startswith("dropout") else 5 if name in ("batch_norm.default", "_native_batch_norm_legit.default") else None
        if position is not None and node.args[position : position + 1] == (True,):
            raise ModelError(f"{spec.model_path}: was exported in training mode ({node.name}); call model.eval() and export it again")

"""torch modules made by a factory: loaded with their weights, their modules as steps, and any module's tensor while they run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from annotriage.errors import ModelError
from annotriage.model.layers import Step
from annotriage.model.outputs import probe_batch
from annotriage.model.pickled import pickled_module
from annotriage.model.spec import ModelSpec

_INPUT = ":input"
_OUTPUT = "the model's output"


class HookedModule:
    """A factory's module; its layers are its modules: "name" is what leaves one, "name:input" what enters it."""

    fixed_batch: int | None = None

    def __init__(self, spec: ModelSpec, place: torch.device) -> None:
        self._spec = spec
        self._module = build_module(spec).to(place).eval().requires_grad_(False)  # else all activations are kept for the weights' gradients
        self.modules = {name: module for name, module in self._module.named_modules() if name}
        parameters = (parameter for parameter in self._module.parameters() if parameter.is_floating_point())
        self.dtype = next((parameter.dtype for parameter in parameters), torch.float32)
        self.steps = self._find_steps(place)
        self.output = self.steps[-1].output

    def record(self, inputs: Tensor, names: frozenset[str], change: Callable[[str, Tensor], Tensor] | None = None) -> dict[str, Tensor]:
        """What enters or leaves these modules, and the output, for the inputs; of a module that runs twice, the second time.

        change: gets the name and the tensor, and makes what goes on in its place.
        """
        recorded: dict[str, Tensor] = {}

        def keep(name: str, tensor: Any) -> Tensor | None:
            if not isinstance(tensor, Tensor):
                return None
            made = tensor if change is None else change(name, tensor)
            recorded[name] = made.clone()  # a module that works in place may follow
            return None if change is None else made

        returned = self._run(inputs, keep, lambda name: name in names)
        recorded[_OUTPUT] = select_output(returned, self._spec)
        return recorded

    def _find_steps(self, place: torch.device) -> tuple[Step, ...]:
        """The modules in the order in which they end on a probe batch, each one taken to follow the one before."""
        shapes: dict[str, tuple[int | None, ...]] = {}
        leaving: dict[str, Tensor] = {}

        def keep(name: str, tensor: Any) -> Tensor | None:
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.ndim and len(tensor) == 2:
                shapes.pop(name, None)
                shapes[name] = (None, *tensor.shape[1:])
                leaving[name] = tensor
            return None

        probe = torch.from_numpy(probe_batch(self._spec.input.shape, 2, np.float32)).to(place, self.dtype)
        try:
            with torch.inference_mode():
                returned = self._run(probe, keep, lambda name: True)
        except Exception as error:  # a module's forward is the user's code and may raise anything
            raise ModelError(
                f"{self._spec.path}: [model] factory: the module failed on a batch of shape {tuple(probe.shape)}: {error}."
                " Compare size, mode and layout under [input] with what it takes"
            ) from error
        steps = [Step("", "Input", (), False, None)]
        for name, shape in shapes.items():
            module = self.modules[name.removesuffix(_INPUT)]
            block = not name.endswith(_INPUT) and any(True for _ in module.children())
            weights = any(True for _ in module.parameters(recurse=False))
            source = steps[-1].output if block or name + _INPUT not in shapes else name + _INPUT
            steps.append(Step(name, _operation(name, module), (source,), weights, shape, block, _token(name, leaving)))
        output = select_output(returned, self._spec)
        last = [place for place, step in enumerate(steps) if not step.block and leaving.get(step.output) is output]
        if not last:
            return (*steps, Step(_OUTPUT, "Output", (steps[-1].output,), False, (None, *output.shape[1:])))
        before, final = steps[: last[-1]], steps[last[-1]]  # what follows is the blocks that it closes
        entering = leaving.get(final.output + _INPUT)
        makers = [step.output for step in before if step.operation != "Input" and not step.block and leaving[step.output] is entering]
        return (*before, replace(final, inputs=(makers[-1],)) if makers and not final.weights else final)

    def _run(self, inputs: Tensor, keep: Callable[[str, Any], Tensor | None], wanted: Callable[[str], bool]) -> Any:
        """Run the module; what `keep` gives goes on in the place of what it got."""

        def entering(name: str, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
            made = keep(name + _INPUT, given[0] if given else None)
            return None if made is None else (made, *given[1:])

        hooks = []
        for name, module in self._module.named_modules():
            if name and wanted(name):
                hooks.append(module.register_forward_hook(lambda _module, _given, made, name=name: keep(name, made)))
            if name and wanted(name + _INPUT):
                hooks.append(module.register_forward_pre_hook(lambda _module, given, name=name: entering(name, given)))
        try:
            return self._module(inputs)
        finally:
            for hook in hooks:
                hook.remove()


def _token(name: str, leaving: Mapping[str, Tensor]) -> int | None:
    """Which token of (N, T, C) tokens enters a module, the first or the last; None if what enters is anything else."""
    entering = leaving[name]
    if not name.endswith(_INPUT) or entering.ndim != 2:
        return None
    maps = [tensor for tensor in leaving.values() if tensor.ndim == 3 and tensor.shape[2] == entering.shape[1]]
    return next((place for place in (0, -1) for tokens in maps if torch.equal(tokens[:, place], entering)), None)


def _operation(name: str, module: nn.Module) -> str:
    if name.endswith(_INPUT):
        return "Input"
    return "Linear" if isinstance(module, nn.Linear) else type(module).__name__


def build_module(spec: ModelSpec) -> nn.Module:
    """The factory's module with the weights of the file in it."""
    where = f"{spec.path}: [model] factory"
    package, _, function = (spec.factory or "").partition(":")
    with _importable(spec):
        try:
            module = getattr(_import(package, spec), function)()
        except ModelError:
            raise
        except Exception as error:  # the user's code: it may raise anything
            raise ModelError(
                f"{where}: {spec.factory} failed: {type(error).__name__}: {error}. It must be importable from {spec.path.parent.resolve()}"
                " or the Python path, take no arguments and return the model"
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{where}: {spec.factory} returned a {type(module).__name__}; it must return a torch.nn.Module")
    try:
        module.load_state_dict(_weights(spec))
    except RuntimeError as error:
        raise ModelError(f"{spec.model_path}: these weights are not those of {spec.factory}: {error}") from error
    return module


def _import(package: str, spec: ModelSpec) -> ModuleType:
    """The module, if it is the one beside the spec: another of that name may have been imported before."""
    module = importlib.import_module(package)
    beside = (spec.path.parent / package.replace(".", "/")).with_suffix(".py").resolve()
    if beside.is_file() and Path(module.__file__ or "").resolve() != beside:
        raise ModelError(f"{spec.path}: [model] factory: {package!r} is already imported from {module.__file__}; rename {beside}")
    return module


@contextmanager
def _importable(spec: ModelSpec) -> Iterator[None]:
    folder = str(spec.path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _weights(spec: ModelSpec) -> Mapping[str, Tensor]:
    path = spec.model_path
    safe = path.suffix.lower() == ".safetensors"
    try:
        if safe:
            from safetensors.torch import load_file

            weights: Any = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors raises a class of its own, torch.load what its readers raise
        if safe or isinstance(error, OSError | EOFError):
            raise ModelError(f"{path}: cannot be read as weights: {error}; save the model's state_dict() again") from error
        raise pickled_module(spec) from error  # more than tensors is in it
    if isinstance(weights, Mapping) and isinstance(weights.get("state_dict"), Mapping):
        weights = weights["state_dict"]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{path}: holds no state_dict; save torch.save(model.state_dict(), {path.name!r})")
    return weights


def select_output(returned: Any, spec: ModelSpec) -> Tensor:
    """The tensor with one value per class in what the module returned: itself, or by the name or place that the spec states."""
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, Mapping):
        choices = {str(name): value for name, value in returned.items()}
    elif isinstance(returned, list | tuple):
        choices = {str(place): value for place, value in enumerate(returned)}
    else:
        raise ModelError(
            f"{spec.path}: {spec.factory} returns a {type(returned).__name__}; it must return a tensor, or several in a dict or tuple"
        )
    name = next(iter(choices), "") if spec.output is None and len(choices) == 1 else spec.output or ""
    chosen = choices.get(name)
    if not isinstance(chosen, Tensor):
        raise ModelError(f"{spec.path}: [model] output: must say which output has a value per class; there are {', '.join(choices)}")
    return chosen

"""The trained model as a function: a batch of inputs -> logits and the activations of its hidden layers, by onnxruntime or torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from annotriage.errors import ModelError
from annotriage.model.pickled import pickled_module
from annotriage.model.spec import ModelSpec
from annotriage.model.types import Array, Layer, Model, Outputs

if TYPE_CHECKING:
    from annotriage.model.connecting_weights import Connection
    from annotriage.model.layers import Step
    from annotriage.model.onnx_model import OnnxModel
    from annotriage.model.torch_model import TorchModel

__all__ = [
    "Layer",
    "Model",
    "Outputs",
    "alone",
    "candidate_layers",
    "connections",
    "gpu_missing",
    "has_gradients",
    "load_model",
    "model_files",
    "steps_of",
]


def load_model(spec: ModelSpec, device: str = "auto", threads: int = 0) -> Model:
    """The model that a spec describes, loaded, tried on a probe batch and ready to run.

    device: "auto", "cpu" or "cuda", as in the settings. A model that the GPU cannot run goes to the CPU, and `Model.notes` says why.
    threads: cores that one run uses, 0 = all.
    Raises ModelError if the file, a layer or the number of classes does not fit, naming it and what to do.
    """
    runtime = _runtime(spec)
    missing = "" if device == "cpu" else runtime.gpu_missing()
    note = f"setting device = cuda, but {missing}" if missing and device == "cuda" else ""
    if device != "cpu" and not missing:
        try:
            return runtime(spec, "cuda", threads)
        except Exception as error:  # the runtime, the driver and a module's own code raise what they like
            note = f"the model does not run on the GPU, so it runs on the CPU: {error}. Set device = cpu to run there without trying."
    model = runtime(spec, "cpu", threads)  # where the spec is at fault, this says so
    model.notes = (*([note] if note else ()), *model.notes)
    return model


def gpu_missing(spec: ModelSpec) -> str:
    """Why the model cannot run on a GPU here, and what to do; "" if it can."""
    return _runtime(spec).gpu_missing()


def has_gradients(model: Model) -> TypeGuard[TorchModel]:
    """Whether torch runs the model, so that gradients can be asked for."""
    return hasattr(model, "traced")  # looked at without torch, which may not be installed


def alone(model: Model) -> Callable[[Array], object]:
    """What runs a batch through the model for its answer alone, no hidden layer put out: the limit of how fast items can be judged.

    A batch must have the size that the model takes. It may hold memory of its own on the GPU: let go of it when it has served.
    Raises ModelError as `Model.run`.
    """
    own: Callable[[], Callable[[Array], object]] | None = getattr(model, "alone", None)  # of both runtimes here
    return model.run if own is None else own()


def candidate_layers(spec: ModelSpec) -> list[Layer]:
    """The hidden layers that can be compared, in the order in which the model computes them, the chosen ones marked."""
    if _is_torch(spec):
        from annotriage.model.torch_model import torch_layers

        return torch_layers(spec)
    from annotriage.model.onnx_model import onnx_layers

    return onnx_layers(spec)


def steps_of(spec: ModelSpec) -> tuple[tuple[Step, ...], str]:
    """The model's graph as steps in order of execution, and the name of its output. The model is not made ready to run."""
    if _is_torch(spec):
        from annotriage.model.torch_model import torch_steps

        return torch_steps(spec)
    from annotriage.model.onnx_graph import read_graph

    graph = read_graph(spec)
    return graph.steps, graph.output


def connections(spec: ModelSpec, layers: Sequence[str]) -> list[Connection | None]:
    """How each of these layers comes of the one before it, one fewer than there are: by which weights, or None where by more than those."""
    if _is_torch(spec):
        from annotriage.model.torch_connections import torch_connections

        return torch_connections(spec, layers)
    from annotriage.model.onnx_connections import onnx_connections

    return onnx_connections(spec, layers)


def model_files(spec: ModelSpec) -> tuple[Path, ...]:
    """All files that belong to a model besides its spec, the model itself first: what has to travel with it."""
    if _is_torch(spec):
        return (spec.model_path,)
    from annotriage.model.onnx_graph import read_graph

    return read_graph(spec).files


def _runtime(spec: ModelSpec) -> type[TorchModel | OnnxModel]:
    if _is_torch(spec):
        from annotriage.model.torch_model import TorchModel

        return TorchModel
    from annotriage.model.onnx_model import OnnxModel

    return OnnxModel


def _is_torch(spec: ModelSpec) -> bool:
    """Whether torch runs the model, not onnxruntime. Raises ModelError for files that neither may open."""
    suffix = spec.model_path.suffix.lower()
    if not spec.factory and suffix in (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib"):
        raise pickled_module(spec)
    if not spec.factory and suffix not in (".onnx", ".pt2"):
        raise ModelError(
            f"{spec.path}: [model] file: {spec.model_path.name} is none of .onnx and .pt2."
            " Export the model to ONNX: torch.onnx.export, tf2onnx for Keras, skl2onnx for scikit-learn"
        )
    if (spec.factory or suffix == ".pt2") and importlib.util.find_spec("torch") is None:
        raise ModelError(
            f'{spec.path}: {spec.factory or spec.model_path.name} needs torch; pip install "annotriage[torch]", or export to ONNX'
        )
    return bool(spec.factory) or suffix == ".pt2"

"""The trained model as a function: a batch of inputs -> logits and the activations of its hidden layers.

Second step of data -> model -> latent -> triage. `load_model` opens what a model spec describes, with onnxruntime or torch.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import ModelError
from annotriage.model.spec import ModelSpec

if TYPE_CHECKING:
    from annotriage.model.onnx_model import OnnxModel
    from annotriage.model.torch_model import TorchModel

Array = NDArray[Any]


@dataclass(frozen=True)
class Outputs:
    """What the model makes of a batch of N inputs.

    logits: (N, m) float32; of a model that ends in probabilities, their logarithms (single choice) or log-odds (multiple).
    activations: one (N, d) float32 array per layer of `Model.layers`; maps are pooled to their channels' mean
    (the first, deciding layer) or mean and standard deviation (further layers).
    """

    logits: NDArray[np.float32]
    activations: tuple[NDArray[np.float32], ...]


class Model(Protocol):
    """A model that is loaded and ready; made by `load_model`."""

    spec: ModelSpec  # with activation and choice as they were found, where the file says "auto"
    layers: tuple[str, ...]
    hash: str  # sha256 over the model's files; the spec is compared by itself
    fixed_batch: int | None  # the only batch size the model takes; None if any
    device: str  # "cpu" or "cuda", as it really runs
    notes: tuple[str, ...]  # sentences for the user: what was asked for and could not be had

    def run(self, batch: Array) -> Outputs:
        """Outputs for (N, ...) inputs, any N: shorter batches are padded where the model's batch size is fixed."""
        ...


@dataclass(frozen=True)
class Layer:
    """A hidden layer that can be compared: name, shape without the batch axis (None = free), and its place in the model."""

    name: str
    shape: tuple[int | None, ...]
    operation: str  # the node or module that makes it: Relu, Gemm, GlobalAveragePool ...
    chosen: str  # "deciding", "further" or ""


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


def candidate_layers(spec: ModelSpec) -> list[Layer]:
    """The hidden layers that can be compared, in the order in which the model computes them, the chosen ones marked."""
    if _is_torch(spec):
        from annotriage.model.torch_model import torch_layers

        return torch_layers(spec)
    from annotriage.model.onnx_model import onnx_layers

    return onnx_layers(spec)


def model_files(spec: ModelSpec) -> tuple[Path, ...]:
    """All files that belong to a model besides its spec, the model itself first: what has to travel with it."""
    if _is_torch(spec):
        return (spec.model_path,)
    from annotriage.model.onnx_graph import read_graph

    return read_graph(spec).files


def pickled_module(spec: ModelSpec) -> ModelError:
    """The refusal of a pickled or scripted torch module: loading one runs whatever code it holds. Says how to export it."""
    path = spec.model_path
    return ModelError(
        f"{path}: loading a pickled module would run whatever code it holds. Export it once, where you trust it:\n"
        "    import torch\n"
        f'    model = torch.load("{path.name}", map_location="cpu", weights_only=False).eval()  # or torch.jit.load\n'
        f"    batch = ({{0: torch.export.Dim('batch')}},)\n"
        f"    program = torch.export.export(model, (torch.zeros(2, {', '.join(map(str, spec.input.shape))}),), dynamic_shapes=batch)\n"
        f'    torch.export.save(program, "{path.stem}.pt2")\n'
        f'and set file = "{path.stem}.pt2" under [model]. Or save model.state_dict() with torch.save and set\n'
        f'    factory = "package.module:function"  # returns the untrained model\n    weights = "{path.stem}_weights.pt"'
    )


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

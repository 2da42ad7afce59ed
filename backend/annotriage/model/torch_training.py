"""torch factories in training: a module whose last dense layer fits the classes to be learned, and its export as ONNX."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from annotriage.errors import ModelError
from annotriage.model.onnx_head import LOGITS, MODEL_FILE, SPEC_FILE
from annotriage.model.spec import ModelSpec
from annotriage.model.spec_keys import AUTO
from annotriage.model.torch_module import build_module, select_output

OPSET = 17


class WithHead(nn.Module):
    """An encoder and a dense layer on its features, pooled over places where they are maps (N, C, ...)."""

    def __init__(self, encoder: nn.Module, width: int, classes: int, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder, self.head, self._spec = encoder, nn.Linear(width, classes), spec
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Tensor) -> Any:
        """(N, ...) -> (N, m) logits."""
        return self.head(_pooled(select_output(self.encoder(inputs), self._spec)))


class Selected(nn.Module):
    """A module that returns several outputs, as the one with a number per class."""

    def __init__(self, module: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.module, self._spec = module, spec

    def forward(self, inputs: Tensor) -> Any:
        """(N, ...) -> (N, m)."""
        return select_output(self.module(inputs), self._spec)


def trainable(spec: ModelSpec, classes: tuple[str, ...]) -> tuple[nn.Module, nn.Linear]:
    """The factory's module, with its weights, as one that ends in an output for each of the classes; and its last dense layer.

    An encoder gets a dense layer; one with a head keeps what it knows of its own classes, which come first. Raises ModelError if the
    module does not end in a dense layer.
    """
    module = build_module(spec)
    if spec.head == "none":
        with torch.inference_mode():
            features = _pooled(select_output(module.eval()(torch.zeros(2, *spec.input.shape)), spec))
        whole = WithHead(module, features.shape[1], len(classes), spec)
        return whole, whole.head
    name, last = _last_dense(module, spec)
    if last.out_features != len(spec.classes):
        raise ModelError(
            f"{spec.path}: the last dense layer of {spec.factory} ({name}) has {last.out_features} outputs, and there are"
            f" {len(spec.classes)} classes; only modules that end in a dense layer with an output per class can be trained"
        )
    if len(classes) > last.out_features:
        grown = nn.Linear(last.in_features, len(classes), bias=last.bias is not None)
        with torch.no_grad():
            grown.weight.mul_(0.1)
            grown.weight[: last.out_features] = last.weight
            if last.bias is not None:
                grown.bias.zero_()
                grown.bias[: last.out_features] = last.bias
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, grown)
        last = grown
    return Selected(module, spec), last


def export_factory(spec: ModelSpec, classes: tuple[str, ...], folder: Path) -> ModelSpec:
    """The factory's model as it is, as ONNX; of an encoder with a head that says nothing yet."""
    module, _ = trainable(spec, classes if spec.head == "none" else spec.classes)
    return export(module, spec, classes if spec.head == "none" else spec.classes, folder)


def export(module: nn.Module, spec: ModelSpec, classes: tuple[str, ...], folder: Path) -> ModelSpec:
    """Write a module as model.onnx and model.toml: the new spec. spec: says what it takes, and how its output is read.

    Of bfloat16 the new model knows nothing: it computes in float32.
    Raises ModelError if torch cannot export it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    example = torch.zeros(2, *spec.input.shape, device=place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                (example,),
                str(folder / MODEL_FILE),
                input_names=["input"],
                output_names=[LOGITS],
                dynamic_axes={"input": {0: "N"}, LOGITS: {0: "N"}},
                opset_version=OPSET,
                dynamo=False,  # the newer exporter needs a further package, and knows no older torch
            )
    except Exception as error:  # the exporter raises what it likes
        raise ModelError(f"{spec.path}: torch {torch.__version__} cannot export {spec.factory} to ONNX: {str(error)[:400]}") from error
    made = replace(
        spec,
        classes=classes,
        file=MODEL_FILE,
        factory=None,
        weights=None,
        head=None,
        precision=spec.precision if spec.precision == "float16" else None,  # onnxruntime computes in no other
        activation=spec.activation if spec.head is None else "sigmoid" if spec.choice == "multiple" else "softmax",
        output=LOGITS,
        layer=AUTO,
        input=replace(spec.input, name="input"),
        path=folder / SPEC_FILE,
    )
    made.write(made.path)
    return made


def _pooled(features: Tensor) -> Tensor:
    return features.flatten(2).mean(2) if features.ndim > 2 else features


def _last_dense(module: nn.Module, spec: ModelSpec) -> tuple[str, nn.Linear]:
    """The dense layer that works last, by a try on an empty input."""
    order: list[str] = []
    names = {layer: name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    hooks = [layer.register_forward_hook(lambda layer, _given, _made: order.append(names[layer])) for layer in names]
    try:
        with torch.inference_mode():
            module.eval()(torch.zeros(2, *spec.input.shape))
    except Exception as error:  # a module's forward is the user's code
        raise ModelError(f"{spec.path}: {spec.factory} failed on an input of shape {(2, *spec.input.shape)}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not order:
        raise ModelError(f"{spec.path}: {spec.factory} has no dense layer (torch.nn.Linear) whose outputs could be made to fit new classes")
    layer = module.get_submodule(order[-1])
    assert isinstance(layer, nn.Linear)
    return order[-1], layer

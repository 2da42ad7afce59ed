"""A whole torch network in training: all its weights, on the items themselves. Imported where it is used, for torch is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from annotriage.data import Item
from annotriage.engine.labels import LabelSpace
from annotriage.errors import MediaError, TrainingError
from annotriage.model.inputs import load
from annotriage.model.spec import ModelSpec
from annotriage.model.torch_training import export, trainable
from annotriage.settings import Settings
from annotriage.training.learner import Batch, Seen
from annotriage.training.plan import Plan

Array = NDArray[Any]

KEPT_BYTES = 2_000_000_000  # of decoded inputs; beyond them items are decoded again in every epoch
LEAST_PROBABILITY = 1e-7


class Network:
    """A factory's module as a `Learner`: Adam on all weights; the state is its arrays by name."""

    def __init__(self, spec: ModelSpec, space: LabelSpace, items: Sequence[Item], plan: Plan, settings: Settings) -> None:
        torch.manual_seed(plan.seed)
        self._spec, self._space, self._items, self._settings, self._plan = spec, space, items, settings, plan
        self._place = torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")
        module, last = trainable(spec, space.classes)
        self._module = module.to(self._place)
        self._hidden: Tensor | None = None
        last.register_forward_pre_hook(self._keep)
        self._adam = torch.optim.AdamW(self._module.parameters(), lr=plan.rate, weight_decay=plan.weight_decay)
        fits = len(items) * int(np.prod(spec.input.shape)) * 4 <= KEPT_BYTES
        self._inputs = np.stack([self._decoded(item) for item in items]) if fits else None
        self._probabilities = self._ends_in_probabilities()

    def step(self, batch: Batch, rate: float) -> Seen:
        """As `Learner.step`."""
        inputs, targets = self._of(batch.rows), torch.from_numpy(np.asarray(batch.targets, np.float32)).to(self._place)
        try:
            if batch.partners is not None and batch.share is not None:
                share = torch.from_numpy(batch.share).to(self._place).reshape(-1, *[1] * (inputs.ndim - 1))
                inputs = share * inputs + (1 - share) * self._of(batch.partners)
            self._module.train(len(batch.rows) > 1)  # one sample has no mean and deviation for batch normalisation
            for group in self._adam.param_groups:
                group["lr"] = rate
            logits = self._logits(inputs)
            several = self._space.multiple
            loss = (
                functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)
                if several
                else functional.cross_entropy(logits, targets)
            )
            self._adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._adam.step()
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error).partition(".")[0]) from error
        return self._seen(logits)

    def look(self, rows: Array) -> Seen:
        """As `Learner.look`."""
        self._module.eval()
        with torch.inference_mode():
            return self._seen(self._logits(self._of(rows)))

    def export(self, folder: Path) -> ModelSpec:
        """Write the trained model as ONNX, with its spec."""
        return export(self._module, self._spec, self._space.classes, folder)

    def state(self) -> dict[str, Array]:
        """As `Learner.state`."""
        arrays = {f"module.{name}": tensor.detach().cpu().numpy() for name, tensor in self._module.state_dict().items()}
        for place, values in self._adam.state_dict()["state"].items():
            arrays |= {f"adam.{place}.{key}": torch.as_tensor(value).detach().cpu().numpy() for key, value in values.items()}
        return arrays

    def restore(self, state: Mapping[str, Array]) -> None:
        """As `Learner.restore`."""
        weights = {
            name.removeprefix("module."): torch.from_numpy(np.array(array)) for name, array in state.items() if name.startswith("module.")
        }
        self._module.load_state_dict(weights)
        kept: dict[int, dict[str, Tensor]] = {}
        for name, array in state.items():
            if name.startswith("adam."):
                _, place, key = name.split(".")
                kept.setdefault(int(place), {})[key] = torch.from_numpy(np.array(array))
        self._adam.load_state_dict({**self._adam.state_dict(), "state": kept})

    def _keep(self, _module: Any, given: tuple[Tensor, ...]) -> None:
        self._hidden = given[0]

    def _logits(self, inputs: Tensor) -> Tensor:
        output: Tensor = self._module(inputs)
        output = output.reshape(len(output), -1)
        if not self._probabilities:
            return output
        inside = output.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return torch.logit(inside) if self._space.multiple else torch.log(inside)

    def _ends_in_probabilities(self) -> bool:
        if self._spec.activation in ("softmax", "sigmoid"):
            return False
        self._module.eval()
        with torch.inference_mode():
            output = self._module(self._of(np.arange(min(8, len(self._items)))))
        return bool(((output >= 0) & (output <= 1)).all()) and bool(((output.sum(1) - 1).abs() < 1e-3).all() or self._space.multiple)

    def _seen(self, logits: Tensor) -> Seen:
        hidden = self._hidden if self._hidden is not None else logits
        return Seen(logits.detach().float().cpu().numpy(), hidden.detach().float().flatten(1).cpu().numpy())

    def _of(self, rows: Array) -> Tensor:
        values = self._inputs[rows] if self._inputs is not None else np.stack([self._decoded(self._items[row]) for row in rows])
        return torch.from_numpy(values).to(self._place)

    def _decoded(self, item: Item) -> Array:
        if item.media is None:
            raise TrainingError(f"{item.path or item.id}: there is nothing to train on any more; leave the item out")
        try:
            return load(item.media, self._spec.input, self._settings.max_pixels, item.path or f"item {item.id}").tensor
        except MediaError as error:
            raise TrainingError(f"{error}. It could be read when the training began; is its folder still there?") from error

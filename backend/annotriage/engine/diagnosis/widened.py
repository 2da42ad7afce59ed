"""A model that says more of some layers than their means: one random place of each map, and what the layer speaks for.

What is added stands behind the model's own layers, so that all that reads a model's outputs can read these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotriage.model import Model, Outputs, has_gradients
from annotriage.model.outputs import moments, pool
from annotriage.model.places import as_map
from annotriage.model.types import Array, Whole

AT_PLACE, EVIDENCE = " at one place", " evidence"  # behind the name of a layer
MOST_CLASSES = 64  # one gradient is taken for each class and batch


class Widened:
    """A `Model` with further layers, by the name of the layer that they are about.

    name + AT_PLACE: (N, C + 1), the channels at a place of each item's map drawn at random, and the number of the place, row by row.
    name + EVIDENCE: (N, m), activation times gradient for each class, added up over the layer, or at the place drawn; torch models alone.
    """

    lanes = 1  # places are drawn batch by batch, in their order

    def __init__(self, model: Model, placed: Sequence[str], seed: int, *, evidence: Sequence[str] = ()) -> None:
        self._model, self._placed, self._evidence, self._rng = model, placed, evidence, np.random.default_rng(seed)
        self.spec, self.hash, self.fixed_batch, self.device, self.notes = (
            model.spec,
            model.hash,
            model.fixed_batch,
            model.device,
            model.notes,
        )
        self.layers = (*model.layers, *(name + AT_PLACE for name in placed), *(name + EVIDENCE for name in evidence))

    def run(self, batch: Array, beside: bool = False) -> Outputs:
        """As the model does, and what is added."""
        whole = self._model.run_whole(batch)
        own = tuple(pool(layer, moments(place)) for place, layer in enumerate(whole.layers))
        of = self._model.layers.index
        placed = {name: self._at_random(whole.layers[of(name)]) for name in self._placed}
        evidence = (self._said(batch, of(name), placed.get(name)) for name in self._evidence)
        return Outputs(whole.logits, (*own, *placed.values(), *evidence))

    def run_whole(self, batch: Array) -> Whole:
        """The model's own layers."""
        return self._model.run_whole(batch)

    def _at_random(self, layer: Array) -> Array:
        maps = as_map(layer)
        assert maps is not None, "only layers with places are asked for"
        flat = maps.reshape(*maps.shape[:2], -1)
        chosen = self._rng.integers(flat.shape[2], size=len(flat))
        return np.column_stack([flat[np.arange(len(flat)), :, chosen], chosen]).astype(np.float32)

    def _said(self, batch: Array, place: int, placed: Array | None) -> Array:
        """placed: what was taken of one place of each item, whose number stands last."""
        from annotriage.model.torch_evidence import evidence
        from annotriage.model.torch_model import TorchModel

        assert isinstance(self._model, TorchModel), "only torch models give gradients"
        found = evidence(self._model, batch, place)
        if placed is not None:
            maps = as_map(found)
            assert maps is not None
            flat = maps.reshape(*maps.shape[:2], -1)
            return np.asarray(flat[np.arange(len(flat)), :, placed[:, -1].astype(int)], dtype=np.float32)
        return np.asarray(found.reshape(*found.shape[:2], -1).sum(axis=2), dtype=np.float32)


def map_shapes(model: Model) -> dict[str, tuple[int, int]]:
    """The layers that have places, with rows and columns."""
    layers = model.run_whole(np.zeros((1, *model.spec.input.shape), np.float32)).layers
    found = {name: as_map(layer) for name, layer in zip(model.layers, layers, strict=True)}
    return {name: (maps.shape[2], maps.shape[3]) for name, maps in found.items() if maps is not None}


def gives_gradients(model: Model) -> bool:
    """Whether it is a torch model of so few classes that a gradient for each is quick."""
    return has_gradients(model) and len(model.spec.classes) <= MOST_CLASSES

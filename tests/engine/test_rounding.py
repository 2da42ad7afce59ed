"""What fewer bits change, told of the items that both precisions can judge, however their batches come."""

from dataclasses import replace

import pytest

from annotriage.data import Item
from annotriage.engine.rounding import rounding_note
from annotriage.settings import Settings


class Narrow:
    """A model that says it computes in float16, and has memory for so many items at a time."""

    def __init__(self, model, most):
        self._model, self._most, self.notes = model, most, ()
        self.spec = replace(model.spec, precision="float16")

    def __getattr__(self, name):
        return getattr(self._model, name)

    def run(self, batch, beside=False):
        if len(batch) > self._most:
            raise MemoryError("no room")
        return self._model.run(batch, beside)


@pytest.fixture
def items(digits):
    broken = Item("broken", b"no picture")
    return [broken, *(Item(str(number), image) for number, image in enumerate(digits.held_out[0][:100])), broken]


def test_items_are_compared_however_the_batches_of_either_model_come(digits_reference, items):
    note = rounding_note(digits_reference, Narrow(digits_reference.open_model(), 5), items, Settings(batch_size=16, device="cpu"))
    assert note.startswith("The model computes in float16: of 100 held-out items 0 get another route or label than in float32, 0 of them")


def test_a_float32_model_that_cannot_be_loaded_costs_the_comparison_alone(digits_reference, items):
    narrow = Narrow(digits_reference.open_model(), 100)
    narrow.spec = replace(narrow.spec, file="gone.onnx")
    note = rounding_note(digits_reference, narrow, items, Settings(device="cpu"))
    assert note.startswith("The model computes in float16, and could not be compared with float32: ")
    assert "gone.onnx" in note
    assert note.endswith("Thresholds and guarantee were made in float16, and hold for it.")

"""What a model that computes in fewer bits decides otherwise: the same items, judged by what it makes of them in float32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from annotriage.data import Item
from annotriage.engine.reference import Reference
from annotriage.errors import ModelError
from annotriage.model import Model, load_model
from annotriage.model.batch_size import BatchSize
from annotriage.model.stream import stream
from annotriage.settings import Settings

LOOKED_AT = 1_000  # items: the whole would double what a fit takes, and a share is known well enough by then


def rounding_note(reference: Reference, model: Model, held_out: Iterable[Item], settings: Settings) -> str:
    """How many held-out items get another route or label in float32 than in the model's precision, in a sentence; or why nobody knows."""
    items = list(islice(held_out, LOOKED_AT))
    settings = replace(settings, batch_size=BatchSize(model, settings).size)  # the same for both, on a GPU too
    kept = f"Thresholds and guarantee were made in {model.spec.precision}, and hold for it."
    try:
        exact = load_model(replace(model.spec, precision=None), settings.device)
    except ModelError as error:  # for want of memory, say: the reference is sound without it
        return f"The model computes in {model.spec.precision}, and could not be compared with float32: {error}. {kept}"
    mine, other = (_judged(reference, each, items, settings) for each in (model, exact))
    shared = mine.keys() & other.keys()  # what one of them cannot take says nothing of rounding
    if not shared:
        return (
            f"The model computes in {model.spec.precision}, and could not be compared with float32: no item can be judged in both. {kept}"
        )
    routed = sum(mine[place] != other[place] for place in shared)
    labelled = sum(mine[place][1] != other[place][1] for place in shared)
    return (
        f"The model computes in {model.spec.precision}: of {len(shared):,} held-out items {routed:,} get another route or label than in"
        f" float32, {labelled:,} of them another label. {kept}"
    )


def _judged(reference: Reference, model: Model, items: list[Item], settings: Settings) -> dict[int, tuple[object, object]]:
    """Route and labels by an item's place, of those that can be judged: batches may be smaller for one model than for the other."""
    found: dict[int, tuple[object, object]] = {}
    before = 0
    for batch in stream(model, items, settings):
        if batch.outputs is not None:
            judged = reference.judge(batch.outputs)
            for row, route, labels in zip(batch.rows, judged.route, judged.labels, strict=True):
                found[before + row] = route, labels
        before += len(batch.items)
    return found

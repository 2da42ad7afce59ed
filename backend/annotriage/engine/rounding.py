"""What a model that computes in fewer bits decides otherwise: the same items, judged by what it makes of them in float32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import numpy as np

from annotriage.data import Item
from annotriage.engine.reference import Reference
from annotriage.model import Model, load_model
from annotriage.model.stream import stream
from annotriage.settings import Settings

LOOKED_AT = 1_000  # items: the whole would double what a fit takes, and a share is known well enough by then


def rounding_note(reference: Reference, model: Model, held_out: Iterable[Item], settings: Settings) -> str:
    """How many held-out items get another route or label in float32 than in the model's precision, in a sentence."""
    items = list(islice(held_out, LOOKED_AT))
    exact = load_model(replace(model.spec, precision=None), settings.device)
    settings = replace(settings, batch_size=settings.batch_size or 32)  # the same batches for both, on a GPU too
    looked = routed = labelled = 0
    for mine, its in zip(stream(model, items, settings), stream(exact, items, settings), strict=True):
        if mine.outputs is None or its.outputs is None or mine.rows != its.rows:
            continue  # what one of them cannot take says nothing of rounding
        judged, other = reference.judge(mine.outputs), reference.judge(its.outputs)
        differs = np.array([first != second for first, second in zip(judged.labels, other.labels, strict=True)], dtype=bool)
        looked, labelled = looked + len(differs), labelled + int(differs.sum())
        routed += int((differs | (judged.route != other.route)).sum())
    return (
        f"The model computes in {model.spec.precision}: of {looked:,} held-out items {routed:,} get another route or label than in float32,"
        f" {labelled:,} of them another label. Thresholds and guarantee were made in {model.spec.precision}, and hold for it."
    )

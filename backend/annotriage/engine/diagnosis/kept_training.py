"""The training items that a reference keeps, as a dataset: for looking into a model where its training set is not at hand."""

from __future__ import annotations

from collections.abc import Iterator

from annotriage.data import Dataset, Item
from annotriage.engine.reference import Reference
from annotriage.errors import DataError


def kept_training(reference: Reference) -> Dataset:
    """At most 4,000 labelled training items with their thumbnails, whose names and labels are those of the training set.

    Raises DataError if none of them has a picture, as of a model that takes rows of numbers.
    """
    sample, space = reference.sample, reference.space
    count = len(sample.label_index)
    places = [place for place in range(count) if 0 <= sample.label_index[place] < len(space.sets) and sample.thumbnail(place)]
    if not places:
        raise DataError(f"reference {reference.name!r} keeps no pictures of its training items; say where the training data is")

    def read() -> Iterator[Item]:
        for place in places:
            yield Item(
                sample.ids[place], sample.thumbnail(place), tuple(space.sets[int(sample.label_index[place])]), path=sample.ids[place]
            )

    note = f"Looked at were the {len(places):,} training items that the reference keeps, in the size of thumbnails."
    return Dataset("kept training items", len(places), read, (note,))

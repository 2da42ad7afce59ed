"""What a pass through a model holds: in memory or in a file, the same; and an atlas of more items than are laid out or told of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotriage import atlas
from annotriage.data import Dataset, open_dataset
from annotriage.engine.diagnosis import atlas as atlas_module
from annotriage.engine.diagnosis.held import Pictures, room_for
from annotriage.engine.diagnosis.inside import look_through
from annotriage.errors import DataError
from annotriage.report import atlas_data as data_module
from annotriage.report.atlas_data import atlas_data, shown_rows
from annotriage.report.atlas_page import sentences


@pytest.mark.parametrize("count_known", [True, False])
@pytest.mark.parametrize("most", [150, 10_000])
def test_what_is_spooled_to_disk_is_what_would_have_been_in_memory(digits_reference, digits, most, count_known):
    dataset = open_dataset(digits.incoming, classes=digits_reference.space.classes)
    dataset = dataset if count_known else Dataset(dataset.name, None, lambda: iter(open_dataset(digits.incoming)), dataset.notes)
    model, space = digits_reference.open_model(None, digits_reference.settings), digits_reference.space
    one, other = (
        look_through(model, space, dataset, digits_reference.settings, pictures=True, most=most, memory=memory) for memory in (2**30, 1)
    )
    assert isinstance(other.layers[0], np.memmap)
    assert not isinstance(one.layers[0], np.memmap)
    assert (one.ids, one.notes, list(one.pictures)) == (other.ids, other.notes, list(other.pictures))
    assert len(one.ids) == min(most, len(digits.incoming[0]))
    for layer, spooled in zip(one.layers, other.layers, strict=True):
        assert np.array_equal(layer, spooled)
    assert one.view.predicted.tolist() == other.view.predicted.tolist() == one.layers[-1].argmax(axis=1).tolist()


def test_a_disk_without_room_is_named_before_it_is_full():
    with pytest.raises(DataError, match="TMPDIR"):
        room_for(10**12, 10**6, np.float32, on_disk=True)


def test_pictures_may_be_put_anew():
    pictures = Pictures()
    for place, content in ((0, b"one"), (1, b""), (2, b"three"), (0, b"another")):
        pictures.put(place, content)
    assert list(pictures) == [b"another", b"", b"three"]
    assert list(Pictures([2, 0], pictures)) == [b"three", b"another"]


def test_items_beyond_those_laid_out_lie_among_their_nearest(digits_reference, digits, monkeypatch):
    monkeypatch.setattr(atlas_module, "LAID", 300)
    found = atlas(digits_reference, digits.incoming, settings=replace(digits_reference.settings, map="tsne"))
    assert "300 items, drawn at random, were laid out" in " ".join(found.inside.notes)
    (layer,), said = found.layers, found.inside.view.predicted
    assert np.isfinite(layer.places).all()
    usual = np.flatnonzero(~found.inside.strange)
    away = np.linalg.norm(layer.places[usual, None] - layer.places[None, usual], axis=2)
    np.fill_diagonal(away, np.inf)
    assert np.mean(said[usual] == said[usual][away.argmin(axis=1)]) > 0.8


@pytest.mark.parametrize("way", ["none", "pca-3d"])
def test_no_note_says_that_some_were_laid_out_where_all_were(digits_reference, digits, monkeypatch, way):
    monkeypatch.setattr(atlas_module, "LAID", 300)
    found = atlas(digits_reference, digits.incoming, settings=replace(digits_reference.settings, map=way))
    assert "were laid out" not in " ".join(found.inside.notes)


def test_a_page_of_many_items_tells_of_some_and_counts_all(digits_reference, digits, quick, monkeypatch):
    for name, value in (("ALL_SHOWN", 50), ("BOXES", 5), ("STRANGE", 3), ("LISTED", 2)):
        monkeypatch.setattr(data_module, name, value)
    found = atlas(digits_reference, digits.incoming, settings=quick)
    rows = shown_rows(found)
    plain, inside = atlas_data(found, rows), found.inside
    assert len(plain["items"]["id"]) == len(rows) < len(inside.ids)
    for level, cells in zip(plain["layers"][0]["levels"], found.layers[0].levels.values(), strict=True):
        assert [cell["n"] for cell in level["cells"]] == [len(cell.items) for cell in cells]
        listed = [[plain["items"]["id"][item] for item in cell["items"]] for cell in level["cells"]]
        assert listed == [[inside.ids[row] for row in cell.items[:2].tolist()] for cell in cells]
    assert len(plain["items"]["strange"]) == len(plain["layers"][0]["strange"]) == 3 < int(inside.strange.sum())
    assert f"{inside.strange.sum()} of {len(inside.ids)} items are strange; 3 of them, chosen at random, are drawn" in sentences(found)[0]
    assert sum(about["usual"] for about in plain["classes"]) == int((~inside.strange).sum())

"""Fingerprints of pictures: nearly the same for copies, others for other pictures, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from annotriage.engine.duplicates import light_copies
from annotriage.quality.fingerprints import difference_hash


@pytest.fixture(scope="module")
def pictures():
    """Pieces of two photographs."""
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    return [photo[top : top + 120, left : left + 160] for photo in photos for top in (0, 150, 300) for left in (0, 200, 400)]


def bits(one, other):
    return int(np.abs(difference_hash(one) - difference_hash(other)).sum())


def test_lightly_changed_copies_differ_by_few_bits_and_other_pictures_by_many(pictures):
    rng = np.random.default_rng(0)
    copies = [bits(picture, copy) for picture in pictures for copy in light_copies(picture, rng)]
    others = [bits(one, other) for place, one in enumerate(pictures) for other in pictures[:place]]
    assert np.quantile(copies, 0.95) <= 6
    assert np.median(others) >= 20


def test_the_size_does_not_matter_and_grey_is_as_good_as_colour(pictures):
    picture = pictures[4]
    small = np.asarray(Image.fromarray(picture).resize((80, 60), Image.Resampling.BOX))
    assert bits(picture, small) <= 6
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    assert bits(picture, grey) <= 1
    assert bits(grey, grey[:, :, None]) == 0


def test_bits_are_those_of_the_published_rule():
    rising = np.tile(np.arange(9.0), (8, 1))
    assert difference_hash(rising).tolist() == [1.0] * 64
    assert difference_hash(rising[:, ::-1]).tolist() == [0.0] * 64
    assert difference_hash(np.full((5, 4), 7, np.uint8)).tolist() == [0.0] * 64, "an even area, however small"

"""Products with a fixed matrix: right whatever is 0 in it, and rounded alike for few rows as for many."""

import numpy as np
import pytest

from annotriage.latent.products import COLUMNS, LENGTH, SHORT, Factor, least_rows, rounds_alike


@pytest.mark.parametrize("rows", [0, 1, 5, 40])
@pytest.mark.parametrize("shape", [(1, 1), (LENGTH, COLUMNS), (LENGTH + 1, COLUMNS + 1), (3 * LENGTH, 5), (7, 300)])
def test_a_product_is_that_with_the_whole_matrix(rows, shape):
    rng = np.random.default_rng(0)
    points, matrix = rng.standard_normal((rows, shape[0])), rng.standard_normal(shape)
    assert np.allclose(Factor.of(matrix).times(points), points @ matrix)


@pytest.mark.parametrize("width", [1, SHORT - 1, SHORT, SHORT + 1, 3 * SHORT])
def test_a_triangular_product_leaves_out_what_is_0(width):
    rng = np.random.default_rng(0)
    points, lower = rng.standard_normal((5, width)), np.tril(rng.standard_normal((width, width)))
    for matrix in (lower, lower.T):
        factor = Factor.of(matrix, length=SHORT)
        assert np.allclose(factor.times(points), points @ matrix)
        assert sum(piece.size for _, _, piece in factor.pieces) <= width * (width + SHORT) / 2 + COLUMNS * width


def test_nothing_but_0_gives_0():
    assert not Factor.of(np.zeros((40, 20))).times(np.ones((3, 40))).any()


@pytest.mark.skipif(not rounds_alike(), reason="on this processor the digits of a product depend on a row's place")
@pytest.mark.parametrize("shape", [(1_280, 256), (51, 3_000), (700, 50), (64, 10), (300, 300)])
def test_a_row_is_rounded_alike_whatever_its_place_and_however_many_there_are(shape):
    rng = np.random.default_rng(0)
    factor, points = Factor.of(rng.standard_normal(shape).astype(np.float32)), rng.standard_normal((600, shape[0])).astype(np.float32)
    together = factor.times(points)
    for count in (1, 2, 3, 7, 16, 32, 33, 100, 256):
        for start in (0, 5, 300):
            assert np.array_equal(factor.times(points[start : start + count]), together[start : start + count]), (count, start)


def test_few_rows_are_made_up_to_what_it_takes():
    assert least_rows() == (2 if rounds_alike() else 32)

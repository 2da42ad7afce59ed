"""Products that leave half of a triangular matrix out are the whole products."""

import numpy as np
import pytest

from annotriage.latent.triangular import BLOCK, from_left, from_right


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("width", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_triangular_product_is_that_with_the_whole_matrix(rows, width):
    rng = np.random.default_rng(0)
    points, lower = rng.standard_normal((rows, width)), np.tril(rng.standard_normal((width, width)))
    assert np.allclose(from_right(points, lower), points @ lower)
    assert np.allclose(from_left(points, lower), points @ lower.T)

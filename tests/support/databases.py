"""Which databases a test runs on."""

import pytest

both = pytest.mark.parametrize("process", ["sqlite", "postgres"], indirect=True)

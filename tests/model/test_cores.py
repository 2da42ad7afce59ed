"""How many cores this process may use, as its container says."""

import os

import pytest

from annotriage.model import cores as module
from annotriage.model.cores import cores


@pytest.mark.parametrize(("limit", "most"), [("150000 100000", 1), ("50000 100000", 1), ("100000000 100000", None), ("max 100000", None)])
def test_a_containers_limit_counts_in_whole_cores_of_which_there_is_at_least_one(tmp_path, monkeypatch, limit, most):
    (tmp_path / "cpu.max").write_text(f"{limit}\n", "ascii")
    monkeypatch.setattr(module, "LIMIT", tmp_path / "cpu.max")
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert cores() == (bound if most is None else most)

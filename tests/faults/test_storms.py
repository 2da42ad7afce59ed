"""A short run of the storms; `tests/faults/run.py` goes on for hours. Whatever happens, nothing is lost, doubled or judged otherwise."""

from __future__ import annotations

from contextlib import ExitStack
from random import Random

import postgresql
import pytest
from browsers import missing
from fake_label_studio import FakeLabelStudio
from storm_digits import digits_site
from storms import STORMS, run

SEED = 5
QUICK = {
    "sqlite": ("kill a process: delivery", "disk full", "webhooks with garbage"),
    "postgresql": ("database read-only", "one of several replicas killed", "two replicas asked in turn"),
}


@pytest.fixture(scope="module")
def studio():
    with FakeLabelStudio().started() as studio:
        yield studio


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database", QUICK)
def test_after_each_storm_everything_is_there_once_and_judged_alike(studio, tmp_path, database):
    with ExitStack() as stack:
        server = None
        if database == "postgresql":
            programs = postgresql.programs() or missing("no PostgreSQL: install the package `postgresql`")
            server = stack.enter_context(postgresql.running(programs))
        site = stack.enter_context(digits_site(tmp_path, studio, Random(SEED), server))
        for name in QUICK[database]:
            outcome = run(site, next(storm for storm in STORMS if storm.name == name), site.rng)
            assert not outcome.failure, f"{outcome.line}\n{outcome.failure}"
            assert not outcome.unforeseen, outcome.line

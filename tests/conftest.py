"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples():
    """The module report_samples.py beside this file: reports made from real digits (there is no package to import it from)."""
    spec = importlib.util.spec_from_file_location("report_samples", Path(__file__).with_name("report_samples.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample_report(samples):
    return samples.digits_report()

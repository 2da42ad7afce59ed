"""How long tests wait for what must happen: until it has happened, on however busy a machine.

A test that fails for lack of time says nothing about the code; this is only the end of a test that would wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, every: float = 0.2, what: str = "") -> None:
    """Wait until `condition()` holds; fails with what it was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain {what}"
        time.sleep(every)

"""How long tests wait for what must happen: until it has happened, on however busy a machine.

A test that fails for lack of time says nothing about the code; this is only the end of a test that would wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 240.0  # seconds
HASTY = 0.1  # seconds; who looks more often than that is after a moment


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, every: float = 0.2, what: str = "") -> None:
    """Wait until `condition()` holds; fails with what it was waited for.

    every: seconds between two looks. Where a look takes long the pause is longer, too: looks would hold up what is waited for.
    """
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < end, f"waited {seconds:g} s in vain {what}"
        time.sleep(every if every < HASTY else max(every, min(2.0, 2 * (now - began))))

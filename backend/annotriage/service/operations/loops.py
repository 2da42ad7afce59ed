"""The parts of one process of the service, each a loop in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from annotriage.service.operations.process import Process


def run_parts(process: Process, parts: Mapping[str, Callable[[], None]], patience: float | None = None) -> int:
    """Run them until the process stops: 0; or until one fails in a way that nobody foresaw: 1, to be started again.

    patience: seconds after which parts that do not end are left behind, to end with the process; None waits for all.
    """
    failed = threading.Event()
    threads = [
        threading.Thread(target=_guarded, args=(process, name, part, failed), name=name, daemon=patience is not None)
        for name, part in parts.items()
    ]
    for thread in threads:
        thread.start()
    process.stopping.wait()
    end = None if patience is None else time.monotonic() + patience
    for thread in threads:
        thread.join(None if end is None else max(0.0, end - time.monotonic()))
    process.leave()
    return int(failed.is_set())


def _guarded(process: Process, name: str, part: Callable[[], None], failed: threading.Event) -> None:
    """Run a part; whatever it did not foresee ends the whole process, which is started again: half a process is worse than none."""
    try:
        part()
    except Exception:
        logging.getLogger(__name__).exception("the part %r of the %s failed", name, process.role)
        failed.set()
        process.stopping.set()

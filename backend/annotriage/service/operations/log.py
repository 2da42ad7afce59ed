"""The service's log: one line of JSON per event on standard error, with the project and the item that it is about.

No credential and no media ever goes into it: callers name what they log, nothing is logged whole.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

LONGEST = 2_000  # characters of one value
_logger = logging.getLogger("annotriage.service")


def log(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write an event with its fields; those that are None are left out. Give `project` and `item` wherever there is one."""
    _logger.log(level, event, extra={"fields": fields})


def start_log(role: str) -> None:
    """Let this process log to standard error, what the labeling tool's plugin logs included. role: of the process, in each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(role))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for ours in ("annotriage", "annotriage_label_studio"):
        logging.getLogger(ours).setLevel(logging.INFO)


class _Lines(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "role": self._role, "event": record.getMessage()}
        fields = {name: _short(value) for name, value in getattr(record, "fields", {}).items() if value is not None}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line | fields, default=str, ensure_ascii=False)


def _short(value: object) -> object:
    return value if isinstance(value, int | float) else str(value)[:LONGEST]

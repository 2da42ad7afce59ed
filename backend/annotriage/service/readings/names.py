"""What people are called on pages: as the labeling tool calls them, or not at all where the setting show_people says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from weakref import WeakKeyDictionary

from annotriage.errors import ToolError
from annotriage.service.operations.process import Process

Names = Callable[[str], str]  # of an annotator, as reviews have them
PATIENCE = 1.0  # seconds that a page waits for names; those that follow find them
SILENT_SECONDS = 60.0  # for which a labeling tool that refused to tell is not asked again

_lock = threading.Lock()


def names_of(process: Process) -> Names | None:
    """What each annotator is called, for one page; None where pages name nobody. The labeling tool is asked for the first one only."""
    if process.settings.show_people == "off":
        return None
    with _lock:
        people = _lists.setdefault(process, _People(process))
    known = cache(people.names)
    return lambda annotator: known().get(annotator, f"annotator {annotator}" if annotator.isdecimal() else annotator)


class _People:
    """The accounts that the labeling tool tells of, as last heard."""

    def __init__(self, process: Process) -> None:
        self._server = process.server
        self._heard: dict[str, str] = {}
        self._asking: threading.Thread | None = None
        self._silent_until = 0.0

    def names(self) -> Mapping[str, str]:
        """The names of accounts by their ids."""
        with _lock:
            asking = self._asking
            if asking is None or not asking.is_alive():
                asking = self._asking = threading.Thread(target=self._ask, daemon=True)
                asking.start()
        asking.join(PATIENCE)
        return self._heard

    def _ask(self) -> None:
        if time.monotonic() < self._silent_until:
            return
        try:
            self._heard = {account.id: account.name for account in self._server.accounts()}
        except ToolError:
            self._silent_until = time.monotonic() + SILENT_SECONDS


_lists: WeakKeyDictionary[Process, _People] = WeakKeyDictionary()

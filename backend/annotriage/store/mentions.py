"""Where text and facts of the store speak of items, and how they read once the items are erased.

The id of a task is a short number as a rule, and other things go by that number, too: a project, a dataset, a group. Text means the task
only where it calls it one, as in "task 41" or "tasks 3, 4 and 41".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl, urlencode

ERASED = "(erased)"
DISTINCT = 8  # characters from which on a name is no word or number that means something else as well
KEYS = ("task", "names")  # in facts and addresses: whose values are names of items and nothing else
_WORD = r"[\w-]+(?:\.[\w-]+)*"
_TASKS = re.compile(rf"(\btasks?[\"']?[ :=/#\[]+)({_WORD}(?:(?:, and |, | and ){_WORD})*)", re.IGNORECASE)


class Mentions:
    """Mentions of items that are erased. tasks: their tasks' ids. names: all that they go by, these included."""

    def __init__(self, tasks: Collection[str], names: Collection[str]) -> None:
        self._tasks, self._names = frozenset(tasks), frozenset(names)
        distinct = sorted({name for name in names if len(name) >= DISTINCT} - self._tasks, key=len, reverse=True)
        self._distinct = re.compile("|".join(map(re.escape, distinct)) or r"(?!)")
        alone = "|".join(rf"(?<![\w.-]){re.escape(task)}(?![\w-])" for task in tasks)
        self._alone = re.compile(alone or r"(?!)")

    def may_be_in(self, text: str) -> bool:
        """Whether a text may speak of the items: the numbers of their tasks stand in it, for whatever."""
        return bool(self._distinct.search(text) or self._alone.search(text))

    def out_of(self, value: Any) -> Any:
        """A text, or a value of JSON, that no longer names the items."""
        if isinstance(value, str):
            return _TASKS.sub(lambda found: found[1] + re.sub(_WORD, self._hidden, found[2]), self._distinct.sub(ERASED, value))
        if isinstance(value, dict):
            return {key: self._out_of_names(part) if key in KEYS else self.out_of(part) for key, part in value.items()}
        return [self.out_of(part) for part in value] if isinstance(value, list) else value

    def out_of_query(self, query: str) -> str:
        """The query of an address that asks for none of the items; as it was if it did not."""
        asked = parse_qsl(query, keep_blank_values=True)
        others = [(key, value) for key, value in asked if not (key in KEYS and value in self._names) and self.out_of(value) == value]
        return query if others == asked else urlencode(others)

    def _out_of_names(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._out_of_names(name) for name in value]
        return ERASED if value in self._names else self.out_of(value)

    def _hidden(self, word: re.Match[str]) -> str:
        return ERASED if word[0] in self._tasks else word[0]

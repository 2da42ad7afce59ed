"""Readers of labeling tools' files and projects, as the installed plugins bring them: this room knows none by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from annotriage.data.items import Dataset
from annotriage.settings import ServiceSettings

GROUP = "annotriage.labeling_tools"  # of entry points; what stands there reads, whatever else it does


class Reader(Protocol):
    """What opens datasets of one labeling tool."""

    def read(
        self, source: str, labeling_config: Path | None = None, classes: Sequence[str] = (), server: ServiceSettings | None = None
    ) -> Dataset | None:
        """The dataset at `source`, a path or an address of this tool's; None if it is not this tool's kind.

        labeling_config: the tool's description of fields and labels, where the source alone does not say which to take.
        classes: the model's; where a label has several names in the labeling config, the one that is a class is given.
        server: where the tool's server is, for a source that lies there; by default what the environment says.
        Raises DataError if it is this tool's kind and cannot be read.
        """


@cache  # to look for them reads a file of every distribution that is installed
def installed_readers() -> Mapping[str, Reader]:
    """All installed readers by the name of their tool, loaded when they are first asked for."""
    found = entry_points(group=GROUP)
    return {name: found[name].load() for name in sorted(found.names)}

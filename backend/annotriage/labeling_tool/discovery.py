"""How the plugin of a labeling tool is found: the entry-point group `annotriage.labeling_tools`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Protocol, cast

from annotriage.errors import SettingError
from annotriage.labeling_tool.files import LabelingFiles
from annotriage.labeling_tool.server import LabelingServers

GROUP = "annotriage.labeling_tools"
DEFAULT = "label-studio"


class LabelingTool(LabelingFiles, LabelingServers, Protocol):
    """What annotriage asks of a labeling tool. A module with these functions is one."""


@cache  # to look for it reads a file of every distribution that is installed
def labeling_tool(name: str = DEFAULT) -> LabelingTool:
    """The labeling tool of that name, loaded when it is first asked for. Raises SettingError naming those that are installed."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        raise SettingError(
            f"labeling tool {name!r} is not installed; installed: {', '.join(sorted(found.names)) or 'none'}."
            " Install the distribution that brings it (annotriage itself brings label-studio)"
        )
    return cast(LabelingTool, found[name].load())

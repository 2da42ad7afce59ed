"""The seam to labeling tools: what a plugin offers, and how it is found.

A plugin registers under the entry-point group `annotriage.labeling_tools`; nothing in this package imports one by name.
The registered object, a module will do, has the functions of `LabelingTool`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from annotriage.errors import SettingError

if TYPE_CHECKING:  # data imports this module to find readers
    from annotriage.data import Dataset, Item
    from annotriage.verdict import Verdict

GROUP = "annotriage.labeling_tools"
DEFAULT = "label-studio"


class PredictionWriter(Protocol):
    """An open file of predictions; complete, and under its own name, only when its `with` block has ended well."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people about what was written, once the block has ended: what the tool cannot show, and the fix."""

    def write(self, verdict: Verdict, item: Item) -> None:
        """Append one item's prediction. Raises OutputError if it cannot be written."""


class LabelingTool(Protocol):
    """What annotriage asks of a labeling tool."""

    def read(self, source: str, labeling_config: Path | None = None, classes: Sequence[str] = ()) -> Dataset | None:
        """The dataset at `source`, a path or an address of this tool's; None if it is not this tool's kind.

        labeling_config: the tool's description of fields and labels, where the source alone does not say which to take.
        classes: the model's; where a label has several names in the labeling config, the one that is a class is given.
        Raises DataError if it is this tool's kind and cannot be read.
        """

    def prediction_writer(
        self,
        path: Path,
        *,
        classes: Sequence[str],
        model_version: str,
        labeling_config: Path | None = None,
        item_fields: bool = True,
    ) -> AbstractContextManager[PredictionWriter]:
        """Opens `path` for predictions that the tool imports as they are.

        classes: all classes of the model, matched to the tool's labels before anything is written. item_fields: also
        write route, reason and outlier score beside each item's own data. Raises DataError if the classes do not match.
        """


def labeling_tool(name: str = DEFAULT) -> LabelingTool:
    """The labeling tool of that name, loaded now. Raises SettingError naming those that are installed."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        raise SettingError(
            f"labeling tool {name!r} is not installed; installed: {', '.join(sorted(found.names)) or 'none'}."
            " Install the distribution that brings it (annotriage itself brings label-studio)"
        )
    return cast(LabelingTool, found[name].load())


def labeling_tools() -> dict[str, LabelingTool]:
    """All installed labeling tools by name, loaded now."""
    return {name: labeling_tool(name) for name in sorted(entry_points(group=GROUP).names)}

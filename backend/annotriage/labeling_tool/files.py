"""A labeling tool's files: datasets that people exported from it, predictions that it imports."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from annotriage.data import Dataset, Item
    from annotriage.engine.verdict import Verdict
    from annotriage.settings import ServiceSettings


class LabelingFiles(Protocol):
    """What a labeling tool's plugin reads and writes."""

    def read(
        self, source: str, labeling_config: Path | None = None, classes: Sequence[str] = (), server: ServiceSettings | None = None
    ) -> Dataset | None:
        """The dataset at `source`, a path or an address of this tool's; None if it is not this tool's kind.

        labeling_config: the tool's description of fields and labels, where the source alone does not say which to take.
        classes: the model's; where a label has several names in the labeling config, the one that is a class is given.
        server: where the tool's server is, for a source that lies there; by default what the environment says.
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


class PredictionWriter(Protocol):
    """An open file of predictions; complete, and under its own name, only when its `with` block has ended well."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people about what was written, once the block has ended: what the tool cannot show, and the fix."""

    def write(self, verdict: Verdict, item: Item) -> None:
        """Append one item's prediction. Raises OutputError if it cannot be written."""

"""A labeling tool's files: predictions that it imports."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from annotriage.data import Item
    from annotriage.engine.verdict import Verdict


class LabelingFiles(Protocol):
    """What a labeling tool's plugin writes. What it reads is an `annotriage.data.readers.Reader`, which the same module is."""

    def prediction_writer(
        self,
        path: Path,
        *,
        classes: Sequence[str],
        model_version: str,
        labeling_config: Path | None = None,
        control: Sequence[str] = (),
        item_fields: bool = True,
    ) -> AbstractContextManager[PredictionWriter]:
        """Opens `path` for predictions that the tool imports as they are.

        classes: all classes of the model, matched to the tool's labels before anything is written. control: as the setting
        has it, for a labeling config with several. item_fields: also write route, reason and outlier score beside each item's own
        data. Raises DataError if the classes do not match.
        """


class PredictionWriter(Protocol):
    """An open file of predictions; complete, and under its own name, only when its `with` block has ended well."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people about what was written, once the block has ended: what the tool cannot show, and the fix."""

    def write(self, verdict: Verdict, item: Item) -> None:
        """Append one item's prediction. Raises OutputError if it cannot be written."""

"""predictions.json: a file of tasks with their predictions that Label Studio imports as it is."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from annotriage.data import Item
from annotriage.errors import OutputError
from annotriage.media.data_uri import encode_data_uri
from annotriage_label_studio.editor.labeling_config import DEFAULT_CONTROL, match_classes, read_control
from annotriage_label_studio.editor.predictions import prediction
from annotriage_label_studio.files.media import ROOT_VARIABLES, local_files_address

if TYPE_CHECKING:  # the pipeline's heavy libraries are not needed to write a file
    from annotriage.engine.verdict import Verdict

T = TypeVar("T")


class PredictionFile:
    """A predictions.json that is being written, task by task, under a temporary name until its `with` block ends well.

    Raises DataError if the labeling config cannot be used or a class has no choice in it, before anything is written;
    OutputError if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        classes: Sequence[str],
        model_version: str,
        labeling_config: Path | None = None,
        control: Sequence[str] = (),
        item_fields: bool = True,
    ) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + ".part")
        self._model_version = model_version
        self._names_field = labeling_config is not None
        self._item_fields = item_fields
        self._control = read_control(labeling_config, classes, control) if labeling_config else DEFAULT_CONTROL
        self._results = match_classes(classes, self._control)
        self._separator = "[\n"
        self._by_path = self._numbers = 0
        self._folder = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What Label Studio cannot show of what was written so far, and what to do."""
        notes = []
        if self._by_path:
            notes.append(
                f"{self._path.name}: pictures named by their path, which Label Studio cannot open: {self._by_path:,}. Let it serve them:"
                f" start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and {ROOT_VARIABLES[0]}={Path(self._folder).parent},"
                f" add the folder {self._folder} to the project as local files storage, and run this again with {ROOT_VARIABLES[0]} set"
                " likewise; the pictures are then named by their address."
            )
        if self._numbers:
            notes.append(f"{self._path.name}: rows of numbers, of which Label Studio shows nothing but the name: {self._numbers:,}.")
        return tuple(notes)

    def __enter__(self) -> Self:
        self._file = self._trying(lambda: self._unfinished.open("w", encoding="utf-8"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._trying(self._finish)
        finally:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)

    def write(self, verdict: Verdict, item: Item) -> None:
        """Append one task with its prediction."""
        record = item.record or {}
        task = {key: record[key] for key in ("id", "meta") if record.get(key) is not None}
        task["data"] = self._data(verdict, item)
        task["predictions"] = [prediction(verdict, self._control, self._results, self._model_version)]
        text = json.dumps(task, allow_nan=False)
        self._trying(lambda: self._file.write(self._separator + text))
        self._separator = ",\n"

    def _data(self, verdict: Verdict, item: Item) -> dict[str, Any]:
        """The task's own data, or the item's id and its picture under the control's field; with the triage fields, if wanted.

        Label Studio refuses a whole import when one task lacks the field that its labeling config names, so it is never left out.
        """
        field = self._control.field
        data: dict[str, Any] = dict(item.record["data"]) if item.record else {}
        if not item.record:
            data["item_id"] = item.id
        if not item.record or (self._names_field and not isinstance(data.get(field), str)):
            data[field] = self._picture(item)
        if self._item_fields:
            data |= {f"triage_{name}": value for name, value in verdict.blind().items()}
        return data

    def _picture(self, item: Item) -> str:
        """The item's picture as Label Studio can show it: an address, a data: URI, or at least the path it came from."""
        media = item.media
        if isinstance(media, Path):
            address = local_files_address(media)
            if address is None:
                folder = str(media.absolute().parent)
                self._folder = os.path.commonpath([self._folder, folder]) if self._by_path else folder
                self._by_path += 1
            return address or item.path
        if isinstance(media, bytes):
            return encode_data_uri(media, _mime_type(media))
        if isinstance(media, np.ndarray) and _is_picture(media):
            png = io.BytesIO()
            Image.fromarray(media.squeeze(2) if media.shape[2:] == (1,) else media).save(png, "PNG", compress_level=1)
            return encode_data_uri(png.getvalue(), "image/png")
        self._numbers += isinstance(media, np.ndarray)
        return item.path

    def _finish(self) -> None:
        self._file.write("\n]\n" if self._separator == ",\n" else "[]\n")
        self._file.close()
        self._unfinished.replace(self._path)

    def _trying(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written ({error.strerror}); check free space and your right to write there"
            ) from error


def _is_picture(array: NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4)))


def _mime_type(content: bytes) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.get_format_mimetype() or "application/octet-stream"
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return "application/octet-stream"

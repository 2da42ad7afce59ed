"""Small Parquet files and pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL import Image


def picture(shade: int = 0) -> bytes:
    """A grey PNG of 4 x 4."""
    file = io.BytesIO()
    Image.new("L", (4, 4), shade).save(file, "PNG")
    return file.getvalue()


def write(file: Path, rows_in_a_group: int | None = None, **columns: Any) -> Path:
    """A file of these columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), file, row_group_size=rows_in_a_group)
    return file

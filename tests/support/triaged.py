"""Tasks of the labeling tool in memory, judged as the worker judges them."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from annotriage.service.judging.judge import Judge
from annotriage.store import items


def data_uri(image: np.ndarray) -> str:
    """A picture as a task can hold it in itself."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def import_tasks(process, project, tool, media, **values):
    """New tasks, known to the service, not judged yet. media: pictures, or what the media field holds."""
    texts = [medium if isinstance(medium, str) else data_uri(medium) for medium in media]
    tasks = [tool.add(text, **values) for text in texts]
    with process.store.writing() as connection:
        items.add_tasks(connection, project, tasks)
    return tasks


def judge(process):
    """Judge all that is due."""
    judge = Judge(process)
    while judge.step():
        pass
    judge._reader.close()

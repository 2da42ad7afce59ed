"""What items of a project are most like one of them, or like a picture that a person has: near to it in the space of the outlier score.

The web process computes nothing: each search runs in a process of its own, which ends with it. A picture reaches that through a pipe and is
written nowhere.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from annotriage.errors import AnnotriageError, DataError, MediaError, Overloaded, StateError, StoreError
from annotriage.service.operations.apart import apart
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.store import DATABASE_TROUBLE
from annotriage.store.browsing import is_item_hidden, item_of_id
from annotriage.store.database import cause
from annotriage.store.projects import Project, get_project

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from annotriage.settings import ServiceSettings

FOUND = 24  # items
SEARCHED = 100_000  # of the latest that wait, among which members of a group of look-alikes are looked for
SECONDS = 60.0  # at most for a search: the model is loaded for it
PATIENCE = 10.0  # seconds to wait for a turn
NICENESS = 5
LOOKS_HIDDEN = "people are asked about it blind: what looks like it stays hidden until they have answered"

_TURNS = threading.BoundedSemaphore(1)  # of this process, however many ask


@dataclass(frozen=True, slots=True)
class Like:
    """An item that is like what was looked for. distance: between their points; 0 for the very same."""

    item_id: int
    distance: float


class Likeness:
    """Looks for items that are alike, one search at a time; any number of threads may use any number of these."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def like_item(self, project: Project, item_id: int) -> list[Like]:
        """The items most like one, itself left out, the most similar first. Raises UnknownError, StateError, Overloaded.

        What looks like an item that people are asked about blind would tell what the model says of it: nobody is told.
        """
        with self._process.store.reading() as connection:
            item_of_id(connection, project, item_id)
            hidden = is_item_hidden(connection, item_id)
        if hidden:
            raise StateError(LOOKS_HIDDEN)
        return self._search(project, item_id, None)

    def like_picture(self, project: Project, picture: bytes) -> list[Like]:
        """The items most like a picture by the project's model and reference. Raises DataError if it is none, StateError, Overloaded."""
        if not picture:
            raise DataError("choose a picture")
        return self._search(project, None, picture)

    def nearest_free(self, project: Project, item_id: int, count: int) -> list[int]:
        """As the function of that name. Raises StateError, Overloaded."""
        return [like.item_id for like in self._search(project, item_id, None, count)]

    def _search(self, project: Project, item_id: int | None, picture: bytes | None, free: int = 0) -> list[Like]:
        process = self._process
        asked = (process.settings, process.config, project.id, item_id, free, picture)
        with self._turn():
            try:
                kind, found = apart("search", answer, *asked, seconds=SECONDS)
            except TimeoutError:
                raise StateError(f"the search took longer than {SECONDS:g} s; try again when the machine has less to do") from None
            except ChildProcessError:
                raise StateError("the search ended without a result; the log says more") from None
        if kind == "found":
            return [Like(*row) for row in found]
        raise DataError(found) if kind == "no picture" else StateError(found)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not _TURNS.acquire(timeout=PATIENCE):
            raise Overloaded("another search is running at this moment; try again in a few seconds")
        try:
            yield
        finally:
            _TURNS.release()


def nearest_free(process: Process, project: Project, item_id: int, count: int) -> list[int]:
    """The items most like one, itself among them, of the latest that wait and may become members of a group of look-alikes.

    The nearest first, `count` at most. Raises StateError if it is not judged.
    """
    return [id for id, _ in _nearest_free(process, project, item_id, count)]


def answer(
    settings: ServiceSettings, config: Path | None, project_id: int, item_id: int | None, free: int, picture: bytes | None
) -> tuple[str, Any]:
    """One search, in its own process: what was found, or why nothing was. Raises StoreError if the database cannot be used.

    free: so many of what may become members of a group of look-alikes; 0: of all items.
    """
    os.nice(NICENESS)
    process = Process(settings, "command", config)
    said: tuple[str, Any]
    try:
        with process.store.reading() as connection:
            project = get_project(connection, project_id)
        if free and item_id is not None:
            said = "found", _nearest_free(process, project, item_id, free)
        else:
            point = _point_of_item(process, project, item_id) if picture is None else _point_of_picture(process, project, picture)
            said = "found", _nearest(process, project, point, item_id)
    except MediaError as error:
        said = "no picture", str(error)
    except DATABASE_TROUBLE as error:
        raise StoreError(cause(error)) from error  # the others of that kind do not travel as what they are
    except AnnotriageError as error:
        log("search failed", level=logging.WARNING, project=project_id, error=error)
        said = "failed", str(error)
    finally:
        process.close()
    return said


def _point_of_item(process: Process, project: Project, item_id: int | None) -> Any:
    """Where an item lies: (n,) float32. Raises StateError if it is not judged."""
    import numpy as np

    from annotriage.store.columns import points_of

    with process.store.reading() as connection:
        found = points_of(connection, project.reference_id, [item_id or 0])
    if not found:
        raise StateError("it has no place to look around: it was not judged yet, or could not be")
    return np.frombuffer(next(iter(found.values())).compressed, np.float16).astype(np.float32)


def _point_of_picture(process: Process, project: Project, picture: bytes) -> Any:
    """Where a picture lies, as if it had come in: (n,) float32. Raises MediaError, MismatchError, ModelError."""
    import numpy as np

    from annotriage.data import Item
    from annotriage.model.stream import stream
    from annotriage.service.judging.kept_model import load_kept_model

    reference = process.reference(project.reference_id)
    settings = process.run_settings(reference)
    model = load_kept_model(reference, settings, 1)
    (batch,) = stream(model, [Item("picture", picture, path="the picture")], settings)
    (problem,) = batch.problems
    if problem is not None or batch.outputs is None:
        raise MediaError(problem.failure, problem.text) if problem is not None else StateError("the model makes nothing of the picture")
    return np.asarray(reference.judge(batch.outputs).compressed[0]).astype(np.float16).astype(np.float32)


def _nearest(process: Process, project: Project, point: Any, without: int | None) -> list[tuple[int, float]]:
    """(item id, distance) of the nearest items."""
    import numpy as np

    from annotriage.latent.maps import nearest_training
    from annotriage.store.columns import points_to_search

    best: list[tuple[float, int]] = []
    with process.store.reading() as connection:
        for ids, compressed in points_to_search(connection, project):
            points = np.frombuffer(b"".join(compressed), np.float16).reshape(len(ids), -1).astype(np.float32)
            nearest = nearest_training(point[None], points, FOUND + 1)[0]
            away = np.linalg.norm(points[nearest] - point, axis=1)
            some = [(float(distance), ids[place]) for distance, place in zip(away, nearest.tolist(), strict=True)]
            best = sorted([*best, *some])[: FOUND + 1]
    return [(id, distance) for distance, id in best if id != without][:FOUND]


def _nearest_free(process: Process, project: Project, item_id: int, most: int) -> list[tuple[int, float]]:
    """(item id, distance) of the nearest items that may become members."""
    import numpy as np

    from annotriage.store.proposals import free_points

    point = _point_of_item(process, project, item_id)
    ids: NDArray[Any] = np.empty(0, dtype=np.int64)
    apart: NDArray[Any] = np.empty(0, dtype=np.float32)
    with process.store.reading() as connection:
        for some, compressed in free_points(connection, project, SEARCHED):
            lying = np.frombuffer(b"".join(compressed), np.float16).reshape(len(some), -1).astype(np.float32)
            ids, apart = np.append(ids, some), np.append(apart, np.square(lying - point).sum(axis=1))
            kept = np.lexsort((ids, apart))[:most]
            ids, apart = ids[kept], apart[kept]
    return [(int(id), float(away)) for id, away in zip(ids, np.sqrt(apart), strict=True)]

"""References into the database and out of it: with their model, as files, so that every replica can judge."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from annotriage.errors import MismatchError
from annotriage.store import Store
from annotriage.store import references as queries
from annotriage.store.projects import references_in_use

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference

MODEL, REFERENCE = "model", "reference"


def keep_reference(store: Store, reference: Reference) -> int:
    """Put a reference with its model into the database, once per version: its row's id.

    Raises MismatchError if its model is not where the reference says.
    """
    from annotriage.data.local_paths import has_file
    from annotriage.engine.what_if import what_if
    from annotriage.model import model_files
    from annotriage.model.spec import ModelSpec
    from annotriage.service.judging.kept_model import ANSWERS, write_answers

    if reference.spec_path is None or not has_file(reference.spec_path):
        raise MismatchError(
            f"reference {reference.name!r}: its model spec {reference.spec_path or reference.model.name} is not there any more;"
            " put it back, or fit again"
        )
    spec = ModelSpec.load(reference.spec_path)
    model = reference.open_model(spec)  # refuses one that has changed since
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / MODEL).mkdir()
        write_answers(model, folder / ANSWERS)
        name = spec.model_path.name
        moved = dataclasses.replace(spec, file=name) if spec.file else dataclasses.replace(spec, weights=name)
        moved.write(folder / MODEL / "model.toml")
        dataclasses.replace(reference, spec_path=folder / MODEL / "model.toml").save(folder / REFERENCE)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files |= {f"{MODEL}/{file.relative_to(spec.model_path.parent).as_posix()}": file for file in model_files(spec)}
        grid = what_if(reference)
        with store.writing() as connection:
            return queries.save_reference(
                connection,
                version=reference.version,
                name=reference.name,
                prediction_version=reference.prediction_version,
                facts=reference.facts(),
                curve=_curve(reference),
                grid=grid,
                edges=_edges(reference),
                files=files,
            )


def open_reference(store: Store, id: int, folder: Path) -> Reference:
    """A reference out of the database, ready to judge. Raises UnknownError, MismatchError.

    folder: for its files, which must stay as long as its model runs.
    """
    from annotriage.engine.reference import Reference

    with store.reading() as connection:
        queries.get_reference(connection, id)
        queries.write_files(connection, id, folder)
    return Reference.load(folder / REFERENCE)


class OpenReferences:
    """The references that a process has read, each once. Threadsafe: reading one holds up nobody who wants another.

    Those that no project uses any more go, with their files, when the next one is read: a loaded model does not need them.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._lock = threading.Lock()
        self._reading: dict[int, threading.Lock] = {}
        self._read: dict[int, Reference] = {}

    def get(self, id: int) -> Reference:
        """A reference, ready to judge. Raises UnknownError, MismatchError."""
        with self._store.reading() as connection:
            version = queries.version_of(connection, id)
        with self._lock:
            if id in self._read and self._read[id].version == version:
                return self._read[id]
            turn = self._reading.setdefault(id, threading.Lock())
        with turn:
            with self._lock:
                if id in self._read and self._read[id].version == version:
                    return self._read[id]
            place = self._folder / str(id)
            found = open_reference(self._store, id, place / str(version))
            for former in place.glob(f"*/{REFERENCE}"):  # from which an item was erased
                if former.parent.name != found.version:
                    shutil.rmtree(former, ignore_errors=True)
            with self._store.reading() as connection:
                used = references_in_use(connection)
            with self._lock:
                gone = [other for other in self._read if other not in used]
                for other in gone:
                    del self._read[other]
                self._read[id] = found
        for other in gone:
            shutil.rmtree(self._folder / str(other), ignore_errors=True)
        return found


def _edges(reference: Reference) -> dict[str, dict[str, list[float]]]:
    """The normal range of each member in each cluster, for the items' pages."""
    medians, edges = reference.detector.ranges
    return {
        cluster: {name: [float(medians[row, place]), float(edges[row, place])] for row, name in enumerate(reference.member_names)}
        for place, cluster in enumerate(reference.detector.clusters.names)
    }


def _curve(reference: Reference) -> dict[str, list[float]]:
    """Risk against coverage on the held-out items, for the guarantee's page."""
    guarantee = reference.guarantee
    curves = {"coverage": guarantee.curve_coverage, "risk": guarantee.curve_risk, "bound": guarantee.curve_bound}
    return {name: [round(float(value), 6) for value in values] for name, values in curves.items()}

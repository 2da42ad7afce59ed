"""References and their models as content-addressed files in the database, so that replicas need no shared disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, bindparam, select, update

from annotriage.errors import StateError, UnknownError
from annotriage.store.database import columns_of, facts_of, insert, read_once, stored
from annotriage.store.files import drop_unused, pieces_of, store_file
from annotriage.store.schema import reference, reference_edge, reference_file, reference_grid, stored_file, verdict

if TYPE_CHECKING:  # the web process never loads what judges
    from annotriage.engine.what_if import WhatIf

NAMED = 8  # characters of its first version with which the name of a reference's predictions ends


@dataclass(frozen=True, slots=True)
class StoredReference:
    """A reference in the database. facts: Reference.facts()."""

    id: int
    version: str
    name: str
    prediction_version: str
    facts: Mapping[str, Any]


_SELECT = select(*columns_of(reference, StoredReference)[:-1], stored(reference.c.facts)).where(reference.c.id == bindparam("of_id"))


def save_reference(
    connection: Connection,
    *,
    version: str,
    name: str,
    prediction_version: str,
    facts: Mapping[str, Any],
    files: Mapping[str, Path],
    curve: Mapping[str, Sequence[float]] | None = None,
    grid: Sequence[WhatIf] = (),
    edges: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> int:
    """Keep a reference; its row's id. files: by the path at which `write_files` will put them. grid: what other limits would decide,
    for previews. edges: see `edges_of`, by cluster. Kept already, or kept without an item that was erased: nothing is done. Raises
    StateError if another reference has this prediction version.
    """
    kept = select(reference.c.id).where(reference.c.version == version)
    found = connection.execute(kept).scalar_one_or_none()
    if found is not None:
        return int(found)
    values = {
        "version": version,
        "name": name,
        "prediction_version": prediction_version,
        "facts": dict(facts),
        "curve": curve,
        "at": time.time(),
    }
    add = insert(connection, reference).values(values).on_conflict_do_nothing()
    id = connection.execute(add.returning(reference.c.id)).scalar_one_or_none()
    if id is None:
        found = connection.execute(kept).scalar_one_or_none()
        if found is not None:  # another process kept it at this moment
            return int(found)
        called = select(reference.c.id, reference.c.version).where(reference.c.prediction_version == prediction_version)
        same = connection.execute(called).one_or_none()
        if same is not None and not prediction_version.endswith(same.version[:NAMED]):
            return int(same.id)  # this one, from which an item was erased since: `rewrite_reference`
        raise StateError(f"predictions of another reference are called {prediction_version!r} already; fit this one under another name")
    if grid:
        connection.execute(reference_grid.insert(), [_grid_row(id, cell) for cell in grid])
    if edges:
        rows = [{"reference_id": id, "cluster": cluster, "members": members} for cluster, members in edges.items()]
        connection.execute(reference_edge.insert(), rows)
    for path, file in files.items():
        connection.execute(reference_file.insert().values(reference_id=id, path=path, stored_file_id=store_file(connection, file)))
    return int(id)


def _grid_row(reference_id: int, cell: WhatIf) -> dict[str, Any]:
    taus = {"names": list(cell.names), "rest": cell.rest, "limits": list(cell.limits)}
    return {"reference_id": reference_id, "alpha": cell.alpha, "threshold": cell.threshold, "taus": taus}


def write_files(connection: Connection, reference_id: int, folder: Path) -> None:
    """Write all files of a reference below a folder. Raises StateError if one would lie elsewhere: the database may be anybody's backup."""
    query = select(reference_file.c.path, reference_file.c.stored_file_id).where(reference_file.c.reference_id == reference_id)
    for path, file_id in connection.execute(query).all():
        place = folder / path
        if not place.resolve().is_relative_to(folder.resolve()):
            raise StateError(f"a file of reference {reference_id} is called {path!r}, which leads out of its folder: nothing is written")
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            file.writelines(pieces_of(connection, file_id))


def model_files_of(connection: Connection, id: int) -> dict[str, int]:
    """The files of a reference's model, without its spec: their sizes in bytes by their paths."""
    query = select(reference_file.c.path, stored_file.c.size).join(stored_file, stored_file.c.id == reference_file.c.stored_file_id)
    rows = connection.execute(query.where(reference_file.c.reference_id == id).order_by(reference_file.c.path))
    return {path.removeprefix("model/"): size for path, size in rows if path.startswith("model/") and path != "model/model.toml"}


def kept_references(connection: Connection) -> list[int]:
    """All references that are kept, in use or not."""
    return list(connection.execute(select(reference.c.id).order_by(reference.c.id)).scalars())


def version_of(connection: Connection, id: int) -> str | None:
    """The version of a reference, which changes only where an item was erased from it; None if it is not there."""
    return connection.execute(select(reference.c.version).where(reference.c.id == id)).scalar_one_or_none()


def holds_version(connection: Connection, id: int, version: str) -> bool:
    """Whether a reference is still of this version; it then stays so until the transaction ends."""
    query = select(reference.c.id).where(reference.c.id == id, reference.c.version == version)
    return connection.execute(query.with_for_update(read=True)).first() is not None


def rewrite_reference(connection: Connection, id: int, *, version: str, facts: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Put another version in the place of a reference: it judges alike, and its predictions keep their name. files: all that differ."""
    connection.execute(update(reference).where(reference.c.id == id).values(version=version, facts=dict(facts)))
    for path, file in files.items():
        mine = (reference_file.c.reference_id == id, reference_file.c.path == path)
        connection.execute(update(reference_file).where(*mine).values(stored_file_id=store_file(connection, file)))
    drop_unused(connection)


@read_once
def get_reference(connection: Connection, id: int) -> StoredReference:
    """A reference's row. Raises UnknownError."""
    row = connection.execute(_SELECT, {"of_id": id}).one_or_none()
    if row is None:
        raise UnknownError(f"reference {id} is not in the database any more; connect the project again")
    values = [*row[:-1], facts_of(row[-1])]
    return StoredReference(*values)


def get_curve(connection: Connection, id: int) -> dict[str, list[float]]:
    """Risk against coverage on the held-out items of a reference: coverage, risk and bound; empty if nobody kept it."""
    found = connection.execute(select(reference.c.curve).where(reference.c.id == id)).scalar_one_or_none()
    return dict(found or {})


def edges_of(connection: Connection, id: int, item_id: int) -> dict[str, tuple[float, float]]:
    """The normal range of each member of the score in an item's cluster: by name its median and its 95% edge among training items."""
    nearest = and_(verdict.c.reference_id == reference_edge.c.reference_id, verdict.c.cluster == reference_edge.c.cluster)
    query = select(reference_edge.c.members).join(verdict, nearest).where(reference_edge.c.reference_id == id, verdict.c.item_id == item_id)
    found = connection.execute(query).scalar_one_or_none() or {}
    return {name: (float(median), float(edge)) for name, (median, edge) in found.items()}

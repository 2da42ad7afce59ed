"""The training items that a reference keeps, put into the database for people to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotriage.store import Store, maps
from annotriage.store.references import holds_version

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference

AT_ONCE = 2_000


def keep_training(store: Store, reference_id: int, reference: Reference) -> None:
    """Keep the reference's sample for people, once: names, labels, pictures. Who was killed over it goes on where it was.

    Nothing is kept of a version from which an item was erased in the meantime.
    """
    with store.reading() as connection:
        before = maps.training_items_kept(connection, reference_id)
    kept = reference.sample
    for start in range(before, len(kept.ids), AT_ONCE):
        places = range(start, min(start + AT_ONCE, len(kept.ids)))
        rows = [(at, kept.ids[at], kept.labels[at], kept.thumbnail(at)) for at in places]
        with store.writing() as connection:
            if not holds_version(connection, reference_id, reference.version):
                return
            maps.keep_training_items(connection, reference_id, rows)

"""A site with the handwritten digits that come with scikit-learn, and a small network trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
from postgresql import Running
from storm_site import POLLS, Site, Studio, pictures

from annotriage.demo.digits import write_digits
from annotriage.engine.fitting import fit
from annotriage.settings import Settings


@contextmanager
def digits_site(folder: Path, studio: Studio, rng: Random, database: Running | None, polls: Mapping[str, float] = POLLS) -> Iterator[Site]:
    """A running service of its own, for digits. database: a PostgreSQL; None for SQLite in the folder. polls: as of `Site`."""
    from sklearn.datasets import load_digits

    data = write_digits(folder / "digits")
    reference = fit(data.spec, data.train, data.held_out, name="digits", settings=Settings(max_error=0.04, map="pca"))
    reference.save(folder / "reference")
    images, labels = load_digits(return_X_y=True)
    images = (images * 15).astype(np.uint8).reshape(-1, 8, 8)
    address = f"sqlite:///{folder / 'annotriage.db'}" if database is None else database.address
    shown = pictures(reference, images[-600:], [str(label) for label in labels[-600:]])
    site = Site(folder, studio, folder / "reference", shown, rng, database=address, postgres=database, polls=polls)
    try:
        site.start()
        yield site
    finally:
        site.close()

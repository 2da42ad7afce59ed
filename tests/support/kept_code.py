"""What numba compiles of UMAP, kept between the processes and the runs of the tests: it takes many seconds in each of them.

The product keeps nothing: numba writes index and code one after the other, and neither a full disk nor two processes at once are safe.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

START = Path(__file__).parent / "kept_start"


@contextmanager
def kept_code(folder):
    """Within it, whatever fits UMAP, in this process or in those that it starts, finds in the folder what was compiled before, and keeps
    there what it compiles."""
    from annotriage.latent import compression

    make = compression._umap_model
    before = {name: os.environ.get(name) for name in ("KEPT_CODE", "PYTHONPATH")}
    path = [str(START), *([before["PYTHONPATH"]] if before["PYTHONPATH"] else [])]
    os.environ |= {"KEPT_CODE": str(folder), "PYTHONPATH": os.pathsep.join(path)}
    keep_of(compression, folder)
    try:
        yield
    finally:
        compression._umap_model = make
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def keep_of(compression, folder):
    """Let that module keep, in the folder, what is compiled where it fits UMAP."""
    make = compression._umap_model

    @cache
    def prepare():  # only where UMAP is fitted: it takes seconds to load
        from numba import config
        from numba.core.caching import IndexDataCacheFile
        from umap import layouts, umap_, utils

        folder.mkdir(parents=True, exist_ok=True)
        save = IndexDataCacheFile.save

        def save_alone(file, key, data):
            with suppress(OSError), (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                save(file, key, data)

        IndexDataCacheFile.save = save_alone
        config.CACHE_DIR = str(folder / "-".join(version(name) for name in ("numba", "umap-learn", "pynndescent")))
        for found in [one for module in (layouts, umap_, utils) for one in vars(module).values() if hasattr(one, "enable_caching")]:
            found.enable_caching()

    def prepared(*args, **options):
        prepare()
        return make(*args, **options)

    compression._umap_model = prepared

"""Runs first in every Python process that tests start, such as those of a service: what is compiled of UMAP is kept for them, too."""

import os
import sys
from importlib.machinery import PathFinder

COMPRESSION = "annotriage.latent.compression"


class _Keeping:
    """Finds that module as usual, and keeps what it compiles once it is loaded."""

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == COMPRESSION else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_keep(module):
                load(module)
                keep(module)

            spec.loader.exec_module = load_and_keep
        return spec


def keep(module):
    from pathlib import Path

    here = str(Path(__file__).parent.parent)
    sys.path.append(here)
    try:
        from kept_code import keep_of
    finally:
        sys.path.remove(here)
    keep_of(module, Path(os.environ["KEPT_CODE"]))


if "KEPT_CODE" in os.environ:  # whatever else of the tests' environment a process was given
    sys.meta_path.insert(0, _Keeping())

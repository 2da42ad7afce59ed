"""Python runs this when it starts with this folder on its path: a service that tests start keeps what is compiled of UMAP, as they do.

Each of its processes that makes a map would compile it anew, for many seconds of a core.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

SUPPORT = Path(__file__).parent.parent
COMPRESSION = "annotriage.latent.compression"


class _OnceLoaded:
    """Finds the one module that fits UMAP, and sees to it when it has been loaded; whoever loads it not pays nothing."""

    def find_spec(self, name, path=None, target=None):
        if name != COMPRESSION:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            if not hasattr(module, "_umap_model"):  # of another version of annotriage
                return
            own = spec_from_file_location("kept_code", SUPPORT / "kept_code.py")
            kept_code = module_from_spec(own)
            own.loader.exec_module(kept_code)
            kept_code.keep_code(kept_code.FOLDER)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _OnceLoaded())

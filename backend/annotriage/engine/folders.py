"""Folders that are there whole or not at all: references and results are written beside their place and then renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotriage.errors import OutputError


def refuse_existing(place: Path, *, what: str, mark: str, replaceable: bool = False) -> None:
    """Raise OutputError if something is at `place` already.

    what: "reference" or "results", for the message. replaceable: the same kind of thing, known by its file `mark`, may be there.
    """
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not replaceable:
        raise OutputError(f"{place}: exists already; choose another folder for the {what}, or pass --replace")
    if not (place / mark).is_file():
        raise OutputError(f"{place}: holds no {what}, and nothing else is ever replaced; choose another folder")


@contextmanager
def whole_folder(place: Path, *, what: str, mark: str, replaceable: bool = False) -> Iterator[Path]:
    """A folder in the making: it takes the name `place` when the block ends well and vanishes when it does not.

    Arguments as for `refuse_existing`. Raises OutputError if something is there already, or if the disk refuses.
    """
    place = place.resolve()
    refuse_existing(place, what=what, mark=mark, replaceable=replaceable)
    partial, replaced = (place.with_name(f".{place.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        if place.exists():
            place.rename(replaced)
        partial.rename(place)
    except OutputError as error:  # of a file in it: people know the folder by its name
        raise OutputError(str(error).replace(str(partial), str(place))) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some space on its disk, or choose another folder" if full else "choose another folder"
        raise OutputError(f"{place}: the {what} could not be written ({error.strerror}); {remedy}") from error
    finally:
        if replaced.exists() and not place.exists():
            replaced.rename(place)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)

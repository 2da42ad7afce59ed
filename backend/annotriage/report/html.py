"""What every page that opens from a file is made of: templates, our scripts and styles inside it, and a policy that runs nothing else."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from annotriage.advice import numbers
from annotriage.errors import OutputError

_HERE = Path(__file__).parent
_SPOKEN = ("percent", "count", "chance", "p_figure", "plain_time", "finite", "points", "certainty", "amount")


def template(name: str) -> Template:
    """A template that escapes what comes from data and refuses what it was not given."""
    pages = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters.update({name: getattr(numbers, name) for name in _SPOKEN}, picture=picture)
    return pages.get_template(name)


def static(name: str) -> str:
    """One of our scripts or styles."""
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def bundle(*names: str) -> str:
    """Our ES modules as one, in the order of use: their imports (one line each) dropped, their exports made plain declarations."""
    joined = "\n".join(static(name) for name in names)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", joined, flags=re.MULTILINE), flags=re.MULTILINE)


def frame(program: str, *styles: str) -> dict[str, str]:
    """What every page carries in itself, by the names of the templates: style, theme, program, and a policy that runs these two alone.

    styles: our files that the page needs beside report.css.
    """
    theme = static("theme.js")
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in (theme, program))
    return {
        "style": Markup("".join(map(static, ("report.css", *styles)))),
        "theme": Markup(theme),
        "program": Markup(program),
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}",
    }


def picture(image: bytes) -> str:
    """A data URL; "" for what is no picture that a browser shows (its first bytes tell)."""
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
    kind = next((name for start, name in kinds.items() if image.startswith(start)), None)
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}" if kind else ""


def write_page(pieces: Iterable[str], path: Path, what: str = "report") -> None:
    """Write text to `path`, whole or not at all: to a temporary name beside it, then renamed.

    Raises OutputError when the folder is missing or not writable, or the disk is full; what was there before stays.
    what: "report" or "table", for the message.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.writelines(piece.encode("utf-8", "backslashreplace") for piece in pieces)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: the {what} could not be written ({error.strerror}). {_fix(error, path)}") from error


def _fix(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"Free some space on the disk that holds {path.parent}, or choose another folder with --out."
    if error.errno == errno.ENOENT:
        return f"Create the folder {path.parent}, or choose another one with --out."
    return (
        f"Check that {path.parent} is a folder that you may write to and that takes files of this size, or choose another one with --out."
    )

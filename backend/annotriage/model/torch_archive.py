"""What is in a .pt2 file, before torch opens it: a program that anybody may have made must not run code by being loaded.

torch itself unpickles weights, constants and sample inputs that are marked so, evaluates sizes as Python, and loads compiled code.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from annotriage.errors import ModelError


def check_archive(path: Path) -> None:
    """Raise ModelError if loading the file would run code in it, naming the part. What is no archive at all is left to its reader."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len({name.casefold() for name in names}) < len(names):
                raise _refused(path, "it holds parts of the same name, of which nobody knows which is read")
            for name in names:
                _check_part(archive, name, path)
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return


def _check_part(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    part = PurePosixPath(name)
    if "aotinductor" in part.parts or part.suffix in (".so", ".o", ".a", ".dylib", ".dll"):
        raise _refused(path, f"{name} is compiled code")
    if part.name.startswith(("custom_obj", "opaque_obj")):
        raise _refused(path, f"{name} is a pickled object")
    if part.suffix == ".json":
        _check_description(archive.read(name), name, path)
    elif part.suffix == ".pt" and (content := archive.read(name)):
        try:
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # whatever the restricted unpickler meets
            raise _refused(path, f"{name} holds more than tensors") from error


def _check_description(content: bytes, name: str, path: Path) -> None:
    try:
        tables = list(_tables(json.loads(content)))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: {name} is no JSON ({error}); export the model again") from error
    for table in tables:
        if table.get("use_pickle"):
            raise _refused(path, f"{name} marks {table.get('path_name', 'a weight')!r} as pickled")
        size = table.get("expr_str")
        if isinstance(size, str) and not _is_size(size):
            raise _refused(path, f"{name} gives as a size what is none, {size[:80]!r}")
        target = table.get("target")
        if "inputs" in table and isinstance(target, str) and target.startswith(_RESOLVED) and not _OPERATION.fullmatch(target):
            raise _refused(path, f"{name} calls {target[:80]!r}, which is no operation on tensors")


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _is_size(text: str) -> bool:
    """Whether a text is arithmetic on symbols for sizes: torch hands it to Python's eval."""
    text = _WRITTEN_SYMBOL.sub("s0", text)
    return bool(_ARITHMETIC.fullmatch(text)) and all(_SYMBOL.fullmatch(word) for word in re.findall(r"[^\W\d]\w*", text))


def _refused(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path}: {what}: loading it would run whatever code it holds, so it is not opened. Export the model again with torch.export.export"
        " and torch.export.save, from plain parameters and buffers and a plain tensor as the example"
    )


_RESOLVED = ("torch", "_operator", "math", "#")  # what torch looks up by name and calls
_OPERATION = re.compile(
    r"torch\.ops\.(?!load_library\.|import_module\.|_)[a-z]\w*\.(?!__)\w+(\.(?!__)\w+)?"
    r"|torch\.ops\.aten\.__i?(and|or|xor|lshift|rshift)__\.\w+"
    r"|torch\._?sym_\w+|_operator\.\w+|math\.\w+"
)
_WRITTEN_SYMBOL = re.compile(r"Symbol\('[a-z]+\d+'(, [a-z]+=(True|False))*\)")
_ARITHMETIC = re.compile(r"[\w\s+\-*/%(),.<>=!&|~]*")
_SYMBOL = re.compile(
    r"(s|u|i|f|zf|zuf)\d+|e\d+|oo|inf|int_oo|nan|true|false|True|False|Abs|Add|Mul|And|Or|Not|Eq|Ne|Lt|Le|Gt|Ge|Max|Min|Mod|Pow|Integer|Rational|Float"
    r"|Piecewise|ceiling|floor|sqrt|FloorDiv|CeilDiv|CleanDiv|PythonMod|CMod|ModularIndexing|Where|PowByNatural|FloatPow|FloatTrueDiv"
    r"|IntTrueDiv|ToFloat|TruncToInt|TruncToFloat|FloorToInt|CeilToInt|RoundToInt|RoundDecimal|LShift|RShift|Identity|IsNonOverlappingAndDense\w*"
)

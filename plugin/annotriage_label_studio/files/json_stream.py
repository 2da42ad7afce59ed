"""JSON files of any length, one object at a time: a list of objects, or one object per line."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from annotriage.errors import DataError

BLOCK = 2**20  # characters read at a time
LONGEST_OBJECT = 2**28  # characters; room for a task with large pictures in data: URIs

_DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN and Infinity are not JSON: Label Studio would refuse them
_GAP = re.compile(r"[\s,]*")


def json_objects(file: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file, in order; holds one object at a time.

    Raises DataError naming the entry, from 1, if the file is not UTF-8, not JSON, or holds something else.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from _objects(file, stream)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check the path and your right to read it") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}); export it again, or save it as UTF-8") from error


def _objects(file: Path, stream: TextIO) -> Iterator[dict[str, Any]]:
    text = stream.read(BLOCK)
    start = _gap_end(text, 0)
    in_list = text.startswith("[", start)
    start += in_list
    for number in itertools.count(1):
        while (start := _gap_end(text, start)) == len(text) and (text := stream.read(BLOCK)):
            start = 0
        if in_list and text.startswith("]", start):
            return
        if not text:
            if in_list:
                raise DataError(f"{file}: ends in the middle of its list, after {number - 1} entries; it was cut off, export it again")
            return
        if not text.startswith("{", start):
            found = text[start : start + 20]
            raise DataError(f"{file}: entry {number} begins with {found!r}; the file must be a list of objects, or one object per line")
        while True:
            try:
                value, start = _DECODER.raw_decode(text, start)
                break
            except json.JSONDecodeError as error:
                more = stream.read(max(BLOCK, len(text) - start))  # doubling, so that a long object is not scanned over and over
                if not more or len(text) - start > LONGEST_OBJECT:
                    raise DataError(f"{file}: entry {number} is not valid JSON ({error.msg}), or was cut off; export it again") from error
                text, start = text[start:] + more, 0
            except (RecursionError, ValueError) as error:
                raise DataError(f"{file}: entry {number} is not readable ({error}); look at what wrote this file") from error
        yield value


def _gap_end(text: str, start: int) -> int:
    """Where the white space and commas between two objects end."""
    return cast(re.Match[str], _GAP.match(text, start)).end()

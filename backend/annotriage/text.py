"""Text from outside as everything here can hold it: files, databases, terminals."""

from __future__ import annotations

import re
import unicodedata

_UNFIT = re.compile("[\0\ud800-\udfff]")  # PostgreSQL stores no NUL, and nothing writes half of a character


def storable(text: str) -> str:
    """The text with what no file or database takes, NUL characters and lone surrogates, written as escapes."""
    return _UNFIT.sub(lambda found: "\\0" if found.group() == "\0" else f"\\u{ord(found.group()):04x}", text)


def name_of(text: str) -> str:
    """A name as it is compared: storable, in Unicode's composed form (NFC), for "é" is written in two ways that look alike."""
    return unicodedata.normalize("NFC", storable(text))

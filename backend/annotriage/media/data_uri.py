"""Media written into the text itself: `data:image/png;base64,...` (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from annotriage.errors import MediaError
from annotriage.states import Failure

PREFIX = "data:"


def is_data_uri(text: str) -> bool:
    """Whether the text carries its media in itself."""
    return text[: len(PREFIX)].lower() == PREFIX


def decode_data_uri(text: str) -> bytes:
    """The bytes in a data: URI. Raises MediaError if it has no comma, is not valid base64 or is empty."""
    head, comma, body = text.partition(",")
    if not comma:
        raise MediaError(Failure.ADDRESS, "a data: URI without a comma; it must look like data:image/png;base64,iVBOR...")
    content = unquote_to_bytes(body.encode("utf-8", "surrogatepass"))  # half a character is no base64, and fails as such
    if head.lower().rstrip().endswith(";base64"):
        try:
            content = base64.b64decode(b"".join(content.split()), validate=True)
        except binascii.Error as error:
            raise MediaError(
                Failure.UNREADABLE, f"a data: URI that is not valid base64 ({error}); write it again, it may have been cut off"
            ) from error
    if not content:
        raise MediaError(Failure.UNREADABLE, "a data: URI without content; write it again, it may have been cut off")
    return content


def encode_data_uri(content: bytes, mime_type: str) -> str:
    """A data: URI of the bytes."""
    return f"{PREFIX}{mime_type};base64,{base64.b64encode(content).decode('ascii')}"

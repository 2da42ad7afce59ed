"""Signed certificates: whoever has the service's public key can tell that nobody has changed one, without the service.

Ed25519 over the certificate as canonical JSON (keys sorted, no spaces, ASCII). The private key is made of a secret in the store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from annotriage.errors import DataError, SignatureError
from annotriage.store import Store
from annotriage.store.secrets import secret_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "Ed25519"
SECRET = "certificates"


def signed(store: Store, certificate: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate's facts with a signature. The public key stands beside it to name it: trust one that came by another way."""
    value = base64.b64encode(_private(store).sign(_canonical(certificate))).decode()
    return {"certificate": dict(certificate), "signature": {"algorithm": ALGORITHM, "key": public_key(store), "value": value}}


def public_key(store: Store) -> str:
    """The key that certificates of this service are checked with, as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _private(store).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def verified(text: str | bytes, key: str) -> dict[str, Any]:
    """The facts of a signed certificate. key: the public key as PEM.

    Raises DataError if it is no signed certificate, or the key is none; SignatureError if it was changed, or signed with another key.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        document = json.loads(text)
        certificate, signature = document["certificate"], document["signature"]
        value = base64.b64decode(signature["value"], validate=True)
        its = str(signature["key"])
        if signature["algorithm"] != ALGORITHM or not isinstance(certificate, dict):
            raise ValueError
        content = _canonical(certificate)
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise DataError("this is no signed certificate; annotriage certify --out FILE writes one") from None
    try:
        public = load_pem_public_key(key.encode())
        if not isinstance(public, Ed25519PublicKey):
            raise ValueError
    except (ValueError, UnsupportedAlgorithm):
        raise DataError("this is no Ed25519 public key in PEM; annotriage certify --export-key FILE writes the service's") from None
    try:
        public.verify(value, content)
    except InvalidSignature:
        if its.strip() != key.strip():
            raise SignatureError("the certificate was signed with another key, or has been changed: trust nothing in it") from None
        raise SignatureError("the certificate has been changed since it was signed: trust nothing in it") from None
    return certificate


def _private(store: Store) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(secret_of(store, SECRET).encode()).digest())


def _canonical(certificate: Mapping[str, Any]) -> bytes:
    return json.dumps(certificate, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

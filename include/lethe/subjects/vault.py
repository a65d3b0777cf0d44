"""Identifiers sealed by AES-256-GCM: one random data key for each request, itself wrapped by the key-encryption key. Pure.

The id of the request is associated data of both, with the place and kind of the identifier, so that what is moved to another request or
place does not open. Destroying the wrapped key destroys the identifiers. A wrapped key is one byte of format, eight that tell which
key-encryption key wrapped it, 12 of nonce, then the ciphertext and its tag; a sealed identifier is nonce, ciphertext and tag.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lethe.errors import Unopenable

_FORMAT, _NONCE, _NAME = b"\x01", 12, 8


def new_data_key(request_key: bytes, request: str) -> tuple[bytes, bytes]:
    """A data key for that request, and the same wrapped by `request_key` (32 bytes)."""
    data_key = AESGCM.generate_key(bit_length=256)
    return data_key, _FORMAT + _name(request_key) + _encrypt(request_key, data_key, _about("key", request))


def unwrap(request_key: bytes, request: str, wrapped: bytes) -> bytes:
    """The data key of that request. Raises Unopenable: another key wrapped it, or it is damaged or another request's."""
    head = len(_FORMAT) + _NAME
    if wrapped[: len(_FORMAT)] != _FORMAT or len(wrapped) < head + _NONCE:
        raise Unopenable("The key of this request is damaged.", fix="Restore its row from a backup of lethe_db.")
    if wrapped[len(_FORMAT) : head] != _name(request_key):
        raise Unopenable(
            "The key of this request was wrapped by another key than today's.", fix="Set `request_key` back to the key of that time."
        )
    try:
        return _decrypt(request_key, wrapped[head:], _about("key", request))
    except InvalidTag:
        raise Unopenable(
            "The key of this request is damaged, or another request's.", fix="Restore its row from a backup of lethe_db."
        ) from None


def seal(data_key: bytes, request: str, position: int, kind: str, text: str) -> bytes:
    """An identifier as it is stored."""
    return _encrypt(data_key, text.encode(), _about("identifier", request, str(position), kind))


def unseal(data_key: bytes, request: str, position: int, kind: str, sealed: bytes) -> str:
    """The identifier. Raises Unopenable when it is damaged, or was sealed for another request or place."""
    try:
        return _decrypt(data_key, sealed, _about("identifier", request, str(position), kind)).decode()
    except (InvalidTag, ValueError):
        raise Unopenable(
            "An identifier of this request is damaged, or another request's.", fix="Restore its row from a backup of lethe_db."
        ) from None


def _encrypt(key: bytes, plain: bytes, about: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, about)


def _decrypt(key: bytes, sealed: bytes, about: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about)


def _about(*parts: str) -> bytes:
    return "\x00".join(("lethe", *parts)).encode()


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"lethe request key\x00" + key).digest()[:_NAME]

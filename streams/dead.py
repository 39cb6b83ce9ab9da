"""Dead letters: entries that could not be handled, kept whole until a person looks at them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from contracts.errors import PoisonError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Bytes that are not UTF-8 are written behind this prefix; so is text that begins with it, which
# makes the encoding reversible for every input.
_BASE64 = "base64:"


def _to_text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        pass
    else:
        if not text.startswith(_BASE64):
            return text
    return _BASE64 + base64.b64encode(raw).decode()


def _to_bytes(text: str) -> bytes:
    if text.startswith(_BASE64):
        return base64.b64decode(text.removeprefix(_BASE64), validate=True)
    return text.encode()


def encode_payload(fields: Mapping[bytes, bytes]) -> str:
    """Write an entry's fields as a JSON object of strings, readable where they are UTF-8.

    Names and values that are not UTF-8 become `base64:` and their RFC 4648 text.

    Args:
        fields: the entry's original fields, any bytes.

    Returns:
        JSON text from which `decode_payload` restores `fields` exactly.
    """
    readable = {_to_text(name): _to_text(value) for name, value in fields.items()}
    return msgspec.json.encode(readable).decode()


def decode_payload(payload: str) -> dict[bytes, bytes]:
    """Restore the fields that `encode_payload` wrote.

    Raises:
        PoisonError: `payload` is not a JSON object of strings, or holds broken base64.
    """
    try:
        readable = msgspec.json.decode(payload, type=dict[str, str])
        return {_to_bytes(name): _to_bytes(value) for name, value in readable.items()}
    except (msgspec.DecodeError, binascii.Error, UnicodeError) as error:
        reason = "malformed-dead-letter"
        raise PoisonError(reason, f"payload cannot be restored: {error}") from error

"""Dead letters: entries that could not be handled, kept whole until a person looks at them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Literal

import msgspec

from contracts.errors import PoisonError
from contracts.messages import DeadLetter
from contracts.parse import parse_dead_letter
from contracts.reasons import ENTRY_TOO_LARGE, INVALID_JSON
from streams import ranges
from streams.scripts import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from redis import Redis

    from streams.keys import Keys

Replayed = Literal["replayed", "gone", "settled-since"]
_REPLAYED: dict[int, Replayed] = {1: "replayed", 2: "gone", 3: "settled-since"}
_PAGE = 500  # ids per XDEL
# A call out of Lua takes 8,000 values (LUAI_MAXCSTACK in deps/lua/src/luaconf.h of the server).
_MOST_FIELDS = 3_999
# Bytes that are not UTF-8 are written behind this prefix; so is text that begins with it, which
# makes the encoding reversible for every input.
_BASE64 = "base64:"


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
    except (msgspec.DecodeError, UnicodeError) as error:
        raise PoisonError(INVALID_JSON, f"payload cannot be read: {error}") from error
    return _restore(readable)


def list_dead(
    client: Redis, keys: Keys, *, reason: str | None = None
) -> Iterator[tuple[str, DeadLetter]]:
    """Yield the id and content of every dead letter, the oldest first.

    Args:
        client: connection to the queue's server.
        keys: names the dead-letter stream.
        reason: yield only those with this stable code.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    for entry_id, fields in ranges.forward(client, keys.dead):
        letter = _readable(entry_id.decode(), fields)
        if reason is None or letter.reason == reason:
            yield entry_id.decode(), letter


def show_dead(client: Redis, keys: Keys, entry_id: str) -> DeadLetter | None:
    """Return one dead letter by its id in the dead-letter stream; None if there is none.

    Raises:
        redis.RedisError: the server could not be asked, or `entry_id` is no stream id.
    """
    fields = ranges.one(client, keys.dead, entry_id)
    return None if fields is None else _readable(entry_id, fields)


def replay_dead(client: Redis, keys: Keys, entry_id: str) -> Replayed:
    """Put a dead letter's original fields back on the stream they came from, once.

    One script adds the entry, forgets that its task was dealt with and removes the dead letter:
    a crash or a second call never leaves two entries.

    Returns:
        `replayed`; `gone` if there is no such dead letter (any more); `settled-since` if the task
        was submitted again and decided meanwhile, so that a replay would decide it twice.

    Raises:
        PoisonError: the dead letter itself is damaged, or has more fields than a script can write.
        redis.RedisError: the server could not be asked, or refused; call again.
    """
    stored = ranges.one(client, keys.dead, entry_id)
    if stored is None:
        return "gone"
    letter = parse_dead_letter(stored)
    names = [keys.dead, letter.source]
    task_id = letter.payload.get("task_id")
    if task_id is not None and letter.source in keys.task_streams:
        names.append(keys.done(task_id))
    fields = _restore(letter.payload)
    if len(fields) > _MOST_FIELDS:
        raise PoisonError(
            ENTRY_TOO_LARGE, f"{len(fields):,} fields, of which {_MOST_FIELDS:,} can be put back"
        )
    pairs = [part for pair in fields.items() for part in pair]
    return _REPLAYED[run(client, "replay", names, [entry_id, letter.entry_id, *pairs])]


def purge_dead(client: Redis, keys: Keys, entry_ids: Sequence[str]) -> int:
    """Delete dead letters for good; returns how many there were to delete.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    return sum(
        client.xdel(keys.dead, *entry_ids[start : start + _PAGE])
        for start in range(0, len(entry_ids), _PAGE)
    )


def _readable(entry_id: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    try:
        return parse_dead_letter(fields)
    except PoisonError as error:  # someone else wrote it; it must still be seen and purged
        return DeadLetter(
            source="",
            entry_id=entry_id,
            reason=error.reason,
            detail=error.detail,
            payload={_to_text(name): _to_text(value) for name, value in fields.items()},
            attempts=0,
            at="",
        )


def _restore(readable: Mapping[str, str]) -> dict[bytes, bytes]:
    try:
        return {_to_bytes(name): _to_bytes(value) for name, value in readable.items()}
    except (binascii.Error, UnicodeError) as error:
        raise PoisonError(INVALID_JSON, f"payload cannot be restored: {error}") from error


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

"""Where requests to Redis begin and end (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

from __future__ import annotations

from typing import NamedTuple

from contracts.errors import FatalError

_WORDS = 2  # what names a command: XADD, CLUSTER INFO, EVALSHA <sha>


class Request(NamedTuple):
    """One request as it was sent, and the words it begins with, in capitals."""

    raw: bytes
    words: tuple[str, ...]

    def is_one_of(self, commands: tuple[str, ...]) -> bool:
        """Whether it begins with the words of one of `commands`; no commands mean any."""
        begins = " ".join(self.words) + " "
        return not commands or any(begins.startswith(f"{each.upper()} ") for each in commands)


class Requests:
    """Cuts what a client sends into requests: arrays of bulk strings, and lines (`PING`)."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, chunk: bytes) -> list[Request]:
        """Take bytes in, and return the requests that are whole with them.

        Raises:
            FatalError: these are no requests.
        """
        self._data += chunk
        requests, at = [], 0
        while request := self._next(at):
            requests.append(request)
            at += len(request.raw)
        del self._data[:at]
        return requests

    def _next(self, start: int) -> Request | None:
        line = self._line(start)
        if line is None:
            return None
        at = start + len(line) + 2
        if not line.startswith(b"*"):
            return Request(bytes(self._data[start:at]), _shown(line.split()[:_WORDS]))
        words: list[bytes] = []
        for _ in range(_count(line)):
            header = self._line(at)
            if header is None:
                return None
            begin = at + len(header) + 2
            end = begin + _count(header)
            at = end + 2
            if len(self._data) < at:
                return None
            if len(words) < _WORDS:
                words.append(bytes(self._data[begin:end]))
        return Request(bytes(self._data[start:at]), _shown(words))

    def _line(self, start: int) -> bytes | None:
        end = self._data.find(b"\r\n", start)
        return None if end < 0 else bytes(self._data[start:end])


def _count(header: bytes) -> int:
    try:
        return int(header[1:])
    except ValueError:
        raise FatalError(f"no request to Redis: {header[:40]!r}") from None


def _shown(words: list[bytes]) -> tuple[str, ...]:
    return tuple(word.decode(errors="replace").upper() for word in words)

"""The Lua scripts, loaded once per client and reloaded when the server forgot them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    Argument = str | bytes | int | float


@cache
def source(name: str) -> tuple[bytes, str]:
    """Return the text of `lua/<name>.lua` and its SHA-1, the name EVALSHA knows it by."""
    text = files("streams").joinpath("lua", f"{name}.lua").read_bytes()
    return text, hashlib.sha1(text, usedforsecurity=False).hexdigest()


def run(client: Redis, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:  # noqa: ANN401 (a reply is what the script says)
    """Run a script by its hash; send its text only when the server does not have it.

    Raises:
        redis.RedisError: as the server or the connection reports it.
    """
    text, sha = source(name)
    try:
        return client.evalsha(sha, len(keys), *keys, *args)
    except NoScriptError:
        return client.eval(text.decode(), len(keys), *keys, *args)

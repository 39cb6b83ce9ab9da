"""Redis addresses: what `REDIS_URL` may say, taken apart, and fit to be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from contracts.errors import FatalError

Kind = Literal["single", "unix", "sentinel", "cluster"]

_KINDS: dict[str, tuple[Kind, bool]] = {  # scheme -> what it names, whether over TLS
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: dict[Kind, int] = {"single": 6379, "unix": 0, "sentinel": 26379, "cluster": 6379}
_TEXT_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_password"}
)
_SHOWN = "redis[s]://host[:port][/db], unix:///path, redis+sentinel://host:port,…/service[/db] or "
_SHOWN += "redis+cluster://host:port,…"


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis address in parts.

    Attributes:
        hosts: host and port of the server, of the Sentinels, or of some nodes of the cluster.
        path: the socket, for `unix`.
        service: the name the Sentinels know the primary by, for `sentinel`.
        tls: options of redis-py's `SSLConnection` (`ssl_ca_certs` and so on).
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    ssl: bool = False
    tls: dict[str, str] = field(default_factory=dict, repr=False)


def redact(url: str) -> str:
    """The address with every password, and a user name that may be one, replaced by `***`.

    Works on malformed addresses too: whatever stands before the last `@` counts as credentials.
    """
    url = re.sub(r"(?P<name>\w*(?:password|username))=[^&]*", r"\g<name>=***", url)
    return re.sub(
        r"://(?!/)(?P<user>[^:@/]*)(?P<rest>.*)@",
        lambda found: f"://{found['user']}:***@" if found["rest"] else "://***@",
        url,
        flags=re.DOTALL,
    )


def parse(url: str) -> Address:
    """Take a Redis address apart.

    Raises:
        FatalError: it is malformed; one line that shows no password.
    """
    try:
        return _parse(url)
    except ValueError as error:
        # Only messages written here: those of urllib may quote parts of a password.
        reason = error.args[0] if isinstance(error, _AddressError) else "it cannot be read"
        raise FatalError(f"bad Redis address {redact(url)}: {reason}; write {_SHOWN}") from None


class _AddressError(ValueError):
    """What is wrong with an address, in words that quote nothing secret."""


def _parse(url: str) -> Address:
    parts = urlsplit(url.strip())
    if parts.scheme not in _KINDS:
        raise _AddressError("unknown scheme")
    kind, ssl = _KINDS[parts.scheme]
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = unquote(parts.path)
    if kind == "unix" and (hosts or not path.strip("/")):
        raise _AddressError("a socket's path starts with / (unix:///run/redis.sock)")
    if kind != "unix" and "@" in parts.path + parts.fragment:
        raise _AddressError("special characters of a password must be percent-encoded")
    if kind == "single" and "," in hosts:
        raise _AddressError("several hosts need redis+sentinel:// or redis+cluster://")
    service, db = _service_and_db(kind, path, options.pop("db", ""))
    address = Address(
        kind=kind,
        hosts=() if kind == "unix" else _hosts(hosts, _PORTS[kind]),
        path=path if kind == "unix" else "",
        service=service,
        db=db,
        username=unquote(username) or options.pop("username", None),
        password=unquote(password) or options.pop("password", None),
        sentinel_username=options.pop("sentinel_username", None),
        sentinel_password=options.pop("sentinel_password", None),
        ssl=ssl,
        tls={name: options.pop(name) for name in sorted(_TEXT_OPTIONS & options.keys())},
    )
    if options:
        raise _AddressError(f"unknown option {', '.join(sorted(options))}")
    return address


def _hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for one in text.split(","):
        parts = urlsplit(f"//{one}")
        if not parts.hostname:
            raise _AddressError("a host is missing")
        hosts.append((parts.hostname, parts.port or port))
    return tuple(hosts)


def _service_and_db(kind: Kind, path: str, db: str) -> tuple[str, int]:
    words = [] if kind == "unix" else [word for word in path.split("/") if word]
    service = words.pop(0) if kind == "sentinel" and words else ""
    if kind == "sentinel" and not service:
        raise _AddressError("the name of the service is missing")
    number = words.pop(0) if words and not db else db or "0"
    if words or not number.isdecimal():
        raise _AddressError("the database must be a number")
    if kind == "cluster" and int(number):
        raise _AddressError("a cluster has database 0 only")
    return service, int(number)

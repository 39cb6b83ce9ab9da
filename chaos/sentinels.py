"""A primary with replicas, and the Sentinels that watch over them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from chaos.servers import PATIENCE, Server, free_port, wait_until
from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


SERVICE = "main"  # the name the Sentinels know the primary by
QUORUM, SENTINELS = 2, 3
# A replica's initial copy, a dead link noticed: within a second or so instead of many.
_PROMPT = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class ConfiguredServer(Server):
    """A server that keeps its configuration in a file, where roles that change are written to."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        port: int,
        binary: Path | None = None,
        sentinel: Sequence[str] = (),
    ) -> None:
        """Write the file; options changed later change nothing.

        Args:
            directory: see `Server`.
            options: see `Server`.
            port: see `Server`.
            binary: see `Server`.
            sentinel: lines of configuration that make a Sentinel of it.
        """
        super().__init__(directory, *options, port=port, binary=binary)
        self._file = directory / "server.conf"
        self._mode = ["--sentinel"] if sentinel else []
        _, *words = super()._command()
        self._file.write_text("\n".join([*_lines(words), *sentinel, ""]))

    def _command(self) -> list[str]:
        return [str(self.binary), str(self._file), *self._mode]


class Sentinels:
    """A primary with replicas, and three Sentinels of which two must agree.

    Attributes:
        servers: the first primary, then the replicas.
        sentinels: the Sentinels.
    """

    def __init__(  # noqa: PLR0913 - what can be wrong with them
        self,
        directory: Path,
        *options: str,
        ports: Sequence[int] | None = None,
        through: Sequence[int] = (),
        primary_at: int | None = None,
        down_after_ms: int = 1_500,
        failover_timeout_ms: int = 10_000,
        binary: Path | None = None,
    ) -> None:
        """Lay out the servers; `start` or `with` brings them up.

        Args:
            directory: holds a directory for each server.
            options: of primary and replicas, on top of `Server`'s.
            ports: of primary and replicas, known beforehand so that proxies can be put in front;
                two free ones by default, for one replica.
            through: ports by which the replicas find the primary to replicate from, the first
                replica by the first and so on: those of raw proxies. Where they end, directly.
                Sentinels have a replica replicate directly after `failover_timeout_ms`.
            primary_at: the port by which Sentinels (and through them clients) find the primary, if
                not its own: that of a raw proxy, to cut it off from all but those who know it.
            down_after_ms: silence after which a server counts as down.
            failover_timeout_ms: half the time until a failover that came to nothing is repeated.
            binary: the server; the embedded one by default.
        """
        first, *others = ports or (free_port(), free_port())
        known = primary_at or first
        sources = [*through, *[known] * (len(others) - len(through))]
        announced = ("--replica-announce-port", str(known))
        roles = [announced, *(("--replicaof", "127.0.0.1", str(source)) for source in sources)]
        self.servers = [
            ConfiguredServer(
                directory / f"server{number}", *_PROMPT, *options, *role, port=port, binary=binary
            )
            for number, (port, role) in enumerate(zip((first, *others), roles, strict=True))
        ]
        self._by_port = dict(zip((known, *others), self.servers, strict=True))
        watching = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {known} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {failover_timeout_ms}",
        )
        self.sentinels = [
            ConfiguredServer(
                directory / f"sentinel{number}", port=free_port(), binary=binary, sentinel=watching
            )
            for number in range(SENTINELS)
        ]

    @property
    def url(self) -> str:
        """Where clients find the primary, whichever it is (`streams.url`)."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The primary, as most of the living Sentinels say.

        Raises:
            FatalError: they do not agree.
        """
        ports = [_watched(sentinel)["port"] for sentinel in self.sentinels if sentinel.alive]
        for port, server in self._by_port.items():
            if ports.count(port) > len(ports) // 2:
                return server
        raise FatalError(f"the Sentinels do not agree: {ports}")

    def start(self) -> Self:
        """Start everything, and wait until replicas have their data and Sentinels know them all."""
        for server in self.servers:
            server.start()
        wait_until(lambda: len(list(self._in_sync())) == len(self.servers) - 1, "replicas in sync")
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_ok()
        return self

    def wait_ok(self, within: float = PATIENCE) -> None:
        """Wait until every living Sentinel knows all others and all replicas, and finds them well.

        Raises:
            FatalError: that did not come to be within so many seconds.
        """
        wait_until(
            lambda: all(self._is_content(each) for each in self.sentinels if each.alive),
            "the Sentinels know all servers",
            within,
        )

    def wait_for_failover(self, old: Server, within: float = PATIENCE) -> Server:
        """Wait until the Sentinels agree on another primary than `old`, and it takes writes.

        Args:
            old: what was `primary` before.
            within: seconds.

        Returns:
            The new primary.

        Raises:
            FatalError: there is none in time.
        """

        def has_changed() -> bool:
            with contextlib.suppress(FatalError):
                primary = self.primary
                return primary is not old and _info(primary)["role"] == "master"
            return False

        wait_until(has_changed, "a failover", within)
        return self.primary

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as ending:
            for server in (*self.servers, *self.sentinels):
                ending.push(server)

    def _in_sync(self) -> Iterator[Server]:
        for server in self.servers[1:]:
            if _info(server)["master_link_status"] == "up":
                yield server

    def _is_content(self, sentinel: Server) -> bool:
        watched = _watched(sentinel)
        found = watched["num-slaves"], watched["num-other-sentinels"], watched["flags"]
        wanted = len(self.servers) - 1, len(self.sentinels) - 1, {"master"}
        return bool(found == wanted)


def _lines(words: list[str]) -> list[str]:
    """Turn `--name value …` of a command line into the lines of a configuration file."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            lines.append([word.removeprefix("--")])
        else:
            lines[-1].append(f'"{word}"')
    return [" ".join(line) for line in lines]


def _info(server: Server) -> Any:  # noqa: ANN401 - redis-py's
    with server.client() as client:
        return client.info("replication")


def _watched(sentinel: Server) -> Any:  # noqa: ANN401 - redis-py's
    with sentinel.client() as client:
        return client.execute_command("SENTINEL MASTER", SERVICE)

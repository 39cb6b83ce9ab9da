"""Whether Redis is what the promises of Cortex rest on: new enough, with room, losing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ops.checks.ground import Ground

_OLDEST = (7, 0)  # XINFO's lag, XAUTOCLAIM's third reply
_FULL = 0.9  # of the machine's memory


def version(ground: Ground) -> Iterator[Finding]:
    """Look at each server's version."""
    from streams.pressure import servers

    for server in servers(ground.client):
        yield judge_version(server.info("server"))


def judge_version(info: Mapping[str, Any]) -> Finding:
    """Judge the version in a server's INFO."""
    speaks = str(info["redis_version"])
    own = info.get("valkey_version")
    name = f"Valkey {own}" if own else f"Redis {speaks}"
    if tuple(int(part) for part in speaks.split(".")[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        return Finding(
            "server", "fail", f"{name} is too old", f"upgrade to Redis {oldest}, or Valkey"
        )
    return Finding("server", "ok", name)


def memory(ground: Ground) -> Iterator[Finding]:
    """Look at how full the fullest server is."""
    from streams.pressure import memory_share, servers

    if share := memory_share(ground.client):
        yield _limited(ground, share)
        return
    for server in servers(ground.client):
        info = server.info("memory")
        used, machine = info["used_memory"], info.get("total_system_memory", 0)
        detail = f"{used / 2**20:,.0f} MiB used, maxmemory is not set"
        if machine and used > _FULL * machine:
            yield Finding(
                "memory",
                "fail",
                f"{detail}, which is {used / machine:.0%} of the machine's",
                "give the machine more memory; set maxmemory, so that workers stop reading in time",
            )
        else:
            yield Finding("memory", "ok", detail)


def _limited(ground: Ground, share: float) -> Finding:
    settings = ground.settings
    detail = f"{share:.0%} of maxmemory used"
    remedy = "let masters work off their queues (cortex queues), or raise maxmemory"
    if share >= settings.pause_at:
        why = f"workers stop reading at {settings.pause_at:.0%}"
        return Finding("memory", "fail", f"{detail}; {why}", remedy)
    if share >= settings.resume_below:
        return Finding("memory", "warn", detail, remedy)
    return Finding("memory", "ok", detail)


def eviction(ground: Ground) -> Iterator[Finding]:
    """Look whether servers would throw queues away rather than refuse writes."""
    from streams.pressure import servers

    for server in servers(ground.client):
        memory, stats = server.info("memory"), server.info("stats")
        policy, evicted = memory["maxmemory_policy"], stats["evicted_keys"]
        detail = f"{policy}, {evicted} keys evicted"
        if policy == "noeviction":
            yield Finding("eviction", "ok", detail)
        else:
            yield Finding(
                "eviction",
                "fail" if memory["maxmemory"] or evicted else "warn",
                f"{detail}: tasks may vanish",
                "CONFIG SET maxmemory-policy noeviction, and in the server's configuration file",
            )


def persistence(ground: Ground) -> Iterator[Finding]:
    """Look whether what is accepted would survive a restart."""
    from streams.pressure import servers

    for server in servers(ground.client):
        info = server.info("persistence")
        broken = [name for name in _STATUSES if info.get(name, "ok") != "ok"]
        if broken:
            yield Finding(
                "persistence",
                "fail",
                f"the server cannot write to its disk: {', '.join(broken)}",
                "look into the server's log; free or repair its disk",
            )
        elif not info["aof_enabled"]:
            yield Finding(
                "persistence",
                "warn",
                "no append-only file: a restart loses what came since the last snapshot",
                "CONFIG SET appendonly yes, and in the server's configuration file",
            )
        else:
            fsync = server.config_get("appendfsync").get("appendfsync", "unknown")
            yield Finding("persistence", "ok", f"append-only file, appendfsync {fsync}")


_STATUSES = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")

"""Which configuration was in force in each version, since this rollout began: from the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from contracts.encode import rollout_fields
from contracts.messages import RolloutConfig
from contracts.parse_rollout import parse_rollout
from router.experiment import Experiment
from streams import ranges
from streams.control import read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from streams.keys import Keys

_OLD_VALUES = msgspec.json.Decoder(dict[str, str | None])


class Timeline(Struct, frozen=True, kw_only=True):
    """A rollout so far: one model beside the rules, however often its percentage changed.

    It began when the model left shadow, or went there; when it took another's place; or when
    tasks were assigned anew.

    Attributes:
        configs: every version since, by number; the newest is in force.
        begun: version it began with.
        staged: version its present stage began with.
        begun_ms: nothing of it is older, in milliseconds by the clock of the log's server.
        staged_ms: when its present stage began, likewise.
        changed_ms: when the newest version was made, likewise.
    """

    configs: Mapping[int, RolloutConfig]
    begun: int
    staged: int
    begun_ms: int
    staged_ms: int
    changed_ms: int

    @property
    def config(self) -> RolloutConfig:
        """The configuration in force."""
        return self.configs[max(self.configs)]


def read_timeline(client: Redis, keys: Keys, defaults: RolloutConfig) -> Timeline:
    """Read what is in force, and go back through the log to where this rollout began.

    A change that is missing in the log (see `streams.control.set_config` on clusters) is where it
    began as far as anyone can tell.

    Args:
        client: connection to the queue's server.
        keys: names the configuration hash and its log.
        defaults: what holds where nothing was ever set.

    Raises:
        PoisonError: the hash or the log is malformed.
        redis.RedisError: the server could not be asked.
    """
    config = read_config(client, keys, defaults)
    configs, made_ms, before_ms = {config.version: config}, dict[int, int](), 0
    staged = config.version
    for entry_id, entry in ranges.backward(client, keys.control_log):
        version = int(entry[b"version"])
        if version > config.version:
            continue  # made since the hash was read
        before_ms = int(entry_id.partition(b"-")[0])
        if version < config.version or version == 0:
            break
        made_ms[version] = before_ms
        earlier = _undone(config, entry, defaults)
        if _trial(earlier) != _trial(config):
            break
        if staged == config.version and _stage(earlier) == _stage(config):
            staged = earlier.version
        config = earlier
        configs[config.version] = config
    return Timeline(
        configs=configs,
        begun=config.version,
        staged=staged,
        begun_ms=made_ms.get(config.version, before_ms),
        staged_ms=made_ms.get(staged, before_ms),
        changed_ms=made_ms.get(max(configs), before_ms),
    )


def past_configs(client: Redis, keys: Keys, defaults: RolloutConfig) -> Iterator[RolloutConfig]:
    """Yield the configuration in force and those before it, as far back as the log has no gap.

    Raises:
        PoisonError: the hash or the log is malformed.
        redis.RedisError: the server could not be asked.
    """
    config = read_config(client, keys, defaults)
    yield config
    for _entry_id, entry in ranges.backward(client, keys.control_log):
        version = int(entry[b"version"])
        if version < config.version or version == 0:
            return
        if version == config.version:
            config = _undone(config, entry, defaults)
            yield config


def treated_share(config: RolloutConfig) -> float:
    """Share of the tasks in the experiment that are in treatment, by whole buckets."""
    return Experiment(config).treated_share


def _trial(config: RolloutConfig) -> tuple[object, ...]:
    """What makes two versions parts of one rollout."""
    return (
        treated_share(config) > 0,
        config.enable_neural,
        config.experiment,
        config.model,
        config.attribute,
        config.namespace,
        config.arms,
    )


def _stage(config: RolloutConfig) -> tuple[str | None, str | None]:
    return config.stage, config.stage_since


def _undone(
    config: RolloutConfig, entry: Mapping[bytes, bytes], defaults: RolloutConfig
) -> RolloutConfig:
    """The configuration before a change."""
    initial = rollout_fields(defaults)
    before = {
        name: initial[name] if value is None else value
        for name, value in _OLD_VALUES.decode(entry[b"from"]).items()
        if name in initial
    }
    fields = rollout_fields(config) | before | {"version": str(config.version - 1)}
    return parse_rollout({name.encode(): _bytes(value) for name, value in fields.items()})


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()

"""Reads the live configuration, the hash `control:rollout`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from contracts import fields as read
from contracts import reasons
from contracts.errors import PoisonError
from contracts.messages import Arm, Attribute, Namespace, RolloutConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SWITCHES: Final = {b"true": "true", b"1": "true", b"false": "false", b"0": "false"}
_MAX_ARMS: Final = 16


def parse_rollout(fields: Mapping[bytes, bytes]) -> RolloutConfig:
    """Read the hash `control:rollout`; an absent one (no fields) is version 0.

    Fields this version does not know are ignored, so that older workers outlive newer operators.

    Raises:
        PoisonError: a value is not exactly what it should be, or the hash is incomplete.
    """
    if not fields:
        return RolloutConfig()
    for name in ("version", "percentage"):
        read.required(fields, name)
    given: dict[str, Any] = {
        name: reader(raw, name)
        for name, reader in _READERS.items()
        if (raw := fields.get(name.encode()))
    }
    return RolloutConfig(**given)


def _share(raw: bytes, name: str) -> float:
    return read.number(raw, name, high=1)


def _switch(raw: bytes, name: str) -> bool:
    return read.choice(raw, name, _SWITCHES) == "true"


def _attribute(raw: bytes, name: str) -> str:
    attribute: str = _as(Attribute, read.utf8(raw, name), name)
    return attribute


def _namespace(raw: bytes, name: str) -> Namespace:
    namespace: Namespace = _as(Namespace, _loaded(raw, name), name)
    first, beyond = namespace.range
    if first > beyond:
        raise PoisonError(reasons.NUMBER_OUT_OF_RANGE, f"{name} ends before it begins")
    return namespace


def _arms(raw: bytes, name: str) -> tuple[Arm, ...]:
    arms: tuple[Arm, ...] = _as(tuple[Arm, ...], _loaded(raw, name), name)
    if len({arm.name for arm in arms}) < len(arms) or len(arms) > _MAX_ARMS:
        raise PoisonError(reasons.INVALID_VALUE, f"{name}: two have one name, or there are many")
    if any(arm.name == "control" for arm in arms):
        raise PoisonError(reasons.INVALID_VALUE, f"{name}: control is what is in no arm")
    ranges = sorted(arm.buckets for arm in arms)
    ends = [edge for pair in ranges for edge in pair]
    if ends != sorted(ends):
        raise PoisonError(reasons.NUMBER_OUT_OF_RANGE, f"{name} overlap, or end before they begin")
    return arms


def _loaded(raw: bytes, name: str) -> object:
    try:
        return msgspec.json.decode(read.utf8(raw, name))
    except (msgspec.DecodeError, RecursionError) as error:
        raise PoisonError(reasons.INVALID_SHAPE, f"{name}: {error}") from None


def _as(kind: Any, value: object, name: str) -> Any:  # noqa: ANN401 - msgspec takes any type form
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise PoisonError(reasons.INVALID_SHAPE, f"{name}: {error}") from None


_READERS: Final[Mapping[str, Callable[[bytes, str], object]]] = {
    "version": read.count,
    "percentage": _share,
    "enable_neural": _switch,
    "enable_rag": _switch,
    "experiment": read.name,
    "model": read.name,
    "exploration": _share,
    "attribute": _attribute,
    "coverage": _share,
    "namespace": _namespace,
    "arms": _arms,
    "force": _switch,
    "stage": read.name,
    "stage_since": read.text,
    "paused": read.text,
}

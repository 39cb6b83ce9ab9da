"""The original system's `deployment.json`: read to set the live configuration, written as status.

Its percentage and switches are live settings here too. Its two paths are not: which model decides
is, where the path names one of the registry; where workers look for models and for the index is
told to each of them when it starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from contracts.errors import FatalError
from contracts.messages import Probability
from registry.folder import ALIASES, MANIFEST, read_manifest
from registry.registry import Registry

if TYPE_CHECKING:
    from datetime import datetime

    from contracts.messages import RolloutConfig


class Configuration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was configured; what is left out stays as it is. Unknown fields are ignored.

    Attributes:
        ab_test_percentage: fraction of tasks in treatment, 0-1.
        model_path: folder of a model, a version, or an alias.
        vectorstore_path: where the index is.
    """

    ab_test_percentage: Probability | None = None
    enable_neural: bool | None = None
    enable_rag: bool | None = None
    model_path: str | None = None
    vectorstore_path: str | None = None


class Deployment(Struct, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        version: of the program.
        deployment_date: of the last change; ISO 8601 with an offset like `-0600`.
        status: `deployed`; `paused` where nothing advances by itself.
    """

    version: str = ""
    deployment_date: str = ""
    configuration: Configuration
    status: str = ""


class Changes(NamedTuple):
    """What a file comes to.

    Attributes:
        fields: changes of the live configuration, as `streams.control.set_config` takes them.
        not_live: a sentence for each value that takes effect another way.
    """

    fields: dict[str, str]
    not_live: tuple[str, ...]


def read_deployment(content: bytes) -> Deployment:
    """Read the content of a `deployment.json`.

    Raises:
        FatalError: it is not JSON, has no `configuration`, or a value of it is of the wrong kind or
            out of range.
    """
    try:
        return msgspec.json.decode(content, type=Deployment)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FatalError(f"deployment: {error}") from error


def changes(deployment: Deployment, models: Path, store: Path) -> Changes:
    """Return what setting a deployment means here.

    Args:
        deployment: what was read.
        models: where workers started like this process look for models.
        store: where they look for the index.

    Raises:
        CortexError: `model_path` names a version or an alias that the registry does not have, or
            the registry cannot be read.
    """
    wanted = deployment.configuration
    fields: dict[str, str] = {}
    if wanted.ab_test_percentage is not None:
        fields["percentage"] = repr(wanted.ab_test_percentage)
    for name in ("enable_neural", "enable_rag"):
        if (switch := getattr(wanted, name)) is not None:
            fields[name] = "true" if switch else "false"
    elsewhere = []
    if wanted.model_path and _same(wanted.model_path, models):
        fields["model"] = ""  # whoever is champion there
    elif wanted.model_path:
        version = registered_version(wanted.model_path, models)
        if version is None:
            elsewhere.append(_told("model_path", wanted.model_path, "MODEL_PATH"))
        else:
            fields["model"] = version
    if wanted.vectorstore_path and not _same(wanted.vectorstore_path, store):
        elsewhere.append(_told("vectorstore_path", wanted.vectorstore_path, "VECTORSTORE_PATH"))
    return Changes(fields, tuple(elsewhere))


def registered_version(name: str, models: Path) -> str | None:
    """Return the version that a name means in a registry now; None where it means none there.

    Args:
        name: a version, an alias, or the folder of a version or of a copy of it.
        models: root of the registry, if there is one.

    Raises:
        CortexError: the registry cannot be read, or `name` is an alias of nothing.
    """
    if not Registry.at(models):
        return None
    registry = Registry(models)
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        name = read_manifest(folder).version
    elif name in ALIASES:
        return registry.path(name).name
    return name if any(each.version == name for each in registry.versions()) else None


def describe(
    config: RolloutConfig, *, program: str, changed: datetime, models: Path, store: Path
) -> Deployment:
    """Return the live configuration in the original's shape.

    Reading it back with the same paths changes nothing.

    Args:
        config: the live configuration.
        program: version of the program.
        changed: when it was last changed, with an offset.
        models: where workers started like this process look for models.
        store: where they look for the index.
    """
    model_path = str(models)
    if config.model:
        registered = Registry.at(models) and (models / "versions" / config.model)
        model_path = str(registered) if registered and registered.is_dir() else config.model
    return Deployment(
        version=program,
        deployment_date=changed.strftime("%Y-%m-%dT%H:%M:%S%z"),
        configuration=Configuration(
            ab_test_percentage=config.percentage,
            enable_neural=config.enable_neural,
            enable_rag=config.enable_rag,
            model_path=model_path,
            vectorstore_path=str(store),
        ),
        status="paused" if config.paused else "deployed",
    )


def _same(one: str, other: Path) -> bool:
    return Path(one).absolute() == other.absolute()


def _told(name: str, value: str, variable: str) -> str:
    return f"{name} is not live: to use {value}, start workers with {variable}={value}"
